"""Raw deflate and gzip, fed in blocks: by isal where it is installed, otherwise by zlib, with the same face."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol, cast

BLOCK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 18
_MAGIC = b"\x1f\x8b\x08"
_FLAG_CHECKSUM, _FLAG_EXTRA, _FLAG_NAME, _FLAG_COMMENT = 2, 4, 8, 16


class BadDataError(Exception):
    """Compressed bytes are not what they should be. It never leaves this room."""


class Inflater(Protocol):
    """The face that bz2, lzma and isal share. An empty `data` asks for more of what was fed before."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


try:
    from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor, IsalError
    from isal.isal_zlib import crc32

    INFLATER = "isal"
    # Its stub calls the class an instance.
    INFLATE_ERRORS: tuple[type[Exception], ...] = (cast("type[Exception]", IsalError), zlib.error)

    def raw_inflater() -> Inflater:
        return IgzipDecompressor(flag=DECOMP_DEFLATE)

except ImportError:  # slower, and as right
    from zlib import crc32

    INFLATER = "zlib"
    INFLATE_ERRORS = (zlib.error,)

    def raw_inflater() -> Inflater:
        return ZlibInflater()


GZIP_ERRORS: tuple[type[Exception], ...] = (BadDataError, *INFLATE_ERRORS)


class ZlibInflater:
    """zlib's raw inflate with the face of the others."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not (self._inflate.eof or self._inflate.unconsumed_tail or self._full)

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        held = self._inflate.unconsumed_tail
        block = self._inflate.decompress(held + data if held else data, max(max_length, 0))
        # zlib may hold back output with all input consumed; only a call that does not fill the block shows its end.
        self._full = len(block) == max_length
        return block


def drain(inflater: Inflater, data: bytes) -> Iterator[bytes]:
    """What one block of compressed bytes gives, in blocks of at most 1 MiB."""
    idle = 0
    while idle < 2:
        block = inflater.decompress(data, BLOCK_BYTES)
        data = b""
        if block:
            yield block
        if inflater.eof or inflater.needs_input:
            return
        idle = 0 if block else idle + 1
    raise BadDataError("the compressed data do not go on")


class Gunzip:
    """Gzip streams, one behind the other, fed in blocks of any size; length and checksum of each are compared.

    problem: a trailer that does not fit, or bytes behind the end: what was unpacked may still be all there is.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._state = "header"
        self._held = b""
        self._streams = 0
        self._padded = False
        self._begin()

    def _begin(self) -> None:
        self._inflater = raw_inflater()
        self._crc = 0
        self._length = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes give, in blocks of at most 1 MiB. Raises BadDataError, and those of INFLATE_ERRORS."""
        while data:
            if self._state == "header":
                data = self._header(data)
            elif self._state == "body":
                for block in drain(self._inflater, data):
                    self._crc = crc32(block, self._crc)
                    self._length += len(block)
                    yield block
                data = b""
                if self._inflater.eof:
                    self._state, data = "trailer", self._inflater.unused_data
            elif self._state == "trailer":
                data = self._trailer(data)
            else:
                return

    def finish(self) -> None:
        """Raises BadDataError when the data end in the middle of a stream."""
        if self._state == "ignored" or (self._state == "header" and self._streams and not self._held):
            return
        if self._streams and self._state == "header":
            self.problem = self.problem or "bytes follow the end of the gzip data"
            return
        raise BadDataError("the gzip data end too early" if self._length or self._held else "there are no gzip data")

    def _header(self, data: bytes) -> bytes:
        self._held += data
        if self._streams:
            self._held = self._without_padding(self._held)
            if not self._held:
                return b""
        if not _MAGIC.startswith(self._held[:3]):
            return self._no_header()
        end = _header_end(self._held)
        if end is None:
            if len(self._held) > MAX_HEADER_BYTES:
                raise BadDataError("the gzip header is too long")
            return b""
        rest, self._held, self._state = self._held[end:], b"", "body"
        return rest

    def _without_padding(self, held: bytes) -> bytes:
        if self._padded or held[:1] == b"\0":
            self._padded = True  # tapes and some writers fill the last block with zeros
            return held.lstrip(b"\0")
        return held

    def _no_header(self) -> bytes:
        if not self._streams:
            raise BadDataError("these are no gzip data")
        self.problem = self.problem or "bytes follow the end of the gzip data"
        self._state = "ignored"
        return b""

    def _trailer(self, data: bytes) -> bytes:
        self._held += data
        if len(self._held) < 8:
            return b""
        stated_crc, stated_length = (int.from_bytes(self._held[at : at + 4], "little") for at in (0, 4))
        if stated_crc != self._crc:
            self.problem = self.problem or f"the gzip checksum is {self._crc:08x}, its trailer says {stated_crc:08x}"
        elif stated_length != self._length & 0xFFFFFFFF:
            found = self._length & 0xFFFFFFFF
            self.problem = self.problem or f"the gzip data hold {found} bytes, the trailer says {stated_length}"
        rest, self._held, self._state = self._held[8:], b"", "header"
        self._streams += 1
        self._begin()
        return rest


def _header_end(held: bytes) -> int | None:
    """Where the deflate data begin; None when the header is not complete yet."""
    if len(held) < 10:
        return None
    flags, at = held[3], 10
    if flags & _FLAG_EXTRA:
        if len(held) < at + 2:
            return None
        at += 2 + int.from_bytes(held[at : at + 2], "little")
    for flag in (_FLAG_NAME, _FLAG_COMMENT):
        if flags & flag:
            zero = held.find(b"\0", at)
            if zero < 0:
                return None
            at = zero + 1
    at += 2 if flags & _FLAG_CHECKSUM else 0
    return at if len(held) >= at else None


class GzipCheck:
    """Whether the bytes that stream by are sound gzip data. They are unpacked and thrown away."""

    def __init__(self) -> None:
        self._gunzip = Gunzip()
        self._broken: str | None = None

    def feed(self, data: bytes) -> None:
        if self._broken is not None:
            return
        try:
            for _ in self._gunzip.feed(data):
                pass
        except GZIP_ERRORS as error:
            self._broken = str(error)

    def verdict(self) -> str | None:
        """What is wrong, or None."""
        if self._broken is None:
            try:
                self._gunzip.finish()
            except BadDataError as error:
                self._broken = str(error)
        return self._broken or self._gunzip.problem


__all__ = ["BLOCK_BYTES", "INFLATER", "INFLATE_ERRORS", "BadDataError", "Gunzip", "GzipCheck", "crc32", "raw_inflater"]
