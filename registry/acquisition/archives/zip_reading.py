"""Zip archives: 64-bit, in several parts, encrypted; two threads share the members."""

from __future__ import annotations

import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import zip_directory as directory_of
from medshard.registry.acquisition.archives.blocks import (
    DECODE_ERRORS,
    Blocks,
    Read,
    inflated,
    inflated_64,
    stored,
    unbzipped_one,
    unlzma_of_zip,
    unxzed_one,
    unzstd,
)
from medshard.registry.acquisition.archives.faults import (
    Origin,
    encrypted_otherwise,
    password_needed,
    unreadable,
    unsupported,
)
from medshard.registry.acquisition.archives.inflating import INFLATER, BadDataError, crc32
from medshard.registry.acquisition.archives.members import Entry
from medshard.registry.acquisition.archives.volumes import ReadAt, Volumes
from medshard.registry.acquisition.archives.writing import Intake, LinkText, Place, Sink
from medshard.registry.acquisition.archives.zip_crypto import AES_METHOD, aes_of, classic, unlock_aes
from medshard.registry.acquisition.archives.zip_directory import ZipDirectory, ZipMember, data_start

THREADS = 2
METHODS = {1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 96: "JPEG", 97: "WavPack"}
METHODS |= {98: "PPMd", 10: "PKWARE Implode", 18: "IBM Terse", 19: "LZ77"}

T = TypeVar("T")


def read_zip(volumes: Volumes, intake: Intake, password: str | None) -> None:
    """Give every member that the intake wants to its place.

    Raises AcquisitionError: archive.unreadable, archive.unsafe, archive.limit, archive.disk, archive.password,
    archive.encryption, archive.unsupported, archive.volumes.
    """
    with volumes.open() as read_at:
        directory = directory_of.read_directory(volumes, read_at, intake.writing.account, intake.origin)
        reading = _Reading(directory, read_at, intake, password)
        jobs = [(member, place) for member in directory.members if (place := reading.accept(member)) is not None]
        intake.expect(sum(member.size for member, _ in jobs))
        if any(member.method == 8 for member, _ in jobs):
            intake.writing.tools["inflate"] = INFLATER
        jobs.sort(key=lambda job: job[0].offset)
        in_threads(reading.unpack, jobs)


class _Reading:
    """One archive that is being read."""

    def __init__(self, directory: ZipDirectory, read_at: ReadAt, intake: Intake, password: str | None) -> None:
        self._directory = directory
        self._read_at = read_at
        self._intake = intake
        self._origin: Origin = intake.origin
        self._password = password

    def accept(self, member: ZipMember) -> Place | None:
        kind = stat.S_IFMT(member.mode)
        if kind == stat.S_IFLNK:
            self._link(member)
            return None
        entry = Entry(name=member.name, size=member.size)
        if member.is_folder:
            entry = Entry(name=member.name, form="folder")
        elif kind not in {0, stat.S_IFREG}:
            entry = Entry(name=member.name, form="device")
        return self._intake.accept(entry)

    def unpack(self, job: tuple[ZipMember, Place]) -> None:
        member, place = job
        with self._named(member), place.open() as sink:
            self._copy(member, sink)

    def _link(self, member: ZipMember) -> None:
        """The target is the content of the member. It is read only when the link is selected."""
        entry = Entry(name=member.name, form="link")
        text = LinkText()
        if member.size <= 4096 and self._intake.selects(entry.name):
            with self._named(member):
                self._copy(member, text)
        self._intake.link(entry, text.text)

    def _copy(self, member: ZipMember, sink: Sink) -> None:
        crc, size = 0, 0
        method, blocks = self._blocks(member)
        for block in blocks:
            size += len(block)
            if size > member.size:
                raise BadDataError(f"it holds more than the {member.size} bytes that the directory says")
            crc = crc32(block, crc)
            sink.write(block)
        if size != member.size:
            raise BadDataError(f"it holds {size} bytes, the directory says {member.size}")
        if crc != member.crc and not method.without_checksum:
            if member.flags & directory_of.FLAG_ENCRYPTED:
                raise password_needed(self._origin, member=member.name, given=True)
            raise BadDataError(f"its checksum is {crc:08x}, the directory says {member.crc:08x}")

    def _blocks(self, member: ZipMember) -> tuple[_Method, Blocks]:
        if member.flags & (directory_of.FLAG_STRONG | directory_of.FLAG_MASKED):
            raise encrypted_otherwise(self._origin, "PKWARE's strong encryption")
        if member.flags & directory_of.FLAG_PATCH:
            raise unsupported(self._origin, "patched data", member=member.name)
        start = data_start(member, self._directory, self._read_at, self._origin)
        read: Read = Span(self._read_at, start, start + member.packed).read
        method = _Method(member.method, without_checksum=False)
        if member.flags & directory_of.FLAG_ENCRYPTED:
            read, method = self._decrypted(member, read)
        return method, self._decoded(method.number, read, member)

    def _decrypted(self, member: ZipMember, read: Read) -> tuple[Read, _Method]:
        if not self._password:
            raise password_needed(self._origin, member=member.name, given=False)
        secret = self._password.encode()
        if member.method == AES_METHOD:
            aes = aes_of(member.aes)
            plain = unlock_aes(read, aes, secret, packed=member.packed, origin=self._origin, member=member.name)
            return plain, _Method(aes.method, without_checksum=aes.version == 2)
        check = member.time >> 8 if member.flags & directory_of.FLAG_DESCRIPTOR else member.crc >> 24
        unlocked = classic(read, secret, check=check)
        if unlocked is None:
            raise password_needed(self._origin, member=member.name, given=True)
        return unlocked, _Method(member.method, without_checksum=False)

    def _decoded(self, method: int, read: Read, member: ZipMember) -> Blocks:
        decoders: dict[int, Callable[[Read], Blocks]] = {
            0: stored,
            8: inflated,
            9: partial(inflated_64, origin=self._origin),
            12: unbzipped_one,
            14: unlzma_of_zip,
            20: partial(unzstd, origin=self._origin),
            93: partial(unzstd, origin=self._origin),
            95: unxzed_one,
        }
        if method not in decoders:
            raise unsupported(self._origin, METHODS.get(method, f"compression method {method}"), member=member.name)
        return decoders[method](read)

    def _named(self, member: ZipMember) -> _Named:
        encrypted = bool(member.flags & directory_of.FLAG_ENCRYPTED) and member.method != AES_METHOD
        return _Named(self._origin, member.name, encrypted=encrypted)


class _Method:
    """number: how the bytes are packed once they are decrypted."""

    def __init__(self, number: int, *, without_checksum: bool) -> None:
        self.number = number
        self.without_checksum = without_checksum


class _Named:
    """Decoders' errors become ours, with the member's name. With the old encryption they mean a wrong password."""

    def __init__(self, origin: Origin, member: str, *, encrypted: bool) -> None:
        self._origin = origin
        self._member = member
        self._encrypted = encrypted

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, AcquisitionError) or not isinstance(error, (*DECODE_ERRORS, struct.error)):
            return
        if self._encrypted:
            raise password_needed(self._origin, member=self._member, given=True) from error
        raise unreadable(self._origin, error, member=self._member) from error


class Span:
    """The bytes of an archive from `start` to `end`, read one after the other."""

    def __init__(self, read_at: ReadAt, start: int, end: int) -> None:
        self._read_at = read_at
        self._position = start
        self._end = end

    def read(self, size: int) -> bytes:
        block = self._read_at(self._position, min(size, self._end - self._position))
        self._position += len(block)
        return block


def in_threads(function: Callable[[T], None], jobs: Iterable[T], *, threads: int = THREADS) -> None:
    """Do all jobs, so many at a time, in their order. The first error stops the others and is raised."""
    lock = threading.Lock()
    stop = threading.Event()
    waiting: Iterator[T] = iter(jobs)
    errors: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            with lock:
                job = next(waiting, None)
            if job is None:
                return
            try:
                function(job)
            except BaseException as error:  # raised again by the thread that asked
                errors.append(error)
                stop.set()

    helpers = [threading.Thread(target=work, name=f"unpack-{number}", daemon=True) for number in range(threads - 1)]
    for helper in helpers:
        helper.start()
    try:
        work()
    finally:
        if errors or sys.exc_info()[0] is not None:
            stop.set()
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[0]
