"""Rows out of the mapped index: one sample from its packed row, many samples column by column."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.index_format import FORMAT_VERSION
from medshard.converters.packed_rows import ARRAY, ARRAY_WORDS, HEAD, WORDS
from medshard.converters.samples import IntensityStatistics
from medshard.errors import StoreError
from medshard.loaders.sample_row import (
    ClassRows,
    SampleRow,
    StoredArray,
    labels_with_rows,
    parse_contents,
    parse_labels,
)
from medshard.registry.store.objects import ObjectRef

# Pages of the index that a process has looked at count as its own until they are given back.
ROWS_BETWEEN_RELEASES = 32
WORDS_KEPT = 1024


class IndexColumns:
    """The columns of one index, mapped. It belongs to one process; `row` and `find` are what it is for."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError[index.unreadable] and StoreError[store.format_version]."""
        self._mapped, self.batch = _map_batch(path)
        self._words = [_Words(self.batch.column(name)) for name in WORDS]
        arrays = self.batch.column("arrays").values
        self._array_words = [_Words(arrays.field(name)) for name in ARRAY_WORDS]
        _, ends, data = self.batch.column("packed").buffers()
        self._ends = memoryview(b"" if ends is None else ends).cast("q")
        self._packed = memoryview(b"" if data is None else data)
        self._cases = _Texts(self.batch.column("case"))
        self._asked = 0

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def row(self, number: int, shards: Mapping[str, ObjectRef]) -> SampleRow:
        """Row `number`, 0 <= number < len. Chunk tables stay views of the mapped index.

        Raises StoreError when the row does not fit the shard file that it names (shard.unknown, shard.index), or is
        compressed in a way that this reader does not know (shard.codec).
        """
        self._asked += 1
        if self._asked % ROWS_BETWEEN_RELEASES == 0:
            self.release()
        packed = self._packed[self._ends[number] : self._ends[number + 1]]
        head = HEAD.unpack_from(packed)
        entry, group, split, modality, unit, file, labels, contents = [
            column.at(code) for column, code in zip(self._words, head[:8], strict=True)
        ]
        synthetic, has_statistics, count, texts_begin = head[8:12]
        texts = []
        for size in head[39:]:
            texts.append(str(packed[texts_begin : texts_begin + size], "utf-8"))
            texts_begin += size
        sample_id, case, patient, record_key, record_digest = texts
        shard = shards.get(file or "")
        if shard is None:
            raise StoreError(
                "shard.unknown",
                where=f"{entry}/{case}",
                problem="the index names a shard that does not belong to this build",
                details={"shard": file},
                action="Build the shards stage again.",
            )
        arrays, class_rows = self._arrays(packed, count, shard, f"{entry}/{case}")
        return SampleRow(
            sample_id=sample_id,
            entry=entry or "",
            case=case,
            patient=patient,
            group=group,
            split=split,
            synthetic=bool(synthetic),
            modality=modality or "",
            unit=unit or "",
            shard=file or "",
            record_key=record_key,
            record_digest=record_digest,
            slope=head[12],
            intercept=head[13],
            quantisation_error=head[14],
            channels=head[15],
            shape=head[16:19],
            affine=np.array(head[19:35]).reshape(4, 4),
            statistics=_statistics(head[35:39]) if has_statistics else None,
            labels=labels_with_rows(parse_labels(labels or "{}"), class_rows),
            contents=parse_contents(contents or "{}"),
            arrays=arrays,
        )

    def find(self, case: str) -> int | None:
        """The number of a case's row. The index is sorted by case (it is of one entry): few of its pages are read."""
        wanted, low, high = case.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            found = self._cases.raw(middle)
            if found == wanted:
                return middle
            low, high = (middle + 1, high) if found < wanted else (low, middle)
        return None

    def column(self, name: str) -> NDArray[Any] | list[Any]:
        """One column for all samples: numbers as an array (n, ...), words as an array of shared strings, texts as a
        list. Not `statistics`, `arrays` and `packed`."""
        values = self.batch.column(name)
        if pa.types.is_dictionary(values.type):
            return np.array([*values.dictionary.to_pylist(), None], object)[_codes(values)]
        if pa.types.is_fixed_size_list(values.type):
            return _array(values.values).reshape(len(self), values.type.list_size)
        if pa.types.is_string(values.type):
            return list(values.to_pylist())
        if pa.types.is_boolean(values.type):
            return _bits(values.buffers()[1], len(self))
        return _array(values)

    def distinct(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """(number of each sample's word, -1 without one; the words) of a column of words, such as `labels`."""
        values = self.batch.column(name)
        return _codes(values), list(values.dictionary.to_pylist())

    def foreground(self, layer: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(row, class value, rows in the table) of every class of every sample that has foreground of the layer."""
        lists = self.batch.column("arrays")
        arrays = lists.values
        names = [_plain_name(word) == f"foreground/{layer}" for word in arrays.field("name").dictionary.to_pylist()]
        chosen = np.flatnonzero(np.array([*names, False])[_codes(arrays.field("name"))])
        begins, values = _array(arrays.field("class_values").offsets), _array(arrays.field("class_values").values)
        classes = np.diff(begins)[chosen]
        rows = np.repeat(np.searchsorted(_array(lists.offsets), chosen, side="right") - 1, classes)
        within = np.arange(int(classes.sum())) - np.repeat(np.cumsum(classes) - classes, classes)
        places = np.repeat(begins[:-1][chosen], classes) + within
        ends = _array(arrays.field("class_ends").values)
        before = np.where(within > 0, ends[places - 1], 0)
        return rows.astype(np.int64), values[places], ends[places] - before

    def release(self) -> None:
        """Give the pages that were looked at back to the system; they are mapped again when they are needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _arrays(
        self, packed: memoryview[int], count: int, shard: ObjectRef, where: str
    ) -> tuple[dict[str, StoredArray], dict[str, ClassRows]]:
        """The arrays of a row, and the rows by class of those that are foreground tables, by layer."""
        arrays, class_rows = {}, {}
        place = (HEAD.size + count * ARRAY.size) // 8
        whole = np.frombuffer(packed, "<i8")
        unsigned = whole.view("<u8")
        for number in range(count):
            name_code, dtype_code, codecs_code, axes, chunks, classes, offset, nbytes = ARRAY.unpack_from(
                packed, HEAD.size + number * ARRAY.size
            )
            name = _plain_name(self._array_words[0].text(name_code))
            _check_place(name, self._array_words[2].text(codecs_code), offset + nbytes, shard, where)
            tables = place + 2 * axes
            rows = tables + 2 * chunks
            sizes = tuple(whole[place:tables].tolist())
            arrays[name] = StoredArray(
                name=name,
                dtype=_dtype(self._array_words[1].text(dtype_code)),
                shape=sizes[:axes],
                inner_chunk=sizes[axes:],
                offset=offset,
                nbytes=nbytes,
                chunk_offsets=unsigned[tables : tables + chunks],
                chunk_nbytes=unsigned[tables + chunks : rows],
            )
            place = rows + 2 * classes
            if name.startswith("foreground/"):
                by_class = ClassRows(whole[rows : rows + classes], whole[rows + classes : place])
                class_rows[name.removeprefix("foreground/")] = by_class
        return arrays, class_rows


def _statistics(numbers: tuple[float, float, float, float]) -> IntensityStatistics:
    mean, std, minimum, maximum = numbers
    return IntensityStatistics(mean=mean, std=std, minimum=minimum, maximum=maximum)


class _Texts:
    """A string column, read from its buffers."""

    def __init__(self, column: pa.Array) -> None:
        _, ends, data = column.buffers()
        self._ends = memoryview(ends).cast("i") if ends is not None else memoryview(b"")
        self._data = memoryview(data if data is not None else b"")

    def raw(self, number: int) -> bytes:
        return bytes(self._data[self._ends[number] : self._ends[number + 1]])

    def at(self, number: int) -> str:
        return str(self._data[self._ends[number] : self._ends[number + 1]], "utf-8")


class _Words:
    """The words of a dictionary column: each becomes a Python string once."""

    def __init__(self, column: pa.DictionaryArray) -> None:
        self.text = lru_cache(WORDS_KEPT)(_Texts(column.dictionary).at)

    def at(self, code: int) -> str | None:
        return None if code < 0 else self.text(code)


def _array(column: pa.Array) -> NDArray[Any]:
    """The numbers of a column as numpy has them: a view. Arrow's own `to_numpy` imports pandas, 40 MB for a worker."""
    buffer = column.buffers()[1]
    return np.frombuffer(b"" if buffer is None else buffer, column.type.to_pandas_dtype())[: len(column)]


def _codes(column: pa.DictionaryArray) -> NDArray[np.int32]:
    """The number of the word of each place, -1 without one."""
    codes, is_there = _array(column.indices), column.indices.buffers()[0]
    return codes if is_there is None else np.where(_bits(is_there, len(codes)), codes, np.int32(-1))


def _bits(buffer: pa.Buffer | None, count: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(b"" if buffer is None else buffer, np.uint8), bitorder="little")
    return bits[:count].astype(np.bool_)


@lru_cache(4096)
def _plain_name(encoded: str) -> str:
    return "/".join(unquote(part) for part in encoded.split("/"))


@lru_cache
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name).newbyteorder("<")


@lru_cache
def _is_readable(codecs: str) -> bool:
    # Blosc names its own compressor and filter in every chunk: nothing else of the chain is needed for decoding.
    chain = json.loads(codecs)
    endian = chain[0].get("configuration", {}).get("endian", "little")
    return [codec["name"] for codec in chain] == ["bytes", "blosc"] and endian == "little"


def _check_place(name: str, codecs: str, end: int, shard: ObjectRef, where: str) -> None:
    if not _is_readable(codecs):
        raise StoreError(
            "shard.codec",
            where=where,
            problem=f"{name!r} is compressed in a way that this reader does not know",
            details={"expected": "bytes (little endian), blosc", "found": codecs},
            action="Install the medshard that wrote it, or build the shards stage again.",
        )
    if end > shard.size:
        raise StoreError(
            "shard.index",
            where=where,
            problem=f"the index gives {name!r} a place outside of its shard",
            details={"shard": f"{shard.digest}{shard.suffix}, {shard.size} bytes"},
            action="Build the shards stage again.",
        )


def _map_batch(path: Path) -> tuple[mmap.mmap, pa.RecordBatch]:
    try:
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        # Without Arrow's thread pool, which a forked child would not have.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        reader = pa.ipc.open_file(pa.py_buffer(mapped), options=options)
        _check_version(reader.schema, path)
        batch = reader.get_batch(0)
    except (FileNotFoundError, ValueError, pa.ArrowInvalid) as error:
        raise StoreError(
            "index.unreadable",
            where=str(path),
            problem="the index of the shards is missing or not whole",
            details={"reader": error},
            action="Build the shards stage again; it makes what is missing.",
        ) from error
    return mapped, batch


def _check_version(schema: pa.Schema, path: Path) -> None:
    version = (schema.metadata or {}).get(b"medshard.format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise StoreError(
            "store.format_version",
            where=str(path),
            problem="written by another version of the format",
            details={"expected": FORMAT_VERSION, "found": version},
            action="Install the medshard that wrote it, or build the shards stage again.",
        )
