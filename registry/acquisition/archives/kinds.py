"""What kind of archive a file is: by its content, compared with what is said of it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path

from medshard.registry.acquisition.archives.blocks import Bytes, unzstd
from medshard.registry.acquisition.archives.faults import Origin, encrypted_otherwise, other_kind, shown
from medshard.registry.acquisition.archives.volumes import ReadAt, Volumes, volumes_of, whole_name
from medshard.registry.hosts.source import ARCHIVE_SUFFIXES, Archive

HEAD_BYTES = 1 << 16
PACKED_HEAD_BYTES = 2 << 20  # bzip2 gives nothing before a whole block, of up to 900 kB
_TAR_AT = 257
_RECORD_BYTES = 512
_MAGIC: tuple[tuple[bytes, Archive], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08PK\x03\x04", "zip"),
    (b"PK00PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
# Formats that are zips inside and files to everybody: arrays, tables, documents, weights, scenes.
_ZIPPED_FORMATS = (
    *(".npz", ".xlsx", ".xlsm", ".docx", ".pptx", ".ods", ".odt", ".odp", ".epub", ".pt", ".pth", ".ckpt", ".keras"),
    *(".mrb", ".3mf", ".usdz", ".kmz", ".jar", ".whl"),
)
_TARRED: dict[str, Archive] = {"gz": "tar.gz", "bz2": "tar.bz2", "xz": "tar.xz", "zst": "tar.zst"}
_ENCRYPTED = ((b"Salted__", "openssl"), (b"U2FsdGVkX1", "openssl (base64)"), (b"-----BEGIN PGP", "PGP"))


def archive_kind(path: Path | Sequence[Path], stated: Archive | None = None, *, where: str = "archive") -> Archive:
    """The kind, and `none` for a file that is no archive: a plain `.nii.gz` stays what it is unless `gz` is stated.

    A stated kind must be what the content is. A name only has to belong to some archive: content wins over it.
    Raises AcquisitionError: archive.kind, archive.encryption for a name of an archive with encrypted content.
    """
    paths = (path,) if isinstance(path, Path) else tuple(path)
    if stated == "none":
        return "none"
    named = named_kind(paths[0].name)
    origin = Origin(where=where, archives=(paths[0].name,))
    with Volumes.of(paths).open() as read_at:
        head = _head(read_at)
        found = _kind_of(head) or _zip_behind_something(read_at, sum(path.stat().st_size for path in paths), named)
    if stated is not None:
        return _stated(stated, found, head, origin)
    if found is not None and found not in _TARRED:
        return "none" if _is_zipped_format(paths[0].name) else found
    if named is None:
        return "none"
    if found is not None and _TARRED[found] == named and len(_unpacked_head(head, found)) < _RECORD_BYTES:
        return named  # cut off, so that its content cannot say more
    raise _mismatch(named, found, head, origin)


def named_kind(name: str) -> Archive | None:
    """The kind that a name ends in; the number of a part counts for nothing. Singles such as `.nii.gz` have none."""
    lower = whole_name(name).lower()
    return next((kind for suffix, kind in ARCHIVE_SUFFIXES if lower.endswith(suffix)), None)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its content, whatever it is called."""
    with Volumes.of((path,)).open() as read_at:
        found = _kind_of(_head(read_at))
    return found is not None and found not in _TARRED and not _is_zipped_format(path.name)


def _is_zipped_format(name: str) -> bool:
    return name.lower().endswith(_ZIPPED_FORMATS)


def _zip_behind_something(read_at: ReadAt, size: int, named: Archive | None) -> Archive | None:
    """The last part of a split zip, or a self-extracting one: only its end tells what it is."""
    if named != "zip":
        return None
    return "zip" if b"PK\x05\x06" in read_at(max(size - HEAD_BYTES, 0), HEAD_BYTES) else None


def _head(read_at: ReadAt) -> bytes:
    head = read_at(0, HEAD_BYTES)
    packed = any(head.startswith(magic) for magic, kind in _MAGIC if kind in _TARRED)
    return read_at(0, PACKED_HEAD_BYTES) if packed else head


def _kind_of(head: bytes) -> Archive | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            inner = _TARRED.get(kind)
            return inner if inner is not None and _is_tar(_unpacked_head(head, kind)) else kind
    return "tar" if _is_tar(head) else None


def _is_tar(head: bytes) -> bool:
    """By the mark of POSIX and GNU tar; an old tar without it, by the checksum of its first header."""
    record = head[:_RECORD_BYTES]
    if len(record) < _RECORD_BYTES:
        return False
    if record[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return True
    digits = record[148:156].strip(b" \0")
    if not digits or not digits.isdigit() or b"8" in digits or b"9" in digits or not record[0]:
        return False
    return int(digits, 8) == sum(record[:148]) + 8 * 32 + sum(record[156:])


def _unpacked_head(head: bytes, kind: Archive) -> bytes:
    try:
        if kind == "gz":
            return zlib.decompressobj(31).decompress(head, _RECORD_BYTES)
        if kind == "bz2":
            return bz2.BZ2Decompressor().decompress(head, _RECORD_BYTES)
        if kind == "xz":
            return lzma.LZMADecompressor(memlimit=1 << 30).decompress(head, _RECORD_BYTES)
        pieces = iter([head])
        stream = Bytes(unzstd(lambda _: next(pieces, b""), Origin(where="archive")))
        return stream.exactly(_RECORD_BYTES)
    except Exception:  # whatever is wrong with it is told when it is unpacked
        return b""


def _stated(stated: Archive, found: Archive | None, head: bytes, origin: Origin) -> Archive:
    if found == stated:
        return stated
    if found is not None and _TARRED.get(stated) == found:
        return stated  # a packed tar of which only the packing shall be undone
    if stated in _TARRED.values() and found is not None and _TARRED.get(found) == stated:
        return stated  # its first header could not be seen in the first bytes
    raise _mismatch(stated, found, head, origin)


def _mismatch(expected: Archive, found: Archive | None, head: bytes, origin: Origin) -> Exception:
    for magic, how in _ENCRYPTED:
        if head.startswith(magic):
            return encrypted_otherwise(origin, how)
    if found is not None and _TARRED.get(found) == expected:
        seen = f"{found} data, but no tar archive in them"
    else:
        seen = found or (f"it begins with {shown(head[:24].decode('latin-1'))}" if head else "an empty file")
    return other_kind(origin, expected=expected, found=seen)


__all__ = ["Archive", "archive_kind", "is_archive", "named_kind", "volumes_of"]
