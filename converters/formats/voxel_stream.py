"""Voxels out of a file: plain, or behind gzip, zlib or bzip2, in blocks and checked to the last byte.

NIfTI, Analyze, NRRD and MetaImage all say "so many numbers of this type, from this byte on"; this is the one reader of
such streams. A file that cannot hold what its header promises is refused before anything of that size is allocated.
Checksums are verified: what a cut or changed file decodes to is never returned as voxels.
"""

from __future__ import annotations

import bz2
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import numpy as np
from isal import igzip_lib
from numpy.typing import DTypeLike, NDArray

from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.spooling import IN_MEMORY, Spool, release_pages
from medshard.converters.volume import Array
from medshard.errors import CaseError

Encoding = Literal["raw", "gzip", "zlib", "bzip2"]

GZIP_MAGIC = b"\x1f\x8b"

# zlib documents 1032:1 as the largest ratio of deflate; a header that promises more is lying.
LARGEST_DEFLATE_RATIO = 1032
# A bzip2 block holds at most 900,000 bytes behind its run-length step, which makes 5 of at most 259; and the shortest
# block is 32 bytes (magic, checksum, origin, symbol map, tables). An empty mask comes close to that, so it is no lie.
LARGEST_BZIP2_RATIO = 900_000 * 259 // 5 // 32

# Typed as an instance by the package, which it is not.
INFLATE_ERROR = cast("type[Exception]", igzip_lib.error)

# Of the order of a processor's cache: decoded, turned to native byte order and done with.
BLOCK_BYTES = 2 << 20
RELEASE_BYTES = 64 << 20
COMPRESSED_BLOCK_BYTES = 256 << 10
SMALL_COMPRESSED_BLOCK = 512


class Stream(Protocol):
    """What voxels come out of."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


def read_voxels(
    path: Path,
    *,
    offset: int,
    encoding: Encoding,
    shape: Sequence[int],
    dtype: DTypeLike,
    spool: Spool = IN_MEMORY,
    skip: int = 0,
) -> Array:
    """An array of `shape`, C-ordered and in native byte order.

    offset: where the voxels, or the compressed stream that holds them, begin in the file.
    dtype: of the stored numbers, with their byte order. skip: decoded bytes that lie before the first voxel.
    Raises CaseError[read.truncated | read.unreadable].
    """
    stored = np.dtype(dtype)
    require_voxels(path, math.prod(shape) * stored.itemsize, offset=offset, encoding=encoding, skip=skip)
    array = spool.empty(shape, stored.newbyteorder("="))
    fill_voxels(path, array, offset=offset, encoding=encoding, dtype=stored, skip=skip)
    return array


def fill_voxels(path: Path, array: Array, *, offset: int, encoding: Encoding, dtype: DTypeLike, skip: int = 0) -> None:
    """Fill a C-ordered native array, or a contiguous part of one, from a file; arguments and errors as `read_voxels`.

    For images whose slices lie in files of their own.
    """
    stored = np.dtype(dtype)
    require_voxels(path, array.nbytes, offset=offset, encoding=encoding, skip=skip)
    swap = not stored.isnative
    target: NDArray[np.uint8] = array.reshape(-1).view(np.uint8)
    with path.open("rb") as file, _decoding_errors(path):
        file.seek(offset)
        stream = _decoded(file, encoding)
        _discard(stream, skip, path)
        for start in range(0, len(target), BLOCK_BYTES):
            block = target[start : start + BLOCK_BYTES]
            got = _fill(stream, block.data)
            if got < len(block):
                raise short_voxels(path, len(target), start + got)
            if swap:
                block.view(stored.newbyteorder("=")).byteswap(inplace=True)
            if start % RELEASE_BYTES == RELEASE_BYTES - BLOCK_BYTES:
                release_pages(array)
        if encoding != "raw":
            _drain(stream)
    release_pages(array)


def require_voxels(path: Path, expected: int, *, offset: int, encoding: Encoding, skip: int = 0) -> None:
    """Raises CaseError[read.truncated] unless the file may hold so many bytes of voxels; nothing is allocated.

    Exact for raw voxels; for compressed ones by the largest ratio that the method can reach.
    """
    if offset < 0 or skip < 0:
        raise bad_file(
            "read.unreadable",
            path,
            "the header places the voxels before the start of the file",
            details={"offset": offset, "skip": skip},
        )
    available = max(0, path.stat().st_size - offset)
    ratio = {"raw": 1, "gzip": LARGEST_DEFLATE_RATIO, "zlib": LARGEST_DEFLATE_RATIO, "bzip2": LARGEST_BZIP2_RATIO}
    if expected + skip > available * ratio[encoding]:
        raise short_voxels(path, expected, max(0, available - skip) if encoding == "raw" else None)
    if encoding == "bzip2" and expected + skip > available * LARGEST_DEFLATE_RATIO:
        _require_bzip2(path, expected, offset=offset, skip=skip)


def surplus_bytes(path: Path, *, offset: int, shape: Sequence[int], dtype: DTypeLike) -> int:
    """How many bytes lie behind the voxels of an uncompressed file; negative where some are missing."""
    return path.stat().st_size - offset - math.prod(shape) * np.dtype(dtype).itemsize


def short_voxels(path: Path, expected: int, found: int | None) -> CaseError:
    """The error about a file that is too short; `found` is None where it was not even tried."""
    details: dict[str, object] = {"expected": f"{expected} bytes of voxels"}
    details["found"] = (
        f"{found} bytes" if found is not None else f"a compressed file of {path.stat().st_size} bytes, which cannot"
    )
    return bad_file("read.truncated", path, "the file holds fewer voxels than its header promises", details=details)


def _require_bzip2(path: Path, expected: int, *, offset: int, skip: int) -> None:
    """Decode once to nowhere: a promise of a million to one may be an empty mask, so it is looked at, not trusted."""
    with path.open("rb") as file, _decoding_errors(path):
        file.seek(offset)
        stream = _decoded(file, "bzip2")
        _discard(stream, skip, path)
        scratch = memoryview(bytearray(BLOCK_BYTES))
        left = expected
        while left > 0:
            got = _fill(stream, scratch[: min(left, BLOCK_BYTES)])
            if not got:
                raise short_voxels(path, expected, expected - left)
            left -= got


def _decoded(file: IO[bytes], encoding: Encoding) -> Stream:
    if encoding == "raw":
        return cast("Stream", file)
    return bz2.BZ2File(file) if encoding == "bzip2" else _InflatedStream(file)


class _InflatedStream:
    """One zlib stream, or the members of a gzip file, each with its checksum verified.

    What follows that is no gzip member, such as the zeros that pad a tape, is not looked at. A file that is to hold
    zlib may hold gzip, since writers of MetaImage leave either.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ended = False
        self._gzip = self._at_gzip_member()
        self._start_member()

    def readinto(self, buffer: memoryview, /) -> int:
        """At least one byte, 0 at the end. Raises EOFError where the file ends before the stream does."""
        while not self._ended:
            decoded = self._inflater.decompress(self._more() if self._inflater.needs_input else b"", len(buffer))
            if self._inflater.eof:
                self._end_member()
            if decoded:
                buffer[: len(decoded)] = decoded
                return len(decoded)
        return 0

    def _start_member(self) -> None:
        flag = igzip_lib.DECOMP_GZIP if self._gzip else igzip_lib.DECOMP_ZLIB
        self._inflater = igzip_lib.IgzipDecompressor(flag=flag)
        self._read_bytes = SMALL_COMPRESSED_BLOCK

    def _more(self) -> bytes:
        """Small reads first: what is read beyond the end of a member is read again, and members may be tiny."""
        source = self._file.read(self._read_bytes)
        self._read_bytes = min(2 * self._read_bytes, COMPRESSED_BLOCK_BYTES)
        if not source:
            message = "the compressed data are truncated"
            raise EOFError(message)
        return source

    def _end_member(self) -> None:
        self._file.seek(-len(self._inflater.unused_data), os.SEEK_CUR)
        self._ended = not (self._gzip and self._at_gzip_member())
        if not self._ended:
            self._start_member()

    def _at_gzip_member(self) -> bool:
        start = self._file.read(len(GZIP_MAGIC))
        self._file.seek(-len(start), os.SEEK_CUR)
        return start == GZIP_MAGIC


def _fill(stream: Stream, view: memoryview) -> int:
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])
        if not got:
            break
        done += got
    return done


def _discard(stream: Stream, count: int, path: Path) -> None:
    scratch = memoryview(bytearray(min(count, BLOCK_BYTES)))
    left = count
    while left > 0:
        got = _fill(stream, scratch[: min(left, len(scratch))])
        if not got:
            raise bad_file(
                "read.truncated",
                path,
                "the file ends before its first voxel",
                details={"expected": f"{count} bytes before the voxels", "found": f"{count - left} bytes"},
            )
        left -= got


def _drain(stream: Stream) -> None:
    """Decode to the end, because the checksum stands behind the last voxel."""
    scratch = memoryview(bytearray(BLOCK_BYTES))
    while stream.readinto(scratch):
        pass


@contextmanager
def _decoding_errors(path: Path) -> Iterator[None]:
    """What the decoders raise, as CaseError[read.truncated | read.unreadable]; a failing disk passes."""
    with bad_file_errors(path, "voxels"):
        try:
            yield
        except INFLATE_ERROR as error:
            raise ValueError(str(error)) from error
