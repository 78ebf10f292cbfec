"""Pictures: PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 and Netpbm. docs/pictures.md says how each thing is decided.

A picture has no geometry: `affine` is the pixel grid with 1 mm steps (`geometry.pixel_grid_affine`; y of the array runs
down the picture, x to its right) and `trusted_geometry` is False; but a TIFF may state spacing with a unit. Numbers
stay as they are stored: 16 bits stay 16 bits and nothing is stretched. What is changed on the way (palettes and CMYK
become RGB, alpha is dropped, an orientation is applied, inverted greys are turned) the header warns of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Affine, Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import (
    ANY,
    Files,
    Format,
    Header,
    Request,
    first_bytes,
    installed_versions,
    narrowed,
)
from medshard.converters.formats.pictures import bmp, jpeg, jpeg2000, pillow_formats, png, pnm, tiff
from medshard.converters.formats.pictures.picture import Picture
from medshard.converters.formats.pictures.samples import (
    alpha_facts,
    alpha_of,
    channels_of,
    dtype_of,
    has_alpha,
    meant,
    shown_shape,
)
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.spooling import is_spooled
from medshard.converters.volume import Image, LeadingAxis

START = 64
MODULES: tuple[tuple[Callable[[bytes], bool], Callable[[Path, int | None], Picture]], ...] = (
    (png.sniff, png.stated),
    (jpeg.sniff, jpeg.stated),
    (tiff.sniff, tiff.stated),
    (jpeg2000.sniff, jpeg2000.stated),
    (bmp.sniff, bmp.stated),
    (pillow_formats.sniff, pillow_formats.stated),
    (pnm.sniff, pnm.stated),
)


def sniff(files: Files) -> bool:
    return len(files) == 1 and any(known(first_bytes(files[0], START)) for known, _ in MODULES)


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a picture, or of a stack of equal ones. Pixels are decoded only to say how much alpha tells."""
    path = files[0]
    picture = _stated(path, request)
    lengths = dict(picture.planes)
    y, x = shown_shape(picture)
    affine, trusted = _geometry(picture)
    return Header(
        format=FORMAT.name,
        shape=(lengths.get("z", 1), y, x),
        channels=lengths.get("c", 1) * channels_of(picture, request.palette),
        timepoints=lengths.get("t", 1),
        affine=affine,
        dtype=dtype_of(picture, request.palette).name,
        trusted_geometry=trusted,
        leading=LeadingAxis() if lengths.get("t", 1) > 1 else None,
        attributes=picture.attributes,
        warnings=tuple(_changes(picture, request)),
    )


def read(files: Files, request: Request = ANY) -> Image:
    """A picture as (c, 1, y, x), c being 1 (grey) or 3 (RGB) unless the file has channels of its own; a stack as
    (c, z, y, x) or (t, c, z, y, x)."""
    path = files[0]
    picture = _stated(path, request)
    pixels = meant(path, picture, picture.decode(request.spool), request.palette, request.spool)
    return _image(picture, narrowed(pixels, request.spool))


def read_alpha(files: Files, request: Request = ANY) -> Image | None:
    """The opacity of a picture as (1, z, y, x), for masks that are drawn in it alone; None where there is none."""
    picture = _stated(files[0], request)
    if not has_alpha(picture):
        return None
    return _image(picture, alpha_of(picture, picture.decode(request.spool), request.spool))


def decoders() -> dict[str, str]:
    found = installed_versions("pillow", "numpy")
    for optional in ("imagecodecs", "tifffile"):
        try:
            found |= installed_versions(optional)
        except PackageNotFoundError:
            continue
    return found


def _stated(path: Path, request: Request) -> Picture:
    start = first_bytes(path, START)
    stated = next(stated for known, stated in MODULES if known(start))
    return stated(path, _page(path, request))


def _page(path: Path, request: Request) -> int | None:
    """The page that is meant: pictures have no names in their file, so a key is the number of one."""
    if request.page is not None or request.key is None:
        return request.page
    if not (request.key.isascii() and request.key.isdecimal()):
        raise bad_file(
            "read.no_such_page",
            path,
            "the file has no such page",
            details={"expected": "a number, counted from 0", "found": request.key},
            action="Correct `key`: of a file of several pictures it is the number of the page.",
        )
    return int(request.key)


def _image(picture: Picture, pixels: Array) -> Image:
    """pixels: (n, y, x, c), upright."""
    affine, trusted = _geometry(picture)
    array = _arranged(picture, pixels)
    return Image(
        array=array if is_spooled(array) else np.ascontiguousarray(array),
        affine=affine,
        trusted_geometry=trusted,
        leading=LeadingAxis() if array.ndim == 5 else None,
        attributes=picture.attributes,
    )


def _arranged(picture: Picture, pixels: Array) -> Array:
    """(n, y, x, s) as (c, z, y, x), or (t, c, z, y, x): a view, but where both planes and samples are channels."""
    lengths = dict(picture.planes)
    names = [name for name, _ in picture.planes]
    y, x, samples = pixels.shape[1:]
    array = pixels.reshape(*(lengths[name] for name in names), y, x, samples)
    missing = [name for name in "tcz" if name not in names]
    array = array.reshape(*(1,) * len(missing), *array.shape)
    order = [(missing + names).index(name) for name in "tcz"]
    array = array.transpose(order[0], order[1], 5, order[2], 3, 4)
    t, planes, samples, z, y, x = array.shape
    array = array.reshape(t, planes * samples, z, y, x)
    return array if t > 1 else array[0]


def _geometry(picture: Picture) -> tuple[Affine, bool]:
    """The affine, and whether it may be trusted."""
    affine = pixel_grid_affine()
    if picture.spacing_mm is None:
        return affine, False
    z, y, x = picture.spacing_mm
    if shown_shape(picture) != (picture.y, picture.x):
        y, x = x, y
    affine[:3, :3] *= np.array([z, y, x])
    return affine, True


def _changes(picture: Picture, request: Request) -> Iterator[str]:
    """What is not kept as it is stored, and what is in doubt."""
    if picture.orientation != 1:
        yield f"EXIF orientation {picture.orientation} applied"
    if picture.meaning == "palette":
        yield "palette expanded to RGB" if request.palette == "rgb" else "the pixels are indices into a palette"
    elif picture.meaning == "cmyk":
        yield "CMYK converted to RGB"
        yield from jpeg.colour_notes(picture)
    elif picture.inverted_by is not None:
        yield "0 is white in this file: the values are turned, so that 0 is black"
    if has_alpha(picture):
        stored = picture.decode(request.spool)
        alpha = alpha_of(replace(picture, orientation=1), stored, request.spool)
        yield alpha_facts(picture, stored, alpha).sentence
    yield from picture.notes
    if dict(picture.planes).get("z", 1) > 1 and picture.spacing_mm is None:
        yield f"{picture.count} pages of one size: read as one stack along z, and nothing states their distance"


FORMAT = Format(
    name="raster",
    kind="image",
    suffixes=(
        *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
        *(".jp2", ".j2k", ".pgm", ".ppm", ".pbm", ".pnm", ".pam"),
    ),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
