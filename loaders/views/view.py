"""What a view is: which boxes of a case make an item, and how what was read becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.volume import Affine, Array
from medshard.errors import CatalogError
from medshard.loaders.needs import Need
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.stream import Draw, place_window

Item = dict[str, Any]
IMAGE = "image"


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box of voxels that a view asks for; it may reach beyond the array.

    source: `image`, or `views/<name>` for a further image on its own grid. start, size: (z, y, x).
    image, label: whether the image, and the label map of the case, are read there.
    """

    start: Shape
    size: Shape
    source: str = IMAGE
    image: bool = True
    label: bool = True


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was read of a box: image (c, *size), label (1, *size) of output numbers; None for what was not asked."""

    box: Box
    image: Array | None
    label: Array | None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The case of an item before its voxels are read. voxel: (z, y, x) that the item should show, or None."""

    row: SampleRow
    drawn: Draw
    voxel: Shape | None = None


class View(Protocol):
    """A kind of item.

    needs: what a case must have to be part of the data set.
    """

    @property
    def needs(self) -> tuple[Need, ...]: ...

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        """What has to be read for one item."""

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        """The item's arrays, of the parts in the order of `boxes`."""

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        """How many items show all of the samples of these (n, 3) shapes (z, y, x) about once."""


def place(chosen: Chosen, size: Shape, fractions: Iterable[float] | None = None) -> Shape:
    """Where a box of `size` lies in the image of a case: by the draw's own three fractions, or by others."""
    drawn = chosen.drawn
    if fractions is not None:
        z, y, x = fractions
        drawn = replace(drawn, window_fractions=(z, y, x))
    return place_window(drawn, chosen.row.shape, size, chosen.voxel)


def shifted(affine: Affine, start: Sequence[int]) -> Affine:
    """The affine of the box that begins at the voxel `start` of a grid with `affine`."""
    moved = affine.copy()
    moved[:, 3] = affine @ (*start, 1.0)
    return moved


def of_boxes(image: Array | None, label: Array | None, name: str = IMAGE, label_name: str = "label") -> Item:
    """The arrays that are there, under their names."""
    found = {name: image, label_name: label}
    return {key: array for key, array in found.items() if array is not None}


def checked_size(size: Sequence[int], axes: int, where: str) -> tuple[int, ...]:
    """A size of so many axes, each at least one voxel. Raises CatalogError[dataset.patch_size]."""
    if len(size) != axes or any(length < 1 for length in size):
        names = "(z, y, x)" if axes == 3 else "(rows, columns)"
        raise CatalogError(
            "dataset.patch_size",
            where=where,
            problem=f"a patch has {axes} sizes of at least one voxel, {names}",
            details={"found": tuple(size)},
        )
    return tuple(int(length) for length in size)


def checked_count(count: int, name: str, where: str) -> int:
    """A number of things, at least one. Raises CatalogError[dataset.view]."""
    if count < 1:
        raise CatalogError(
            "dataset.view", where=where, problem=f"`{name}` is not a number of at least one", details={"found": count}
        )
    return count
