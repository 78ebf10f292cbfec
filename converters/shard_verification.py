"""Whether one shard file is whole: its name, its zip, every chunk table, every chunk, and what foreground rows say."""

from __future__ import annotations

import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numcodecs import blosc

from medshard.converters.faults import Fault, fault, fault_of
from medshard.converters.shard_index import stored_array
from medshard.converters.shard_zip import node_name
from medshard.converters.volume import Array
from medshard.converters.zarr_shard import EMPTY_CHUNK
from medshard.errors import StoreError
from medshard.registry.store.digests import sha256_file

READ_BYTES = 4 << 20
_NAME = re.compile(r"[0-9a-f]{64}")
_BLOSC_SIZES = struct.Struct("<4xI4xI")  # of its 16-byte header: bytes when decoded, bytes as stored


def shard_faults(path: Path, *, hashed: bool = False) -> Iterator[Fault]:
    """All that is wrong with a shard file.

    hashed: whether the caller has compared its bytes with its name already.
    """
    if not path.is_file():
        yield fault("shard.missing", path, "there is no such file")
        return
    name = _NAME.match(path.name)
    if not hashed and name is not None:
        found = sha256_file(path)
        if found != name[0]:
            yield fault("object.corrupt", path, "the bytes are not those that were published", found=f"sha256 {found}")
    try:
        with ZipFile(path) as archive, path.open("rb") as stream:
            yield from _member_faults(archive, path)
            yield from _group_faults(archive, stream, path)
    except BadZipFile as error:
        yield fault("shard.torn", path, "the shard is not a whole zip file", reader=error)


def _member_faults(archive: ZipFile, path: Path) -> Iterator[Fault]:
    """Names, method and checksum of every member: zip's CRC-32 covers each byte of it."""
    if len(archive.NameToInfo) != len(archive.infolist()):
        yield fault("shard.zip", path, "two members have the same name")
    for info in archive.infolist():
        if info.compress_type != ZIP_STORED or info.flag_bits:
            yield fault(
                "shard.zip", path, "a member is not plainly stored", member=info.filename, method=info.compress_type
            )
            continue
        try:
            with archive.open(info) as member:
                while member.read(READ_BYTES):
                    pass
        except (BadZipFile, EOFError, struct.error) as error:
            yield fault("shard.member", path, "a member is damaged", member=info.filename, reader=error)


def _group_faults(archive: ZipFile, stream: BinaryIO, path: Path) -> Iterator[Fault]:
    groups: dict[str, Mapping[str, Any]] = {}
    arrays: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for member in archive.namelist():
        node, _, leaf = member.rpartition("/")
        if leaf != "zarr.json" or not node:
            continue
        try:
            document = json.loads(archive.read(member))
            case_node, _, array_name = node.partition("/")
            if document["node_type"] == "array":
                arrays[case_node][array_name] = document
            elif not array_name:
                groups[case_node] = document["attributes"]["medshard"]
        except (BadZipFile, EOFError, ValueError, KeyError, TypeError) as error:
            yield fault("shard.metadata", path, "a group or an array is not described", member=member, reader=error)
    for case_node in sorted(set(groups) | set(arrays)):
        where = _Case(archive, stream, path, case_node, groups.get(case_node, {}))
        yield from where.faults(arrays.get(case_node, {}))


class _Case:
    """The group of one sample while it is verified."""

    def __init__(self, archive: ZipFile, stream: BinaryIO, path: Path, node: str, facts: Mapping[str, Any]) -> None:
        self._archive, self._stream, self._path, self._node, self._facts = archive, stream, path, node, facts
        self._name = f"{facts.get('entry', '?')}/{facts.get('case', node)}"

    def faults(self, documents: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
        labels: dict[str, Array] = {}
        tables: dict[str, Array] = {}
        for name, document in sorted(documents.items()):
            try:
                array = stored_array(self._archive, self._stream, f"{self._node}/{name}", name, document)
            except (StoreError, KeyError, StopIteration, ValueError, struct.error) as error:
                yield self._table_fault(name, error)
                continue
            kind, _, layer = name.partition("/")
            keep = kind in ("labels", "foreground")
            whole: Array | None = np.zeros(array["shape"], np.dtype(array["dtype"])) if keep else None
            problems = list(self._chunk_faults(array, whole))
            yield from problems
            if whole is not None and not problems:
                (labels if kind == "labels" else tables)[layer] = whole
        for layer, table in sorted(tables.items()):
            if layer in labels:
                yield from self._foreground_faults(layer, table, labels[layer])

    def _table_fault(self, name: str, error: Exception) -> Fault:
        if isinstance(error, StoreError):
            found = fault_of(error)
            details = {"case": self._name, "array": name, **found.details}
            return Fault(code=found.code, where=str(self._path), problem=found.problem, details=details)
        problem = "an array is not described as this format has it"
        return fault("shard.metadata", self._path, problem, case=self._name, array=name, reader=repr(error))

    def _chunk_faults(self, array: Mapping[str, Any], whole: Array | None) -> Iterator[Fault]:
        """Every chunk lies inside of its array and decodes to its size. whole: gets what was decoded."""
        chunk: Array = np.empty(tuple(array["inner_chunk"]), np.dtype(array["dtype"]).newbyteorder("<"))
        grid = [-(-size // part) for size, part in zip(array["shape"], array["inner_chunk"], strict=True)]
        pairs = zip(list(array["chunk_offsets"]), list(array["chunk_nbytes"]), strict=True)
        for number, (offset, nbytes) in enumerate((int(a), int(b)) for a, b in pairs):
            if nbytes == EMPTY_CHUNK:
                continue
            problem = self._decode(array, offset, nbytes, chunk)
            if problem:
                begin = array["offset"] + offset
                yield fault(
                    "shard.chunk",
                    self._path,
                    "a chunk is damaged",
                    case=self._name,
                    array=array["name"],
                    chunk=number,
                    bytes=f"{begin} to {begin + nbytes}",
                    reason=problem,
                )
            elif whole is not None:
                place = [
                    slice(int(at) * size, (int(at) + 1) * size)
                    for at, size in zip(np.unravel_index(number, grid), chunk.shape, strict=True)
                ]
                part = whole[tuple(place)]
                part[...] = chunk[tuple(slice(size) for size in part.shape)]

    def _decode(self, array: Mapping[str, Any], offset: int, nbytes: int, chunk: Array) -> str:
        """Decode one chunk into `chunk`; returns what is wrong with it."""
        if offset + nbytes > array["nbytes"]:
            return "it lies outside of its array"
        self._stream.seek(array["offset"] + offset)
        data = self._stream.read(nbytes)
        if len(data) < _BLOSC_SIZES.size or _BLOSC_SIZES.unpack_from(data) != (chunk.nbytes, nbytes):
            return "the sizes in its header are others"
        try:
            blosc.decompress(data, chunk)
        except RuntimeError as error:
            return str(error)
        return ""

    def _foreground_faults(self, layer: str, table: Array, label: Array) -> Iterator[Fault]:
        """Each row lies inside of the layer, on a voxel of its class; rows are sorted and counted in the attributes."""
        where = {"case": self._name, "array": f"foreground/{layer}"}
        values, places = table[:, 0], table[:, 1:]
        inside = (np.greater_equal(places, 0) & np.less(places, label.shape[1:])).all(axis=1)
        if not inside.all():
            row = int(np.argmin(inside))
            yield fault("shard.foreground", self._path, "a row lies outside of the layer", **where, row=row)
            return
        right = label[0][tuple(places.T)] == values
        if not right.all():
            row = int(np.argmin(right))
            problem = "a row names a class that its voxel is not of"
            yield fault("shard.foreground", self._path, problem, **where, row=row, rows=int((~right).sum()))
        if (np.diff(values) < 0).any():
            yield fault("shard.foreground", self._path, "the rows are not sorted by class", **where)
        stated = self._stated_counts(layer)
        found = dict(zip(*(each.tolist() for each in np.unique(values, return_counts=True)), strict=True))
        if stated != found:
            problem = "the attributes count other rows"
            yield fault("shard.foreground", self._path, problem, **where, expected=stated, found=found)

    def _stated_counts(self, node: str) -> dict[int, int]:
        for layer, facts in self._facts.get("labels", {}).items():
            if node_name(layer) == node:
                return {int(value): int(count) for value, count in facts.get("foreground", {}).items()}
        return {}
