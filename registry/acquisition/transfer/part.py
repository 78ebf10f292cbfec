"""An unfinished file: its bytes in `<target>.part`, what is known of them in `<target>.part.journal`."""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Self

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.disk_space import disk_full
from medshard.registry.acquisition.transfer.journal import Content, Journal, read_journal
from medshard.registry.acquisition.transfer.spans import Span, Spans

RECORD_BYTES = 256 << 10  # what a killed process loses at most, per connection
FLUSH_BYTES = 1 << 30  # what a machine that stops loses at most


def part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def journal_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.journal")


class Part:
    """Written by one process at a time. earlier: bytes that were here before this process came.

    done: the bytes that are here. content: what they are bytes of; None before the first answer.
    """

    def __init__(self, target: Path, descriptor: int, *, url: str, where: str, threads: Executor) -> None:
        self.target = target
        self.path = part_path(target)
        self.descriptor = descriptor
        self.url = url
        self.where = where
        self.content: Content | None = None
        self.done = Spans()
        self.earlier = 0
        self._threads = threads
        self._journal: Journal | None = None
        self._unflushed = 0
        self._flushing: Future[None] | None = None

    @classmethod
    def open(cls, target: Path, *, url: str, where: str, threads: Executor) -> Part:
        """Go on where an earlier process stopped, if it fetched from the same address.

        Raises AcquisitionError[download.busy] while another process writes the file.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part_path(target), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, target, where)
            part = cls(target, descriptor, url=url, where=where, threads=threads)
            part._take_over()
        except BaseException:
            os.close(descriptor)
            raise
        return part

    def _take_over(self) -> None:
        known = read_journal(journal_path(self.target))
        size_here = os.fstat(self.descriptor).st_size
        if known is None or known[0].url != self.url or (known[1].ends or [0])[-1] > size_here:
            self.restart()
            return
        self.content, self.done = known
        self.earlier = self.done.total
        self._journal = Journal.reopen(journal_path(self.target), self.content, self.done)
        self._flush()

    @property
    def size(self) -> int | None:
        return self.content.size if self.content else None

    @property
    def validator(self) -> str | None:
        return self.content.validator if self.content else None

    @property
    def is_begun(self) -> bool:
        return self.content is not None

    @property
    def has_no_end(self) -> bool:
        """Begun, but nobody has said where it ends."""
        return self.content is not None and self.content.size is None

    @property
    def is_whole(self) -> bool:
        return self.size is not None and self.done.prefix == self.size

    @property
    def kept(self) -> str:
        """How much is here, in words."""
        of = "" if self.size is None else f" of {self.size:,}"
        return f"{self.done.total:,}{of} bytes" if self.done.total else ""

    def gaps(self) -> list[Span]:
        return [] if self.size is None else self.done.gaps(self.size)

    def begin(self, *, size: int | None, validator: str | None) -> None:
        """Note what the first answer says of the file."""
        self.content = Content(url=self.url, size=size, validator=validator)
        self._close_journal()
        self._journal = Journal.reopen(journal_path(self.target), self.content, self.done)

    def restart(self) -> None:
        """Forget everything."""
        self._close_journal()
        journal_path(self.target).unlink(missing_ok=True)
        if os.fstat(self.descriptor).st_size:  # ext4 writes a file that was ever cut to the disk when it is closed
            os.ftruncate(self.descriptor, 0)
        self.content, self.done, self.earlier = None, Spans(), 0

    def stretch(self, start: int) -> Stretch:
        return Stretch(self, start)

    def write(self, offset: int, data: bytes) -> None:
        """Raises AcquisitionError[disk.full]."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.descriptor, view, offset)
                offset += written
                view = view[written:]
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                needed = None if self.size is None else self.size - self.done.total
                raise disk_full(self.target.parent, needed, where=self.where) from error
            raise

    def record(self, start: int, end: int) -> None:
        """Note in the journal that these bytes were written."""
        if self._journal is None or start >= end:
            return
        self._journal.record(start, end)
        self._unflushed += end - start
        if self._unflushed >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """In another thread: a disk may need many seconds for it."""
        if self._journal is not None and (self._flushing is None or self._flushing.done()):
            self._flushing = self._threads.submit(_flush, self.descriptor, self._journal, self._journal.records)
            self._unflushed = 0

    def _close_journal(self) -> None:
        if self._flushing is not None:
            self._flushing.result()
            self._flushing = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def close(self) -> None:
        """Leave what is here for the next call; of nothing, leave nothing."""
        self._close_journal()
        if not self.done.total:
            journal_path(self.target).unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Stretch:
    """Bytes that one connection writes one after the other. position: of the next byte."""

    def __init__(self, part: Part, start: int) -> None:
        self.position = start
        self._part = part
        self._recorded = start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record()

    def write(self, data: bytes) -> None:
        self._part.write(self.position, data)
        end = self.position + len(data)
        self._part.done.add(self.position, end)
        self.position = end
        if end - self._recorded >= RECORD_BYTES:
            self._record()

    def _record(self) -> None:
        self._part.record(self._recorded, self.position)
        self._recorded = self.position


def _flush(descriptor: int, journal: Journal, records: int) -> None:
    os.fdatasync(descriptor)
    journal.mark_flushed(records)


def _lock(descriptor: int, target: Path, where: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AcquisitionError(
            "download.busy",
            where=where,
            problem="another process is fetching this file",
            details={"file": target},
            action="Wait for it to finish, or end it.",
        ) from None
