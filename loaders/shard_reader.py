"""Windows out of shards, with numpy, numcodecs and pyarrow only: no torch, no Zarr machinery, no threads, no locks.

The index says where every inner chunk lies; a shard file is mapped when it is first needed, once per process, and only
the chunks that a window touches are decoded. A `SampleIndex` crosses `fork` and pickling: what belongs to a process
is opened anew in each.
"""

from __future__ import annotations

import itertools
import json
import math
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numcodecs import blosc
from numpy.typing import DTypeLike

from medshard.converters.plan import Plan
from medshard.converters.volume import Array
from medshard.errors import StoreError
from medshard.loaders.sample_row import EMPTY_CHUNK, SampleRow, StoredArray, parse_row
from medshard.registry.store.manifests import Head, require_head
from medshard.registry.store.objects import ObjectRef, Store

FORMAT_VERSION = 2
ROWS_KEPT = 1024
MAPS_KEPT = 256
_BLOSC_SIZES = struct.Struct("<4xI4xI")  # of its 16-byte header: bytes when decoded, bytes as stored

# A chunk is far too small to gain from Blosc's own threads, and a pool of them does not survive `fork`.
blosc.use_threads = False


@dataclass
class _Files:
    """What one process has open for one index."""

    table: Any = None
    rows: OrderedDict[int, SampleRow] = field(default_factory=OrderedDict)
    maps: OrderedDict[str, mmap.mmap] = field(default_factory=OrderedDict)


@dataclass
class _Opened:
    """The open files of this process. A forked child finds another process number here and opens its own."""

    pid: int = -1
    files: _Files = field(default_factory=_Files)

    def here(self) -> _Files:
        pid = os.getpid()
        if pid != self.pid:
            self.pid, self.files = pid, _Files()
        return self.files


@dataclass(frozen=True, kw_only=True)
class SampleIndex:
    """The samples of one entry under one plan, as one HEAD of the store names them.

    Later builds do not change what an open index reads: it keeps to its HEAD, also in other processes.
    """

    store: Store
    entry: str
    plan: Plan
    head: Head
    _opened: _Opened = field(default_factory=_Opened, repr=False, compare=False)

    @classmethod
    def open(cls, store: Store, entry: str, plan: str = "default") -> SampleIndex:
        """Open the current shards of an entry. Raises StoreError[stage.not_built] when they were never built."""
        head = require_head(store, entry, "shards", plan)
        frozen_plan = Plan.from_json(json.loads(store.read_bytes(head.attachments["plan"])))
        return cls(store=store, entry=entry, plan=frozen_plan, head=head)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.store, self.entry, self.plan, self.head)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def table(self) -> pa.Table:
        """The index as it is mapped from disk, one row per sample, sorted by case."""
        opened = self._opened.here()
        if opened.table is None:
            opened.table = _map_table(self.store.path(self.head.attachments["index"]))
        return opened.table

    @property
    def cases(self) -> list[str]:
        return [str(case) for case in self.table["case"].to_pylist()]

    @property
    def shard_digests(self) -> tuple[str, ...]:
        return tuple(ref.digest for ref in self._shards.values())

    def row(self, number: int) -> SampleRow:
        """The sample of row `number`; the last ones asked for are kept."""
        rows = self._opened.here().rows
        if number in rows:
            rows.move_to_end(number)
            return rows[number]
        if not 0 <= number < len(self):
            raise IndexError(number)
        row = parse_row(self.table, number, self._shards)
        rows[number] = row
        if len(rows) > ROWS_KEPT:
            rows.popitem(last=False)
        return row

    def find(self, case: str) -> SampleRow:
        """The sample of a case. Raises StoreError[sample.unknown] when the plan has none."""
        number = int(self.table["case"].index(case).as_py())
        if number < 0:
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
    ) -> Array:
        """The stored numbers of a window: (c, *size), a new array.

        name: `image` or `labels/<layer>`. start, size: (z, y, x) in voxels; what lies outside of the array gets
        `pad_value`. dtype: of the result, by default as stored; chunks are decoded straight into it, which is cheaper
        than a conversion afterwards. Raises StoreError[shard.missing|shard.torn|shard.corrupt] naming the file.
        """
        array = _array_of(row, name)
        low = [max(0, begin) for begin in start]
        high = [min(extent, begin + length) for begin, length, extent in zip(start, size, array.shape[1:], strict=True)]
        inside = None
        if all(a < b for a, b in zip(low, high, strict=True)):
            inside = self._read_box(row, array, (0, *low), (array.shape[0], *high), dtype)
            if inside.shape[1:] == tuple(size):
                return inside
        window: Array = np.full((array.shape[0], *size), pad_value, array.dtype if dtype is None else dtype)
        if inside is not None:
            place = tuple(slice(a - begin, b - begin) for a, b, begin in zip(low, high, start, strict=True))
            window[(slice(None), *place)] = inside
        return window

    def read_array(self, row: SampleRow, name: str) -> Array:
        """A whole array: `image`, `labels/<layer>`, `foreground/<layer>`, `meshes/<name>/vertices|faces|labels/<label>`
        or `signals/<name>`."""
        array = _array_of(row, name)
        return self._read_box(row, array, (0,) * len(array.shape), array.shape)

    def read_rows(self, row: SampleRow, name: str) -> pa.Table:
        """The rows of `annotations/<name>`, `tables/<name>`, `texts/<name>` or `places`."""
        with pa.ipc.open_stream(pa.py_buffer(self.read_array(row, name))) as reader:
            return reader.read_all()

    def read_foreground(self, row: SampleRow, layer: str, number: int) -> tuple[int, int, int, int]:
        """(class value, z, y, x): row `number` of the layer's foreground table; one chunk is decoded."""
        array = _array_of(row, f"foreground/{layer}")
        value, z, y, x = self._read_box(row, array, (number, 0), (number + 1, 4))[0].tolist()
        return value, z, y, x

    @cached_property
    def _shards(self) -> dict[str, ObjectRef]:
        """File name -> the shard object."""
        attachments = sorted(self.head.attachments.items())
        return {f"{ref.digest}{ref.suffix}": ref for name, ref in attachments if name.startswith("shard-")}

    def _map(self, shard: str) -> mmap.mmap:
        maps = self._opened.here().maps
        if shard in maps:
            maps.move_to_end(shard)
            return maps[shard]
        mapped = _map_shard(self.store.path(self._shards[shard]), self._shards[shard].size)
        maps[shard] = mapped
        if len(maps) > MAPS_KEPT:  # each holds a file descriptor
            maps.popitem(last=False)
        return mapped

    def _read_box(
        self,
        row: SampleRow,
        array: StoredArray,
        start: Sequence[int],
        stop: Sequence[int],
        dtype: DTypeLike | None = None,
    ) -> Array:
        """The box [start, stop) of an array, inside of it, decoded chunk by chunk."""
        out: Array = np.zeros(
            [b - a for a, b in zip(start, stop, strict=True)], array.dtype if dtype is None else dtype
        )
        if len(array.chunk_nbytes) == 0:
            return out
        mapped = memoryview(self._map(row.shard))
        decoded: Array = np.empty(array.inner_chunk, array.dtype)
        for number, source, target in _touched_chunks(array, start, stop):
            nbytes = int(array.chunk_nbytes[number])
            if nbytes == EMPTY_CHUNK:
                continue
            begin = array.offset + int(array.chunk_offsets[number])
            chunk = mapped[begin : begin + nbytes]
            if _BLOSC_SIZES.unpack_from(chunk) != (decoded.nbytes, nbytes):
                raise _corrupt(self.store.path(self._shards[row.shard]), row, array)
            try:
                blosc.decompress(chunk, decoded)
            except RuntimeError as error:
                raise _corrupt(self.store.path(self._shards[row.shard]), row, array) from error
            out[target] = decoded[source]
        return out


def _reopen(store: Store, entry: str, plan: Plan, head: Head) -> SampleIndex:
    return SampleIndex(store=store, entry=entry, plan=plan, head=head)


def _touched_chunks(
    array: StoredArray, start: Sequence[int], stop: Sequence[int]
) -> list[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """(number in the chunk table, part of the chunk, part of the box) of every chunk that a box touches."""
    axes = []
    stride = 1
    for axis in reversed(range(len(array.shape))):
        begin, end, chunk = start[axis], stop[axis], array.inner_chunk[axis]
        spans = []
        for position in range(begin // chunk, (end - 1) // chunk + 1):
            origin = position * chunk
            low, high = max(begin, origin), min(end, origin + chunk)
            spans.append((position * stride, slice(low - origin, high - origin), slice(low - begin, high - begin)))
        axes.append(spans)
        stride *= math.ceil(array.shape[axis] / chunk)
    axes.reverse()
    return [
        (sum(part[0] for part in parts), tuple(part[1] for part in parts), tuple(part[2] for part in parts))
        for parts in itertools.product(*axes)
    ]


def _map_table(path: Path) -> pa.Table:
    try:
        # Without Arrow's thread pool, which a forked child would not have.
        reader = pa.ipc.open_file(pa.memory_map(str(path)), options=pa.ipc.IpcReadOptions(use_threads=False))
        table = reader.read_all()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise StoreError(
            "index.unreadable",
            where=str(path),
            problem="the index of the shards is missing or not whole",
            details={"reader": error},
            action="Build the shards stage again; it makes what is missing.",
        ) from error
    version = (table.schema.metadata or {}).get(b"medshard.format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise StoreError(
            "store.format_version",
            where=str(path),
            problem="written by another version of the format",
            details={"expected": FORMAT_VERSION, "found": version},
            action="Install the medshard that wrote it, or build into a new root.",
        )
    return table


def _map_shard(path: Path, size: int) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno()).st_size
            if found == size:
                return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise StoreError(
            "shard.missing",
            where=str(path),
            problem="a shard that the index names is not there",
            action="Build the shards stage again; it makes what is missing.",
        ) from error
    raise StoreError(
        "shard.torn",
        where=str(path),
        problem="the shard has not the size that it was published with",
        details={"expected": f"{size} bytes", "found": f"{found} bytes"},
        action="Remove it and build the shards stage again.",
    )


def _array_of(row: SampleRow, name: str) -> StoredArray:
    array = row.arrays.get(name)
    if array is None:
        raise StoreError(
            "sample.array",
            where=row.name,
            problem=f"the sample has no array {name!r}",
            details={"arrays": ", ".join(row.arrays)},
        )
    return array


def _corrupt(path: Path, row: SampleRow, array: StoredArray) -> StoreError:
    return StoreError(
        "shard.corrupt",
        where=str(path),
        problem="a chunk is not what the index says",
        details={"case": row.name, "array": array.name},
        action="Remove the shard and build the shards stage again.",
    )
