"""Bytes out of a file that may be packed with gzip, bzip2, xz or zstd, as its content says.

A packed file that grows beyond `LARGEST_RATIO` times its size is refused after `FREE_BYTES`: tables of real data sets
stay below 60 (zeros of count matrices and genotypes pack best). Unpacked by its owner, such a file is read as it is.
"""

from __future__ import annotations

import bz2
import io
import lzma
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa
from isal import igzip

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.voxel_stream import INFLATE_ERROR

LARGEST_RATIO = 200
FREE_BYTES = 256 << 20
XZ_MEMORY = 256 << 20
PACKED_BLOCK = 1 << 20

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class Readable(Protocol):
    def read(self, count: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


def packing_of(path: Path) -> str | None:
    """`gzip`, `bzip2`, `xz`, `zstd`, or None for a file that is not packed."""
    start = first_bytes(path, 6)
    return next((name for magic, name in MAGIC.items() if start.startswith(magic)), None)


def unpacked_name(path: Path) -> str:
    """The file's name in small letters, without the suffix of its packing."""
    name = path.name.lower()
    for suffix in (".gz", ".bgz", ".bz2", ".xz", ".zst", ".zstd"):
        name = name.removesuffix(suffix)
    return name


def unpacked_start(path: Path, count: int) -> bytes:
    """At most `count` bytes from the start of what the file holds."""
    with Unpacked(path) as stream:
        return stream.read(count)


class Unpacked(io.RawIOBase):
    """A file's content. `read` gives as many bytes as are asked for, unless the content ends.

    Raises CaseError[table.inflates_too_far], and what the unpackers raise on bad bytes (EOFError where they end early).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packing = packing_of(path)
        self._most = max(FREE_BYTES, LARGEST_RATIO * path.stat().st_size)
        self._given = 0
        self._source = _opened(path, self._packing)

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1, /) -> bytes:
        parts: list[bytes] = []
        wanted = count
        while wanted:
            part = self._part(wanted if wanted > 0 else PACKED_BLOCK)
            if not part:
                break
            self._account(len(part))
            parts.append(bytes(part))
            wanted -= len(part) if wanted > 0 else 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readall(self) -> bytes:
        return self.read(-1)

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        part = self.read(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _part(self, count: int) -> bytes:
        try:
            return self._source.read(count)
        except (INFLATE_ERROR, lzma.LZMAError) as error:
            raise bad_file("read.unreadable", self._path, "the packed bytes are damaged") from error

    def _account(self, count: int) -> None:
        self._given += count
        if self._packing is not None and self._given > self._most:
            raise bad_file(
                "table.inflates_too_far",
                self._path,
                "the file grows far more on unpacking than tables do",
                details={
                    "expected": f"at most {LARGEST_RATIO} times the packed size",
                    "found": f"more than {self._most >> 20} MB out of {self._path.stat().st_size} bytes",
                },
                action="The case is excluded. If the file is right, unpack it and give it unpacked.",
            )


def _opened(path: Path, packing: str | None) -> Readable:
    if packing == "gzip":
        return igzip.open(path, "rb")
    if packing == "bzip2":
        return bz2.open(path, "rb")
    if packing == "xz":
        return _Xz(path.open("rb"))
    if packing == "zstd":
        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return path.open("rb")


class _Xz:
    """xz streams one after another, with a bound on the memory that a header may ask for, which `lzma.open` lacks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = _xz_decoder()

    def read(self, count: int = -1, /) -> bytes:
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._file.read(PACKED_BLOCK).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = _xz_decoder()
            elif self._decoder.needs_input:
                rest = self._file.read(PACKED_BLOCK)
                if not rest:
                    raise EOFError("compressed file ended before the end-of-stream marker was reached")
            else:
                rest = b""
            part = self._decoder.decompress(rest, count)
            if part:
                return part

    def close(self) -> None:
        self._file.close()


def _xz_decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
