"""Compressed bytes in, blocks of at most 1 MiB out, whatever they shrink to: the memory is bounded by the block."""

from __future__ import annotations

import bz2
import lzma
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, cast

from medshard.registry.acquisition.archives.faults import Origin, missing_package
from medshard.registry.acquisition.archives.inflating import (
    BLOCK_BYTES,
    INFLATE_ERRORS,
    BadDataError,
    Gunzip,
    Inflater,
    drain,
    raw_inflater,
)

INPUT_BYTES = 1 << 18
# The library has no limit on its output, and Deflate64 shrinks up to 29,000 times: 1 KiB gives at most 30 MB.
DEFLATE64_INPUT_BYTES = 1 << 10
LZMA_MEMORY_BYTES = 1 << 30

Blocks = Iterator[bytes]
Read = Callable[[int], bytes]

# What damaged data make the decoders raise.
DECODE_ERRORS: tuple[type[Exception], ...] = (
    BadDataError,
    EOFError,
    lzma.LZMAError,
    ValueError,
    MemoryError,
    OverflowError,
    OSError,
    *INFLATE_ERRORS,
)


def stored(read: Read) -> Blocks:
    while block := read(BLOCK_BYTES):
        yield block


def inflated(read: Read) -> Blocks:
    return _one_stream(read, raw_inflater())


def inflated_64(read: Read, origin: Origin) -> Blocks:
    try:
        from inflate64 import Inflater as Inflater64  # noqa: PLC0415 - of the extra
    except ImportError as error:
        raise missing_package(origin, "inflate64", error) from error
    inflater = Inflater64()
    while not inflater.eof:
        data = read(DEFLATE64_INPUT_BYTES)
        block = inflater.inflate(data)
        if block:
            yield block
        elif not data:
            raise BadDataError("the compressed data end too early")


def unbzipped_one(read: Read) -> Blocks:
    return _one_stream(read, bz2.BZ2Decompressor())


def unxzed_one(read: Read) -> Blocks:
    return _one_stream(read, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES))


def unlzma_of_zip(read: Read) -> Blocks:
    """LZMA as zip wraps it: version, length of the properties, properties, raw data."""
    head = read(4)
    properties = read(int.from_bytes(head[2:4], "little"))
    if len(properties) != 5:
        raise BadDataError("the LZMA properties are not five bytes")
    lc, rest = properties[0] % 9, properties[0] // 9
    dictionary = int.from_bytes(properties[1:], "little")
    if dictionary > LZMA_MEMORY_BYTES:
        raise BadDataError(f"LZMA with a dictionary of {dictionary} bytes")
    filters = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": rest % 5, "pb": rest // 5, "dict_size": max(dictionary, 4096)}]
    return _one_stream(read, lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), end_marked=False)


def unzstd(read: Read, origin: Origin) -> Blocks:
    """Zstandard frames, one behind the other. A window above 128 MiB is refused by the library."""
    try:
        import zstandard  # noqa: PLC0415 - of the extra
    except ImportError as error:
        raise missing_package(origin, "zstandard", error) from error
    source = cast("IO[bytes]", _Watched(read))  # of a file, only `read` is asked for
    try:
        with zstandard.ZstdDecompressor().stream_reader(source, read_size=INPUT_BYTES, read_across_frames=True) as out:
            while block := out.read(BLOCK_BYTES):
                yield block
    except zstandard.ZstdError as error:
        raise BadDataError(str(error)) from error


def gunzipped(read: Read, report: Callable[[str], None]) -> Blocks:
    """Gzip streams; a wrong trailer is reported, not raised."""
    gunzip = Gunzip()
    while data := read(INPUT_BYTES):
        yield from gunzip.feed(data)
    gunzip.finish()
    if gunzip.problem is not None:
        report(gunzip.problem)


def unbzipped(read: Read) -> Blocks:
    return _streams(read, bz2.BZ2Decompressor)


def unxzed(read: Read) -> Blocks:
    return _streams(read, lambda: lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=LZMA_MEMORY_BYTES))


def read_ahead(blocks: Blocks, *, depth: int = 4) -> Generator[bytes, None, None]:
    """The same blocks, made by a thread of their own while the caller works on the last ones."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: bytes | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for block in blocks:
                if not put(block):
                    return
        except BaseException as error:  # raised again in the thread that asked
            put(error)
        else:
            put(None)

    thread = threading.Thread(target=make, name="unpack-read-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


class Bytes:
    """Blocks read as a stream: so many bytes at a time."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = memoryview(b"")

    def some(self, most: int) -> memoryview:
        """At least one byte and at most `most`, without a copy; none at the end."""
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return memoryview(b"")
            self._block = memoryview(block)
        piece, self._block = self._block[:most], self._block[most:]
        return piece

    def exactly(self, size: int) -> bytes:
        """`size` bytes, or none at all at the end. Raises BadDataError when the end comes in between."""
        pieces = []
        missing = size
        while missing:
            piece = self.some(missing)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        if missing and missing < size:
            raise BadDataError(f"it ends {missing} bytes too early")
        return b"".join(pieces)


class _Watched:
    """A function `read` as the file object that zstandard wants."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def read(self, size: int = -1, /) -> bytes:
        return self._read(size if size > 0 else INPUT_BYTES)


def _one_stream(read: Read, decoder: Inflater, *, end_marked: bool = True) -> Blocks:
    while not decoder.eof:
        data = read(INPUT_BYTES)
        if not data:
            if end_marked:
                raise BadDataError("the compressed data end too early")
            return
        yield from drain(decoder, data)


def _streams(read: Read, make: Callable[[], Inflater]) -> Blocks:
    """Streams one behind the other, with zeros between them or at the end, as xz and bzip2 allow."""
    decoder = make()
    begun = False
    first = True
    data = read(INPUT_BYTES)
    while data:
        if not begun and not first:
            data = data.lstrip(b"\0")
        if data:
            begun, first = True, False
            yield from drain(decoder, data)
        if decoder.eof:
            data, decoder, begun = decoder.unused_data, make(), False
            data = data or read(INPUT_BYTES)
        else:
            data = read(INPUT_BYTES)
    if begun or first:
        raise BadDataError("the compressed data end too early")
