"""A folder of numbered pictures as a video: their order, their times, and the pictures themselves.

Order is that of the numbers in the names (frame_2 before frame_10). Time is the number over the stated rate, so that a
missing picture leaves a gap and does not shift the ones behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import first_bytes
from medshard.converters.videos.decoder import MOST_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"P5", b"P6", b"RIFF")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP")
_EIGHT_BIT = {"1", "L", "P", "RGB", "LA", "PA", "RGBA"}
_EXIF_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
_NAMED_NUMBERS = 10


@dataclass(frozen=True, kw_only=True)
class FrameFolder:
    """files: in order of time. steps: (n,) number of each from the first, in units of the usual step.

    size: (y, x) as shown. warnings: one sentence each.
    """

    files: tuple[Path, ...]
    steps: NDArray[np.int64]
    size: tuple[int, int]
    warnings: tuple[str, ...]


def is_picture(path: Path) -> bool:
    """Whether the first bytes are those of a picture that can be a frame."""
    start = first_bytes(path, 12)
    return start.startswith(_PICTURES) and (start[:4] != b"RIFF" or start[8:] == b"WEBP")


def read_folder(files: Sequence[Path]) -> FrameFolder:
    """The frames of a folder, by the headers of the pictures.

    Raises CaseError[video.unclear_order | video.mixed_sizes | read.unreadable | read.unsupported].
    """
    ordered, steps, notes = _ordered(files)
    sizes = [_header(path) for path in ordered]
    first = sizes[0]
    for path, found in zip(ordered, sizes, strict=True):
        if found[:2] != first[:2]:
            raise bad_file(
                "video.mixed_sizes",
                path,
                "the frames of a folder are not all of one size",
                details={"expected (y, x)": first[:2], "found (y, x)": found[:2], "frames": len(ordered)},
                action="The case is excluded. Correct the entry's layout, so that it matches the frames only.",
            )
    if any(alpha for _, _, alpha in sizes):
        notes.append("The pictures have an alpha channel, which is left aside.")
    return FrameFolder(files=tuple(ordered), steps=steps, size=first[:2], warnings=tuple(notes))


def in_order(files: Sequence[Path]) -> list[Path]:
    """The files of a folder in the order of their numbers. Raises CaseError[video.unclear_order]."""
    return _ordered(files)[0]


def picture_numbers(files: Sequence[Path]) -> list[int] | None:
    """The number in the name of each frame, in order; None where the names have no single number that counts."""
    return _frame_numbers([_natural_key(path) for path in in_order(files)])


def pictures_at(
    files: Sequence[Path], shape: tuple[int, int, int], wanted: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number, (3, y, x) uint8 RGB) of each wanted frame. Raises CaseError[read.* | video.mixed_sizes]."""
    for number in wanted:
        yield number, _decoded(files[number], shape)


def _ordered(files: Sequence[Path]) -> tuple[list[Path], NDArray[np.int64], list[str]]:
    """Files in order, the number of each, and what is odd about the numbers."""
    keyed = sorted((_natural_key(path), path) for path in files)
    for (key, path), (next_key, _) in pairwise(keyed):
        if key == next_key:
            raise bad_file(
                "video.unclear_order",
                path,
                "two frames have the same number",
                details={"number": ".".join(str(number) for _, number in key if number >= 0)},
                action="The case is excluded. Correct the entry's layout, so that it matches one file for each frame.",
            )
    ordered = [path for _, path in keyed]
    numbers = _frame_numbers([key for key, _ in keyed])
    if numbers is None:
        note = "The names of the frames have no single number that counts; they are in the order of their names."
        return ordered, np.arange(len(ordered)), [note] if len(ordered) > 1 else []
    step = reduce(math.gcd, (b - a for a, b in pairwise(numbers)), 0) or 1
    steps = (np.asarray(numbers, np.int64) - numbers[0]) // step
    return ordered, steps, _notes(ordered, steps, numbers[0], step)


def _natural_key(path: Path) -> tuple[tuple[str, int], ...]:
    """Words and numbers of a name in turn, without the suffix: numbers compare as numbers."""
    parts = re.split(r"([0-9]+)", path.name.rpartition(".")[0] or path.name)
    return tuple(("", int(part)) if place % 2 else (part.lower(), -1) for place, part in enumerate(parts))


def _frame_numbers(keys: Sequence[tuple[tuple[str, int], ...]]) -> list[int] | None:
    """The one number of the names that changes; None where several parts of the names do."""
    if len({len(key) for key in keys}) > 1:
        return None
    varying = [place for place in range(len(keys[0])) if len({key[place] for key in keys}) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return None
    numbers = [key[varying[0]][1] for key in keys]
    return numbers if numbers[-1] < 2**53 else None


def _notes(ordered: Sequence[Path], steps: NDArray[np.int64], first: int, step: int) -> list[str]:
    notes = []
    if step > 1:
        notes.append(f"The numbers of the frames rise by {step}; that is taken for one step of time.")
    gaps = np.flatnonzero(np.diff(steps) > 1)
    missing = int(steps[-1]) + 1 - len(ordered)
    if missing:
        named = [
            f"{first + step * (int(steps[gap]) + 1)}"
            + (f" to {first + step * (int(steps[gap + 1]) - 1)}" if steps[gap + 1] - steps[gap] > 2 else "")
            for gap in gaps[:_NAMED_NUMBERS]
        ]
        more = f" and {len(gaps) - _NAMED_NUMBERS} more gaps" if len(gaps) > _NAMED_NUMBERS else ""
        notes.append(f"{missing} numbers of frames are missing: {', '.join(named)}{more}.")
    if _pads_mix(ordered):
        notes.append("Some numbers of the frames are padded with zeros and others are not; they count as numbers.")
    return notes


def _pads_mix(ordered: Sequence[Path]) -> bool:
    """Whether names pad their numbers in two ways: one begins with a zero although another is as long without need."""
    lengths: dict[int, set[int]] = {}
    for path in ordered:
        for place, digits in enumerate(re.findall(r"[0-9]+", path.name.rpartition(".")[0])):
            padded = len(digits) if digits.startswith("0") and len(digits) > 1 else 0
            lengths.setdefault(place, set()).add(padded or -len(digits))
    for found in lengths.values():
        widths = {width for width in found if width > 0}
        # A number without a leading zero belongs to a padded style where it fills the width.
        if len(widths) > 1 or (widths and any(-width < min(widths) for width in found if width < 0)):
            return True
    return False


def _header(path: Path) -> tuple[int, int, bool]:
    """(y, x, whether there is alpha) of a picture as shown, from its header."""
    from PIL import Image as Pictures  # noqa: PLC0415

    with bad_file_errors(path, "Pillow"), Pictures.open(path, formats=_FORMATS) as picture:
        _check(path, picture)
        width, height = picture.size
        turned = picture.getexif().get(_EXIF_ORIENTATION) in _TURNED
        alpha = picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info
    return (width, height, alpha) if turned else (height, width, alpha)


def _check(path: Path, picture: Picture) -> None:
    if picture.mode not in _EIGHT_BIT or getattr(picture, "n_frames", 1) > 1:
        raise bad_file(
            "read.unsupported",
            path,
            "the picture is no frame of 8 bits of grey or RGB",
            details={"expected": "one page of mode L, P, RGB or RGBA", "found": picture.mode},
            action="The case is excluded. Declare the files as images, which keep their own numbers.",
        )
    if picture.size[0] * picture.size[1] > MOST_PIXELS:
        raise bad_file("video.too_large", path, "the frames are larger than any camera's")


def _decoded(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    from PIL import Image as Pictures  # noqa: PLC0415
    from PIL import ImageOps  # noqa: PLC0415

    with bad_file_errors(path, "Pillow"), Pictures.open(path, formats=_FORMATS) as picture:
        _check(path, picture)
        shown = np.asarray(ImageOps.exif_transpose(picture).convert("RGBA").convert("RGB"), np.uint8)
    found = np.ascontiguousarray(shown.transpose(2, 0, 1))
    if found.shape != shape:
        raise bad_file(
            "video.mixed_sizes",
            path,
            "the frame has another size than the index says",
            details={"expected (c, y, x)": shape, "found": found.shape},
        )
    return found
