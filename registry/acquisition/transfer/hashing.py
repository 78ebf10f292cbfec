"""Digests of a file that is still being written.

The bytes are read back from the page cache in order, in another thread, as far as the file has no gap: pieces that
arrive side by side and files that go on from an earlier process are hashed alike.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

BLOCK_BYTES = 1 << 20
AT_LEAST_BYTES = 4 << 20  # less is not worth waking a thread for


def kind_of(checksum: str) -> str:
    """`sha256`, `sha1` or `md5`."""
    return checksum.partition(":")[0]


@dataclass
class Hashing:
    """Used from the event loop's thread; only `_read` runs elsewhere."""

    descriptor: int
    kinds: frozenset[str]
    threads: Executor
    _position: int = 0
    _stopped: bool = False
    _digests: Mapping[str, hashlib._Hash] = field(default_factory=dict)
    _running: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self._digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(self.kinds)}

    def advance(self, prefix: int) -> None:
        """Hash up to `prefix` in the background, unless it is being done or not worth it yet."""
        if self._current() is None and prefix - self._position >= AT_LEAST_BYTES:
            self._start(prefix)

    async def finish(self, size: int) -> Mapping[str, str]:
        """Hex digests of the first `size` bytes, by kind."""
        while self._position < size:
            await asyncio.shield(self._current() or self._start(size))
        return {kind: digest.hexdigest() for kind, digest in self._digests.items()}

    async def stop(self) -> None:
        """Return when no thread reads the file any more."""
        self._stopped = True
        if self._running is not None:
            await asyncio.wait([self._running])

    def _current(self) -> asyncio.Future[None] | None:
        """The reading that is under way. Asked of the future itself, not noted by a callback of it: whoever awaits a
        future that is done gives callbacks no turn, and would wait forever."""
        return None if self._running is None or self._running.done() else self._running

    def _start(self, end: int) -> asyncio.Future[None]:
        self._running = asyncio.get_running_loop().run_in_executor(self.threads, self._read, end)
        return self._running

    def _read(self, end: int) -> None:
        buffer = bytearray(BLOCK_BYTES)
        view = memoryview(buffer)
        while self._position < end and not self._stopped:
            length = os.preadv(self.descriptor, [view[: min(BLOCK_BYTES, end - self._position)]], self._position)
            if length == 0:
                raise OSError(f"the file ends at {self._position}, not at {end}")
            for digest in self._digests.values():
                digest.update(view[:length])
            self._position += length
