"""The pages of a TIFF file, sorted into the levels of a slide and what is not part of it.

A level is a group of tiled pages, or of reduced copies in SubIFDs, of one shape and kind of number: one page, or one of
each channel. The largest group is level 0; groups of the same proportions and as many pages are its smaller levels. An
untiled page of the file itself is a thumbnail, or a picture of the label or of the whole glass.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.silent_logs import silencer_of
from medshard.converters.slides.stored import is_reduced

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
TILE_WIDTH = 322
MOST_ENTRIES = 4096
MOST_PAGES = 2048
# Fewer pixels than this in one level are a picture that can be decoded at once.
PICTURE_PIXELS = 64_000_000
DOCTYPE = "<!DOCTYPE"


@dataclass(frozen=True, kw_only=True)
class TiffPages:
    """levels: pages of each level, the largest first. others: pages of the file that are no level of it."""

    levels: tuple[tuple[Any, ...], ...]
    others: tuple[Any, ...]
    description: str

    @property
    def kind(self) -> str:
        """`aperio`, `ome`, `qptiff` or `tiff`: whose conventions the description follows."""
        start = self.description[:4096]
        if start.startswith("Aperio"):
            return "aperio"
        if "<OME" in start:
            return "ome"
        return "qptiff" if "PerkinElmer-QPI" in start else "tiff"

    @property
    def is_slide(self) -> bool:
        """Whether it is a pyramid, a scanner's file, or too large to be decoded at once."""
        if not self.levels:
            return False
        base = self.levels[0][0]
        large = shape_of(base)[0] * shape_of(base)[1] > PICTURE_PIXELS
        return len(self.levels) > 1 or self.kind in ("aperio", "qptiff") or large


silent_tifffile = silencer_of("tifffile")


def begins_tiled(path: Path) -> bool:
    """Whether a TIFF file's first directory has tiles."""
    with path.open("rb") as stream:
        form = _form(stream)
        return form is not None and TILE_WIDTH in _directory(stream, form, form.first)[0]


def is_chain_complete(path: Path) -> bool:
    """Whether every directory that a TIFF file leads to is in the file; tifffile goes on without the others."""
    with path.open("rb") as stream:
        form = _form(stream)
        offset: int | None = None if form is None else form.first
        for _ in range(MOST_PAGES):
            if not offset or form is None:
                break
            _, offset = _directory(stream, form, offset)
        return offset is not None


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How a file writes its directories. Source: TIFF 6.0, section 2, and the BigTIFF proposal."""

    order: str
    big: bool
    first: int

    def unpack(self, kind: str, content: bytes, at: int = 0) -> int:
        return int(struct.unpack_from(self.order + kind, content, at)[0])


def _form(stream: BinaryIO) -> _Form | None:
    start = stream.read(16)
    if start[:4] not in TIFF_MAGIC or len(start) < 16:
        return None
    order, big = "<" if start[:2] == b"II" else ">", start[2:4] in (b"+\x00", b"\x00+")
    form = _Form(order=order, big=big, first=0)
    return replace(form, first=form.unpack("Q", start, 8) if big else form.unpack("I", start, 4))


def _directory(stream: BinaryIO, form: _Form, offset: int) -> tuple[list[int], int | None]:
    """(tags, place of the next directory or 0) of one directory; the place is None where the file ends before it."""
    kind, head_bytes, entry_bytes, place = ("Q", 8, 20, "Q") if form.big else ("H", 2, 12, "I")
    if offset >= 1 << 62:
        return [], None
    stream.seek(offset)
    head = stream.read(head_bytes)
    if len(head) < head_bytes or form.unpack(kind, head) > MOST_ENTRIES:
        return [], None
    size = form.unpack(kind, head) * entry_bytes
    entries = stream.read(size + struct.calcsize(place))
    tags = [form.unpack("H", entries, at) for at in range(0, min(size, len(entries)) - 1, entry_bytes)]
    return tags, form.unpack(place, entries, size) if len(entries) == size + struct.calcsize(place) else None


def pages_of(file: Any, path: Path) -> TiffPages:
    """Of an open `tifffile.TiffFile`. Raises CaseError[read.unsupported], and what tifffile raises."""
    top = list(islice(file.pages, MOST_PAGES + 1))
    if len(top) > MOST_PAGES:
        raise bad_file("read.unsupported", path, "the file has too many pages", details={"most": MOST_PAGES})
    description = str(top[0].description) if top else ""
    if DOCTYPE in description:
        raise bad_file("read.unsupported", path, "the description declares a document type, which could hold entities")
    groups: dict[tuple[object, ...], list[Any]] = {}
    for page in top:
        if page.is_tiled:
            groups.setdefault(_likeness(page), []).append(page)
        for reduced in _reduced_copies(page):
            groups.setdefault(_likeness(reduced), []).append(reduced)
    if not groups:
        return TiffPages(levels=(), others=tuple(top), description=description)
    # Of equally large ones the first: max() keeps it.
    base = max(groups.values(), key=lambda pages: shape_of(pages[0])[0] * shape_of(pages[0])[1])
    smaller = [pages for pages in groups.values() if _is_level(pages, base)]
    smaller.sort(key=lambda pages: shape_of(pages[0]), reverse=True)
    levels = (tuple(base), *map(tuple, smaller))
    used = {id(page) for level in levels for page in level}
    return TiffPages(levels=levels, others=tuple(page for page in top if id(page) not in used), description=description)


def shape_of(page: Any) -> tuple[int, int]:
    """(y, x)"""
    return int(page.imagelength), int(page.imagewidth)


def _reduced_copies(page: Any) -> Iterator[Any]:
    """The pages of SubIFDs, which tifffile makes when they are asked for."""
    if not page.subifds:
        return
    for number, _ in zip(range(MOST_PAGES), page.subifds, strict=False):
        yield page.pages[number]


def _likeness(page: Any) -> tuple[object, ...]:
    """What the pages of one level have in common: shape, samples and the meaning and type of the numbers."""
    return (shape_of(page), *_numbers(page))


def _numbers(page: Any) -> tuple[object, ...]:
    return (int(page.samplesperpixel), int(page.planarconfig), str(page.dtype))


def _is_level(pages: list[Any], base: list[Any]) -> bool:
    return (
        is_reduced(shape_of(base[0]), shape_of(pages[0]))
        and _numbers(pages[0]) == _numbers(base[0])
        and len(pages) == len(base)
    )
