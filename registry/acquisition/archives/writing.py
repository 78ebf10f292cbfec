"""Members become files: only regular ones, only new ones, hashed and checked while they are written."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol

from medshard.registry.acquisition.archives.faults import Origin, clash, disk_full, shown, unsafe
from medshard.registry.acquisition.archives.inflating import BLOCK_BYTES, GzipCheck
from medshard.registry.acquisition.archives.limits import Account
from medshard.registry.acquisition.archives.members import Entry, LeftOut, Member
from medshard.registry.acquisition.archives.names import Taken, is_junk, leads_outside, safe_path, strip_folders

FILE_MODE = 0o644
MAX_LINK_BYTES = 4096
SEEN_NAMES = 1000
# getattr: Windows has no such flag, and there the folder is just as fresh.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Sink(Protocol):
    """Takes the bytes of one member."""

    def write(self, block: bytes | memoryview) -> None: ...


@dataclass(kw_only=True)
class Writing:
    """All that becomes of one outermost archive.

    taken: paths in the tree. members: what was written, by path. tools: name -> version of what read the archives.
    """

    tree: Path
    account: Account
    taken: Taken = field(default_factory=Taken)
    members: dict[str, Member] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[str, str, Origin]] = field(default_factory=list)
    _folders: set[str] = field(default_factory=set)

    def make_folder(self, path: str) -> None:
        """Make a folder of the tree, once: a set of slices has thousands of files in each."""
        if path not in self._folders:
            (self.tree / path).mkdir(parents=True, exist_ok=True)
            self._folders.add(path)


@dataclass(kw_only=True)
class Intake:
    """What decides on the members of one archive. below: folder of the tree that it is unpacked in.

    is_archive: tells by the name whether a member will be unpacked itself, and is then checked in doing so.
    """

    writing: Writing
    origin: Origin
    include: Sequence[str] = ("*",)
    strip: int = 0
    below: PurePosixPath = field(default_factory=PurePosixPath)
    is_archive: Callable[[str], bool] = lambda name: False  # noqa: ARG005
    seen: list[str] = field(default_factory=list)

    def accept(self, entry: Entry) -> Place | None:
        """Where the bytes of a member go; None when nobody wants them.

        Raises AcquisitionError: archive.unsafe, archive.limit.
        """
        self.writing.account.member(self.origin)
        if not self.wants(entry):
            return None
        path = self._path(entry)
        if entry.form == "device":
            raise unsafe(self.origin, entry.name, "is a device, a pipe or a socket")
        return self._place(entry.name, path)

    def wants(self, entry: Entry) -> bool:
        """Whether a member is selected; folders are made when a file needs them."""
        if entry.form == "folder":
            return False
        if len(self.seen) < SEEN_NAMES:
            self.seen.append(entry.name)
        if not self.selects(entry.name):
            return False
        if is_junk(entry.name):
            self._leave_out(entry.name, "junk of a desktop")
            return False
        return True

    def selects(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.include)

    def link(self, entry: Entry, target: str) -> None:
        """Note a link, which is never made. Raises AcquisitionError[archive.unsafe] when it leads outside.

        A hard link to a file that has been written already is a second name of the same bytes: it becomes a copy.
        """
        self.writing.account.member(self.origin)
        if not self.wants(entry):
            return
        path, is_hard = self._path(entry), entry.form == "hard link"
        if leads_outside(entry.name, target, hard=is_hard):
            raise unsafe(self.origin, entry.name, f"is a link that leads outside, to {shown(target)}")
        linked = self.writing.members.get(str(self._path(replace(entry, name=target)))) if is_hard else None
        if linked is not None:
            self._copy(linked, self._place(entry.name, path))
            return
        self._leave_out(entry.name, f"a {'hard ' if is_hard else ''}link to {shown(target)}")

    def _copy(self, linked: Member, place: Place) -> None:
        self.expect(linked.size)
        with place.open() as sink, (self.writing.tree / linked.path).open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                sink.write(block)

    def _place(self, name: str, path: PurePosixPath) -> Place:
        if self.writing.taken.take(path, origin=self.origin):
            return NewFile(self, name, path)
        return SecondCopy(self, name, path)

    def expect(self, size: int) -> None:
        self.writing.account.expect(size, self.origin)

    def damaged(self, problem: str) -> None:
        """Note that something is wrong with the archive itself although it could be unpacked."""
        self.writing.damaged[self.origin.archives[-1]] = problem

    def _path(self, entry: Entry) -> PurePosixPath:
        limits = self.writing.account.limits
        path = safe_path(entry.name, origin=self.origin, limits=limits)
        own = strip_folders(path, self.strip) if self.strip else path
        return safe_path(str(self.below / own), origin=self.origin, limits=limits) if self.below.parts else own

    def _leave_out(self, name: str, why: str) -> None:
        inside = " > ".join((*self.origin.archives[1:], name))
        self.writing.left_out.append(LeftOut(name=inside, why=why))


@dataclass(frozen=True, slots=True)
class NewFile:
    """A member that becomes a file of the tree."""

    intake: Intake
    name: str
    path: PurePosixPath

    @contextmanager
    def open(self) -> Iterator[Sink]:
        """A sink for the member's bytes. After an error the file is gone, and the place may be opened again."""
        writing, origin = self.intake.writing, self.intake.origin
        path = str(self.path)
        target = f"{writing.tree}/{path}"
        with _disk(origin):
            writing.make_folder(path.rpartition("/")[0])
            descriptor = os.open(target, _NEW_FILE, FILE_MODE)
        check = None
        if self.name.lower().endswith((".gz", ".tgz")) and not self.intake.is_archive(self.name):
            check = GzipCheck()
        sink = FileSink(descriptor, writing.account, origin, check)
        try:
            try:
                yield sink
            finally:
                os.close(descriptor)
        except BaseException:
            Path(target).unlink(missing_ok=True)
            writing.account.release(sink.size)
            raise
        problem = check.verdict() if check is not None else None
        if problem is not None:
            writing.damaged[path] = problem
        writing.members[path] = Member(
            path=path, size=sink.size, sha256=sink.digest.hexdigest(), archives=origin.archives, member=self.name
        )


@dataclass(frozen=True, slots=True)
class SecondCopy:
    """A member whose path is taken: it is only hashed, and must be equal to the file that is there."""

    intake: Intake
    name: str
    path: PurePosixPath

    @contextmanager
    def open(self) -> Iterator[Sink]:
        writing, origin = self.intake.writing, self.intake.origin
        sink = HashSink(writing.account, origin)
        yield sink
        writing.copies.append((str(self.path), sink.digest.hexdigest(), origin))


Place = NewFile | SecondCopy


class FileSink:
    """Writes, hashes and, for gzip data, checks."""

    def __init__(self, descriptor: int, account: Account, origin: Origin, check: GzipCheck | None) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._descriptor = descriptor
        self._account = account
        self._origin = origin
        self._check = check

    def write(self, block: bytes | memoryview) -> None:
        for piece in _pieces(block):
            self._account.write(len(piece), self._origin)
            self.size += len(piece)
            with _disk(self._origin):
                _write_all(self._descriptor, piece)
            self.digest.update(piece)
            if self._check is not None:
                self._check.feed(bytes(piece))


class HashSink:
    """Hashes and keeps nothing."""

    def __init__(self, account: Account, origin: Origin) -> None:
        self.digest = hashlib.sha256()
        self._account = account
        self._origin = origin

    def write(self, block: bytes | memoryview) -> None:
        self._account.write(len(block), self._origin, kept=False)
        self.digest.update(block)


class LinkText:
    """Takes the target of a link where an archive keeps it as the content of the member."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, block: bytes | memoryview) -> None:
        if self._size <= MAX_LINK_BYTES:
            self._pieces.append(bytes(block[: MAX_LINK_BYTES + 1]))
        self._size += len(block)

    @property
    def text(self) -> str:
        """The target; empty, which leads nowhere and is refused, when it is too long."""
        return "" if self._size > MAX_LINK_BYTES else b"".join(self._pieces).decode(errors="surrogateescape")


def check_copies(writing: Writing) -> None:
    """Raise AcquisitionError[archive.clash] for a second member of the same path whose bytes are others."""
    for path, sha256, origin in writing.copies:
        there = writing.members.get(path)
        if there is not None and there.sha256 != sha256:
            raise clash(origin, path, "comes more than once, with different bytes")
    writing.copies.clear()


def _pieces(block: bytes | memoryview) -> Iterator[bytes | memoryview]:
    if len(block) <= BLOCK_BYTES:
        yield block
        return
    view = memoryview(block)
    for start in range(0, len(view), BLOCK_BYTES):
        yield view[start : start + BLOCK_BYTES]


def _write_all(descriptor: int, block: bytes | memoryview) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _disk(origin: Origin) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise disk_full(origin, needed="unknown", free="nothing") from error
