"""Annotations that say themselves what they hold: segments with names (DICOM SEG, 3D Slicer) and outlines (RTSTRUCT).

A mask file holds values, and the catalog knows what they mean. These files carry numbers and names of their own, may
let segments overlap, and may leave out slices; the catalog's `names` says which of their names is which value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Affine, Array


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One named region.

    number, name: as the file counts and calls it. channel, value: where its voxels lie in the array of a
    `SegmentedImage`: those of `array[channel]` that equal `value`; of a fractional one all of the channel.
    colour: `#rrggbb`, where the file states one.
    """

    number: int
    name: str
    channel: int
    value: int
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentedImage:
    """Segments as voxels.

    array: (c, z, y, x) unsigned integers. Segments of one channel do not overlap; those of several may.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    kind: `labels`, or `fractional` with one channel a segment.
    largest: of a fractional image, the stored number that means 1.0.
    trusted_geometry: False where the file states no geometry.
    warnings: one sentence each, free of anything that could name a person.
    """

    array: Array
    affine: Affine
    segments: tuple[Segment, ...]
    kind: Literal["labels", "fractional"] = "labels"
    largest: int = 1
    trusted_geometry: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)"""
        z, y, x = self.array.shape[-3:]
        return z, y, x


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One closed planar polygon, or a single point.

    points: (n, 3) float64; RAS+ mm, or array index (z, y, x) of the image, as the set of outlines says. The first point
    is not repeated at the end.
    """

    points: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OutlinedRegion:
    """One named region. number, name: as the file counts and calls it. colour: `#rrggbb`, where the file states one."""

    number: int
    name: str
    outlines: tuple[Outline, ...]
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class OutlineSet:
    """The outlines of one file. space: what the points count, see `Outline`."""

    regions: tuple[OutlinedRegion, ...]
    space: Literal["ras-mm", "index"]
    warnings: tuple[str, ...] = ()
