"""The pages of a TIFF: which of them are the picture, and what the file says of their order and spacing.

Source: TIFF 6.0 (sections 2, 8 and 13); the BigTIFF design; ImageJ's and OME's ways to store stacks in TIFF.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.picture import (
    PlaneAxis,
    require_page,
    several_images,
    truncated,
    unsupported,
)

MOST_PAGES = 100_000
REDUCED, TRANSPARENCY_MASK = 1, 4
# Letters of tifffile for the axes of a series, and ours; `I` and `Q` are pages whose order says nothing.
AXES = {"T": "t", "C": "c", "Z": "z", "I": "z", "Q": "z"}
UNITS_MM = {
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "metre"), 1000.0),
    **dict.fromkeys(("inch", "in"), 25.4),
}
SMALLEST_MM, LARGEST_MM = 1e-7, 1e3
OWN_KINDS = ("stk", "lsm", "nih", "mdgel", "fluoview", "eer")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The pages of the picture, in the order of `planes` (axis -> length, slowest first).

    display_palette: whether a palette only says how to show a channel: OME counts one sample a pixel and several
        channels, and each channel has a palette of its own.
    contiguous: offset of all pixels, where the file has one page for many pictures (ImageJ's large stacks).
    """

    pages: tuple[Any, ...]
    planes: tuple[tuple[PlaneAxis, int], ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    contiguous: int | None = None
    display_palette: bool = False
    notes: tuple[str, ...] = ()


def directory_count(path: Path) -> int:
    """How many pages are chained in the file. Raises CaseError[read.truncated | read.unreadable].

    tifffile stops without a word where the chain leaves the file, which would be the loss of pages.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = "<" if start.startswith(b"II") else ">"
        big = start[2:4] in (b"+\0", b"\0+")
        count_format, offset_format, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}H", f"{order}I", 12)
        width = struct.calcsize(offset_format)
        if len(start) < (16 if big else 8):
            raise truncated(path, "the file ends within its header")
        place = struct.unpack_from(offset_format, start, 8 if big else 4)[0]
        seen: set[int] = set()
        while place:
            if place in seen or len(seen) >= MOST_PAGES:
                raise bad_file("read.unreadable", path, "the chain of pages does not end", details={"pages": len(seen)})
            seen.add(place)
            file.seek(min(place, size))
            head = file.read(struct.calcsize(count_format))
            entries = struct.unpack(count_format, head)[0] if len(head) == struct.calcsize(count_format) else 0
            end = place + len(head) + entry * entries
            if place > size or not head or end + width > size:
                raise truncated(path, "the file ends before the list of tags of a page")
            file.seek(end)
            place = struct.unpack(offset_format, file.read(width))[0]
    return len(seen)


def chosen(path: Path, tiff: Any, page: int | None) -> Chosen:
    """Raises CaseError[read.truncated | read.unreadable | read.unsupported | read.several_images |
    read.no_such_page]."""
    count = directory_count(path)
    if not count:
        raise bad_file("read.unreadable", path, "the file holds no page")
    kind = next((name for name in OWN_KINDS if getattr(tiff, f"is_{name}", False)), None)
    if kind is not None:
        raise unsupported(path, "a kind of TIFF whose pixels are not stored as pages", kind=kind)
    require_page(path, page, count)
    pages = [tiff.pages[number] for number in range(count)]
    if page is not None:
        return Chosen(pages=(pages[page],), spacing_mm=None, notes=(f"page {page} of {count}",) if count > 1 else ())
    if tiff.is_ome or tiff.is_imagej:
        found = _described(path, tiff)
        if found is not None:
            return found
    return _plain(path, pages)


def _described(path: Path, tiff: Any) -> Chosen | None:
    """The stack that ImageJ or OME metadata describe; None where the description fits nothing."""
    series = list(tiff.series)
    if not series or series[0].kind not in ("imagej", "ome"):
        return None
    if len(series) > 1:
        raise several_images(path, len(series), "the file describes several images")
    first = series[0]
    axes, shape = str(first.axes), tuple(first.shape)
    leading = [(name, length) for name, length in zip(axes, shape, strict=True) if name not in "YXS"]
    strange = [name for name, length in leading if name not in AXES and length > 1]
    kept = [(AXES[name], length) for name, length in leading if name in AXES]
    if strange or len({name for name, _ in kept}) < len(kept):
        raise unsupported(path, "the axes of the stack have no place in an image", axes=axes)
    planes = tuple(cast("tuple[PlaneAxis, int]", item) for item in kept)
    total = math.prod(length for _, length in planes)
    pages = tuple(first.pages)
    if any(page is None for page in pages):
        raise unsupported(path, "the description names planes that are not in the file", planes=total)
    contiguous = None
    if len(pages) != total or len(first.pages) != len(pages):
        contiguous = first.dataoffset
        if contiguous is None:
            raise truncated(path, "the file holds fewer pages than it describes")
        pages = pages[:1]
    notes = ("lower resolutions of the picture are not read",) if len(first.levels) > 1 else ()
    spacing = _ome_spacing(tiff) if first.kind == "ome" else _imagej_spacing(tiff, pages[0])
    depth = dict(planes).get("z", 1)
    if spacing is not None and (depth == 1 or spacing[0] is not None):
        spacing_mm = (spacing[0] or 1.0, spacing[1], spacing[2])
    else:
        spacing_mm = None
    return Chosen(
        pages=pages,
        planes=planes,
        spacing_mm=spacing_mm,
        contiguous=contiguous,
        display_palette=first.kind == "ome" or dict(planes).get("c", 1) > 1,
        notes=notes,
    )


def _plain(path: Path, pages: Sequence[Any]) -> Chosen:
    """Equal pages are a stack; smaller ones of the same picture are left out; anything else is several images."""
    notes = []
    full = [page for page in pages if not int(page.subfiletype) & (REDUCED | TRANSPARENCY_MASK)] or list(pages)
    if len(full) < len(pages):
        notes.append(f"{len(pages) - len(full)} pages that the file calls reduced or a mask are not read")
    main = full[0]
    equal = [page for page in full if _key(page) == _key(main)]
    others = [page for page in full if _key(page) != _key(main)]
    if not all(_is_smaller(page, main) for page in others) or not _is_falling([main, *others]):
        raise several_images(path, len(full), "the pages of the file differ")
    if others and len(equal) > 1:
        raise several_images(path, len(full), "the file holds several images, some in several resolutions")
    if others:
        notes.append(f"{len(others)} pages hold the same picture in lower resolution: not read")
    planes: tuple[tuple[PlaneAxis, int], ...] = (("z", len(equal)),) if len(equal) > 1 else ()
    return Chosen(pages=tuple(equal), planes=planes, notes=tuple(notes))


def _is_falling(pages: Sequence[Any]) -> bool:
    """Whether each page is smaller than the one before: a chain of resolutions has no two of one size."""
    return all(after.imagewidth < before.imagewidth for before, after in pairwise(pages))


def _key(page: Any) -> tuple[object, ...]:
    """What equal pages have in common."""
    colours = None if page.colormap is None else page.colormap.tobytes()
    orientation = page.tags.valueof(274, 1)
    extra = tuple(page.extrasamples)
    return (page.shape, str(page.dtype), page.bitspersample, int(page.photometric), extra, orientation, colours)


def _is_smaller(page: Any, main: Any) -> bool:
    """Whether a page can be a picture in lower resolution: the same sides within a pixel, and the same samples."""
    if page.samplesperpixel != main.samplesperpixel or page.imagewidth >= main.imagewidth:
        return False
    scaled = main.imagelength * page.imagewidth / main.imagewidth
    slack = 1 + main.imagelength / main.imagewidth
    return abs(scaled - page.imagelength) <= slack


def _ome_spacing(tiff: Any) -> tuple[float | None, float, float] | None:
    """(z, y, x) in mm of the first image's pixels; the unit is micrometres where the schema's default holds."""
    try:
        root = ElementTree.fromstring(tiff.ome_metadata or "")
    except (ElementTree.ParseError, ValueError):
        return None
    pixels = next((item for item in root.iter() if item.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    found = [_in_mm(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in "ZYX"]
    return (found[0], found[1], found[2]) if found[1] is not None and found[2] is not None else None


def _imagej_spacing(tiff: Any, page: Any) -> tuple[float | None, float, float] | None:
    """(z, y, x) in mm; ImageJ keeps pixels per unit in the resolution tags, and the unit in its own words."""
    facts = tiff.imagej_metadata or {}
    unit = str(facts.get("unit", ""))
    steps = [_reciprocal(page.tags.valueof(tag)) for tag in (283, 282)]
    y, x = (_in_mm(step, unit) for step in steps)
    if y is None or x is None:
        return None
    return _in_mm(facts.get("spacing"), unit), y, x


def _reciprocal(ratio: object) -> float | None:
    if not isinstance(ratio, tuple) or len(ratio) != 2 or not ratio[0]:
        return None
    return float(ratio[1]) / float(ratio[0])


def _in_mm(value: object, unit: str | None) -> float | None:
    """None unless it is a length that a pixel can have."""
    scale = UNITS_MM.get((unit or "").strip().lower())
    if scale is None or value is None or not re.fullmatch(r"\d*\.?\d+(?:[eE][-+]?\d+)?", str(value)):
        return None
    length = float(str(value)) * scale
    return length if SMALLEST_MM <= length <= LARGEST_MM else None
