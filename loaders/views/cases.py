"""Items of cases as a whole: without voxels, and with further images on grids of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.volume import Affine
from medshard.loaders.needs import HasArray, Need
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.views.view import Box, Chosen, Item, Part, checked_size, of_boxes, place, shifted


@dataclass(frozen=True)
class CaseView:
    """A case without voxels, for tables, signals, meshes and texts that are named in `with_`."""

    @property
    def needs(self) -> tuple[Need, ...]:
        return ()

    def boxes(self, _chosen: Chosen, /) -> list[Box]:
        return []

    def item(self, _chosen: Chosen, _parts: Sequence[Part], /) -> Item:
        return {}

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return len(shapes)


@dataclass(frozen=True)
class PairView:
    """The main image and further ones of the case, each on a grid of its own (plans of the kind `pairs`).

    others: names of the further images. size: (z, y, x) of a window of the main image; None for all of it. other_size:
    of a window of each of the others, in its own voxels, whose middle lies at the same place in the body; None for all.

    image, label, affine as of a window; `views/<name>` (c, z, y, x), `views/<name>/affine` (4, 4) and, where the other
    image has a label layer, `views/<name>/label` (1, z, y, x).
    """

    others: tuple[str, ...]
    size: Shape | None = None
    other_size: Shape | None = None

    def __post_init__(self) -> None:
        for name in ("size", "other_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_size(getattr(self, name), 3, "PairView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return (HasArray("image"), *(HasArray(f"views/{name}") for name in self.others))

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        size = self.size or chosen.row.shape
        start = place(chosen, size)
        middle = chosen.row.affine @ (*(begin + (length - 1) / 2 for begin, length in zip(start, size, strict=True)), 1)
        return [
            Box(start=start, size=size),
            *(self._other(chosen.row, name, middle) for name in self.others),
        ]

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        first, *others = parts
        item: Item = {**of_boxes(first.image, first.label), "affine": shifted(chosen.row.affine, first.box.start)}
        for part in others:
            source = part.box.source
            item |= of_boxes(part.image, part.label, source, f"{source}/label")
            item[f"{source}/affine"] = shifted(_affine(chosen.row, source), part.box.start)
        return item

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        if self.size is None:
            return len(shapes)
        return int(np.prod(-(-shapes // np.asarray(self.size)), axis=1).sum())

    def _other(self, row: SampleRow, name: str, middle: NDArray[np.float64]) -> Box:
        source = f"views/{name}"
        if self.other_size is None:
            _, z, y, x = row.arrays[source].shape
            return Box(start=(0, 0, 0), size=(z, y, x), source=source)
        index = np.linalg.inv(_affine(row, source)) @ middle
        z, y, x = (
            math.floor(float(place) - (length - 1) / 2 + 0.5)
            for place, length in zip(index[:3], self.other_size, strict=True)
        )
        return Box(start=(z, y, x), size=self.other_size, source=source)


def _affine(row: SampleRow, source: str) -> Affine:
    affine: Affine = np.asarray(row.contents["views"][source.partition("/")[2]]["affine"], np.float64).reshape(4, 4)
    return affine
