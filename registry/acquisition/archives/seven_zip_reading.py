"""7z archives, read by py7zr; the members stream through our own writers, never through its own."""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.blocks import DECODE_ERRORS
from medshard.registry.acquisition.archives.faults import (
    clash,
    missing_package,
    password_needed,
    unreadable,
    unsupported,
)
from medshard.registry.acquisition.archives.inflating import BadDataError
from medshard.registry.acquisition.archives.members import Entry
from medshard.registry.acquisition.archives.volumes import Joined, Volumes
from medshard.registry.acquisition.archives.writing import Intake, LinkText, Place, Sink

if TYPE_CHECKING:
    from py7zr import SevenZipFile

MAX_HEADER_BYTES = 256 << 20
_SIGNATURE = struct.Struct("<6s2BLQQL")
_ENCODED_HEADER = b"\x17"


def read_7z(volumes: Volumes, intake: Intake, password: str | None) -> None:
    """Give every member that the intake wants to its place. The library works in pieces of up to 128 MB.

    Raises AcquisitionError: archive.unreadable, archive.unsafe, archive.clash, archive.limit, archive.disk,
    archive.password, archive.unsupported; MissingExtraError.
    """
    try:
        import py7zr  # noqa: PLC0415 - of the extra, and slow to import
        from py7zr import exceptions as errors  # noqa: PLC0415
    except ImportError as error:
        raise missing_package(intake.origin, "py7zr", error) from error
    intake.writing.tools["py7zr"] = version("py7zr")
    encrypted = False
    damage: tuple[type[Exception], ...] = (
        errors.ArchiveError,
        errors.AbsolutePathError,
        *DECODE_ERRORS,
        *_STRUCTURE_ERRORS,
    )
    try:
        with volumes.stream() as stream:
            _check_header(stream)
            stream.seek(0)
            with py7zr.SevenZipFile(stream, "r", password=password) as archive:
                encrypted = archive.needs_password()
                if encrypted and password is None:
                    raise password_needed(intake.origin, member=None, given=False)
                _extract(archive, intake)
    except AcquisitionError:
        raise
    except errors.PasswordRequired as error:
        raise password_needed(intake.origin, member=None, given=password is not None) from error
    except errors.UnsupportedCompressionMethodError as error:
        raise unsupported(intake.origin, f"a method of compression ({error})") from error
    except damage as error:
        if encrypted or (password is not None and _looks_like_wrong_key(error)):
            raise password_needed(intake.origin, member=None, given=True) from error
        raise unreadable(intake.origin, _without(password, error)) from error


# A damaged header makes the library index past the end of what it has read.
_STRUCTURE_ERRORS = (struct.error, IndexError, KeyError, TypeError, AttributeError, AssertionError)


def _extract(archive: SevenZipFile, intake: Intake) -> None:
    places: dict[str, Place] = {}
    links: dict[str, tuple[Entry, LinkText]] = {}
    targets = []
    size = 0
    for file in archive.files:
        name = file.filename
        key = PurePosixPath(name).as_posix()
        if file.is_symlink or file.is_junction:
            if intake.selects(name) and key not in links:
                links[key] = (Entry(name=name, form="link"), LinkText())
                targets.append(name)
            continue
        place = intake.accept(_entry(file))
        if place is None:
            continue
        if key in places:
            raise clash(intake.origin, name, "is in the archive more than once")
        places[key] = place
        targets.append(name)
        size += file.uncompressed
    intake.expect(size)
    # The folder is only what the library measures its names against: nothing is written there by it.
    factory = _factory(places, {key: text for key, (_, text) in links.items()}, intake)
    if targets:
        try:
            archive.extract(intake.writing.tree, targets=targets, factory=factory)
        except BaseException as error:
            factory.abandon(error)
            raise
    for entry, text in links.values():
        intake.link(entry, text.text)


def _entry(file: Any) -> Entry:
    if file.is_directory:
        return Entry(name=file.filename, form="folder")
    return Entry(name=file.filename, size=file.uncompressed, form="file" if file.is_file else "device")


def _factory(places: dict[str, Place], links: dict[str, LinkText], intake: Intake) -> Any:
    from py7zr.io import Py7zIO, WriterFactory  # noqa: PLC0415 - of the extra

    tree = intake.writing.tree

    class Factory(WriterFactory):
        last: Writer | None = None

        def create(self, filename: str) -> Py7zIO:
            key = PurePosixPath(filename).relative_to(tree.as_posix()).as_posix()
            self.last = Writer(links[key] if key in links else places[key])
            return self.last

        def abandon(self, error: BaseException) -> None:
            """Tell the member that was being written; the library only drops it."""
            if self.last is not None:
                self.last.abandon(error)

    class Writer(Py7zIO):
        """What the library writes one member to; it says when the member is complete."""

        def __init__(self, target: Place | LinkText) -> None:
            self._opened = ExitStack()
            self._size = 0
            self._sink: Sink = target if isinstance(target, LinkText) else self._opened.enter_context(target.open())

        def write(self, s: bytes | bytearray) -> int:
            self._sink.write(memoryview(s))
            self._size += len(s)
            return len(s)

        def close(self) -> None:
            self._opened.close()

        def abandon(self, error: BaseException) -> None:
            self._opened.__exit__(type(error), error, error.__traceback__)

        def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 (the library's interface)
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002 (the library's interface)
            return 0

        def flush(self) -> None:
            return None

        def size(self) -> int:
            return self._size

    return Factory()


def _check_header(stream: io.BufferedReader[Joined]) -> None:
    """Refuse a header that would unpack to gigabytes: the library keeps it in memory. Raises BadDataError."""
    head = stream.read(_SIGNATURE.size)
    if len(head) < _SIGNATURE.size:
        raise BadDataError("it is cut off")
    _, _, _, _, offset, size, _ = _SIGNATURE.unpack(head)
    if size > MAX_HEADER_BYTES:
        raise BadDataError(f"a header of {size} bytes")
    stream.seek(_SIGNATURE.size + offset)
    header = stream.read(size)
    if len(header) < size:
        raise BadDataError("it is cut off: its header at the end is missing")
    if header[:1] == _ENCODED_HEADER:
        largest = max(_unpacked_sizes(header), default=0)
        if largest > MAX_HEADER_BYTES:
            raise BadDataError(f"a header that unpacks to {largest} bytes")


def _unpacked_sizes(header: bytes) -> Iterator[int]:
    from py7zr.archiveinfo import HeaderStreamsInfo  # noqa: PLC0415 - of the extra

    info = HeaderStreamsInfo.retrieve(io.BytesIO(header[1:]))
    for folder in info.unpackinfo.folders:
        yield from folder.unpacksizes


def _looks_like_wrong_key(error: Exception) -> bool:
    # With encrypted headers nothing can be asked of the archive before it is decrypted.
    return isinstance(error, lzma.LZMAError | ValueError | TypeError | IndexError | EOFError) or "header" in str(error)


def _without(password: str | None, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    return text.replace(password, "***") if password else text
