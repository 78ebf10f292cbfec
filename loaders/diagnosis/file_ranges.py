"""Reads of the bytes that windows need, as plain reads of ranges that can be timed apart from decoding."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.loaders.byte_ranges import Ranges, coalesce
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.sample_row import EMPTY_CHUNK
from medshard.loaders.shard_bytes import AnyStore, Found, Pieces
from medshard.registry.store.manifests import require_head
from medshard.registry.store.objects import ObjectRef, Store

REQUESTS = 9
REQUEST_BYTES = 512


@dataclass(frozen=True)
class Asked:
    """The ranges of one object that were read together."""

    shard: ObjectRef
    ranges: Ranges


def ranges_of(asked: Sequence[Pieces]) -> list[Asked]:
    """For each shard the ranges that hold all of its chunks; shards of which nothing is stored are left out."""
    by_shard: dict[ObjectRef, list[Pieces]] = {}
    for pieces in asked:
        by_shard.setdefault(pieces.shard, []).append(pieces)
    wanted = []
    for shard, of_shard in by_shard.items():
        offsets = np.concatenate([pieces.offsets for pieces in of_shard])
        nbytes = np.concatenate([pieces.nbytes for pieces in of_shard])
        stored = nbytes != EMPTY_CHUNK
        if stored.any():
            wanted.append(Asked(shard, coalesce(offsets[stored], nbytes[stored])))
    return wanted


def found_in(asked: Sequence[Pieces], wanted: Sequence[Asked], buffers: Sequence[bytes]) -> list[Found]:
    """What `shard_bytes.find_bytes` answers, out of the ranges that were read."""
    places = {each.shard: (each.ranges, buffer) for each, buffer in zip(wanted, buffers, strict=True)}
    found: list[Found] = []
    for pieces in asked:
        positions = np.zeros(len(pieces.offsets), np.uint64)
        stored = pieces.nbytes != EMPTY_CHUNK
        ranges, buffer = places.get(pieces.shard, (None, b""))
        if ranges is not None:
            positions[stored] = ranges.positions(pieces.offsets[stored])
        found.append((buffer, positions))
    return found


def read_ranges(store: AnyStore, wanted: Sequence[Asked]) -> list[bytes]:
    """For each object its ranges one behind the other: plain reads of files, or one round trip to a URL.

    Raises OSError for files that are gone and EOFError for files that are too short.
    """
    if isinstance(store, RemoteStore):
        asked = [(each.shard, start, end) for each in wanted for start, end in _pairs(each.ranges)]
        answers = iter(store.read_ranges(asked) if asked else [])
        return [b"".join(next(answers) for _ in range(len(each.ranges))) for each in wanted]
    return [_read_file(store.path(each.shard), each.ranges) for each in wanted]


def forget(store: AnyStore, wanted: Sequence[Asked]) -> None:
    """Ask the system to let go of what it keeps of these ranges in memory. Files that are mapped stay."""
    if isinstance(store, RemoteStore) or not hasattr(os, "posix_fadvise"):
        return
    for each in wanted:
        file = os.open(store.path(each.shard), os.O_RDONLY)
        try:
            for start, end in _pairs(each.ranges):
                os.posix_fadvise(file, start, end - start, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def forget_objects(store: Store, entry: str, plan: str) -> None:
    """Ask the system to let go of the index and the shards of an entry."""
    head = require_head(store, entry, "shards", plan)
    for name, ref in head.attachments.items():
        if name == "index" or name.startswith("shard-"):
            whole = Ranges(np.zeros(1, np.uint64), np.array([ref.size], np.uint64))
            forget(store, [Asked(ref, whole)])


def seconds_of_requests(store: AnyStore, batches: Sequence[Sequence[Asked]]) -> list[float]:
    """Seconds of requests for the first bytes of a range of different batches, forgotten before."""
    found = []
    for asked in [batch[-1] for batch in batches if batch][:REQUESTS]:
        start = asked.ranges.starts[:1]
        small = [Asked(asked.shard, Ranges(start, np.minimum(start + np.uint64(REQUEST_BYTES), asked.ranges.ends[:1])))]
        forget(store, small)
        began = time.perf_counter()
        read_ranges(store, small)
        found.append(time.perf_counter() - began)
    return found


def seconds_together(store: AnyStore, batches: Sequence[Sequence[Asked]], readers: int) -> float:
    """Seconds a batch while so many readers share the batches, each range forgotten before."""
    if not batches:
        return 0.0
    for batch in batches:
        forget(store, batch)
    started = time.perf_counter()
    with ThreadPoolExecutor(readers) as pool:  # reads let go of the GIL
        list(pool.map(lambda batch: read_ranges(store, batch), batches))
    return (time.perf_counter() - started) / len(batches)


def _pairs(ranges: Ranges) -> list[tuple[int, int]]:
    return list(zip(ranges.starts.tolist(), ranges.ends.tolist(), strict=True))


def _read_file(path: Path, ranges: Ranges) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        pieces = [_read_piece(file, start, end) for start, end in _pairs(ranges)]
    finally:
        os.close(file)
    return b"".join(pieces)


def _read_piece(file: int, start: int, end: int) -> bytes:
    data = os.pread(file, end - start, start)
    while len(data) < end - start:  # a read may give less than asked for
        more = os.pread(file, end - start - len(data), start + len(data))
        if not more:
            raise EOFError(f"{end - start} bytes at {start} were asked for, {len(data)} are there")
        data += more
    return data
