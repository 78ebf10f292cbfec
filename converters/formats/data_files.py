"""Data files that a text header names: one, a list, or a numbered pattern; never one outside the header's folder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files
from medshard.converters.formats.text_numbers import read_text_numbers
from medshard.converters.formats.voxel_stream import fill_voxels, require_voxels
from medshard.converters.spooling import Spool
from medshard.converters.volume import Array

Stored = np.dtype[np.generic]
Encoding = Literal["raw", "gzip", "zlib", "bzip2", "text"]

MOST_FILES = 1 << 16
NUMBER_FORM = re.compile(r"%(0?)(\d?)([diu])")


@dataclass(frozen=True, kw_only=True)
class StoredVoxels:
    """Where the voxels lie: equal shares in each of `files`, in their order.

    offset: bytes of each file before its share, or before its compressed stream; None counts from the end of the file.
    skip: bytes of the decoded stream before the share.
    """

    files: tuple[Path, ...]
    offset: int | None
    skip: int
    encoding: Encoding
    shape: tuple[int, ...]
    dtype: Stored

    @property
    def share(self) -> int:
        """Values in each file."""
        return math.prod(self.shape) // len(self.files)


def data_file(header: Path, name: str) -> Path:
    """The file that a header names, relative to the header's folder.

    Raises CaseError[read.unsupported] for a name that leaves the folder, [read.missing_part] when there is none.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or PureWindowsPath(name).is_absolute() or ".." in re.split(r"[/\\]", name):
        raise bad_file(
            "read.unsupported",
            header,
            "the header names a data file outside its own folder",
            action="The case is excluded. Put the data beside the header, and correct the name in it.",
        )
    path = header.parent / pure
    if "\0" in name or len(name) > 1000 or not path.is_file():
        raise bad_file(
            "read.missing_part",
            header,
            "the data file that the header names is missing",
            details={"expected": pure.name[:100]},
        )
    return path


def require_named(files: Files, header: Path, names: Sequence[str]) -> None:
    """Raises CaseError[read.several_images] when a file stands beside a header that does not name it."""
    known = {header, *(header.parent / name for name in names)}
    other = next((file for file in files if file not in known), None)
    if other is not None:
        raise bad_file(
            "read.several_images",
            header,
            "a file is given beside a header that does not name it",
            details={"file": other.name},
            action="The case is excluded. Make the path in the entry's layout match the header.",
        )


def distinct(header: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names; raises CaseError[read.unreadable] when there is none, too many, or one of them twice."""
    if not names or len(names) > MOST_FILES or len(set(names)) < len(names):
        raise bad_file(
            "read.unreadable",
            header,
            "the header lists no data files, too many of them, or one of them twice",
            details={"data files": len(names), "at most": MOST_FILES},
        )
    return tuple(names)


def numbered(header: Path, pattern: str, first: int, last: int, step: int) -> tuple[str, ...]:
    """The names that `slice%03d.raw 1 20 1` stands for, as C's printf writes them.

    Raises CaseError[read.unreadable] for a pattern without exactly one whole number in it, or without an end.
    """
    forms = NUMBER_FORM.findall(pattern)
    count = 0 if step == 0 else (last - first) // step + 1
    if len(forms) != 1 or pattern.count("%") != 1 or not 1 <= count <= MOST_FILES:
        raise bad_file(
            "read.unreadable",
            header,
            "the numbered pattern of data files cannot be followed",
            details={"expected": "a name with one %d, and first, last and step", "files": count},
        )
    zero, width, _ = forms[0]
    spec = f"{zero}{width}d" if width else "d"
    return tuple(NUMBER_FORM.sub(format(first + step * number, spec), pattern) for number in range(count))


def require_capacity(header: Path, voxels: StoredVoxels) -> None:
    """Nothing is allocated. Raises CaseError[read.truncated] when a data file cannot hold what the header promises."""
    if math.prod(voxels.shape) % len(voxels.files):
        raise bad_file(
            "read.unreadable",
            header,
            "the voxels cannot be shared equally among the data files",
            details={"shape": voxels.shape, "data files": len(voxels.files)},
        )
    for file in voxels.files:
        if voxels.encoding == "text":
            # The shortest number is one digit and one blank.
            require_voxels(file, 2 * voxels.share - 1, offset=voxels.offset or 0, encoding="raw")
        else:
            size, offset = voxels.share * voxels.dtype.itemsize, _offset(voxels, file)
            require_voxels(file, size, offset=offset, encoding=voxels.encoding, skip=voxels.skip)


def read_stored(header: Path, voxels: StoredVoxels, spool: Spool) -> Array:
    """The voxels of all data files, C-ordered, in native byte order.

    Raises CaseError[read.truncated | read.unreadable].
    """
    require_capacity(header, voxels)
    array = spool.empty(voxels.shape, voxels.dtype.newbyteorder("="))
    flat = array.reshape(-1)
    for number, file in enumerate(voxels.files):
        part = flat[number * voxels.share : (number + 1) * voxels.share]
        offset = _offset(voxels, file)
        if voxels.encoding == "text":
            with file.open("rb") as stream:
                stream.seek(offset)
                read_text_numbers(stream, file, part)
        else:
            fill_voxels(file, part, offset=offset, encoding=voxels.encoding, dtype=voxels.dtype, skip=voxels.skip)
    return array


def _offset(voxels: StoredVoxels, file: Path) -> int:
    if voxels.offset is not None:
        return voxels.offset
    return max(0, file.stat().st_size - voxels.share * voxels.dtype.itemsize)
