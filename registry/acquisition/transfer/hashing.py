"""Digests of a file that is still being written.

In another thread, in the order of the file. What arrives in that order is hashed from memory while it is warm; what
was written out of turn, by another piece or an earlier process, is read back once the file has no gap before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

BLOCK_BYTES = 1 << 20
AT_LEAST_BYTES = 4 << 20  # less is not worth reading back yet
MOST_WAITING_BYTES = 32 << 20  # what may wait in memory; more is read back later


def kind_of(checksum: str) -> str:
    """`sha256`, `sha1` or `md5`."""
    return checksum.partition(":")[0]


@dataclass
class Hashing:
    """Used from the event loop's thread; only `_work_off` runs elsewhere.

    _handed: how far the file has been given to the thread. _hashed: how far it has come. _work: bytes, or the end of a
    stretch that is to be read back.
    """

    descriptor: int
    kinds: frozenset[str]
    threads: Executor
    _handed: int = 0
    _hashed: int = 0
    _stopped: bool = False
    _digests: Mapping[str, hashlib._Hash] = field(default_factory=dict)
    _work: deque[bytes | int] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: bool = False
    _task: Future[None] | None = None

    def __post_init__(self) -> None:
        self._digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(self.kinds)}

    def feed(self, start: int, data: bytes) -> None:
        """Take what was just written at `start`, if it is next and not too much waits already."""
        if start == self._handed and self._handed - self._hashed <= MOST_WAITING_BYTES:
            self._handed += len(data)
            self._hand(data)

    def advance(self, prefix: int) -> None:
        """Let what lies before `prefix` be read back, when it is worth it."""
        if prefix - self._handed >= AT_LEAST_BYTES:
            self._handed = prefix
            self._hand(prefix)

    async def finish(self, size: int) -> Mapping[str, str]:
        """Hex digests of the first `size` bytes, by kind. Raises OSError when the file ends before."""
        if self._handed < size:
            self._handed = size
            self._hand(size)
        while self._hashed < size:
            await self._rest()
        return {kind: digest.hexdigest() for kind, digest in self._digests.items()}

    async def stop(self) -> None:
        """Return when no thread reads the file any more."""
        self._stopped = True
        if self._task is not None:
            await asyncio.wait([asyncio.wrap_future(self._task)])

    async def _rest(self) -> None:
        """Wait for the thread to have nothing left. Whatever is handed over later starts a new task."""
        if self._task is not None:
            await asyncio.shield(asyncio.wrap_future(self._task))

    def _hand(self, work: bytes | int) -> None:
        with self._lock:
            self._work.append(work)
            if self._running:
                return
            self._running = True
        self._task = self.threads.submit(self._work_off)

    def _work_off(self) -> None:
        """Ends when nothing is left: a thread that waited would be missing elsewhere."""
        while True:
            with self._lock:
                if not self._work or self._stopped:
                    self._running = False
                    return
                work = self._work.popleft()
            if isinstance(work, int):
                self._read_back(work)
            else:
                self._hash(work)

    def _read_back(self, end: int) -> None:
        view = memoryview(bytearray(BLOCK_BYTES))
        while self._hashed < end and not self._stopped:
            length = os.preadv(self.descriptor, [view[: min(BLOCK_BYTES, end - self._hashed)]], self._hashed)
            if length == 0:
                raise OSError(f"the file ends at {self._hashed}, not at {end}")
            self._hash(view[:length])

    def _hash(self, data: bytes | memoryview) -> None:
        for digest in self._digests.values():
            digest.update(data)
        self._hashed += len(data)
