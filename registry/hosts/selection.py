"""Which of many paths a catalog entry wants."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from medshard.errors import AcquisitionError


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
