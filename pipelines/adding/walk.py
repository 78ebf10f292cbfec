"""The files of a folder: names and sizes, in order, without what desktops and downloads leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.names import is_junk

MOST_FILES = 500_000
_JUNK_ENDS = (".part", ".crdownload", ".tmp", ".swp", "~", ".lnk", ".pyc")
_JUNK_NAMES = frozenset({"desktop.ini", "thumbs.db", ".ds_store", ".gitignore", ".gitattributes"})
_JUNK_FOLDERS = frozenset({".git", "__pycache__", ".ipynb_checkpoints", "@eaDir"})
_ABOUT = ("readme", "license", "licence", "changes", "changelog", "citation", "notice", "copyright", "terms")
_ABOUT_ENDS = (".md", ".txt", ".pdf", ".docx", ".doc", ".html", ".rst", "")
_ARCHIVE_ENDS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".tar.zst")


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """paths: posix, below the folder, sorted. junk: passed over. about: texts for people. archives: not looked into.

    empty: of no bytes. links: not followed. cut: whether there are more files than are looked at.
    """

    folder: Path
    paths: tuple[str, ...]
    junk: tuple[str, ...]
    about: tuple[str, ...]
    archives: tuple[str, ...]
    empty: tuple[str, ...]
    links: tuple[str, ...]
    cut: bool

    def at(self, path: str) -> Path:
        return self.folder / path


def walk(folder: Path, most: int = MOST_FILES) -> FoundFiles:
    """Every file below a folder. Nothing is opened and no link is followed.

    Raises AcquisitionError[folder.missing] where there is no such folder.
    """
    if not folder.is_dir():
        raise AcquisitionError(
            "folder.missing",
            where=str(folder),
            problem="this is a file, not a folder" if folder.is_file() else "there is no such folder",
            action="Name the folder that the data set lies in; unpack archives first.",
        )
    kinds: dict[str, list[str]] = {kind: [] for kind in ("data", "junk", "about", "archive", "empty", "link")}
    seen = 0
    for path, kind in _entries(folder):
        seen += 1
        if seen > most:
            break
        kinds[kind].append(path)
    ordered = {kind: tuple(sorted(paths)) for kind, paths in kinds.items()}
    return FoundFiles(
        folder=folder,
        paths=ordered["data"],
        junk=ordered["junk"],
        about=ordered["about"],
        archives=ordered["archive"],
        empty=ordered["empty"],
        links=ordered["link"],
        cut=seen > most,
    )


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, kind) of all files; folders in order of their names, so that a cut is always the same."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        deeper = []
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                yield path, "link"
            elif entry.is_dir():
                deeper += [path] if entry.name not in _JUNK_FOLDERS else []
            elif entry.is_file():
                yield path, _kind(path, entry.stat().st_size)
        waiting.extend(reversed(deeper))


def _kind(path: str, size: int) -> str:
    name = path.rpartition("/")[2].lower()
    if is_junk(path) or name in _JUNK_NAMES or name.endswith(_JUNK_ENDS):
        return "junk"
    if name.startswith(_ABOUT) and name.endswith(_ABOUT_ENDS) and (name.endswith(_ABOUT_ENDS[:-1]) or "." not in name):
        return "about"
    if name.endswith(_ARCHIVE_ENDS):
        return "archive"
    return "empty" if size == 0 else "data"
