"""The programs of this machine that unpack rar archives, and what they print cut into members.

A program runs once for a whole archive and prints all members; the stream is cut by the sizes of the directory and
every piece compared with its checksum. So a solid archive is unpacked once and not once for each member, no name is
ever taken for a pattern, and where one program fails (none reads every version of the format) the next takes over.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from medshard.registry.acquisition.archives.blocks import Bytes
from medshard.registry.acquisition.archives.faults import no_tool, password_needed, unreadable
from medshard.registry.acquisition.archives.inflating import BLOCK_BYTES, BadDataError
from medshard.registry.acquisition.archives.volumes import Volumes
from medshard.registry.acquisition.archives.writing import Intake, Place, Sink

STORED = 0x30
TWEAKED_CHECKSUM = 2
SAID_BYTES = 4000


@dataclass(frozen=True)
class Tool:
    """A program that prints all members. password: its switch, None when it knows none; it is joined to the value."""

    command: tuple[str, ...]
    password: str | None
    no_password: tuple[str, ...] = ()
    joined: bool = True
    asked_version: tuple[str, ...] = ()


TOOLS = (
    Tool(("unrar", "p", "-inul", "-y"), "-p", ("-p-",)),
    Tool(("unar", "-q", "-o", "-"), "-p", ("-p", ""), joined=False, asked_version=("-version",)),
    Tool(("7z", "e", "-so", "-bb0", "-y"), "-p"),
    Tool(("7zz", "e", "-so", "-bb0", "-y"), "-p"),
    Tool(("bsdtar", "-x", "-O", "-f"), None, asked_version=("--version",)),
)


class Checksum(Protocol):
    def update(self, data: bytes | memoryview) -> None: ...
    def fits(self) -> bool: ...


@dataclass(frozen=True)
class RarJob:
    """A member that a program has to unpack; place is None when nobody wants it."""

    info: Any
    place: Place | None


def is_plain(info: Any) -> bool:
    """Whether the bytes lie there as they are, so that no program is needed."""
    return info.compress_type == STORED and not info.needs_password()


@dataclass(frozen=True)
class RarArchive:
    volumes: Volumes
    jobs: Sequence[RarJob]
    links: Sequence[Any]
    intake: Intake
    encrypted: bool
    password: str | None

    @property
    def first_part(self) -> str:
        return str(self.volumes.paths[0].resolve())


def run_tools(archive: RarArchive) -> None:
    """Ask one program after the other until every member has come out with the right checksum."""
    done: set[int] = {index for index, job in enumerate(archive.jobs) if job.place is None or is_plain(job.info)}
    wanted = len(archive.jobs)
    said, tried = "", False
    encrypted = archive.encrypted
    for tool in TOOLS:
        path = shutil.which(tool.command[0])
        if path is None or (encrypted and tool.password is None):
            continue
        tried = True
        # Programs differ in whether they print the targets of old-style links among the members.
        for with_links in (False, True) if archive.links else (False,):
            said = _run(tool, archive, done, with_links=with_links) or said
            archive.intake.writing.tools.setdefault(tool.command[0], _version(tool))
            if len(done) == wanted:
                return
    if not tried:
        names = ", ".join(tool.command[0] for tool in TOOLS if not encrypted or tool.password is not None)
        raise no_tool(archive.intake.origin, f"looked for {names}")
    missing = next(job for index, job in enumerate(archive.jobs) if index not in done)
    if encrypted:
        raise password_needed(archive.intake.origin, member=missing.info.filename, given=True)
    raise unreadable(archive.intake.origin, said or "the checksum does not fit", member=missing.info.filename)


def _version(tool: Tool) -> str:
    """Without a switch for it, these programs say their version above their help."""
    command = [tool.command[0], *tool.asked_version]
    try:
        run = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(rb"\d+\.\d+(\.\d+)*", run.stdout)
    return found.group().decode() if found else "unknown"


def _run(tool: Tool, archive: RarArchive, done: set[int], *, with_links: bool) -> str:
    """Run one program and take what comes out right. Returns what it says when it fails."""
    with tempfile.TemporaryFile() as log, _printing(tool, archive, log) as process:
        stream = Bytes(iter(lambda: process.stdout.read(BLOCK_BYTES), b""))
        fault = _cut(stream, archive, done, process, with_links=with_links)
        log.seek(0)
        lines = without_password(archive.password, log.read(SAID_BYTES).decode(errors="replace")).split("\n")
    said = next((line.strip() for line in lines if line.strip()), fault)
    return f"{tool.command[0]}: {said}" if fault else ""


@contextmanager
def _printing(tool: Tool, archive: RarArchive, log: Any) -> Iterator[Any]:
    command = list(tool.command)
    if tool.password is not None and archive.password:
        command += [tool.password + archive.password] if tool.joined else [tool.password, archive.password]
    elif not archive.password:
        command += tool.no_password
    command.append(archive.first_part)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _cut(stream: Bytes, archive: RarArchive, done: set[int], process: Any, *, with_links: bool) -> str:
    """Cut what a program prints into members. Returns what did not fit, or nothing."""
    unchecked: list[int] = []
    for index, info in _printed(archive, with_links=with_links):
        job = archive.jobs[index] if index is not None else None
        if job is None or index in done or job.place is None or index is None:
            _pass_over(stream, info.file_size)
            continue
        checksum = _checksum_of(info)
        if checksum is None:
            unchecked.append(index)
        try:
            with job.place.open() as sink:
                _take(stream, info.file_size, sink, checksum)
        except BadDataError as error:
            done.difference_update(unchecked)
            return str(error)
        done.add(index)
    if unchecked and (stream.some(1) or process.wait() != 0):
        return "it did not end well, and the archive has no checksums to compare"
    return ""


def _printed(archive: RarArchive, *, with_links: bool) -> list[tuple[int | None, Any]]:
    """What a program prints, in the order of the archive."""
    members: list[tuple[int | None, Any]] = [(index, job.info) for index, job in enumerate(archive.jobs)]
    if with_links:
        members += [(None, info) for info in archive.links if info.file_redir is None]
    return sorted(members, key=lambda pair: (str(pair[1].volume), pair[1].header_offset))


def _take(stream: Bytes, size: int, sink: Sink, checksum: Checksum | None) -> None:
    left = size
    while left:
        piece = stream.some(min(left, BLOCK_BYTES))
        if not piece:
            raise BadDataError(f"it ends {left} bytes too early")
        if checksum is not None:
            checksum.update(piece)
        sink.write(piece)
        left -= len(piece)
    if checksum is not None and not checksum.fits():
        raise BadDataError("the checksum does not fit")


def _pass_over(stream: Bytes, size: int) -> None:
    left = size
    while left and (piece := stream.some(min(left, BLOCK_BYTES))):
        left -= len(piece)


class _Crc:
    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._crc = 0

    def update(self, data: bytes | memoryview) -> None:
        self._crc = zlib.crc32(data, self._crc)

    def fits(self) -> bool:
        return self._crc == self._expected


class _Blake:
    def __init__(self, expected: bytes) -> None:
        import rarfile  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra

        self._expected = expected
        self._digest = rarfile.Blake2SP()

    def update(self, data: bytes | memoryview) -> None:
        self._digest.update(bytes(data))

    def fits(self) -> bool:
        return bool(self._digest.digest() == self._expected)


def _checksum_of(info: Any) -> Checksum | None:
    """None where the archive has none that could be compared: encrypted ones may mix the key into it."""
    encryption = getattr(info, "file_encryption", None)
    if encryption is not None and encryption[1] & TWEAKED_CHECKSUM:
        return None
    if info.blake2sp_hash is not None:
        return _Blake(info.blake2sp_hash)
    return _Crc(info.CRC) if info.CRC is not None else None


def without_password(password: str | None, text: str) -> str:
    return text.replace(password, "***") if password else text
