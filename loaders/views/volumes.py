"""Items of three axes in space: windows, and whole volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.loaders.needs import IMAGES, Need
from medshard.loaders.views.view import Box, Chosen, Item, Part, checked_size, of_boxes, place, shifted


@dataclass(frozen=True)
class WindowView:
    """A window of `size` (z, y, x) voxels.

    image (c, *size), label (1, *size), affine (4, 4): index (z, y, x, 1) of the window -> RAS+ mm.
    """

    size: Shape = (32, 96, 96)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checked_size(self.size, 3, "WindowView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        return [Box(start=place(chosen, self.size), size=self.size)]

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        (part,) = parts
        return {**of_boxes(part.image, part.label), "affine": shifted(chosen.row.affine, part.box.start)}

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return int(np.prod(-(-shapes // np.asarray(self.size)), axis=1).sum())


@dataclass(frozen=True)
class WholeView:
    """The whole volume: image (c, z, y, x), label (1, z, y, x), affine (4, 4).

    multiple_of: (z, y, x); the volume is surrounded until its sizes are multiples, as networks that halve them need.
    """

    multiple_of: Shape = (1, 1, 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiple_of", checked_size(self.multiple_of, 3, "WholeView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        z, y, x = (-(-extent // step) * step for extent, step in zip(chosen.row.shape, self.multiple_of, strict=True))
        return [Box(start=place(chosen, (z, y, x)), size=(z, y, x))]

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        (part,) = parts
        return {**of_boxes(part.image, part.label), "affine": shifted(chosen.row.affine, part.box.start)}

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return len(shapes)
