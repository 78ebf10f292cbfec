"""What the samples of a picture mean: palettes, CMYK, inverted greys, alpha, orientation; slab by slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.exif import SIDEWAYS, upright
from medshard.converters.formats.pictures.picture import Palette, Picture
from medshard.converters.spooling import Spool, is_spooled, release_pages

SLAB_BYTES = 8 << 20
Asked = Literal["rgb", "index"]
NO_PALETTE = Palette(colours=np.empty((0, 3), np.uint8))


@dataclass(frozen=True, kw_only=True)
class AlphaFacts:
    """pixels: of all. not_opaque: of these. one_colour: whether all pixels have one colour, so that only alpha tells
    them apart."""

    pixels: int
    not_opaque: int
    one_colour: bool

    @property
    def sentence(self) -> str:
        if not self.not_opaque:
            return "alpha channel dropped: every pixel is opaque"
        share = 100 * self.not_opaque / self.pixels
        said = f"alpha channel dropped: {self.not_opaque} of {self.pixels} pixels ({share:.2f} %) are not opaque"
        if self.one_colour:
            said += "; every pixel has the same colour, so that what the picture shows lies in alpha alone"
        return said


def channels_of(picture: Picture, asked: Asked) -> int:
    """How many channels a single picture has once its samples have a meaning."""
    if picture.meaning == "palette":
        return 3 if asked == "rgb" else 1
    return 3 if picture.meaning == "cmyk" else picture.samples


def dtype_of(picture: Picture, asked: Asked) -> np.dtype[Any]:
    """Of the pixels that `meant` returns."""
    if picture.palette is not None and asked == "rgb":
        return picture.palette.colours.dtype
    return picture.dtype


def shown_shape(picture: Picture) -> tuple[int, int]:
    """(y, x) once the orientation is applied."""
    return (picture.x, picture.y) if picture.orientation in SIDEWAYS else (picture.y, picture.x)


def has_alpha(picture: Picture) -> bool:
    return picture.alpha or picture.key is not None or (picture.palette or NO_PALETTE).alpha is not None


def meant(path: Path, picture: Picture, pixels: Array, asked: Asked, spool: Spool) -> Array:
    """The stored samples (n, y, x, s) as channels (n, y, x, c), upright and without alpha.

    Raises CaseError[read.unreadable | read.no_palette].
    """
    if asked == "index" and picture.meaning in ("rgb", "cmyk"):
        raise bad_file(
            "read.no_palette",
            path,
            "the picture has no palette, so that its pixels are no indices",
            details={"found": f"{picture.kind}, {picture.meaning}"},
            action="Declare the colours in the entry instead of `palette: index`.",
        )
    samples = pixels[..., : picture.samples]
    if picture.palette is not None:
        _refuse_beyond_palette(path, picture.palette, samples)
    if picture.palette is not None and asked == "rgb":
        colours = picture.palette.colours
        samples = changed(samples, lambda slab: colours[slab[..., 0]], (3, colours.dtype), spool)
    if picture.inverted_by is not None:
        most = picture.dtype.type(picture.inverted_by)
        samples = changed(samples, lambda slab: most - slab, (samples.shape[-1], samples.dtype), spool)
    if picture.meaning == "cmyk":
        samples = changed(samples, _rgb_of_cmyk, (3, samples.dtype), spool)
    return upright(samples, picture.orientation)


def alpha_of(picture: Picture, pixels: Array, spool: Spool) -> Array:
    """The opacity (n, y, x, 1), upright: as stored, or 0 and 255 where a colour or a palette says what is opaque."""
    if picture.alpha:
        alpha = pixels[..., picture.samples :]
    elif picture.palette is not None and picture.palette.alpha is not None:
        of_index = np.zeros(max(256, 1 << 8 * picture.dtype.itemsize), np.uint8)
        of_index[: len(picture.palette.alpha)] = picture.palette.alpha
        alpha = changed(pixels, lambda slab: of_index[slab[..., :1]], (1, np.uint8), spool)
    else:
        key = np.array(picture.key, picture.dtype)
        alpha = changed(pixels, lambda slab: _unlike(slab, key), (1, np.uint8), spool)
    return upright(alpha, picture.orientation)


def alpha_facts(picture: Picture, pixels: Array, alpha: Array) -> AlphaFacts:
    """pixels: the stored samples (n, y, x, s). alpha: (n, y, x, 1)."""
    full = _opaque(picture, alpha)
    opaque = sum(int(np.count_nonzero(alpha[part] == full)) for part in slabs(alpha))
    first = pixels[0, 0, 0, : picture.samples]
    one_colour = all(bool((pixels[part][..., : picture.samples] == first).all()) for part in slabs(pixels))
    total = math.prod(alpha.shape)
    return AlphaFacts(pixels=total, not_opaque=total - opaque, one_colour=one_colour)


def _opaque(picture: Picture, alpha: Array) -> int:
    """The largest opacity that the file can state; alpha has the bits of the colours."""
    if alpha.dtype.kind == "f":
        return 1
    if picture.alpha and "LargestPossibleValue" in picture.attributes:
        return int(str(picture.attributes["LargestPossibleValue"]))
    if picture.alpha and "BitsStored" in picture.attributes:
        return int(2 ** int(str(picture.attributes["BitsStored"])) - 1)
    return int(np.iinfo(np.dtype(alpha.dtype.str)).max)


def slabs(pixels: Array) -> Iterator[tuple[int, slice]]:
    """Picture and rows of consecutive parts of about SLAB_BYTES."""
    rows = max(1, SLAB_BYTES // max(1, math.prod(pixels.shape[2:]) * pixels.dtype.itemsize))
    for number in range(pixels.shape[0]):
        for start in range(0, pixels.shape[1], rows):
            yield number, slice(start, start + rows)


def changed(pixels: Array, change: Callable[[NDArray[Any]], Array], to: tuple[int, DTypeLike], spool: Spool) -> Array:
    """`change` of every slab (rows, x, s). to: how many samples a pixel then has, and their type."""
    result = spool.empty((*pixels.shape[:3], to[0]), to[1])
    for part in slabs(pixels):
        result[part] = change(pixels[part])
        if is_spooled(result):
            release_pages(pixels)
            release_pages(result)
    return result


def _unlike(slab: NDArray[Any], key: NDArray[Any]) -> Array:
    return ((slab[..., : len(key)] != key).any(axis=-1, keepdims=True) * 255).astype(np.uint8)


def _refuse_beyond_palette(path: Path, palette: Palette, indices: Array) -> None:
    largest = max(int(indices[part].max()) for part in slabs(indices))
    if largest >= len(palette.colours):
        raise bad_file(
            "read.unreadable",
            path,
            "a pixel names a colour beyond the palette",
            details={"colours": len(palette.colours), "found": largest},
        )


def _rgb_of_cmyk(slab: NDArray[Any]) -> Array:
    """Red is (1 - cyan)(1 - black), rounded to the nearest, and so on: no colour profile has a say in it."""
    most = int(np.iinfo(slab.dtype).max)
    light = most - slab.astype(np.uint64)
    product = light[..., :3] * light[..., 3:]
    return ((product + most // 2) // most).astype(slab.dtype)
