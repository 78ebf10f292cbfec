"""Pictures and frames as their sources write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.generic]


def write_picture(path: Path, pixels: Array, *, quality: int = 95) -> Path:
    """By the end of the name: png, jpg, jpeg, bmp, gif, tif, tiff, pgm, ppm. (y, x) or (y, x, 3), 8 or 16 bit."""
    array = np.asarray(pixels)
    picture = Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array)
    lossy = path.suffix.lower() in {".jpg", ".jpeg"}
    picture.save(path, **({"quality": quality} if lossy else {}))
    return path


def write_palette_picture(path: Path, pixels: Array, colours: dict[int, tuple[int, int, int]]) -> Path:
    """Indexed colours, as label tools write them."""
    picture = Image.fromarray(np.asarray(pixels).astype(np.uint8), mode="P")
    table = [0] * 768
    for value, colour in colours.items():
        table[3 * value : 3 * value + 3] = colour
    picture.putpalette(table)
    picture.save(path)
    return path


def coloured(labels: Array, colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Label values -> (y, x, 3) colours."""
    picture = np.zeros((*np.asarray(labels).shape, 3), np.uint8)
    for value, colour in colours.items():
        picture[np.asarray(labels) == value] = colour
    return picture


def write_slide(path: Path, pixels: Array, *, levels: int = 3, tile: int = 64, mpp: float | None = 0.5) -> Path:
    """A pyramid of tiles as generic TIFF: (y, x, 3), each level half of the one before, microns per pixel `mpp`."""
    resolution = (1e4 / mpp, 1e4 / mpp) if mpp else None
    with tifffile.TiffWriter(path) as file:
        level = np.asarray(pixels)
        for number in range(levels):
            scaled = resolution and tuple(value / 2**number for value in resolution)
            file.write(
                level,
                photometric="rgb",
                tile=(tile, tile),
                compression="jpeg",
                subfiletype=int(number > 0),
                resolution=scaled or None,
                resolutionunit="CENTIMETER" if scaled else None,
            )
            level = level[::2, ::2]
    return path
