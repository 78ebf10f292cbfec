"""Stored tiles of TIFF pages, decoded one by one: the pixels of a region are those of the tiles, never resampled."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.slides.stored import LARGEST_TILE, StatedSlide
from medshard.converters.slides.tiff_pages import shape_of
from medshard.converters.slides.tile_streams import is_complete_jpeg, jpeg_2000_shape, jpeg_shape

JPEG = frozenset({7})
JPEG_2000 = frozenset({33003, 33004, 33005, 34712})
# Decoded tiles that are kept for the next region.
CACHED_BYTES = 64 << 20
# How much larger than its pixels a compressed tile may be.
COMPRESSED = 2
COMPRESSED_EXTRA = 1 << 16

Key = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class TiffTiles:
    """Tiles of the pages of a slide. file: an open `tifffile.TiffFile`. levels: pages of each level, one per channel,
    or one that holds all channels."""

    file: Any
    path: Path
    levels: tuple[tuple[Any, ...], ...]
    stated: StatedSlide
    cached: OrderedDict[Key, Array] = field(default_factory=OrderedDict)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Array:
        """(c, height, width) of a box inside a level."""
        region = np.full((self.stated.channels, height, width), self.stated.fill, self.stated.dtype)
        pages = self.levels[level]
        for number, page in enumerate(pages):
            first = number if len(pages) > 1 else 0
            self._paint(region[first:], (level, number), page, (y, x))
        return region

    def _paint(self, region: Array, place: tuple[int, int], page: Any, corner: tuple[int, int]) -> None:
        tile_y, tile_x = tile_of(page)
        rows, columns = tile_rows(page), tile_columns(page)
        height, width = region.shape[1:]
        y, x = corner
        planes = int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1
        for plane in range(min(planes, len(region))):
            for row in range(y // tile_y, (y + height - 1) // tile_y + 1):
                for column in range(x // tile_x, (x + width - 1) // tile_x + 1):
                    tile = self._tile((*place, (plane * rows + row) * columns + column), page)
                    if tile is not None:
                        _copy(region[plane:], tile, row * tile_y - y, column * tile_x - x)

    def _tile(self, key: Key, page: Any) -> Array | None:
        """(c, y, x), or None of a tile that is not stored."""
        if key in self.cached:
            self.cached.move_to_end(key)
            return self.cached[key]
        tile = self._decoded(page, key[2])
        if tile is not None:
            self.cached[key] = tile
            if len(self.cached) > self._most_cached():
                self.cached.popitem(last=False)
        return tile

    def _most_cached(self) -> int:
        pixels = max(level.tile[0] * level.tile[1] for level in self.stated.levels)
        return max(2, CACHED_BYTES // (pixels * self.stated.channels * np.dtype(self.stated.dtype).itemsize))

    def _decoded(self, page: Any, number: int) -> Array | None:
        count = int(page.databytecounts[number])
        if count == 0:
            return None
        self.file.filehandle.seek(int(page.dataoffsets[number]))
        stream = self.file.filehandle.read(count)
        if len(stream) < count:
            raise _short(self.path)
        jpeg = int(page.compression) in JPEG
        self._require_match(page, stream)
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if jpeg else {}
        decoded, _, _ = page.decode(stream, number, **tables)
        if decoded is None:
            return None
        if decoded.dtype == np.bool_:
            decoded = decoded.astype(np.uint8)
        native = decoded[0].astype(decoded.dtype.newbyteorder("="), copy=False)
        return np.ascontiguousarray(np.moveaxis(native, -1, 0)[: self.stated.channels])

    def _require_match(self, page: Any, stream: bytes) -> None:
        """Raises CaseError where the stream of a tile is incomplete, or states another size than the slide."""
        compression = int(page.compression)
        stated: tuple[int, int] | None = None
        if compression in JPEG:
            stated = jpeg_shape(stream)
            if not is_complete_jpeg(stream):
                raise _short(self.path)
        elif compression in JPEG_2000:
            stated = jpeg_2000_shape(stream)
        tile = tile_of(page)
        if stated is not None and (stated[0] > tile[0] or stated[1] > tile[1]):
            raise bad_file(
                "read.unreadable",
                self.path,
                "a tile is larger than the slide says",
                details={"tiles (y, x)": tile, "found": stated},
            )


def tile_of(page: Any) -> tuple[int, int]:
    """(y, x) of the stored tiles; of an untiled page its strips."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    rows, columns = shape_of(page)
    return min(int(page.rowsperstrip), rows), columns


def tile_rows(page: Any) -> int:
    return -(-shape_of(page)[0] // max(1, tile_of(page)[0]))


def tile_columns(page: Any) -> int:
    return -(-shape_of(page)[1] // max(1, tile_of(page)[1]))


def require_stored(page: Any, path: Path, size: int) -> int:
    """How many tiles of a page are left out on purpose (no bytes).

    size: of the file. Raises CaseError[read.truncated | read.unreadable | read.unsupported].
    """
    planes = int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1
    wanted = tile_rows(page) * tile_columns(page) * planes
    counts = np.asarray(page.databytecounts, np.float64)
    listed = min(len(page.dataoffsets), len(counts))
    if listed < wanted:
        raise bad_file(
            "read.unreadable",
            path,
            "the file lists fewer tiles than the slide has",
            details={"tiles": wanted, "listed": listed},
        )
    require_within(page, path, size)
    samples = int(page.samplesperpixel) if planes == 1 else 1
    most = COMPRESSED * tile_of(page)[0] * tile_of(page)[1] * samples * page.dtype.itemsize + COMPRESSED_EXTRA
    if counts.max() > min(most, COMPRESSED * LARGEST_TILE):
        raise bad_file("read.unsupported", path, "a compressed tile is far larger than its pixels")
    return int((counts[:wanted] == 0).sum())


def require_within(page: Any, path: Path, size: int) -> None:
    """Raises CaseError[read.truncated] where pixels of a page lie beyond the file's end."""
    places = zip(page.dataoffsets, page.databytecounts, strict=False)
    if any(offset + count > size for offset, count in places):
        raise _short(path)


def _copy(region: Array, tile: Array, top: int, left: int) -> None:
    """Paint a tile (c, y, x) whose corner lies at (top, left) of the region, as far as the region goes."""
    height, width = region.shape[1:]
    y, x = max(top, 0), max(left, 0)
    bottom, right = min(top + tile.shape[1], height), min(left + tile.shape[2], width)
    if bottom > y and right > x:
        region[: len(tile), y:bottom, x:right] = tile[:, y - top : bottom - top, x - left : right - left]


def _short(path: Path) -> Exception:
    return bad_file("read.truncated", path, "the file ends too early: bytes of its tiles are missing")
