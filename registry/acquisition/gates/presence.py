"""The files of an inbox as they lie there: names, sizes and ages. Nothing is opened."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

QUIET_S = 2.0
"""A file that was written to more recently may be still on its way."""

_UNFINISHED = (".part", ".partial", ".crdownload", ".opdownload", ".download", ".aria2", ".tmp")
_RSYNC_DRAFT = re.compile(r"^\..+\.\w{6}$")
_LITTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


@dataclass(frozen=True, kw_only=True)
class PresentFile:
    """A file of the inbox. name: its path below the inbox. age_s: since it was last written to."""

    name: str
    path: Path
    size: int
    age_s: float

    @property
    def parts(self) -> tuple[str, ...]:
        return parts_of_name(self.name)

    @property
    def is_unfinished(self) -> bool:
        return self.parts[-1].endswith(_UNFINISHED) or _RSYNC_DRAFT.match(self.parts[-1]) is not None

    @property
    def is_young(self) -> bool:
        # A clock that is a little behind the file server's makes an age negative.
        return abs(self.age_s) < QUIET_S

    @property
    def is_litter(self) -> bool:
        return self.parts[-1].startswith(".") or any(part in _LITTER for part in self.parts)


def present_files(inbox: Path) -> list[PresentFile]:
    """Every file, sorted by name, through links to folders too; no folder twice."""
    now = time.time()
    files = (_present(inbox, path, now) for path in _paths(inbox))
    return sorted((file for file in files if file.is_unfinished or not file.is_litter), key=lambda file: file.name)


def _paths(inbox: Path) -> Iterator[Path]:
    seen = set()
    for folder, folders, names in os.walk(inbox, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (path for path in (Path(folder, name) for name in names) if path.is_file())


def _present(inbox: Path, path: Path, now: float) -> PresentFile:
    stat = path.stat()
    return PresentFile(name=path.relative_to(inbox).as_posix(), path=path, size=stat.st_size, age_s=now - stat.st_mtime)


def parts_of_name(name: str) -> tuple[str, ...]:
    """Folders and name, in one spelling of accents: file systems differ in it."""
    return tuple(unicodedata.normalize("NFC", name).split("/"))
