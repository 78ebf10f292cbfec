"""A file that a person has fetched, read once and compared with all that is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.contents import is_archive_of_kind, web_page
from medshard.registry.acquisition.transfer.magic import expected_archive
from medshard.registry.hosts.source import Archive
from medshard.registry.store.digests import BLOCK_BYTES


@dataclass(frozen=True, kw_only=True)
class ExpectedFile:
    """What is known of a file before it is here. size: bytes. checksum: `sha256:...`, `sha1:...` or `md5:...`.

    is_named: whether somebody names it; otherwise it is called what the person called it. may_be_page: whether a web
    page can be what is wanted.
    """

    name: str
    size: int | None = None
    checksum: str | None = None
    archive: Archive | None = None
    is_named: bool = True
    may_be_page: bool = False


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    expected: ExpectedFile
    path: Path


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """A file of the inbox that is what it should be. name: in the catalog. size: bytes."""

    name: str
    path: Path
    size: int
    sha256: str


def take(file: FoundFile, *, where: str) -> TakenFile:
    """Read the file and compare it. Raises AcquisitionError: inbox.wrong_file, or inbox.growing when it changes."""
    before = file.path.stat()
    _expect_size(file, before.st_size, where=where)
    # A checksum decides alone: an encrypted file may carry the name of an archive and be none.
    if file.expected.checksum is None:
        _expect_content(file, where=where)
    sha256, found = _digests(file.path, file.expected.checksum)
    after = file.path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise AcquisitionError(
            "inbox.growing",
            where=where,
            problem=f"{file.path.name} changed while it was read",
            details={"file": file.path},
            action="Wait until it is complete, then build again.",
        )
    if found != file.expected.checksum:
        raise _wrong(file, str(file.expected.checksum), web_page(file.path) or str(found), where=where)
    return TakenFile(name=file.expected.name, path=file.path, size=before.st_size, sha256=sha256)


def _expect_size(file: FoundFile, size: int, *, where: str) -> None:
    stated = file.expected.size
    if stated is not None and size != stated:
        raise _wrong(file, f"{stated} bytes", web_page(file.path) or f"{size} bytes", where=where)
    if size == 0:
        raise _wrong(file, "a file with something in it", "0 bytes", where=where)


def _expect_content(file: FoundFile, *, where: str) -> None:
    kind = _promised(file.expected)
    page = None if file.expected.may_be_page else web_page(file.path)
    if page is not None:
        raise _wrong(file, f"a {kind} archive" if kind else "the file itself", page, where=where)
    if kind is not None and not is_archive_of_kind(file.path, kind):
        raise _wrong(
            file, f"a whole {kind} file", f"{file.path.stat().st_size} bytes that do not open as one", where=where
        )


def _promised(expected: ExpectedFile) -> Archive | None:
    """What an archive or compressed file must be. The suffix of a file that nobody named promises nothing."""
    if expected.is_named or expected.archive is not None:
        return expected_archive(expected.name, expected.archive)
    return None


def _digests(path: Path, checksum: str | None) -> tuple[str, str | None]:
    """SHA-256, and the file's own checksum of the kind that is stated, in one reading."""
    kind = checksum.partition(":")[0] if checksum else "sha256"
    sha256, stated = hashlib.sha256(), hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            sha256.update(block)
            if kind != "sha256":
                stated.update(block)
    digest = sha256.hexdigest()
    if checksum is None:
        return digest, None
    return digest, f"{kind}:{digest if kind == 'sha256' else stated.hexdigest()}"


def _wrong(file: FoundFile, expected: str, found: str, *, where: str) -> AcquisitionError:
    return AcquisitionError(
        "inbox.wrong_file",
        where=where,
        problem=f"{file.path.name} in the inbox is not what the source describes"
        if file.expected.is_named
        else f"{file.path.name} in the inbox is no data",
        details={"file": file.path, "expected": expected, "found": found},
        action="Remove it and fetch the file again, to the end and as itself, not as the page in front of it. If its "
        "publisher has replaced it, review the change and update the catalog.",
    )
