"""The index of packed shards: where each array and each of its inner chunks lies, and what the numbers mean.

The table repeats what the zip and the Zarr shards say of themselves, so that a reader maps a shard and decodes the
chunks it wants without opening either format. Layout and column meanings: docs/shard-format.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray

from medshard.converters.index_format import INDEX_SCHEMA, IndexRow
from medshard.converters.index_tables import write_index
from medshard.converters.shard_zip import node_name
from medshard.errors import StoreError
from medshard.registry.store.records import RecordRef

__all__ = ["INDEX_SCHEMA", "IndexRow", "index_rows", "stored_array", "write_index"]

SAMPLE_ID_LENGTH = 32
LABEL_FACTS = ("kind", "classes", "examined", "also", "ignore")


def index_rows(shard: Path, shard_name: str, records: Mapping[str, RecordRef]) -> list[IndexRow]:
    """One row per sample that `records` names, in the order of the file; columns as in `INDEX_SCHEMA`.

    shard: the zip, wherever it lies now. shard_name: the file name that it has in the store, `<sha256>.zip`.
    records: case -> its record of the shards stage. A shard is never rewritten, so it may hold samples that are no
        longer current: those that no record names get no row.
    Raises StoreError when the file is no whole shard (shard.torn, shard.corrupt) or lacks a case (shard.case).
    """
    try:
        with ZipFile(shard) as archive, shard.open("rb") as stream:
            return _rows(archive, stream, shard_name, records)
    except BadZipFile as error:
        raise StoreError(
            "shard.torn",
            where=str(shard),
            problem="the shard is not a whole zip file",
            details={"reader": error},
            action="Remove it and build the shards stage again.",
        ) from error


def _rows(archive: ZipFile, stream: BinaryIO, shard_name: str, records: Mapping[str, RecordRef]) -> list[IndexRow]:
    groups: dict[str, dict[str, Any]] = {}
    arrays: dict[str, list[dict[str, Any]]] = {}
    for member in archive.namelist():
        node, _, leaf = member.rpartition("/")
        if leaf != "zarr.json" or not node:
            continue
        document = json.loads(archive.read(member))
        case_node, _, array_name = node.partition("/")
        if document["node_type"] == "array":
            arrays.setdefault(case_node, []).append(stored_array(archive, stream, node, array_name, document))
        elif not array_name:
            groups[case_node] = document["attributes"]["medshard"]
    rows = [
        _row(facts, sorted(arrays.get(node, []), key=lambda array: array["name"]), shard_name, records[facts["case"]])
        for node, facts in groups.items()
        if facts["case"] in records
    ]
    missing = sorted(set(records) - {row["case"] for row in rows})
    if missing:
        raise StoreError(
            "shard.case",
            where=shard_name,
            problem="records name cases that the shard does not hold",
            details={"cases": ", ".join(missing)},
            action="Build the shards stage again.",
        )
    return rows


def _row(facts: Mapping[str, Any], arrays: list[dict[str, Any]], shard_name: str, record: RecordRef) -> IndexRow:
    image_shape = next((array["shape"] for array in arrays if array["name"] == "image"), None)
    same = ("entry", "case", "patient", "modality", "unit", "slope", "intercept", "quantisation_error", "statistics")
    return {
        **{name: facts[name] for name in same},
        "group": facts.get("group"),
        "split": facts.get("split"),
        "synthetic": facts.get("synthetic", False),
        "sample_id": record.key[:SAMPLE_ID_LENGTH],
        "shard": shard_name,
        "record_key": record.key,
        "record_digest": record.digest,
        "channels": image_shape[0] if image_shape else 0,
        "shape": image_shape[1:] if image_shape else [0, 0, 0],
        "affine": [number for line in facts["affine"] for number in line],
        "labels": _text({layer: _meaning(label) for layer, label in facts["labels"].items()}),
        "contents": _text(facts["contents"]),
        "arrays": _with_class_rows(arrays, facts["labels"]),
    }


def _meaning(label: Mapping[str, Any]) -> dict[str, Any]:
    """What a label's numbers mean, without what differs from case to case: the text is the same for most samples."""
    return {name: label[name] for name in LABEL_FACTS}


def _with_class_rows(arrays: list[dict[str, Any]], labels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which rows of a foreground table are of which class: its values, ascending, and where the rows of each end."""
    classes: dict[str, tuple[list[int], list[int]]] = {}
    for layer, label in labels.items():
        counts = sorted((int(value), int(count)) for value, count in label["foreground"].items())
        ends = np.cumsum([count for _, count in counts], dtype=np.int64).tolist()
        classes[f"foreground/{node_name(layer)}"] = [value for value, _ in counts], ends
    without: tuple[list[int], list[int]] = ([], [])
    return [
        {**array, **dict(zip(("class_values", "class_ends"), classes.get(array["name"], without), strict=True))}
        for array in arrays
    ]


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stored_array(
    archive: ZipFile, stream: BinaryIO, node: str, name: str, document: Mapping[str, Any]
) -> dict[str, Any]:
    """Where an array's single Zarr shard lies in the zip, and the table of its inner chunks."""
    sharding = next(codec for codec in document["codecs"] if codec["name"] == "sharding_indexed")["configuration"]
    shape, inner_chunk = document["shape"], sharding["chunk_shape"]
    stored: dict[str, Any] = {
        "name": name,
        "dtype": document["data_type"],
        "shape": shape,
        "inner_chunk": inner_chunk,
        "codecs": json.dumps(sharding["codecs"], sort_keys=True, separators=(",", ":")),
        "offset": 0,
        "nbytes": 0,
        "chunk_offsets": [],
        "chunk_nbytes": [],
    }
    member = "/".join([node, "c", *("0" for _ in shape)])
    if member not in archive.NameToInfo:  # every chunk is empty: Zarr stores no shard at all
        return stored
    info = archive.NameToInfo[member]
    chunks = int(np.prod([-(-size // chunk) for size, chunk in zip(shape, inner_chunk, strict=True)]))
    offset = _data_offset(stream, info.header_offset)
    table = _chunk_table(stream, offset + info.file_size, chunks, where=f"{stream.name} {member}")
    return {
        **stored,
        "offset": offset,
        "nbytes": info.file_size,
        "chunk_offsets": table[:, 0],
        "chunk_nbytes": table[:, 1],
    }


def _data_offset(stream: BinaryIO, header_offset: int) -> int:
    """Where a stored member's bytes begin: behind its local header of 30 bytes, its name and its extra field."""
    stream.seek(header_offset)
    name_length, extra_length = struct.unpack("<HH", stream.read(30)[26:30])
    return header_offset + 30 + int(name_length) + int(extra_length)


def _chunk_table(stream: BinaryIO, end: int, chunks: int, *, where: str) -> NDArray[np.uint64]:
    """The (chunks, 2) pairs (offset, bytes) at the end of a Zarr shard, in C order of the chunk grid, CRC checked."""
    length = 16 * chunks + 4
    stream.seek(end - length)
    try:
        table = CRC32C(location="end").decode(stream.read(length))
    except RuntimeError as error:
        raise StoreError(
            "shard.corrupt",
            where=where,
            problem="the checksum of a chunk table is wrong",
            details={"reader": error},
            action="Remove the shard and build the shards stage again.",
        ) from error
    return np.frombuffer(table, "<u8").reshape(chunks, 2)
