"""One array as one Zarr v3 shard (`sharding_indexed`), written chunk by chunk.

zarr-python writes the same format. It holds every compressed chunk until the shard is complete, and there the order of
the chunks in the file may change with the version; here it is fixed, so that equal arrays have equal bytes, whatever
their layout in memory and however many threads compress. The tests read arrays of every kind back with zarr-python and
with tensorstore.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from numcodecs import Blosc, blosc
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray

from medshard.converters.spooling import is_spooled, release_pages
from medshard.converters.volume import Array

EMPTY_CHUNK = 2**64 - 1

# Bytes of chunks taken out of a spooled array before its pages go back to the system.
RELEASE_BYTES = 32 << 20

# Chunks are too small to gain from Blosc's own threads; they are compressed side by side.
blosc.use_threads = False


def available_threads() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def shard_shape(shape: Sequence[int], inner_chunk: Sequence[int]) -> tuple[int, ...]:
    """The shape of an array, rounded up to whole inner chunks, of which there is at least one."""
    return tuple(max(1, -(-size // chunk)) * chunk for size, chunk in zip(shape, inner_chunk, strict=True))


def chunk_grid(shape: Sequence[int], inner_chunk: Sequence[int]) -> tuple[int, ...]:
    """How many inner chunks there are along each axis."""
    return tuple(-(-size // chunk) for size, chunk in zip(shape, inner_chunk, strict=True))


def window_order(shape: Sequence[int], inner_chunk: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the chunks of a (c, z, y, x) array, so that the chunks of a window lie near each other in the file.

    They follow a Z curve (G. M. Morton, 1966) through z, y and x, all channels at each place. Axes along which a chunk
    is one voxel thick (z of slices, tiles and frames) come first, in C order. A window of 128^3 in a CT of 183x512x512
    lies in 45 runs in C order and in 71 on the curve; where gaps of half its bytes may be read too, in 33 and 18.
    """
    grid = chunk_grid(shape, inner_chunk)
    channel, *places = np.indices(grid).reshape(4, -1)
    slices = [place for place, chunk in zip(places, inner_chunk[1:], strict=True) if chunk == 1]
    curve = [place for place, chunk in zip(places, inner_chunk[1:], strict=True) if chunk != 1]
    return np.lexsort((channel, _along_curve(curve, channel.size), *reversed(slices)))


def _along_curve(places: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """The bits of all coordinates in turn, the last one's lowest first; an axis that is short runs out of bits."""
    key = np.zeros(count, np.int64)
    wanted = 0
    for bit in range(max((int(place.max(initial=0)).bit_length() for place in places), default=0)):
        for place in reversed(places):
            if int(place.max(initial=0)).bit_length() > bit:
                key |= (place >> bit & 1) << wanted
                wanted += 1
    return key


def write_zarr_shard(
    array: Array,
    inner_chunk: Sequence[int],
    codec: Blosc,
    path: Path,
    *,
    order: NDArray[np.int64] | None = None,
    threads: int | None = 1,
) -> None:
    """Write an array as one shard: its compressed chunks, then their table (offset, bytes) and its CRC-32C.

    array: any view, in memory or spooled. Chunks at the far edges are filled up with zeros; a chunk of zeros is left
    out, and an array of zeros altogether: then no file is made, which in Zarr means the same. The shard has
    little-endian numbers.
    order: numbers of the chunks as they follow each other in the file; by default, C order. The table is in C order.
    threads: how many compress; None for every available core. A few chunks for each are in memory at a time.
    """
    grid = chunk_grid(array.shape, inner_chunk)
    written = np.arange(math.prod(grid)) if order is None else order
    read = _memory_order(array, grid) if is_spooled(array) else written

    rooms = threading.local()

    def encode(number: int) -> bytes:
        # One room a thread: the system takes as long to hand out new memory for a chunk as copying it takes.
        if not hasattr(rooms, "chunk"):
            rooms.chunk = np.empty(tuple(inner_chunk), array.dtype.newbyteorder("<"))
        copy_chunk(array, np.unravel_index(number, grid), rooms.chunk)
        return _encoded(rooms.chunk, codec)

    encoded = _in_threads(encode, read, threads or available_threads())
    between_releases = max(1, RELEASE_BYTES // max(1, math.prod(inner_chunk) * array.itemsize))
    blobs = _without_empty(_releasing(array, encoded, between_releases))
    first = next(blobs, None)
    if first is None:
        return
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        if np.array_equal(read, written):
            table = _append(itertools.chain([first], blobs), len(read), stream)
        else:
            with tempfile.TemporaryFile(dir=path.parent) as parts:
                found = _append(itertools.chain([first], blobs), len(read), parts)
                table = _append(_in_order(parts, found, written), len(read), stream)
        stream.write(CRC32C(location="end").encode(table))


def _memory_order(array: Array, grid: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the chunks of a spooled array, so that its file is read once from one end to the other.

    A sagittal series in canonical orientation has its slices along the last axis: in C order every row of chunks would
    touch every page of the file.
    """
    numbers = np.arange(math.prod(grid)).reshape(grid)
    return numbers.transpose(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))).ravel()


def _releasing(array: Array, encoded: Iterator[tuple[int, bytes]], every: int) -> Iterator[tuple[int, bytes]]:
    """The same chunks; the pages of a spooled array go back to the system from time to time and at the end."""
    for done, chunk in enumerate(encoded, start=1):
        if done % every == 0:
            release_pages(array)
        yield chunk
    release_pages(array)


def _without_empty(encoded: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    return ((number, blob) for number, blob in encoded if blob)


def _in_threads(encode: Callable[[int], bytes], order: NDArray[np.int64], threads: int) -> Iterator[tuple[int, bytes]]:
    """Results in the given order; never more than three chunks a thread are under way."""
    if threads == 1 or len(order) == 1:
        yield from ((int(number), encode(int(number))) for number in order)
        return
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="zarr-shard") as pool:
        for number in map(int, order):
            waiting.append((number, pool.submit(encode, number)))
            if len(waiting) > 3 * threads:
                done, result = waiting.popleft()
                yield done, result.result()
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()


def copy_chunk(array: Array, place: Sequence[int | np.integer], chunk: Array) -> None:
    """Fill `chunk` with one chunk of an array, and with zeros beyond the edge of the array."""
    part = array[
        tuple(slice(int(at) * size, (int(at) + 1) * size) for at, size in zip(place, chunk.shape, strict=True))
    ]
    if part.shape != chunk.shape:
        chunk.fill(0)
    target = chunk[tuple(slice(size) for size in part.shape)]
    if _runs_backwards(part) and part.dtype == target.dtype and target.shape[-1] * target.itemsize % 8 == 0:
        _copy_backwards(part, target)
    else:
        target[...] = part


def _runs_backwards(part: Array) -> bool:
    return part.strides[-1] == -part.itemsize and part.itemsize < 8


def _copy_backwards(part: Array, target: Array) -> None:
    """Copy rows that run backwards in memory, as the rows of most CTs do, in half the time of numpy, which goes number
    by number: eight bytes at a time are turned round, and then each number's own bytes are turned back."""
    forwards = np.ascontiguousarray(part[..., ::-1]).view(">u8")
    np.copyto(target.view("=u8"), forwards[..., ::-1])
    if target.itemsize > 1:
        target.byteswap(inplace=True)


def _encoded(chunk: Array, codec: Blosc) -> bytes:
    """The compressed bytes; none of a chunk of zeros. A negative zero is not one: it would lose its sign."""
    bits = chunk.view(np.uint8) if chunk.dtype.kind == "f" else chunk
    # The first row answers for most images: of -1000 HU, or of noise.
    empty = not bits[(0,) * (bits.ndim - 1)].any() and not bits.any()
    return b"" if empty else bytes(codec.encode(chunk))


def _append(blobs: Iterator[tuple[int, bytes]], chunks: int, stream: IO[bytes]) -> NDArray[np.uint64]:
    """Write compressed chunks one after the other; returns the table (offset, bytes) by number of the chunk."""
    table = np.full((chunks, 2), EMPTY_CHUNK, "<u8")
    offset = 0
    for number, blob in blobs:
        stream.write(blob)
        table[number] = offset, len(blob)
        offset += len(blob)
    return table


def _in_order(parts: IO[bytes], table: NDArray[np.uint64], order: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    for number in order.tolist():
        offset, size = table[number].tolist()
        if offset != EMPTY_CHUNK:
            parts.seek(offset)
            yield number, parts.read(size)
