"""The reader with a watch on it: how long finding bytes, decoding and drawing voxels take inside of a batch.

The functions are the data set's own. While a batch is watched, the three of them are called through a watch, which is
why a measurement must not run beside another reader of the same process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from medshard.loaders import items, window_reading
from medshard.loaders.diagnosis.file_ranges import Asked, forget, found_in, ranges_of, read_ranges
from medshard.loaders.foreground import VoxelDraw
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.sample_row import EMPTY_CHUNK, StoredArray
from medshard.loaders.shard_bytes import AnyStore, Found, Pieces
from medshard.loaders.windows import Scale

_COMPRESSORS = ("blosclz", "lz4", "snappy", "zlib", "zstd")
_MEMCPYED = 2  # Blosc's flag of chunks that are stored as they are


@dataclass
class Watched:
    """What was seen, in seconds and bytes. reading_s: all of the time in the store, cold, warm and the watch itself."""

    cold_s: float = 0.0
    warm_s: float = 0.0
    cold_cpu_s: float = 0.0
    warm_cpu_s: float = 0.0
    reading_s: float = 0.0
    reading_cpu_s: float = 0.0
    decode_s: float = 0.0
    decode_cpu_s: float = 0.0
    foreground_s: float = 0.0
    foreground_cpu_s: float = 0.0
    waits: int = 0
    needed_bytes: int = 0
    read_bytes: int = 0
    used_bytes: int = 0
    touched_bytes: int = 0
    codecs: set[str] = field(default_factory=set)
    largest: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    asked: list[tuple[AnyStore, list[Asked]]] = field(default_factory=list)

    @property
    def inner_s(self) -> float:
        return self.reading_s + self.decode_s

    @property
    def inner_cpu_s(self) -> float:
        return self.reading_cpu_s + self.decode_cpu_s


@contextmanager
def watching() -> Iterator[Watched]:
    """What is read inside of this block goes through a watch; bytes of files come by plain reads, cold and warm."""
    seen = Watched()
    plain = [(module, name, getattr(module, name)) for module, name, _ in _WATCHED]
    for (module, name, function), (_, _, watch) in zip(plain, _WATCHED, strict=True):
        setattr(module, name, watch(seen, function))
    try:
        yield seen
    finally:
        for module, name, function in plain:
            setattr(module, name, function)


def _finding(seen: Watched, find: Callable[[AnyStore, Sequence[Pieces]], list[Found]]) -> Callable[..., list[Found]]:
    def find_bytes(store: AnyStore, asked: Sequence[Pieces]) -> list[Found]:
        began, began_cpu = time.perf_counter(), time.thread_time()
        wanted = ranges_of(asked)
        seen.asked.append((store, wanted))
        seen.needed_bytes += _needed_bytes(asked)
        seen.read_bytes += sum(each.ranges.nbytes for each in wanted)
        if isinstance(store, RemoteStore):
            seen.waits += bool(wanted)
            found = _from_remote(seen, find, store, asked)
        else:
            seen.waits += sum(len(each.ranges) for each in wanted)
            found = _from_files(seen, find, store, asked, wanted)
        seen.reading_s += time.perf_counter() - began
        seen.reading_cpu_s += time.thread_time() - began_cpu
        return found

    return find_bytes


def _from_files(
    seen: Watched,
    find: Callable[[AnyStore, Sequence[Pieces]], list[Found]],
    store: AnyStore,
    asked: Sequence[Pieces],
    wanted: Sequence[Asked],
) -> list[Found]:
    try:
        forget(store, wanted)
        buffers, cold, cold_cpu = _timed(lambda: read_ranges(store, wanted))
        _, warm, warm_cpu = _timed(lambda: read_ranges(store, wanted))
    except (OSError, EOFError):
        return find(store, asked)  # which says what is wrong with the file
    seen.cold_s, seen.cold_cpu_s = seen.cold_s + cold, seen.cold_cpu_s + cold_cpu
    seen.warm_s, seen.warm_cpu_s = seen.warm_s + warm, seen.warm_cpu_s + warm_cpu
    return found_in(asked, wanted, buffers)


def _from_remote(
    seen: Watched,
    find: Callable[[AnyStore, Sequence[Pieces]], list[Found]],
    store: RemoteStore,
    asked: Sequence[Pieces],
) -> list[Found]:
    found, cold, cold_cpu = _timed(lambda: find(store, asked))
    warm, warm_cpu = cold, cold_cpu
    if store.cache_bytes is not None:
        found, warm, warm_cpu = _timed(lambda: find(store, asked))
    seen.cold_s, seen.cold_cpu_s = seen.cold_s + cold, seen.cold_cpu_s + cold_cpu
    seen.warm_s, seen.warm_cpu_s = seen.warm_s + warm, seen.warm_cpu_s + warm_cpu
    return found


def _decoding(seen: Watched, decode: Callable[..., None]) -> Callable[..., None]:
    def decode_box(  # noqa: PLR0917 (what it stands for)
        source: Any,
        offsets: Any,
        nbytes: Any,
        array: StoredArray,
        start: Sequence[int],
        stop: Sequence[int],
        out: Any,
        scale: Scale | None = None,
    ) -> None:
        _, seconds, cpu = _timed(lambda: decode(source, offsets, nbytes, array, start, stop, out, scale))
        seen.decode_s += seconds
        seen.decode_cpu_s += cpu
        if not array.name.startswith("foreground/"):
            _note_box(seen, array, start, stop)
        stored = np.flatnonzero(nbytes != EMPTY_CHUNK)
        if len(stored):
            flags = bytes(memoryview(source)[int(offsets[stored[0]]) + 2 :][:1])[0]
            if not flags & _MEMCPYED and flags >> 5 < len(_COMPRESSORS):
                seen.codecs.add(_COMPRESSORS[flags >> 5])

    return decode_box


def _note_box(seen: Watched, array: StoredArray, start: Sequence[int], stop: Sequence[int]) -> None:
    used, touched = array.dtype.itemsize, array.dtype.itemsize
    for begin, end, chunk in zip(start, stop, array.inner_chunk, strict=True):
        used *= end - begin
        touched *= ((end - 1) // chunk - begin // chunk + 1) * chunk
    seen.used_bytes += used
    seen.touched_bytes += touched
    size = tuple(end - begin for begin, end in zip(start, stop, strict=True))[-3:]
    if len(size) == 3 and (seen.largest is None or np.prod(size) > np.prod(seen.largest[0])):
        seen.largest = size, tuple(array.inner_chunk[-3:])


def _drawing(seen: Watched, draw: Callable[..., Any]) -> Callable[..., Any]:
    def draw_foreground(asked: Sequence[tuple[Any, VoxelDraw]]) -> Any:
        inner, inner_cpu = seen.inner_s, seen.inner_cpu_s
        drawn, seconds, cpu = _timed(lambda: draw(asked))
        seen.foreground_s += seconds - (seen.inner_s - inner)
        seen.foreground_cpu_s += cpu - (seen.inner_cpu_s - inner_cpu)
        return drawn

    return draw_foreground


def _needed_bytes(asked: Sequence[Pieces]) -> int:
    """Stored bytes of the chunks, each counted once however many windows want it."""
    chunks = {
        (pieces.shard.digest, offset): nbytes
        for pieces in asked
        for offset, nbytes in zip(pieces.offsets.tolist(), pieces.nbytes.tolist(), strict=True)
        if nbytes != EMPTY_CHUNK
    }
    return sum(chunks.values())


def _timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """(result, seconds, computing seconds of this thread)"""
    began, began_cpu = time.perf_counter(), time.thread_time()
    result = call()
    return result, time.perf_counter() - began, time.thread_time() - began_cpu


_WATCHED: tuple[tuple[ModuleType, str, Callable[[Watched, Any], Any]], ...] = (
    (window_reading, "find_bytes", _finding),
    (window_reading, "decode_box", _decoding),
    (items, "draw_foreground", _drawing),
)
