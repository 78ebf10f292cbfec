"""The directory of a zip archive: what it says of its members, and whether that can be true.

Our own reader, because zipfile keeps everything in memory before anybody can refuse it, knows no archives in several
parts, and believes what the directory says.
"""

from __future__ import annotations

import stat
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from medshard.registry.acquisition.archives.faults import Origin, missing_volumes, unreadable, unsafe
from medshard.registry.acquisition.archives.inflating import BadDataError
from medshard.registry.acquisition.archives.limits import Account
from medshard.registry.acquisition.archives.volumes import ReadAt, Volumes

MAX_COMMENT_BYTES = 0xFFFF
READ_BYTES = 1 << 20
HOST_FAT, HOST_UNIX, HOST_NTFS, HOST_VFAT, HOST_DARWIN = 0, 3, 10, 14, 19
FLAG_ENCRYPTED, FLAG_DESCRIPTOR, FLAG_PATCH, FLAG_STRONG, FLAG_UTF8, FLAG_MASKED = 1, 8, 0x20, 0x40, 0x800, 0x2000
EXTRA_ZIP64, EXTRA_UNICODE_NAME, EXTRA_AES = 0x0001, 0x7075, 0x9901
_FULL_32, _FULL_16 = 0xFFFFFFFF, 0xFFFF

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One entry of the directory. raw_name: its bytes. offset: of its local header in the bytes of all parts.

    packed, size: bytes before and after. aes: the extra field of AES encryption, when there is one.
    """

    name: str
    raw_name: bytes
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    time: int
    aes: bytes = b""

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/") or stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Where the directory lies. shift: bytes in front of the archive, as a self-extracting one has."""

    start: int
    size: int
    count: int
    shift: int
    disk: int


@dataclass(frozen=True)
class ZipDirectory:
    """members: in its own order. offsets: of all local headers, sorted. end: where the directory begins."""

    members: tuple[ZipMember, ...]
    offsets: tuple[int, ...]
    end: int

    def room_after(self, offset: int) -> int:
        """Where the next thing behind a local header begins."""
        index = bisect_right(self.offsets, offset)
        return self.offsets[index] if index < len(self.offsets) else self.end


def read_directory(volumes: Volumes, read_at: ReadAt, account: Account, origin: Origin) -> ZipDirectory:
    """Read the directory, entry by entry, and stop at the limit of members.

    Raises AcquisitionError: archive.unreadable, archive.limit, archive.volumes, archive.unsafe for entries that share
    bytes.
    """
    try:
        bounds = _find_directory(volumes, read_at, origin)
        if bounds.count > account.limits.max_members:
            raise account.too_many_members(origin, f"its directory says {bounds.count}")
        members = []
        for member in _entries(bounds, volumes, read_at):
            members.append(member)
            if len(members) > account.limits.max_members:
                raise account.too_many_members(origin, f"at least {len(members)}")
    except (BadDataError, struct.error, IndexError) as error:
        raise unreadable(origin, error) from error
    if len(members) & _FULL_16 != bounds.count & _FULL_16:
        raise unreadable(origin, f"its directory has {len(members)} members and says {bounds.count}")
    offsets = tuple(sorted(member.offset for member in members))
    directory = ZipDirectory(tuple(members), offsets, bounds.start)
    _check_overlaps(directory, origin)
    return directory


def data_start(member: ZipMember, directory: ZipDirectory, read_at: ReadAt, origin: Origin) -> int:
    """Where a member's bytes begin, after its local header has been compared with the directory.

    Raises AcquisitionError[archive.unsafe] when they disagree, and BadDataError.
    """
    head = read_at(member.offset, _LOCAL.size + len(member.raw_name))
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise BadDataError("there is no local header where the directory says")
    _, _, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL.unpack_from(head)
    name = head[_LOCAL.size :]
    if name != member.raw_name or name_length != len(name):
        raise unsafe(origin, member.name, f"is called {name[:80]!r} in its own header and otherwise in the directory")
    if method != member.method or (flags ^ member.flags) & FLAG_ENCRYPTED:
        raise unsafe(origin, member.name, "is packed in another way than the directory says")
    start = member.offset + _LOCAL.size + name_length + extra_length
    if start + member.packed > directory.room_after(member.offset):
        raise unsafe(origin, member.name, "shares bytes with what follows, as bombs do")
    return start


def _find_directory(volumes: Volumes, read_at: ReadAt, origin: Origin) -> _Bounds:
    size = volumes.size
    tail_start = max(size - MAX_COMMENT_BYTES - _END.size, 0)
    tail = read_at(tail_start, size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise BadDataError("its directory at the end is missing")
    _, disk, first_disk, _, count, length, offset, _ = _END.unpack_from(tail, at)
    directory_end = tail_start + at
    if _FULL_32 in {length, offset} or _FULL_16 in {count, disk, first_disk}:
        found = _end_64(read_at, directory_end, volumes)
        if found is not None:
            disk, first_disk, count, length, offset, directory_end = found
    if disk and disk + 1 != len(volumes.paths):
        names = [path.name for path in volumes.paths]
        raise missing_volumes(origin, found=names, missing=f"it has {disk + 1} parts, {len(names)} are here")
    shift = 0 if disk else directory_end - length - offset
    start = (volumes.starts[first_disk] if disk else shift) + offset
    if shift < 0 or start < 0 or start + length > directory_end:
        raise BadDataError("its directory is not where it says")
    return _Bounds(start=start, size=length, count=count, shift=shift, disk=disk)


def _end_64(read_at: ReadAt, end: int, volumes: Volumes) -> tuple[int, int, int, int, int, int] | None:
    """disk, disk of the directory, members, bytes, offset, and where the directory must end."""
    locator = read_at(end - _LOCATOR_64.size, _LOCATOR_64.size) if end >= _LOCATOR_64.size else b""
    if locator[:4] != b"PK\x06\x07":
        return None
    _, on_disk, offset, _ = _LOCATOR_64.unpack(locator)
    stated = (volumes.starts[on_disk] if on_disk < len(volumes.paths) else 0) + offset
    for position in (end - _LOCATOR_64.size - _END_64.size, stated):
        record = read_at(max(position, 0), _END_64.size)
        if record[:4] == b"PK\x06\x06" and len(record) == _END_64.size:
            _, _, _, _, disk, first_disk, _, count, length, start = _END_64.unpack(record)
            return disk, first_disk, count, length, start, position
    raise BadDataError("its 64-bit directory end is missing")


def _entries(bounds: _Bounds, volumes: Volumes, read_at: ReadAt) -> Iterator[ZipMember]:
    held = b""
    position, left = bounds.start, bounds.size
    while True:
        while left and len(held) < READ_BYTES // 2:
            block = read_at(position, min(READ_BYTES, left))
            if not block:
                raise BadDataError("its directory is cut off")
            held, position, left = held + block, position + len(block), left - len(block)
        at = 0
        while len(held) - at >= _CENTRAL.size:
            length = _entry_length(held, at)
            if len(held) - at < length:
                break
            yield _member(held, at, bounds, volumes)
            at += length
        held = held[at:]
        if not left and (not held or at == 0):
            break
    if held:
        raise BadDataError("its directory ends in the middle of a member")


def _entry_length(held: bytes, at: int) -> int:
    if held[at : at + 4] != b"PK\x01\x02":
        raise BadDataError("its directory is damaged")
    name, extra, comment = struct.unpack_from("<3H", held, at + 28)
    return int(_CENTRAL.size + name + extra + comment)


def _member(held: bytes, at: int, bounds: _Bounds, volumes: Volumes) -> ZipMember:
    fields = _CENTRAL.unpack_from(held, at)
    host, (flags, method, time) = fields[2], fields[5:8]
    crc, packed, size, name_length, extra_length = fields[9:14]
    disk, attributes, offset = fields[15], fields[17], fields[18]
    raw_name = held[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
    extra_at = at + _CENTRAL.size + name_length
    extras = _extras(held[extra_at : extra_at + extra_length])
    size, packed, offset, disk = _with_zip64(extras.get(EXTRA_ZIP64, b""), size, packed, offset, disk)
    base = volumes.starts[disk] if bounds.disk else bounds.shift
    return ZipMember(
        name=_name(raw_name, flags, host, extras.get(EXTRA_UNICODE_NAME, b"")),
        raw_name=raw_name,
        method=method,
        flags=flags,
        crc=crc,
        packed=packed,
        size=size,
        offset=base + offset,
        mode=attributes >> 16,
        time=time,
        aes=extras.get(EXTRA_AES, b""),
    )


def _extras(data: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<2H", data, at)
        fields.setdefault(kind, data[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _with_zip64(extra: bytes, size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    at = 0

    def wide(value: int, full: int, width: int) -> int:
        nonlocal at
        if value != full or at + width > len(extra):
            return value
        at += width
        return int.from_bytes(extra[at - width : at], "little")

    size, packed, offset = (wide(value, _FULL_32, 8) for value in (size, packed, offset))
    return size, packed, offset, wide(disk, _FULL_16, 4)


def _name(raw: bytes, flags: int, host: int, unicode_extra: bytes) -> str:
    """The name as text: UTF-8 where the archive says so or comes from Unix and it is valid, otherwise code page 437."""
    name = _decoded(raw, flags, host)
    if len(unicode_extra) > 5 and unicode_extra[0] == 1:
        # The field counts only while it belongs to this very name.
        crc = int.from_bytes(unicode_extra[1:5], "little")
        if crc == zlib.crc32(raw):
            name = unicode_extra[5:].decode(errors="surrogateescape")
    return name.replace("\\", "/") if host in {HOST_FAT, HOST_NTFS, HOST_VFAT} else name


def _decoded(raw: bytes, flags: int, host: int) -> str:
    if flags & FLAG_UTF8:
        return raw.decode(errors="surrogateescape")
    if host in {HOST_UNIX, HOST_DARWIN}:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return raw.decode("cp437")


def _check_overlaps(directory: ZipDirectory, origin: Origin) -> None:
    """Refuse what the directory alone gives away; the local headers are compared when they are read."""
    seen: set[int] = set()
    for member in directory.members:
        least_end = member.offset + _LOCAL.size + len(member.raw_name) + member.packed
        if member.offset in seen or least_end > directory.room_after(member.offset):
            raise unsafe(origin, member.name, "shares bytes with another member, as bombs do")
        seen.add(member.offset)
