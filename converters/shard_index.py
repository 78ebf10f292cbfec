"""The index of packed shards: where each array and each of its inner chunks lies, and what the numbers mean.

The table repeats what the zip and the Zarr shards say of themselves, so that a reader maps a shard and decodes the
chunks it wants without opening either format. Layout and column meanings: docs/shard-format.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray

from medshard.errors import StoreError
from medshard.registry.store.records import RecordRef

# 2: `contents`.
FORMAT_VERSION = 2
SAMPLE_ID_LENGTH = 32
ROWS_PER_BATCH = 1024

_STORED_ARRAY = pa.struct(
    [
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("inner_chunk", pa.list_(pa.int64())),
        ("codecs", pa.string()),
        ("offset", pa.uint64()),
        ("nbytes", pa.uint64()),
        ("chunk_offsets", pa.list_(pa.uint64())),
        ("chunk_nbytes", pa.list_(pa.uint64())),
    ]
)
_STATISTICS = pa.struct([(name, pa.float64()) for name in ("mean", "std", "minimum", "maximum")])
INDEX_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("entry", pa.string()),
        ("case", pa.string()),
        ("patient", pa.string()),
        ("modality", pa.string()),
        ("unit", pa.string()),
        ("shard", pa.string()),
        ("record_key", pa.string()),
        ("record_digest", pa.string()),
        ("slope", pa.float64()),
        ("intercept", pa.float64()),
        ("quantisation_error", pa.float64()),
        ("channels", pa.int64()),
        ("shape", pa.list_(pa.int64(), 3)),
        ("affine", pa.list_(pa.float64(), 16)),
        ("statistics", _STATISTICS),
        ("labels", pa.string()),
        ("contents", pa.string()),
        ("arrays", pa.list_(_STORED_ARRAY)),
    ],
    metadata={"medshard.format_version": str(FORMAT_VERSION)},
)

IndexRow = dict[str, Any]


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


def write_index(rows: Sequence[IndexRow]) -> tuple[bytes, bytes]:
    """(Arrow IPC file, Parquet file) of the rows, sorted by entry and case.

    The first is uncompressed and meant to be mapped by readers; the second has scalar columns for people. Equal rows
    give equal bytes.
    """
    ordered = sorted(rows, key=lambda row: (row["entry"], row["case"]))
    table = pa.Table.from_pylist(ordered, schema=INDEX_SCHEMA)
    arrow = pa.BufferOutputStream()
    with pa.ipc.new_file(arrow, INDEX_SCHEMA, options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        for batch in table.combine_chunks().to_batches(max_chunksize=ROWS_PER_BATCH):
            writer.write_batch(batch)
    parquet = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_scalar_row(row) for row in ordered], schema=_SCALARS), parquet)
    return arrow.getvalue().to_pybytes(), parquet.getvalue().to_pybytes()


_SCALARS = pa.schema(
    [field for field in INDEX_SCHEMA if pa.types.is_primitive(field.type) or pa.types.is_string(field.type)]
    + [pa.field(name, pa.int64()) for name in ("size_z", "size_y", "size_x", "stored_bytes")]
    + [pa.field(name, pa.float64()) for name in ("spacing_z_mm", "spacing_y_mm", "spacing_x_mm")]
    + [pa.field(name, pa.float64()) for name in ("mean", "std", "minimum", "maximum")]
)


def _scalar_row(row: IndexRow) -> dict[str, Any]:
    affine = np.reshape(row["affine"], (4, 4))
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return {
        **{name: value for name, value in row.items() if not isinstance(value, list | dict)},
        **dict(zip(("size_z", "size_y", "size_x"), row["shape"], strict=True)),
        **dict(zip(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), spacing_mm.tolist(), strict=True)),
        **(row["statistics"] or {}),
        "stored_bytes": sum(array["nbytes"] for array in row["arrays"]),
    }


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
            arrays.setdefault(case_node, []).append(_stored_array(archive, stream, node, array_name, document))
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
        "sample_id": record.key[:SAMPLE_ID_LENGTH],
        "shard": shard_name,
        "record_key": record.key,
        "record_digest": record.digest,
        "channels": image_shape[0] if image_shape else 0,
        "shape": image_shape[1:] if image_shape else [0, 0, 0],
        "affine": [number for line in facts["affine"] for number in line],
        **{
            name: json.dumps(facts[name], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            for name in ("labels", "contents")
        },
        "arrays": arrays,
    }


def _stored_array(
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
