"""Tar archives, read once from front to back, one header at a time.

tarfile unpacks the headers' numbers; the walk is our own, because tarfile reads extended headers of any size into
memory and remembers every member.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.blocks import DECODE_ERRORS, Blocks, Bytes, read_ahead
from medshard.registry.acquisition.archives.faults import unreadable, unsupported
from medshard.registry.acquisition.archives.inflating import BLOCK_BYTES, BadDataError
from medshard.registry.acquisition.archives.members import Entry
from medshard.registry.acquisition.archives.writing import Intake

RECORD_BYTES = 512
MAX_HEADER_BYTES = 1 << 20
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_PAX_ONE, _PAX_ALL = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), tarfile.XGLTYPE
_ERRORS: tuple[type[Exception], ...] = (*DECODE_ERRORS, tarfile.TarError)
_NO_MEMBERS = (b"V", b"D")  # GNU tar's volume label and its list of a folder
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass
class _Extended:
    """What extended headers say of the member that follows. always: of all that follow."""

    name: str | None = None
    link: str | None = None
    pax: dict[str, str] = field(default_factory=dict)
    always: dict[str, str] = field(default_factory=dict)

    def next_member(self) -> None:
        self.name, self.link, self.pax = None, None, {}


def read_tar(blocks: Blocks, intake: Intake) -> None:
    """Give every member that the intake wants to its place, and read on to the very end, so that it is checked too.

    Raises AcquisitionError: archive.unreadable, archive.unsafe, archive.limit, archive.disk, archive.unsupported.
    """
    unpacked = read_ahead(blocks)
    stream = Bytes(unpacked)
    name: str | None = None
    extended = _Extended()
    try:
        while (header := _next_header(stream, intake)) is not None:
            if _is_extension(header, stream, extended):
                continue
            name = _apply(header, extended, intake)
            _member(header, name, stream, intake)
            extended.next_member()
            name = None
        while rest := stream.some(BLOCK_BYTES):
            intake.writing.account.write(len(rest), intake.origin, kept=False)
    except AcquisitionError:
        raise
    except _ERRORS as error:
        raise unreadable(intake.origin, error, member=name) from error
    finally:
        unpacked.close()  # ends its thread


def _next_header(stream: Bytes, intake: Intake) -> tarfile.TarInfo | None:
    record = stream.exactly(RECORD_BYTES)
    if not record:
        intake.damaged("it has no end mark: whole members may be missing at its end")
        return None
    if not record.strip(b"\0"):
        return None
    return tarfile.TarInfo.frombuf(record, "utf-8", "surrogateescape")


def _is_extension(header: tarfile.TarInfo, stream: Bytes, extended: _Extended) -> bool:
    if header.type not in {_LONG_NAME, _LONG_LINK, _PAX_ALL, *_PAX_ONE}:
        return False
    if header.size > MAX_HEADER_BYTES:
        raise BadDataError(f"an extended header of {header.size} bytes")
    text = _padded(stream, header.size)
    if header.type == _LONG_NAME:
        extended.name = _text(text)
    elif header.type == _LONG_LINK:
        extended.link = _text(text)
    elif header.type == _PAX_ALL:
        extended.always.update(_pax_fields(text))
    else:
        extended.pax.update(_pax_fields(text))
    return True


def _apply(header: tarfile.TarInfo, extended: _Extended, intake: Intake) -> str:
    fields = {**extended.always, **extended.pax}
    if header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in fields):
        raise unsupported(intake.origin, "a sparse file", member=header.name)
    if "size" in fields:
        size = fields["size"]
        if not (size.isascii() and size.isdigit()):
            raise BadDataError(f"a size of {size[:40]!r}")
        header.size = int(size)
    header.linkname = fields.get("linkpath") or extended.link or header.linkname
    return fields.get("path") or extended.name or header.name


def _member(header: tarfile.TarInfo, name: str, stream: Bytes, intake: Intake) -> None:
    if header.size < 0:
        raise BadDataError(f"a size of {header.size}")
    if header.type in _NO_MEMBERS:
        _skip(stream, header.size)
        return
    if header.type == b"M":
        raise unsupported(intake.origin, "members that go on in another tape", member=name)
    is_file = header.type in _FILES or header.type not in tarfile.SUPPORTED_TYPES
    if header.issym() or header.islnk():
        intake.link(Entry(name=name, form="hard link" if header.islnk() else "link"), header.linkname)
        _skip(stream, header.size if header.islnk() else 0)
        return
    form = "folder" if header.isdir() or (is_file and name.endswith("/")) else "file" if is_file else "device"
    place = intake.accept(Entry(name=name, size=header.size, form=form))  # type: ignore[arg-type]
    if place is None:
        _skip(stream, header.size if is_file and form == "file" else 0)
        return
    intake.expect(header.size)
    with place.open() as sink:
        left = header.size
        while left:
            piece = stream.some(min(left, BLOCK_BYTES))
            if not piece:
                raise BadDataError(f"it ends {left} bytes too early")
            sink.write(piece)
            left -= len(piece)
    _padding(stream, header.size)


def _skip(stream: Bytes, size: int) -> None:
    left = size
    while left:
        piece = stream.some(min(left, BLOCK_BYTES))
        if not piece:
            raise BadDataError(f"it ends {left} bytes too early")
        left -= len(piece)
    _padding(stream, size)


def _padded(stream: Bytes, size: int) -> bytes:
    data = stream.exactly(size)
    if len(data) < size:
        raise BadDataError("it ends in an extended header")
    _padding(stream, size)
    return data


def _padding(stream: Bytes, size: int) -> None:
    missing = -size % RECORD_BYTES
    if missing and len(stream.exactly(missing)) < missing:
        raise BadDataError("it ends too early")


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _pax_fields(data: bytes) -> dict[str, str]:
    """`length key=value` lines. Raises BadDataError."""
    fields = {}
    at = 0
    while at < len(data) and data[at] != 0:
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        line = data[space + 1 : at + length]
        if length < 5 or not line.endswith(b"\n") or b"=" not in line:
            raise BadDataError("a damaged extended header")
        key, value = line[:-1].split(b"=", 1)
        fields[_plain(key)] = _plain(value)
        at += length
    return fields


def _plain(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
