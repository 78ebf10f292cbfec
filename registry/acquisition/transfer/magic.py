"""What the first bytes of a file say it is."""

from __future__ import annotations

from medshard.registry.hosts.source import ARCHIVE_SUFFIXES, Archive

HEAD_BYTES = 512  # enough for the mark of a tar, which stands at byte 257

_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"PK00PK", "zip"),
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
)
_SINGLES: tuple[tuple[str, Archive], ...] = ((".gz", "gz"), (".bz2", "bz2"), (".xz", "xz"), (".zst", "zst"))


def mark_of(head: bytes) -> str | None:
    """`zip`, `tar`, `gz`, `bz2`, `xz`, `zst`, `rar` or `7z` by content; None for anything else."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for mark, kind in _MARKS if head.startswith(mark)), None)


def expected_archive(name: str, stated: Archive | None) -> Archive | None:
    """How a file should be packed: as stated, otherwise as its name says; None when it is no archive."""
    if stated is not None:
        return stated if stated != "none" else None
    return next((kind for suffix, kind in (*ARCHIVE_SUFFIXES, *_SINGLES) if name.lower().endswith(suffix)), None)


def is_marked_as(head: bytes, archive: Archive | None) -> bool:
    """Whether the content begins as such an archive does; of `tar.gz`, the packing decides."""
    return archive is not None and mark_of(head) == archive.rpartition(".")[2]


def is_text(head: bytes) -> bool:
    """Whether the bytes can be the beginning of a text, which no archive is."""
    try:
        text = head.decode("utf8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # otherwise the end cuts one character
            return False
        text = head[: error.start].decode("utf8")
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
