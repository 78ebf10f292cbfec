"""Where the bytes of chunks come from: shard files that are mapped, or ranges of objects behind a URL.

What a process has open belongs to it alone: a forked child finds another process number and opens its own.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.errors import StoreError
from medshard.loaders.block_cache import BLOCK_BYTES, BlockCache
from medshard.loaders.byte_ranges import Ranges, coalesce, whole_blocks
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.sample_row import EMPTY_CHUNK
from medshard.registry.store.objects import ObjectRef, Store

AnyStore = Store | RemoteStore

MAPS_KEPT = 256
# Pages of shards that a process has looked at count as its own until they are given back; they stay in memory.
BYTES_BETWEEN_RELEASES = 32 << 20


@dataclass(frozen=True)
class Pieces:
    """Chunks of one shard file: their offsets in the file and their bytes, uint64; `EMPTY_CHUNK` bytes for none."""

    shard: ObjectRef
    offsets: NDArray[np.uint64]
    nbytes: NDArray[np.uint64]


Found = tuple[Any, NDArray[np.uint64]]
"""(buffer, position of each chunk in it)."""


def find_bytes(store: AnyStore, asked: Sequence[Pieces]) -> list[Found]:
    """The bytes of the chunks that are asked for together, in one round trip.

    Raises StoreError[shard.missing|shard.torn|shard.range|store.unreachable] naming the shard.
    """
    opened = _OPENED.here()
    if isinstance(store, RemoteStore):
        return _fetch(store, asked, opened)
    return [(opened.map(store, pieces), pieces.offsets) for pieces in asked]


def place_of(store: AnyStore, ref: ObjectRef) -> str:
    """The path or URL of an object, for people."""
    return store.place(ref) if isinstance(store, RemoteStore) else str(store.path(ref))


@dataclass
class _Open:
    """The files that a process has open."""

    maps: OrderedDict[tuple[Path, str], mmap.mmap] = field(default_factory=OrderedDict)
    looked_at: int = 0
    caches: dict[Path, BlockCache] = field(default_factory=dict)

    def map(self, store: Store, pieces: Pieces) -> memoryview:
        key = (store.root, pieces.shard.digest)
        mapped = self.maps.get(key)
        if mapped is None:
            mapped = self.maps[key] = _map_shard(store.path(pieces.shard), pieces.shard.size)
            if len(self.maps) > MAPS_KEPT:  # each holds a file descriptor
                self.maps.popitem(last=False)
        self.maps.move_to_end(key)
        self.looked_at += int((pieces.nbytes + np.uint64(1)).sum())  # which is 0 of `EMPTY_CHUNK`
        if self.looked_at > BYTES_BETWEEN_RELEASES:
            self._release()
        return memoryview(mapped)

    def cache_of(self, store: RemoteStore, cap: int) -> BlockCache:
        path = store.cache / "blocks"
        if path not in self.caches:
            self.caches[path] = BlockCache(path, cap)
        return self.caches[path]

    def _release(self) -> None:
        self.looked_at = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self.maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)


@dataclass
class _Opened:
    pid: int = -1
    files: _Open = field(default_factory=_Open)

    def here(self) -> _Open:
        pid = os.getpid()
        if pid != self.pid:
            self.pid, self.files = pid, _Open()
        return self.files


_OPENED = _Opened()


def _map_shard(path: Path, size: int) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno()).st_size
            if found == size:
                return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise StoreError(
            "shard.missing",
            where=str(path),
            problem="a shard that the index names is not there",
            action="Build the shards stage again; it makes what is missing.",
        ) from error
    raise StoreError(
        "shard.torn",
        where=str(path),
        problem="the shard has not the size that it was published with",
        details={"expected": f"{size} bytes", "found": f"{found} bytes"},
        action="Remove it and build the shards stage again.",
    )


def _fetch(store: RemoteStore, asked: Sequence[Pieces], opened: _Open) -> list[Found]:
    """Shard by shard the ranges that hold all of its chunks, whichever window wants them; all of them at once."""
    by_shard: dict[ObjectRef, list[int]] = {}
    for number, pieces in enumerate(asked):
        by_shard.setdefault(pieces.shard, []).append(number)
    wanted = {shard: _joined([asked[number] for number in numbers]) for shard, numbers in by_shard.items()}
    if store.cache_bytes is None:
        buffers = _read_ranges(store, {shard: ranges for shard, ranges in wanted.items() if len(ranges)})
    else:
        cache = opened.cache_of(store, store.cache_bytes)
        wanted = {
            shard: whole_blocks(ranges, BLOCK_BYTES, shard.size) if len(ranges) else ranges
            for shard, ranges in wanted.items()
        }
        buffers = _through_cache(store, cache, wanted)
    return [
        (buffers.get(pieces.shard, b""), _positions(wanted[pieces.shard], pieces.offsets, pieces.nbytes))
        for pieces in asked
    ]


def _joined(asked: Sequence[Pieces]) -> Ranges:
    offsets = np.concatenate([pieces.offsets for pieces in asked])
    nbytes = np.concatenate([pieces.nbytes for pieces in asked])
    stored = nbytes != EMPTY_CHUNK
    if not stored.any():
        return Ranges(offsets[:0], offsets[:0])
    return coalesce(offsets[stored], nbytes[stored])


def _positions(ranges: Ranges, offsets: NDArray[np.uint64], nbytes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    stored = nbytes != EMPTY_CHUNK
    positions = np.zeros(len(offsets), np.uint64)
    positions[stored] = ranges.positions(offsets[stored])
    return positions


def _read_ranges(store: RemoteStore, wanted: dict[ObjectRef, Ranges]) -> dict[ObjectRef, bytes]:
    """For each object the bytes of its ranges, one behind the other."""
    asked = [
        (shard, start, end)
        for shard, ranges in wanted.items()
        for start, end in zip(ranges.starts.tolist(), ranges.ends.tolist(), strict=True)
    ]
    answers = iter(store.read_ranges(asked) if asked else [])
    return {shard: b"".join([next(answers) for _ in range(len(ranges))]) for shard, ranges in wanted.items()}


def _through_cache(store: RemoteStore, cache: BlockCache, wanted: dict[ObjectRef, Ranges]) -> dict[ObjectRef, bytes]:
    """The same, block by block: those that the cache has from there, the others from the store and into it."""
    found = {
        (shard, start): cache.get(shard.digest, start // BLOCK_BYTES)
        for shard, blocks in wanted.items()
        for start in blocks.starts.tolist()
    }
    missing: dict[ObjectRef, Ranges] = {}
    for shard, blocks in wanted.items():
        absent = np.array([found[shard, start] is None for start in blocks.starts.tolist()], np.bool_)
        if absent.any():
            missing[shard] = coalesce(blocks.starts[absent], (blocks.ends - blocks.starts)[absent])
    fetched = _read_ranges(store, missing)
    for (shard, start), block in found.items():
        if block is None:
            place = int(missing[shard].positions(np.array([start], np.uint64))[0])
            block = fetched[shard][place : place + min(BLOCK_BYTES, shard.size - start)]  # noqa: PLW2901
            cache.put(shard.digest, start // BLOCK_BYTES, block)
            found[shard, start] = block
    return {
        shard: b"".join([found[shard, start] or b"" for start in blocks.starts.tolist()])
        for shard, blocks in wanted.items()
    }
