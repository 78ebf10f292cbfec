"""One picture (or stack of equal pictures) as its file states it, before its samples are given a meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.spooling import Spool
from medshard.errors import CaseError, MissingExtraError

Meaning = Literal["grey", "rgb", "palette", "cmyk", "channels"]
PlaneAxis = Literal["t", "c", "z"]

MOST_PIXELS = 1 << 31
"""Of one picture. Beyond that it is a slide, and belongs into the room of the slides."""

MOST_PIXELS_IN_MEMORY = 1 << 28
"""Of a picture whose decoder holds all of it, in 4 to 12 bytes a pixel."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """colours: (n, 3) uint8 or uint16. alpha: (n,) uint8, None where every colour is opaque."""

    colours: Array
    alpha: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a file states of a picture.

    y, x: as stored, before `orientation` (1 to 8, as EXIF counts) is applied.
    samples: of a pixel, without alpha. dtype: of a stored sample in native byte order.
    alpha: whether an alpha sample follows. key: the stored samples that mean "transparent", in place of alpha.
    inverted_by: of a picture where 0 is white, the value that is black; each sample is taken from it.
    planes: axis -> length of what lies before y, slowest first; the product is the number of pictures.
    spacing_mm: along (z, y, x), where the file states it with a unit.
    decode: the stored samples (n, y, x, samples, or one more with alpha), their order in memory undefined.
    """

    kind: str
    y: int
    x: int
    meaning: Meaning
    samples: int
    dtype: np.dtype[Any]
    decode: Callable[[Spool], Array]
    alpha: bool = False
    key: tuple[int, ...] | None = None
    palette: Palette | None = None
    inverted_by: int | None = None
    orientation: int = 1
    planes: tuple[tuple[PlaneAxis, int], ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many pictures lie in the stack."""
        return math.prod(length for _, length in self.planes)


def require_size(path: Path, y: int, x: int, *, most: int = MOST_PIXELS) -> None:
    """Raises CaseError[read.unreadable | read.too_large]; nothing is allocated."""
    if y < 1 or x < 1:
        raise bad_file("read.unreadable", path, "the picture has no pixels", details={"height": y, "width": x})
    if y * x > most:
        raise too_large(path, {"expected": f"at most {most} pixels", "found": f"{x} x {y}"})


def require_bytes(path: Path, expected: int, held: int, ratio: int) -> None:
    """Raises CaseError[read.truncated] where `held` bytes, grown by the codec's largest ratio, cannot be `expected`."""
    if expected > held * ratio:
        raise bad_file(
            "read.truncated",
            path,
            "the file is too small for the pixels that its header promises",
            details={"expected": f"{expected} bytes of pixels", "found": f"{held} bytes, at most {ratio} to one"},
        )


def too_large(path: Path, details: dict[str, object] | None = None) -> CaseError:
    return bad_file(
        "read.too_large",
        path,
        "the picture has more pixels than are read at once",
        details=details,
        action="The case is excluded. Declare the file as a slide, or cut it into tiles.",
    )


def truncated(path: Path, problem: str) -> CaseError:
    return bad_file("read.truncated", path, problem)


def unsupported(path: Path, problem: str, **details: object) -> CaseError:
    return bad_file(
        "read.unsupported",
        path,
        problem,
        details=details,
        action="The case is excluded. Convert the picture with a tool that knows it.",
    )


def several_images(path: Path, pages: int, problem: str) -> CaseError:
    return bad_file(
        "read.several_images",
        path,
        problem,
        details={"pictures": pages},
        action="Name one of them as `page`, counted from 0.",
    )


def require_page(path: Path, page: int | None, pages: int) -> None:
    """Raises CaseError[read.no_such_page]."""
    if page is not None and not 0 <= page < pages:
        raise bad_file(
            "read.no_such_page",
            path,
            "the file has no such page",
            details={"expected": f"0 to {pages - 1}", "found": page},
            action="Correct `page`; pages count from 0.",
        )


def imagecodecs() -> Any:
    """The decoders. Raises MissingExtraError[pictures.not_installed]."""
    try:
        import imagecodecs as decoders  # noqa: PLC0415
    except ImportError as error:
        raise missing("imagecodecs") from error
    return decoders


def tifffile() -> Any:
    """The TIFF reader. Raises MissingExtraError[pictures.not_installed]."""
    try:
        import imagecodecs as _  # noqa: F401, PLC0415 (tifffile would go without, and fail at each segment)
        import tifffile as reader  # noqa: PLC0415
    except ImportError as error:
        raise missing("tifffile and imagecodecs") from error
    return reader


def missing(libraries: str) -> MissingExtraError:
    return MissingExtraError(
        "pictures.not_installed",
        where="pictures",
        problem=f"reading this picture needs {libraries}",
        action="pip install medshard[pictures]",
    )
