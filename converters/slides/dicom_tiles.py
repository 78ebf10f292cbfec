"""Stored tiles of the levels of a DICOM slide, by wsidicom, after a look at what each tile says of itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.dicom.headers import silent_log
from medshard.converters.formats.faults import bad_file
from medshard.converters.slides.missing import slides_extra
from medshard.converters.slides.tile_streams import START_OF_IMAGE, is_complete_jpeg, stated_shape
from medshard.errors import MedshardError


@dataclass(frozen=True, kw_only=True)
class DicomLevel:
    """Instances of one level: several only of a concatenation."""

    header: Any
    files: tuple[Path, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.header.TotalPixelMatrixRows), int(self.header.TotalPixelMatrixColumns)

    @property
    def tile(self) -> tuple[int, int]:
        return int(self.header.Rows), int(self.header.Columns)


@dataclass(frozen=True, kw_only=True)
class DicomTiles:
    levels: Sequence[DicomLevel]
    stack: ExitStack
    channels: int
    dtype: str
    open: dict[int, Any] = field(default_factory=dict)
    checked: set[tuple[int, int, int]] = field(default_factory=set)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Array:
        """(c, height, width) of a box inside a level."""
        path = self.levels[level].files[0]
        with silence(), _wsidicom_errors(path):
            slide = self._opened(level)
            self._require_match(slide, level, (y, x), (height, width))
            region = np.asarray(slide.read_region((x, y), 0, (width, height), threads=1, as_array=True))
        pixels = region[None] if region.ndim == 2 else np.moveaxis(region, -1, 0)
        if pixels.shape != (self.channels, height, width) or pixels.dtype != self.dtype:
            raise bad_file("read.unreadable", path, "the pixels are not what the header says")
        return np.ascontiguousarray(pixels)

    def _opened(self, level: int) -> Any:
        if level not in self.open:
            files = self.levels[level].files
            with slides_extra(files[0].name):
                from wsidicom import WsiDicom  # noqa: PLC0415
            self.open[level] = self.stack.enter_context(WsiDicom.open(list(files)))
        return self.open[level]

    def _require_match(self, slide: Any, level: int, corner: tuple[int, int], size: tuple[int, int]) -> None:
        """Raises CaseError where a compressed tile of a box is incomplete or larger than the header says.

        The decoders allocate what a stream states, and fill up what is missing.
        """
        meant = self.levels[level]
        if not meant.header.file_meta.TransferSyntaxUID.is_encapsulated:
            return
        rows, columns = (
            range(start // tile, (start + length - 1) // tile + 1)
            for start, length, tile in zip(corner, size, meant.tile, strict=True)
        )
        for place in ((level, row, column) for row in rows for column in columns):
            if place in self.checked:
                continue
            stream = slide.read_encoded_tile(0, (place[2], place[1]))
            stated = stated_shape(stream)
            if stated is not None and (stated[0] > meant.tile[0] or stated[1] > meant.tile[1]):
                details: dict[str, object] = {"tiles (y, x)": meant.tile, "found": stated}
                raise bad_file(
                    "read.unreadable", meant.files[0], "a tile is larger than the slide says", details=details
                )
            if stream.startswith(START_OF_IMAGE) and not is_complete_jpeg(stream):
                raise bad_file("read.truncated", meant.files[0], "a tile of the slide ends too early")
            self.checked.add(place)


@contextmanager
def silence() -> Iterator[None]:
    """pydicom and wsidicom warn of values that they find odd, and quote them."""
    with silent_log(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _wsidicom_errors(path: Path) -> Iterator[None]:
    """wsidicom's own errors as CaseError, without their words, which may quote the header."""
    try:
        yield
    except MedshardError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("wsidicom"):
            raise
        raise bad_file(
            "read.unreadable", path, "wsidicom cannot read the level", details={"reason": type(error).__name__}
        ) from error
