"""What a case must have to be part of a data set, asked of whole indices and of single rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from medshard.converters.shard_zip import node_name
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex

Mask = NDArray[np.bool_]


class Need(Protocol):
    """Something that a case has or has not."""

    def __str__(self) -> str:
        """What is needed, after "it has no "."""

    def in_row(self, row: SampleRow, /) -> bool: ...

    def in_index(self, index: SampleIndex, /) -> Mask:
        """bool (samples,)."""


@dataclass(frozen=True)
class HasArray:
    """An array by its plain name, such as `image` or `signals/ecg`."""

    name: str

    def __str__(self) -> str:
        return self.name

    def in_row(self, row: SampleRow, /) -> bool:
        return self.name in row.arrays

    def in_index(self, index: SampleIndex, /) -> Mask:
        stored = "/".join(node_name(part) for part in self.name.split("/"))
        arrays = index.table["arrays"].combine_chunks()
        names = arrays.values.field("name")
        if pa.types.is_dictionary(names.type):
            names = names.dictionary_decode()
        is_it = np.asarray(pc.equal(names, stored).fill_null(False).to_numpy(zero_copy_only=False), np.int64)
        ends = np.concatenate([[0], np.cumsum(is_it)])
        offsets = arrays.offsets.to_numpy()
        found: Mask = ends[offsets[1:]] > ends[offsets[:-1]]
        return found


@dataclass(frozen=True)
class HasAnnotation:
    """An annotation of a kind, such as `report`, whatever its name."""

    kind: str

    def __str__(self) -> str:
        return f"annotation of the kind {self.kind}"

    def in_row(self, row: SampleRow, /) -> bool:
        return bool(self.names_in(row.contents))

    def in_index(self, index: SampleIndex, /) -> Mask:
        codes, texts = index.distinct("contents")
        found: Mask = np.array([bool(self.names_in(json.loads(text))) for text in texts] + [False])[codes]
        return found

    def names_in(self, contents: Mapping[str, Any]) -> list[str]:
        """Names of the arrays of these annotations, ascending."""
        annotations: Mapping[str, Any] = contents.get("annotations", {})
        return sorted(f"annotations/{name}" for name, facts in annotations.items() if facts["kind"] == self.kind)


IMAGES = (HasArray("image"),)
