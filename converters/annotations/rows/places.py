"""Places as a source states them -> indices (z, y, x) of the image as stored, the centre of its first voxel at 0."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from medshard.converters.volume import Affine
from medshard.errors import CaseError
from medshard.registry.schema.annotations import PlacedRows

Point = tuple[float, float, float]
"""x, y, z as the source counts them."""

Space = Literal["pixel", "fraction", "lps-mm", "ras-mm"]

EDGE = 0.5
"""From the centre of a voxel to its border."""

TOLERANCE = EDGE + 1e-6
"""How far a place may lie beyond the border of the image: rounding to whole pixels is no fault."""

_TOWARDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, kw_only=True)
class PlaceGrid:
    """The image that places refer to, as stored.

    shape: (z, y, x). affine: index (z, y, x, 1) -> RAS+ mm; None where the image states no position in space.
    name: of the image, slide or video in its case.
    """

    shape: tuple[int, int, int]
    affine: Affine | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Placing:
    """How a source counts: the fields of `PlacedRows`, with what they are where the entry is silent."""

    space: Space
    first: int
    corner: bool
    y_up: bool
    grid: PlaceGrid | None
    where: str

    @property
    def is_flat(self) -> bool:
        """Whether a place without a z lies on a picture, or on an image that is not known."""
        return self.grid is None or self.grid.shape[0] == 1

    def index(self, point: Point) -> tuple[float, float, float]:
        """(z, y, x) of a point. Raises CaseError[annotation.no_image | annotation.no_geometry]."""
        x, y, z = point
        if self.space in ("lps-mm", "ras-mm"):
            return self._from_millimetres(point)
        offset = EDGE if self.corner else 0.0
        if self.space == "fraction":
            _, height, width = self._shape("fractions of its size")
            return z - self.first, (height * (1 - y) if self.y_up else height * y) - EDGE, width * x - EDGE
        row = y - self.first - offset
        if self.y_up:
            row = self._shape("rows from its lower edge")[1] - 1 - row
        return z - self.first, row, x - self.first - offset

    def box(
        self, lowest: Point, highest: Point, *, inclusive: bool, on_slice: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(z, y, x) of the lowest and the highest border.

        inclusive: the numbers name the first and the last pixel inside. on_slice: z names one slice, which is whole.
        In millimetres it is the box around the eight corners of the source's, which may be turned against the voxels.
        """
        if self.space in ("lps-mm", "ras-mm"):
            corners = [
                self._from_millimetres((x, y, z)) for x, y, z in itertools.product(*zip(lowest, highest, strict=True))
            ]
            return np.min(corners, axis=0), np.max(corners, axis=0)
        below = EDGE if self.corner or inclusive else 0.0
        above = -EDGE if inclusive else below
        low = np.array(lowest[::-1]) - self.first - below
        high = np.array(highest[::-1]) - self.first - above
        if self.space == "fraction":
            sizes = np.array(self._shape("fractions of its size")[1:], np.float64)
            low[1:], high[1:] = np.array(lowest[1::-1]) * sizes - EDGE, np.array(highest[1::-1]) * sizes - EDGE
        if on_slice:
            low[0] = lowest[2] - self.first - EDGE
            high[0] = low[0] + 1
        if self.y_up:
            rows = self._shape("rows from its lower edge")[1]
            low[1], high[1] = rows - 1 - high[1], rows - 1 - low[1]
        return low, high

    def through(self) -> tuple[float, float]:
        """The borders of all slices together; of a picture, those of its only one."""
        return -EDGE, (self.grid.shape[0] if self.grid is not None else 1) - EDGE

    def sphere(self, centre: Point, radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The box around a sphere; in millimetres its half widths are those of the voxels' own axes."""
        middle = np.array(self.index(centre))
        if self.space in ("lps-mm", "ras-mm"):
            half = radius * np.linalg.norm(self._inverse()[:3, :3], axis=1)
        elif self.space == "fraction":
            half = radius * np.array(self._shape("fractions of its size"), np.float64)
        else:
            half = np.full(3, radius)
        return middle - half, middle + half

    def _from_millimetres(self, point: Point) -> tuple[float, float, float]:
        x, y, z = point
        inverse = self._inverse()
        flipped = (-x, -y, z) if self.space == "lps-mm" else (x, y, z)
        index = inverse @ np.array((*flipped, 1.0))
        return float(index[0]), float(index[1]), float(index[2])

    def _inverse(self) -> Affine:
        if self.grid is None or self.grid.affine is None:
            raise CaseError(
                "annotation.no_geometry",
                where=self.where,
                problem="the places are in millimetres, and the image states no position in space",
                action="Give the case an image with a geometry, or correct `space` of the entry's annotation.",
            )
        return np.linalg.inv(self.grid.affine).astype(np.float64)

    def _shape(self, wanted: str) -> tuple[int, int, int]:
        if self.grid is None:
            raise CaseError(
                "annotation.no_image",
                where=self.where,
                problem=f"the places are {wanted}, and the case has no image",
                action="Give the case an image in the entry's layout.",
            )
        return self.grid.shape


def placing(
    annotation: PlacedRows, *, where: str, grid: PlaceGrid | None, corner: bool, space: Space = "pixel", first: int = 0
) -> Placing:
    """corner, space, first: what holds where the entry is silent."""
    return Placing(
        space=annotation.space or space,
        first=annotation.first if annotation.first is not None else first,
        corner=annotation.at == "corner" if annotation.at is not None else corner,
        y_up=annotation.y_up,
        grid=grid,
        where=where,
    )


def is_outside(grid: PlaceGrid | None, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> bool:
    """Whether a box, or a point that is both of its corners, leaves the image. Unknown without one."""
    if grid is None:
        return False
    sizes = np.array(grid.shape, np.float64)
    return bool((lowest < -EDGE - TOLERANCE).any() or (highest > sizes - EDGE + TOLERANCE).any())


def along(letters: str, point: Point, grid: PlaceGrid, where: str) -> tuple[float, float, float]:
    """(z, y, x) of a point that counts voxels along other axes than the image: those of a copy that was turned.

    letters: towards what each of the point's three axes counts, such as `PIR`.
    Raises CaseError[annotation.no_geometry | annotation.orientation].
    """
    if grid.affine is None:
        raise CaseError(
            "annotation.no_geometry",
            where=where,
            problem="the places count along named axes, and the image states none",
            action="Give the case an image with a geometry.",
        )
    axes = [_TOWARDS.get(letter) for letter in letters.upper()]
    known = [axis for axis in axes if axis is not None]
    if len(known) != 3 or len({axis for axis, _ in known}) != 3:
        raise CaseError(
            "annotation.orientation",
            where=where,
            problem="the axes of the places are not three letters of R, L, A, P, S and I",
            action="The annotation is left out. Repair the file at the source.",
        )
    index = [0.0, 0.0, 0.0]
    stored = {int(axis): (place, sign) for place, (axis, sign) in enumerate(io_orientation(grid.affine))}
    for (axis, sign), value in zip(known, point, strict=True):
        place, stored_sign = stored[axis]
        index[place] = value if stored_sign == sign else grid.shape[place] - 1 - value
    return index[0], index[1], index[2]
