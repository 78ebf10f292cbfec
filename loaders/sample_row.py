"""One row of the index of shards: where a sample's arrays lie, and what its numbers mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.samples import IntensityStatistics
from medshard.converters.volume import Affine
from medshard.errors import StoreError
from medshard.registry.store.objects import ObjectRef

EMPTY_CHUNK = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """One array of a sample: where its Zarr shard lies in the file, and its table of inner chunks.

    offset, nbytes: of the Zarr shard, in bytes of the zip file.
    chunk_offsets, chunk_nbytes: uint64, relative to `offset`, in C order of the chunk grid; `EMPTY_CHUNK` where a
        chunk holds only zeros and is not stored. Of length 0 when no chunk of the array is stored.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    inner_chunk: tuple[int, ...]
    offset: int
    nbytes: int
    chunk_offsets: NDArray[np.uint64]
    chunk_nbytes: NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class StoredLabel:
    """What is known of one label layer of a sample.

    classes: stored value -> concept, by ascending value.
    examined: the concepts that somebody looked for in this case.
    also: stored value -> further concepts that its voxels belong to. ignore: values of voxels that nobody judged.
    foreground: class value -> number of rows in `foreground/<layer>`, in the order in which they stand there.
    """

    kind: str
    classes: Mapping[int, str]
    examined: tuple[str, ...]
    also: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[int, ...] = ()
    foreground: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One sample, as the index describes it.

    sample_id: the first 32 digits of the key of its record in the shards stage: the way back to its sources.
    channels, shape: of the image, (z, y, x); 0 and (0, 0, 0) without one.
    slope, intercept: physical value = slope * stored + intercept.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    labels: by layer name. contents: signals, annotations, tables, texts and labels on meshes, kind -> name -> what its
    numbers mean (docs/shard-format.md). arrays: by their name in the index, which is the plain one (`labels/liver`).
    """

    sample_id: str
    entry: str
    case: str
    patient: str
    modality: str
    unit: str
    shard: str
    record_key: str
    record_digest: str
    slope: float
    intercept: float
    channels: int
    shape: Shape
    affine: Affine
    statistics: IntensityStatistics | None
    labels: Mapping[str, StoredLabel]
    contents: Mapping[str, Any]
    arrays: Mapping[str, StoredArray]

    @property
    def name(self) -> str:
        return f"{self.entry}/{self.case}"


_PLAIN = ("sample_id", "entry", "case", "patient", "modality", "unit", "shard", "record_key", "record_digest")


def parse_row(table: pa.Table, number: int, shards: Mapping[str, ObjectRef]) -> SampleRow:
    """Row `number` of the index. Chunk tables stay views of the mapped index.

    Raises StoreError when the row does not fit the shard file that it names.
    """
    values = {name: table[name][number].as_py() for name in table.column_names if name != "arrays"}
    shard = shards.get(values["shard"])
    where = f"{values['entry']}/{values['case']}"
    if shard is None:
        raise StoreError(
            "shard.unknown",
            where=where,
            problem="the index names a shard that does not belong to this build",
            details={"shard": values["shard"]},
            action="Build the shards stage again.",
        )
    statistics = values["statistics"]
    return SampleRow(
        **{name: values[name] for name in (*_PLAIN, "slope", "intercept", "channels")},
        shape=tuple(values["shape"]),
        affine=np.asarray(values["affine"], np.float64).reshape(4, 4),
        statistics=None if statistics is None else IntensityStatistics(**statistics),
        labels=parse_labels(values["labels"]),
        contents=json.loads(values["contents"]),
        arrays=_parse_arrays(table["arrays"][number].values, shard, where),
    )


def parse_labels(text: str) -> dict[str, StoredLabel]:
    """The `labels` column of one row."""
    return {
        layer: StoredLabel(
            kind=facts["kind"],
            classes=_by_number(facts["classes"]),
            examined=tuple(facts["examined"]),
            also={value: tuple(concepts) for value, concepts in _by_number(facts["also"]).items()},
            ignore=tuple(facts["ignore"]),
            foreground=_by_number(facts["foreground"]),
        )
        for layer, facts in json.loads(text).items()
    }


def _by_number(mapping: Mapping[str, Any]) -> dict[int, Any]:
    # JSON sorts its keys as text: "10" before "2".
    return {value: mapping[str(value)] for value in sorted(int(key) for key in mapping)}


def _parse_arrays(structs: pa.StructArray, shard: ObjectRef, where: str) -> dict[str, StoredArray]:
    arrays = {}
    for struct in structs:
        array = StoredArray(
            name="/".join(unquote(part) for part in struct["name"].as_py().split("/")),
            dtype=np.dtype(struct["dtype"].as_py()).newbyteorder("<"),
            shape=tuple(struct["shape"].as_py()),
            inner_chunk=tuple(struct["inner_chunk"].as_py()),
            offset=struct["offset"].as_py(),
            nbytes=struct["nbytes"].as_py(),
            chunk_offsets=struct["chunk_offsets"].values.to_numpy(zero_copy_only=True),
            chunk_nbytes=struct["chunk_nbytes"].values.to_numpy(zero_copy_only=True),
        )
        _check_codecs(json.loads(struct["codecs"].as_py()), where, array.name)
        if array.offset + array.nbytes > shard.size or not _chunks_fit(array):
            raise StoreError(
                "shard.index",
                where=where,
                problem=f"the index gives {array.name!r} a place outside of its shard",
                details={"shard": f"{shard.digest}{shard.suffix}, {shard.size} bytes"},
                action="Build the shards stage again.",
            )
        arrays[array.name] = array
    return arrays


def _check_codecs(codecs: list[dict[str, Any]], where: str, name: str) -> None:
    # Blosc names its own compressor and filter in every chunk: nothing else of the chain is needed for decoding.
    chain = [codec["name"] for codec in codecs]
    endian = codecs[0].get("configuration", {}).get("endian", "little")
    if chain != ["bytes", "blosc"] or endian != "little":
        raise StoreError(
            "shard.codec",
            where=where,
            problem=f"{name!r} is compressed in a way that this reader does not know",
            details={"expected": "bytes (little endian), blosc", "found": json.dumps(codecs)},
            action="Install the medshard that wrote it, or build the shards stage again.",
        )


def _chunks_fit(array: StoredArray) -> bool:
    stored = array.chunk_nbytes != EMPTY_CHUNK
    ends = array.chunk_offsets[stored] + array.chunk_nbytes[stored]
    return len(ends) == 0 or int(ends.max()) <= array.nbytes
