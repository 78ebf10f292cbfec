"""A whole-slide image, of which only the index is held: tiles are decoded when they are wanted.

Places on a slide are pixels of level 0, y down and x to the right, with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Affine, AttributeValue
from medshard.converters.sources import SourceFile


@dataclass(frozen=True, kw_only=True)
class SlideLevel:
    """shape: (y, x) pixels. downsample: pixels of level 0 per pixel, (y, x). tile: (y, x) of the stored tiles."""

    shape: tuple[int, int]
    downsample: tuple[float, float]
    tile: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Slide:
    """One slide.

    channels: 3 (RGB) or 1 (grey), or more of a fluorescence image. dtype: of a decoded tile.
    microns_per_pixel: (y, x) at level 0; None where nothing states it. magnification: of the objective, if stated.
    tissue: (y, x) bool over the whole slide, `tissue_downsample` pixels of level 0 to one of its own.
    thumbnail: (y, x, 3) uint8 over the whole slide, at most 1024 pixels a side, for people.
    labelled: whether the file has a label or macro picture, which can name a patient and is never kept.
    """

    levels: tuple[SlideLevel, ...]
    channels: int = 3
    dtype: str = "uint8"
    microns_per_pixel: tuple[float, float] | None
    magnification: float | None = None
    tissue: NDArray[np.bool_]
    tissue_downsample: tuple[float, float]
    thumbnail: NDArray[np.uint8]
    labelled: bool = False
    format: str
    files: tuple[SourceFile, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def affine(self) -> Affine:
        """(4, 4): index (0, y, x, 1) at level 0 -> mm on the glass; 1 mm steps where no pixel size is known."""
        y, x = self.microns_per_pixel or (1000.0, 1000.0)
        return np.array(
            [[0.0, 0.0, x / 1000, 0.0], [0.0, y / 1000, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
        )
