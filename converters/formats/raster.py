"""Single pictures: PNG, JPEG, TIFF and BMP. Read by Pillow.

A picture has no geometry: `affine` is the pixel grid with 1 mm steps (`geometry.pixel_grid_affine`; y of the array runs
down the picture, x to its right) and `trusted_geometry` is False. Its numbers stay as they are stored, except that a
palette becomes RGB, an alpha channel is dropped, and EXIF orientation is applied; the header warns of each.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

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
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Array, Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAGIC = (PNG_MAGIC, b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")
# Pillow's mode -> channels and dtype of what we keep of it.
GREY = {
    "1": "uint8",
    "L": "uint8",
    "I;16": "uint16",
    "I;16L": "uint16",
    "I;16B": "uint16",
    "I": "int32",
    "F": "float32",
}
GREY_WITH_ALPHA = {"LA": "uint8", "La": "uint8"}
COLOUR = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
SIDEWAYS = (5, 6, 7, 8)


def sniff(files: Files) -> bool:
    return len(files) == 1 and (first_bytes(files[0], 8).startswith(MAGIC) or _is_bmp(files[0]))


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a picture; decodes no pixels."""
    path = files[0]
    with _opened(path) as picture:
        y, x = picture.height, picture.width
        orientation = _exif_orientation(picture)
        if orientation in SIDEWAYS:
            y, x = x, y
        channels, dtype = (3, "uint8") if picture.mode in COLOUR else (1, _grey_dtype(path, picture.mode))
        return Header(
            format=FORMAT.name,
            shape=(1, y, x),
            channels=channels,
            affine=pixel_grid_affine(),
            dtype=dtype,
            trusted_geometry=False,
            warnings=tuple(_changes(picture, orientation)),
        )


def read(files: Files, request: Request = ANY) -> Image:
    """A picture as (c, 1, y, x), c being 1 (grey) or 3 (RGB)."""
    path = files[0]
    with _opened(path) as picture:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in COLOUR:
            pixels: Array = np.moveaxis(np.asarray(_as_rgb(upright)), -1, 0)
        else:
            dtype = _grey_dtype(path, upright.mode)
            grey = upright.getchannel("L") if upright.mode in GREY_WITH_ALPHA else upright
            pixels = np.asarray(grey).astype(dtype)[None]
    array = narrowed(np.ascontiguousarray(pixels[:, None]))
    return Image(array=array, affine=pixel_grid_affine(), trusted_geometry=False)


def decoders() -> dict[str, str]:
    return installed_versions("pillow", "numpy")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The picture, opened but not decoded. Raises CaseError[read.unsupported] for what Pillow would change silently."""
    _refuse_deep_colour(path)
    with warnings.catch_warnings():
        # Whole-slide overviews are larger than Pillow's limit against decompression bombs, of which it warns; from
        # twice the limit on it raises.
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        with Pillow.open(path) as picture:
            pages = getattr(picture, "n_frames", 1)
            if pages != 1:
                raise bad_file("read.unsupported", path, "the file holds several pictures", details={"pages": pages})
            yield picture


def _refuse_deep_colour(path: Path) -> None:
    """Pillow reads PNG colours of 16 bits as 8 bits. Source of the offsets: PNG specification, 11.2.2 IHDR."""
    start = first_bytes(path, 26)
    if not start.startswith(PNG_MAGIC) or len(start) < 26:
        return
    depth, colour_type = struct.unpack("BB", start[24:26])
    if depth == 16 and colour_type != 0:
        raise bad_file(
            "read.unsupported",
            path,
            "colour or alpha with 16 bits a channel",
            details={"bit depth": depth, "PNG colour type": colour_type},
            action="The case is excluded. Convert the picture to 16-bit grey, or to 8-bit colour.",
        )


def _as_rgb(picture: Any) -> Any:
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _grey_dtype(path: Path, mode: str) -> str:
    dtype = GREY.get(mode) or GREY_WITH_ALPHA.get(mode)
    if dtype is None:
        raise bad_file("read.unsupported", path, "the picture's pixel layout is not known", details={"mode": mode})
    return dtype


def _exif_orientation(picture: Any) -> int:
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _changes(picture: Any, orientation: int) -> Iterator[str]:
    """What is not kept as it is stored."""
    if orientation != 1:
        yield f"EXIF orientation {orientation} applied"
    if picture.mode in ("P", "PA"):
        yield "palette expanded to RGB"
    elif picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        yield f"{picture.mode} converted to RGB"
    if picture.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in picture.info:
        yield "alpha channel dropped"


def _is_bmp(path: Path) -> bool:
    """`BM`, and the size of a header that exists. Source: the BITMAPFILEHEADER and BITMAPINFOHEADER structures."""
    start = first_bytes(path, 18)
    return start.startswith(b"BM") and len(start) == 18 and struct.unpack_from("<I", start, 14)[0] in (12, 40, 108, 124)


FORMAT = Format(
    name="raster",
    kind="image",
    suffixes=(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
