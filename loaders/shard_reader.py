"""Windows out of shards, with numpy, numcodecs and pyarrow only: no torch, no Zarr machinery, no threads, no locks.

The index says where every inner chunk lies; a shard file is mapped when it is first needed, once per process, and only
the chunks that a window touches are decoded. Of a store behind a URL, ranges are read instead. A `SampleIndex` crosses
`fork` and pickling: what belongs to a process is opened anew in each.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from medshard.converters.plan import Plan, Shape
from medshard.converters.volume import Array
from medshard.errors import StoreError
from medshard.loaders.foreground import LabelledVoxel, VoxelDraw, draw_foreground
from medshard.loaders.index_columns import IndexColumns
from medshard.loaders.remote_store import RemoteStore, is_remote
from medshard.loaders.sample_row import SampleRow, StoredArray
from medshard.loaders.shard_bytes import AnyStore
from medshard.loaders.window_reading import Box, array_of, read_boxes, read_windows
from medshard.loaders.windows import Scale, Window
from medshard.registry.store.manifests import Head, require_head
from medshard.registry.store.objects import ObjectRef, Store

ROWS_KEPT = 256


@dataclass
class _Open:
    """What one process has open for one index."""

    columns: IndexColumns | None = None
    rows: OrderedDict[int, SampleRow] = field(default_factory=OrderedDict)


@dataclass
class _Opened:
    """What is open in this process. A forked child finds another process number here and opens its own."""

    pid: int = -1
    files: _Open = field(default_factory=_Open)

    def here(self) -> _Open:
        pid = os.getpid()
        if pid != self.pid:
            self.pid, self.files = pid, _Open()
        return self.files


@dataclass(frozen=True, kw_only=True)
class SampleIndex:
    """The samples of one entry under one plan, as one HEAD of the store names them.

    Later builds do not change what an open index reads: it keeps to its HEAD, also in other processes.
    """

    store: AnyStore
    entry: str
    plan: Plan
    head: Head
    _opened: _Opened = field(default_factory=_Opened, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        store: AnyStore | str | Path,
        entry: str,
        plan: str = "default",
        *,
        cache: str | Path | None = None,
        cache_bytes: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> SampleIndex:
        """Open the current shards of an entry.

        store: a store, its path, or a URL such as `s3://bucket/prefix` or `https://host/path`.
        cache, cache_bytes, storage_options: of a URL; see `RemoteStore`.
        Raises StoreError[stage.not_built] when they were never built, StoreError[store.unreachable], ...
        """
        if isinstance(store, str | Path):
            store = open_store(store, cache=cache, cache_bytes=cache_bytes, storage_options=storage_options)
        if isinstance(store, RemoteStore):
            head = store.require_head(entry, "shards", plan)
        else:
            head = require_head(store, entry, "shards", plan)
        frozen_plan = Plan.from_json(json.loads(store.read_bytes(head.attachments["plan"])))
        return cls(store=store, entry=entry, plan=frozen_plan, head=head)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.store, self.entry, self.plan, self.head)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def table(self) -> pa.Table:
        """The index as it is mapped from disk, one row per sample, sorted by case."""
        return pa.Table.from_batches([self._columns.batch])

    @property
    def cases(self) -> list[str]:
        return [str(case) for case in self._columns.column("case")]

    @property
    def shard_digests(self) -> tuple[str, ...]:
        return tuple(ref.digest for ref in self._shards.values())

    def column(self, name: str) -> NDArray[Any] | list[Any]:
        """One column for all samples: numbers and words as an array (n, ...), texts such as `case` as a list.

        Words (`entry`, `group`, `split`, `modality`, `unit`, `shard`, `labels`, `contents`) are shared strings, None
        without one.
        """
        return self._columns.column(name)

    def distinct(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """(number of each sample's word, -1 without one; the words) of a column of words, such as `labels`."""
        return self._columns.distinct(name)

    def foreground(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(row, class value, number of listed voxels) of every class of every sample that has any of a layer."""
        return self._columns.foreground(layer)

    def row(self, number: int) -> SampleRow:
        """The sample of row `number`; the last ones asked for are kept."""
        rows = self._opened.here().rows
        if number in rows:
            rows.move_to_end(number)
            return rows[number]
        if not 0 <= number < len(self):
            raise IndexError(number)
        row = self._columns.row(number, self._shards)
        rows[number] = row
        if len(rows) > ROWS_KEPT:
            rows.popitem(last=False)
        return row

    def find(self, case: str) -> SampleRow:
        """The sample of a case. Raises StoreError[sample.unknown] when the plan has none."""
        number = self._columns.find(case)
        if number is None:
            raise StoreError(
                "sample.unknown",
                where=f"{self.entry}/{case}",
                problem="there is no sample of this case",
                details={"plan": self.plan.name, "samples": len(self)},
                action="The manifest of the shards stage says whether the case was excluded, and why.",
            )
        return self.row(number)

    def read_window(
        self,
        row: SampleRow,
        name: str,
        start: Sequence[int],
        size: Sequence[int],
        *,
        pad_value: float = 0,
        dtype: DTypeLike | None = None,
        scale: Scale | None = None,
    ) -> Array:
        """The numbers of a window: (c, *size), a new array.

        name: `image` or `labels/<layer>`. start, size: (z, y, x) in voxels; what lies outside of the array gets
        `pad_value`. dtype: of the result, by default as stored, and float32 with a scale; chunks are decoded straight
        into it, which is cheaper than a conversion afterwards.
        Raises StoreError[shard.missing|shard.torn|shard.corrupt] naming the file, the case and the bytes.
        """
        window = Window(
            row=row,
            name=name,
            start=_triple(start),
            size=_triple(size),
            pad_value=pad_value,
            dtype=dtype,
            scale=scale,
        )
        return self.read_windows([window])[0]

    def read_windows(self, windows: Sequence[Window]) -> list[Array]:
        """Several windows of this index; from behind a URL all their bytes come in one round trip.

        `window_reading.read_windows` does the same for windows of several indices.
        """
        return read_windows([(self, window) for window in windows])

    def read_array(self, row: SampleRow, name: str) -> Array:
        """A whole array: `image`, `labels/<layer>`, `foreground/<layer>`, `meshes/<name>/vertices|faces|labels/<label>`
        or `signals/<name>`."""
        array = array_of(row, name)
        return read_boxes([self.box(row, array, (0,) * len(array.shape), array.shape)])[0]

    def read_rows(self, row: SampleRow, name: str) -> pa.Table:
        """The rows of `annotations/<name>`, `tables/<name>`, `texts/<name>` or `places`."""
        with pa.ipc.open_stream(pa.py_buffer(self.read_array(row, name))) as reader:
            return reader.read_all()

    def read_foreground(self, row: SampleRow, layer: str, number: int) -> LabelledVoxel:
        """(class value, z, y, x): row `number` of the layer's foreground table; one chunk is decoded."""
        array = array_of(row, f"foreground/{layer}")
        value, z, y, x = read_boxes([self.box(row, array, (number, 0), (number + 1, 4))])[0][0].tolist()
        return value, z, y, x

    def draw_foreground(
        self, row: SampleRow, layer: str, values: Collection[int], class_fraction: float, voxel_fraction: float
    ) -> LabelledVoxel | None:
        """(class value, z, y, x) of a voxel of one of the values; None when the sample has none of them.

        Each value that the sample has, and each listed voxel of it, is equally likely for fractions in [0, 1).
        `foreground.draw_foreground` does the same for many draws in one round trip.
        """
        draw = VoxelDraw(
            row=row, layer=layer, values=values, class_fraction=class_fraction, voxel_fraction=voxel_fraction
        )
        return draw_foreground([(self, draw)])[0]

    def box(
        self,
        row: SampleRow,
        array: StoredArray,
        start: Sequence[int],
        stop: Sequence[int],
        *,
        dtype: DTypeLike | None = None,
        scale: Scale | None = None,
    ) -> Box:
        """The part [start, stop) of an array, for `read_boxes`."""
        return Box(
            store=self.store,
            shard=self._shards[row.shard],
            row=row,
            array=array,
            start=tuple(start),
            stop=tuple(stop),
            dtype=array.dtype if dtype is None else np.dtype(dtype),
            scale=scale,
        )

    @property
    def _columns(self) -> IndexColumns:
        opened = self._opened.here()
        if opened.columns is None:
            opened.columns = IndexColumns(self.store.path(self.head.attachments["index"]))
        return opened.columns

    @cached_property
    def _shards(self) -> dict[str, ObjectRef]:
        """File name -> the shard object."""
        attachments = sorted(self.head.attachments.items())
        return {f"{ref.digest}{ref.suffix}": ref for name, ref in attachments if name.startswith("shard-")}


def open_store(
    url: str | Path,
    *,
    cache: str | Path | None = None,
    cache_bytes: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> AnyStore:
    """The store at a path or URL, for reading. cache, cache_bytes, storage_options: of a URL; see `RemoteStore`."""
    if is_remote(url):
        return RemoteStore.open(str(url), cache=cache, cache_bytes=cache_bytes, **(storage_options or {}))
    return Store.open(url, create=False)


def _reopen(store: AnyStore, entry: str, plan: Plan, head: Head) -> SampleIndex:
    return SampleIndex(store=store, entry=entry, plan=plan, head=head)


def _triple(numbers: Sequence[int]) -> Shape:
    z, y, x = numbers
    return z, y, x
