"""What an acquisition yields, and the checks that all kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.store.digests import sha256_file


@dataclass(frozen=True, kw_only=True)
class Acquired:
    """tree: folder with the acquired files. archive: the archive that they came out of, if there was one.

    tools: name -> version of what fetched and unpacked them.
    """

    tree: Path
    archive: Path | None = None
    tools: Mapping[str, str]


def select(paths: Iterable[str], include: Iterable[str]) -> list[str]:
    """The paths that any pattern matches, sorted. In a pattern `*` also runs over `/`."""
    patterns = tuple(include)
    return sorted(path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns))


def require_selection(selected: list[str], include: Iterable[str], *, where: str, seen: Iterable[str]) -> None:
    """Raise AcquisitionError when the patterns select nothing, or a file whose name is not UTF-8."""
    bad = next((name for name in selected if not name.isascii() and not _is_utf8(name)), None)
    if bad is not None:
        raise AcquisitionError(
            "source.file_name",
            where=where,
            problem="the name of a file is not UTF-8",
            details={"file": ascii(bad)},
            action="Rename the file, or leave it out with `include`.",
        )
    if not selected:
        raise AcquisitionError(
            "source.empty",
            where=where,
            problem="no file of the source matches `include`",
            details={"include": ", ".join(include), "the source has": ", ".join(sorted(seen)[:5]) or "no files"},
            action="Mend the patterns in the catalog entry.",
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_files(tree: Path, expected: Mapping[str, str], *, where: str) -> None:
    """Compare files below `tree` with the SHA-256 that the catalog states for them."""
    for path, digest in expected.items():
        check_digest(tree / path, digest, where=where)


def check_digest(path: Path, expected: str, *, where: str) -> None:
    """Raise AcquisitionError[checksum.mismatch] when a file is not the one that the catalog pins."""
    found = sha256_file(path) if path.is_file() else "no such file"
    if found != expected:
        raise AcquisitionError(
            "checksum.mismatch",
            where=where,
            problem=f"{path.name} is not the file that the catalog pins",
            details={"file": path.name, "expected": f"sha256 {expected}", "found": found},
            action="Fetch the file again; if its publisher has replaced it, review the change and update the catalog.",
        )
