"""One file while it is put together: its part on the disk, its digests, and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.disk_space import require_space
from medshard.registry.acquisition.transfer.faults import ContentChangedError
from medshard.registry.acquisition.transfer.hashing import Hashing, kind_of
from medshard.registry.acquisition.transfer.part import Part, Stretch
from medshard.registry.acquisition.transfer.progress import FileProgress
from medshard.registry.acquisition.transfer.wanted import Wanted


class Assembly:
    """transferred: bytes that came in this call. attempts: requests that were made in it."""

    def __init__(self, wanted: Wanted, part: Part, progress: FileProgress, threads: Executor) -> None:
        self.wanted = wanted
        self.part = part
        self.transferred = 0
        self.attempts = 0
        self._progress = progress
        self._threads = threads
        self._hashing = self._new_hashing()

    def _new_hashing(self) -> Hashing:
        stated = {kind_of(self.wanted.checksum)} if self.wanted.checksum else set()
        return Hashing(self.part.descriptor, frozenset({"sha256", *stated}), self._threads)

    def settle(self, *, size: int | None, validator: str | None) -> None:
        """Compare what a host says of the file with what is stated and with what it said before.

        Raises AcquisitionError[download.size, disk.full], ContentChangedError.
        """
        known = self.part.content
        if known is None:
            if size is not None:
                self._require_size(size)
            self.part.begin(size=size, validator=validator)
        elif size is not None and known.size is not None and size != known.size:
            raise ContentChangedError(f"its size was {known.size:,} bytes and is {size:,} bytes")
        elif known.validator and validator and validator != known.validator:
            raise ContentChangedError("its ETag or date of change is another one")

    def _require_size(self, size: int) -> None:
        wanted = self.wanted
        if wanted.size is None:
            require_space([(wanted.target, size)], where=wanted.where)
        elif wanted.size != size:
            raise self.wrong_size(expected=wanted.size, found=size)
        self._progress.sized(size)

    def end_here(self) -> None:
        """The host has sent everything of a file whose size it did not say. Raises AcquisitionError[download.size]."""
        size = self.part.done.prefix
        if self.wanted.size is not None and self.wanted.size != size:
            raise self.wrong_size(expected=self.wanted.size, found=size)
        self.part.begin(size=size, validator=self.part.validator)

    def wrong_size(self, *, expected: int, found: int) -> AcquisitionError:
        return AcquisitionError(
            "download.size",
            where=self.wanted.where,
            problem=f"{self.wanted.name} has not the size that is stated",
            details={
                "address": self.wanted.url,
                "expected": f"{expected:,} bytes",
                "found": f"{found:,} bytes",
            },
            action="The publisher may have replaced the file: review the change and update the catalog.",
        )

    def write(self, stretch: Stretch, data: bytes) -> None:
        start = stretch.position
        stretch.write(data)
        self._hashing.feed(start, data)
        self.transferred += len(data)
        self._progress.add(len(data))
        self._hashing.advance(self.part.done.prefix)

    async def restart(self) -> None:
        """Begin anew, with nothing."""
        await self._hashing.stop()
        self.part.restart()
        self._progress.restart()
        self._hashing = self._new_hashing()

    async def digests(self) -> Mapping[str, str]:
        """Of the whole file, by kind."""
        return await self._hashing.finish(self.part.size or 0)

    async def close(self) -> None:
        await self._hashing.stop()
        self.part.close()
        self._progress.close()


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; the first that fails ends the others, and this raises its error when all have ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
