"""Several crops of one case, as contrastive and self-distilling training wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.volume import Array
from medshard.loaders.needs import IMAGES, Need
from medshard.loaders.views.view import Box, Chosen, Item, Part, checked_count, checked_size, place


@dataclass(frozen=True)
class CropsView:
    """A few large and many small crops of one case, each placed on its own, and where they lie.

    global_size, local_size: (z, y, x) voxels. global_count, local_count: how many of each. With foreground, the first
    global crop shows it, and the others lie anywhere.

    global (global_count, c, *global_size), local (local_count, c, *local_size); global_start, local_start int64
    (count, 3): the first voxel of each in the case, negative where it begins outside; affine (4, 4) of the whole case.
    `overlaps` says how much of one crop lies in another.
    """

    global_size: Shape = (64, 96, 96)
    global_count: int = 2
    local_size: Shape = (32, 48, 48)
    local_count: int = 6

    def __post_init__(self) -> None:
        for name in ("global_size", "local_size"):
            object.__setattr__(self, name, checked_size(getattr(self, name), 3, "CropsView"))
        checked_count(self.global_count, "global_count", "CropsView")
        checked_count(self.local_count + 1, "local_count + 1", "CropsView")

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        sizes = [self.global_size] * self.global_count + [self.local_size] * self.local_count
        anywhere = Chosen(row=chosen.row, drawn=chosen.drawn)
        fractions = iter(chosen.drawn.fractions(3 * (len(sizes) - 1)))
        starts = [place(chosen, sizes[0])]
        starts += [place(anywhere, size, (next(fractions), next(fractions), next(fractions))) for size in sizes[1:]]
        return [Box(start=start, size=size, label=False) for start, size in zip(starts, sizes, strict=True)]

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        first, others = parts[: self.global_count], parts[self.global_count :]
        item: Item = {"global": _images(first), "global_start": _starts(first), "affine": chosen.row.affine.copy()}
        if others:
            item |= {"local": _images(others), "local_start": _starts(others)}
        return item

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return int(np.prod(-(-shapes // np.asarray(self.global_size)), axis=1).sum())


def overlaps(
    starts: NDArray[np.int64], size: Sequence[int], other_starts: NDArray[np.int64], other_size: Sequence[int]
) -> NDArray[np.float64]:
    """(n, m): share of each of the n boxes that lies in each of the m others; starts (n, 3) and (m, 3), sizes (3,)."""
    low = np.maximum(np.asarray(starts)[:, None], np.asarray(other_starts)[None])
    high = np.minimum(
        np.asarray(starts)[:, None] + np.asarray(size), np.asarray(other_starts)[None] + np.asarray(other_size)
    )
    shared: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=-1) / np.prod(size)
    return shared


def _images(parts: Sequence[Part]) -> Array:
    return np.stack([part.image for part in parts if part.image is not None])


def _starts(parts: Sequence[Part]) -> NDArray[np.int64]:
    return np.array([part.box.start for part in parts], np.int64)
