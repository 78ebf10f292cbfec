"""One row of the index of shards: where a sample's arrays lie, and what its numbers mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.samples import IntensityStatistics
from medshard.converters.volume import Affine

EMPTY_CHUNK = 2**64 - 1
TEXTS_KEPT = 4096


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


@dataclass(frozen=True)
class ClassRows(Mapping[int, int]):
    """Class value -> number of its rows in `foreground/<layer>`, where classes stand by ascending value.

    class_values: int64, ascending. class_ends: int64, the row behind the last one of each class.
    Both are views of the index, so that 200 classes cost no more than one.
    """

    class_values: NDArray[np.int64]
    class_ends: NDArray[np.int64]

    def place_of(self, position: int) -> tuple[int, int]:
        """(first row, number of rows) of the class `class_values[position]`."""
        first = int(self.class_ends[position - 1]) if position else 0
        return first, int(self.class_ends[position]) - first

    def __getitem__(self, value: int) -> int:
        position = int(np.searchsorted(self.class_values, value))
        if position == len(self.class_values) or self.class_values[position] != value:
            raise KeyError(value)
        return self.place_of(position)[1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.class_values.tolist())

    def __len__(self) -> int:
        return len(self.class_values)


NO_CLASSES = ClassRows(np.zeros(0, np.int64), np.zeros(0, np.int64))


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
    foreground: ClassRows = NO_CLASSES


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One sample, as the index describes it.

    sample_id: the first 32 digits of the key of its record in the shards stage: the way back to its sources.
    group: which cases are split together; split: the part that the source ships the case in; null where unknown.
    channels, shape: of the image, (z, y, x); 0 and (0, 0, 0) without one.
    slope, intercept: physical value = slope * stored + intercept. quantisation_error: in physical units.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    labels: by layer name. contents: signals, annotations, tables, texts and labels on meshes, kind -> name -> what its
    numbers mean (docs/shard-format.md); not to be changed, since rows share it.
    arrays: by their name in the index, which is the plain one (`labels/liver`).
    """

    sample_id: str
    entry: str
    case: str
    patient: str
    group: str | None
    split: str | None
    synthetic: bool
    modality: str
    unit: str
    shard: str
    record_key: str
    record_digest: str
    slope: float
    intercept: float
    quantisation_error: float
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


@lru_cache(TEXTS_KEPT)
def parse_labels(text: str) -> Mapping[str, StoredLabel]:
    """What the numbers of each layer mean, from the `labels` column; the rows of the foreground stand in `arrays`.

    Samples whose labels mean the same share the result, which is not to be changed.
    """
    return {
        layer: StoredLabel(
            kind=facts["kind"],
            classes=_by_number(facts["classes"]),
            examined=tuple(facts["examined"]),
            also={value: tuple(concepts) for value, concepts in _by_number(facts["also"]).items()},
            ignore=tuple(facts["ignore"]),
        )
        for layer, facts in json.loads(text).items()
    }


@lru_cache(TEXTS_KEPT)
def parse_contents(text: str) -> Mapping[str, Any]:
    contents: dict[str, Any] = json.loads(text)
    return contents


def labels_with_rows(labels: Mapping[str, StoredLabel], rows: Mapping[str, ClassRows]) -> Mapping[str, StoredLabel]:
    """The same labels, those that have a foreground table with its rows by class."""
    if not rows:
        return labels
    return {
        layer: replace(label, foreground=rows[layer]) if layer in rows else label for layer, label in labels.items()
    }


def _by_number(mapping: Mapping[str, Any]) -> dict[int, Any]:
    # JSON sorts its keys as text: "10" before "2".
    return {value: mapping[str(value)] for value in sorted(int(key) for key in mapping)}
