"""Mosaics: all slices of a volume as tiles of one large frame.

Siemens writes them for functional and diffusion MR. The header places the large frame as if it were one slice, centred
where the first tile is: the corner of the first tile lies half of what the large frame is wider and higher inwards of
the stated position. The slices follow each other along the slice normal of the private CSA header, which may point
against the cross product of row and column. nibabel's notes on mosaics describe the same geometry.
United Imaging writes a grid with the place of every tile in a private sequence.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.dicom.values import numbers, texts
from medshard.converters.formats.faults import BAD_FILE, bad_file
from medshard.converters.volume import Array

MOST_TILES = 4096
SIEMENS_TILE_COUNT = (0x0019, 0x100A)
UIH_TILE_COUNT, UIH_TILES = (0x0065, 0x1050), (0x0065, 0x1051)


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """rows, columns: of a tile; across: tiles in a row of tiles; positions: of each tile's first pixel, mm LPS."""

    rows: int
    columns: int
    across: int
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    positions: tuple[tuple[float, ...], ...]

    def tiles(self, frame: Array, numbers: Sequence[int]) -> Array:
        """(rows, columns, c) of the large frame -> (n, y, x, c)."""
        return np.stack([self._tile(frame, number) for number in numbers])

    def _tile(self, frame: Array, number: int) -> Array:
        down, right = divmod(number, self.across)
        y, x = down * self.rows, right * self.columns
        return frame[y : y + self.rows, x : x + self.columns]


def mosaic_of(path: Path, dataset: Any) -> Mosaic | None:
    """The tiles of a mosaic; None for any other image.

    Raises CaseError[dicom.unknown_mosaic] where the header says mosaic and does not say how to take it apart.
    """
    words = texts(dataset, "ImageType")
    if "MOSAIC" in words:
        return _siemens(path, dataset)
    if "VFRAME" in words and UIH_TILES in dataset:
        return _united_imaging(path, dataset)
    return None


def _siemens(path: Path, dataset: Any) -> Mosaic:
    count, normal = _csa_geometry(dataset)
    orientation, spacing = numbers(dataset, "ImageOrientationPatient"), numbers(dataset, "PixelSpacing")
    position = numbers(dataset, "ImagePositionPatient")
    step = (numbers(dataset, "SpacingBetweenSlices") or numbers(dataset, "SliceThickness"))[:1]
    if normal is None or not step or (len(orientation), len(spacing), len(position)) != (6, 2, 3):
        raise _unknown(path, "the slice normal, the slice spacing or the plane of the frame is not stated")
    across = _tiles_across(path, count)
    rows, columns = _tile_shape(path, dataset, across, across)
    inwards_x = (int(dataset.Columns) - columns) / 2 * spacing[1]
    inwards_y = (int(dataset.Rows) - rows) / 2 * spacing[0]
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    first = np.asarray(position) + row * inwards_x + column * inwards_y
    true_normal = np.cross(row, column)
    # The stated normal is rounded; of it only the side is taken.
    along = true_normal * float(np.sign(true_normal @ normal)) * abs(step[0])
    if not along.any():
        raise _unknown(path, "the stated slice normal lies in the plane of the slices")
    return Mosaic(
        rows=rows,
        columns=columns,
        across=across,
        orientation=orientation,
        pixel_spacing=spacing,
        positions=tuple(tuple((first + number * along).tolist()) for number in range(count)),
    )


def _united_imaging(path: Path, dataset: Any) -> Mosaic:
    tiles = list(dataset[UIH_TILES].value)
    positions = tuple(numbers(tile, "ImagePositionPatient") for tile in tiles)
    orientation, spacing = numbers(dataset, "ImageOrientationPatient"), numbers(dataset, "PixelSpacing")
    if not positions or any(len(position) != 3 for position in positions) or (len(orientation), len(spacing)) != (6, 2):
        raise _unknown(path, "the places of the tiles are not stated")
    across = _tiles_across(path, len(positions))
    rows, columns = _tile_shape(path, dataset, across, -(-len(positions) // across))
    return Mosaic(
        rows=rows, columns=columns, across=across, orientation=orientation, pixel_spacing=spacing, positions=positions
    )


def _tiles_across(path: Path, count: int) -> int:
    """Tiles fill a square row by row."""
    if not 1 <= count <= MOST_TILES:
        raise _unknown(path, "the number of tiles is not stated, or impossible", tiles=count)
    return int(np.ceil(np.sqrt(count)))


def _tile_shape(path: Path, dataset: Any, across: int, down: int) -> tuple[int, int]:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows % down or columns % across or min(rows, columns) < 1:
        raise _unknown(path, "the tiles do not fill the frame", rows=rows, columns=columns, tiles=f"{down} x {across}")
    return rows // down, columns // across


def _csa_geometry(dataset: Any) -> tuple[int, np.ndarray[Any, np.dtype[np.float64]] | None]:
    """The number of tiles and the slice normal, from the private elements; 0 and None where they are missing."""
    tags = _csa_tags(dataset)
    items = tags.get("NumberOfImagesInMosaic", {}).get("items") or []
    count = dataset[SIEMENS_TILE_COUNT].value if SIEMENS_TILE_COUNT in dataset else (items[0] if items else 0)
    vector = [float(value) for value in (tags.get("SliceNormalVector", {}).get("items") or [])[:3]]
    if isinstance(count, bytes):
        count = int.from_bytes(count[:2], "little")
    return int(count), np.asarray(vector) if len(vector) == 3 and np.isfinite(vector).all() else None


def _csa_tags(dataset: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module announces itself as experimental
        from nibabel.nicom import csareader  # noqa: PLC0415

    try:
        return dict((csareader.get_csa_header(dataset) or {}).get("tags", {}))
    except (csareader.CSAError, AssertionError, *BAD_FILE):
        return {}  # what is missing then is named by the caller


def _unknown(path: Path, problem: str, **details: object) -> Exception:
    return bad_file(
        "dicom.unknown_mosaic",
        path,
        f"the image is a mosaic, but {problem}",
        details=details,
        action="The case is excluded. Export the series with one slice a frame.",
    )
