"""GIF and WebP. Read by Pillow, which keeps their samples: neither has more than 8 bits."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.pictures.picture import (
    MOST_PIXELS_IN_MEMORY,
    Meaning,
    Palette,
    Picture,
    require_bytes,
    require_page,
    require_size,
    several_images,
    too_large,
    truncated,
    unsupported,
)
from medshard.converters.spooling import Spool

GIF_MAGIC = (b"GIF87a", b"GIF89a")
# A GIF code of 12 bits stands for at most 4096 pixels; WebP has no such limit.
LARGEST_GIF_RATIO = 4096
ORIENTATION = 0x0112
MODES: dict[str, tuple[Meaning, int, bool]] = {
    "L": ("grey", 1, False),
    "P": ("palette", 1, False),
    "RGB": ("rgb", 3, False),
    "RGBA": ("rgb", 3, True),
    "RGBX": ("rgb", 3, False),
}


def sniff(start: bytes) -> bool:
    return kind_of(start) is not None


def kind_of(start: bytes) -> str | None:
    """Pillow's name of the format."""
    if start.startswith(GIF_MAGIC):
        return "GIF"
    return "WEBP" if start.startswith(b"RIFF") and start[8:12] == b"WEBP" else None


def stated(path: Path, page: int | None) -> Picture:
    """What the picture states. Raises CaseError[read.truncated | read.unreadable | read.unsupported |
    read.too_large | read.several_images | read.no_such_page]."""
    with path.open("rb") as file:
        start = file.read(12)
    kind = kind_of(start) or ""
    if kind == "WEBP" and path.stat().st_size < 8 + struct.unpack_from("<I", start, 4)[0]:
        raise truncated(path, "the file is shorter than it says")
    with _opened(path, kind, None) as picture:
        require_size(path, picture.height, picture.width, most=MOST_PIXELS_IN_MEMORY)
        if kind == "GIF":
            require_bytes(path, picture.height * picture.width, path.stat().st_size, LARGEST_GIF_RATIO)
        frames = int(getattr(picture, "n_frames", 1))
        if frames > 1 and page is None:
            raise several_images(path, frames, "the file is an animation of several pictures")
    require_page(path, page, frames)
    with _opened(path, kind, page) as picture:
        if picture.mode not in MODES:
            raise unsupported(path, "the picture's pixel layout is not known", mode=picture.mode)
        meaning, samples, alpha = MODES[picture.mode]
        return Picture(
            kind="WebP" if kind == "WEBP" else kind,
            y=picture.height,
            x=picture.width,
            meaning=meaning,
            samples=samples,
            dtype=np.dtype(np.uint8),
            decode=lambda spool: _decode(path, kind, page, spool),
            alpha=alpha,
            key=_key(picture) if meaning == "grey" else None,
            palette=_palette(picture) if meaning == "palette" else None,
            orientation=_orientation(picture) if kind == "WEBP" else 1,
            notes=(*_notes(picture), *((f"frame {page} of {frames}",) if frames > 1 else ())),
            attributes=_attributes(picture),
        )


@contextmanager
def _opened(path: Path, kind: str, page: int | None) -> Iterator[Any]:
    """Raises CaseError[read.too_large] beyond the size where Pillow, too, raises: some 179 million pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        try:
            opened = Pillow.open(path, formats=[kind])
        except Pillow.DecompressionBombError as error:
            raise too_large(path) from error
        with opened as picture:
            if page:
                picture.seek(page)
            yield picture


def _decode(path: Path, kind: str, page: int | None, spool: Spool) -> Array:
    with _opened(path, kind, page) as picture:
        picture.load()
        samples = np.asarray(picture)
        if picture.mode == "RGBX":
            samples = samples[..., :3]
        return samples.reshape(1, picture.height, picture.width, -1)


def _palette(picture: Any) -> Palette:
    colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    transparent = picture.info.get("transparency")
    if transparent is None:
        return Palette(colours=colours)
    alpha = np.full(len(colours), 255, np.uint8)
    if isinstance(transparent, bytes):
        alpha[: len(transparent)] = np.frombuffer(transparent[: len(colours)], np.uint8)
    elif transparent < len(colours):
        alpha[transparent] = 0
    return Palette(colours=colours, alpha=alpha)


def _key(picture: Any) -> tuple[int] | None:
    """Of a GIF whose palette is the greys themselves, which Pillow opens as greys."""
    transparent = picture.info.get("transparency")
    return (transparent,) if isinstance(transparent, int) else None


def _orientation(picture: Any) -> int:
    value = picture.getexif().get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _attributes(picture: Any) -> dict[str, AttributeValue]:
    return {"ICCProfile": True} if picture.info.get("icc_profile") else {}


def _notes(picture: Any) -> Iterator[str]:
    if picture.format == "GIF" and picture.tile and tuple(picture.tile[0][1]) != (0, 0, *picture.size):
        yield "the first frame does not fill the picture: the rest is its background"
