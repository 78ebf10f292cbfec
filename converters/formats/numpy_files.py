"""Files of NumPy arrays: the header of one array, and where its numbers lie, in `.npy` and within `.npz`."""

from __future__ import annotations

import errno
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.voxel_stream import LARGEST_DEFLATE_RATIO, require_voxels, short_voxels
from medshard.converters.spooling import Spool, release_pages

MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
LARGEST_HEADER = 1 << 16
BLOCK = 1 << 20
NAMED_ARRAYS = 20

DESCR = re.compile(r"'descr'\s*:\s*'([^']{1,20})'")
PLAIN_DTYPE = re.compile(r"[<>|=]?(?:[iu][1248]|f[248]|b1)")
ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
SHAPE = re.compile(r"'shape'\s*:\s*\(([\d,\s]*)\)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ArrayHeader:
    """Of one array. shape: as stored. offset: of its first number behind the start of the array file."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def array_header(path: Path, key: str | None) -> ArrayHeader:
    if first_bytes(path, len(MAGIC)) == MAGIC:
        return npy_header(path)
    with opened_archive(path) as archive:
        member = member_of(path, archive, key)
        with archive.open(member) as stream:
            header = _parsed(path, stream)
        _require_member(path, member, header)
        return header


def npy_header(path: Path) -> ArrayHeader:
    with path.open("rb") as stream:
        header = _parsed(path, stream)
    require_voxels(path, header.size, offset=header.offset, encoding="raw")
    return header


def read_member(path: Path, key: str | None, spool: Spool) -> tuple[ArrayHeader, Array]:
    with opened_archive(path) as archive:
        member = member_of(path, archive, key)
        with archive.open(member) as stream:
            header = _parsed(path, stream)
            _require_member(path, member, header)
            array = spool.empty(in_memory_order(header), header.dtype.newbyteorder("="))
            _fill(path, stream, array, header)
            # zipfile compares the checksum when it comes to the end.
            while stream.read(BLOCK):
                pass
    return header, array


def _fill(path: Path, stream: IO[bytes], array: Array, header: ArrayHeader) -> None:
    target = array.reshape(-1).view(np.uint8)
    for start in range(0, target.size, BLOCK):
        block = target[start : start + BLOCK]
        content = stream.read(block.size)
        if len(content) < block.size:
            raise short_voxels(path, target.size, start + len(content))
        block[:] = np.frombuffer(content, np.uint8)
        if not header.dtype.isnative:
            block.view(array.dtype).byteswap(inplace=True)
        release_pages(array)


def in_memory_order(header: ArrayHeader) -> tuple[int, ...]:
    """The shape whose C order is the order of the file."""
    return header.shape[::-1] if header.fortran else header.shape


def stored_at(path: Path, member: zipfile.ZipInfo, header: ArrayHeader) -> int | None:
    """Where the first number of an uncompressed member lies in the archive; None for a compressed one.

    Source: APPNOTE.TXT, 4.3.7, local file header.
    """
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        return None
    with path.open("rb") as file:
        file.seek(member.header_offset)
        local = file.read(30)
    if len(local) < 30 or not local.startswith(ZIP_MAGIC):
        return None
    names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return member.header_offset + 30 + names + header.offset


def _parsed(path: Path, stream: IO[bytes]) -> ArrayHeader:
    """Source: NumPy, "NPY format", versions 1.0 to 3.0. The dictionary is matched, never evaluated."""
    start = stream.read(len(MAGIC) + 2)
    width = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 and start.startswith(MAGIC) else 0, 0)
    length = int.from_bytes(stream.read(width), "little")
    text = stream.read(min(length, LARGEST_HEADER)).decode("latin-1") if width else ""
    order, shape = ORDER.search(text), SHAPE.search(text)
    if not width or length > LARGEST_HEADER or len(text) < length or order is None or shape is None:
        raise bad_file("read.unreadable", path, "the header of the array is not one that NumPy writes")
    sizes = tuple(int(word) for word in shape.group(1).split(",") if word.strip())
    descr = DESCR.search(text)
    if descr is None or PLAIN_DTYPE.fullmatch(descr.group(1)) is None:
        raise bad_file(
            "read.unsupported",
            path,
            "the array does not hold plain numbers",
            details={"expected": "integers, real numbers or booleans", "found": _kind_of(descr)},
            action="The case is excluded. Objects are pickles, which run code when they are read; save plain numbers.",
        )
    return ArrayHeader(
        shape=sizes,
        dtype=np.dtype(descr.group(1)),
        fortran=order.group(1) == "True",
        offset=len(start) + width + length,
    )


def _kind_of(descr: re.Match[str] | None) -> str:
    if descr is None:
        return "a structure of several fields"
    return "Python objects" if "O" in descr.group(1) else f"NumPy type {descr.group(1)}"


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        # A directory that points before the start of the file makes zipfile seek there.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        # Its directory is at the end, so that a cut archive is no archive at all.
        code = "read.truncated" if "not a zip file" in str(error) else "read.unreadable"
        raise bad_file(
            code, path, "the archive of arrays is broken, or ends too early", details={"reason": type(error).__name__}
        ) from error


def member_of(path: Path, archive: zipfile.ZipFile, key: str | None) -> zipfile.ZipInfo:
    arrays = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key is None or key not in arrays:
        raise bad_file(
            "read.no_such_array",
            path,
            "the file holds several arrays, and none is named" if key is None else "the file holds no such array",
            details={"wanted": key or "-", **_listed(path, archive, arrays)},
            action="Name one of them as `key` in the entry's layout.",
        )
    return arrays[key]


def _listed(path: Path, archive: zipfile.ZipFile, arrays: dict[str, zipfile.ZipInfo]) -> dict[str, object]:
    """Name -> shape and type of the first arrays of an archive."""
    found: dict[str, object] = {}
    for name, info in list(arrays.items())[:NAMED_ARRAYS]:
        with archive.open(info) as stream:
            start = stream.read(1 << 12).decode("latin-1")
        shape, descr = SHAPE.search(start), DESCR.search(start)
        found[f"array {name[:60]}"] = f"({shape.group(1) if shape else '?'}) {descr.group(1) if descr else '?'}"
    return found


def _require_member(path: Path, member: zipfile.ZipInfo, header: ArrayHeader) -> None:
    """Raises CaseError[read.truncated] unless the member may hold the array; nothing is allocated."""
    held = member.file_size - header.offset
    packed = min(member.compress_size, path.stat().st_size)
    if header.size > min(held, packed * LARGEST_DEFLATE_RATIO):
        raise short_voxels(path, header.size, max(0, held))
