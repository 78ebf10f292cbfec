"""Names of members: which may become files, and which of them would be one file on another machine."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from medshard.registry.acquisition.archives.faults import Origin, unsafe
from medshard.registry.acquisition.archives.limits import Limits

# Windows opens devices under these names, whatever follows the first dot.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_DEVICES_BEGIN = frozenset({"CON", "PRN", "AUX", "NUL", "COM", "LPT"})
_DRIVE = re.compile(r"[A-Za-z]:")
_JUNK_FOLDERS = frozenset({"__MACOSX"})
_JUNK_FILES = frozenset({".DS_Store", "Thumbs.db"})


def safe_path(name: str, *, origin: Origin | None = None, limits: Limits | None = None) -> PurePosixPath:
    """The relative path that a member's name stands for: never outside the folder, and a file on every system.

    Raises AcquisitionError[archive.unsafe].
    """
    limits = limits or Limits()
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    fault = _fault(name, parts, limits)
    if fault is not None:
        raise unsafe(origin or Origin(where="archive"), name, fault)
    return PurePosixPath(*parts)


def is_junk(name: str) -> bool:
    """Whether a member is what desktops leave behind: resource forks, folder views, thumbnails."""
    parts = name.split("/")
    return not _JUNK_FOLDERS.isdisjoint(parts) or parts[-1] in _JUNK_FILES or parts[-1].startswith("._")


def leads_outside(name: str, target: str, *, hard: bool) -> bool:
    """Whether a link's target lies outside the archive. A hard link's target is a member's full name."""
    if not target or target.startswith("/") or "\\" in target or "\0" in target or _DRIVE.match(target):
        return True
    depth = 0 if hard else len([part for part in name.split("/") if part not in {"", "."}]) - 1
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in {"", "."}:
            depth += 1
        if depth < 0:
            return True
    return False


def strip_folders(path: PurePosixPath, count: int) -> PurePosixPath:
    """The path without its first `count` folders; a file that lies less deep keeps its own name."""
    return PurePosixPath(*path.parts[min(count, len(path.parts) - 1) :])


@dataclass
class Taken:
    """The paths that are in use. Two that a case-blind or normalising file system would merge are refused."""

    _files: dict[str, str] = field(default_factory=dict)
    _folders: set[str] = field(default_factory=set)

    def take(self, path: PurePosixPath, *, origin: Origin) -> bool:
        """Note a file's path; False when the very same path is taken already. Raises [archive.unsafe] on a clash."""
        text = str(path)
        folded = _folded(text)
        other = self._files.get(folded)
        if other == text:
            return False
        if other is not None:
            raise unsafe(origin, text, f"differs from {other!r} only in case or in the form of its letters")
        above = [folded[:at] for at, letter in enumerate(folded) if letter == "/"]
        if folded in self._folders or any(folder in self._files for folder in above):
            raise unsafe(origin, text, "is a file where another member has a folder")
        self._files[folded] = text
        self._folders.update(above)
        return True

    def release(self, path: PurePosixPath) -> None:
        self._files.pop(_folded(str(path)), None)


def _fault(name: str, parts: tuple[str, ...], limits: Limits) -> str | None:
    return _fault_of_text(name) or _fault_of_place(name, parts) or _fault_of_parts(parts, limits)


def _fault_of_text(name: str) -> str | None:
    if name.isascii() and name.isprintable():
        return None
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "has a control character in its name"
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "has a name that is not UTF-8"
    return None


def _fault_of_place(name: str, parts: tuple[str, ...]) -> str | None:
    if name.startswith("/"):
        return "has an absolute path"
    if _DRIVE.match(name):
        return "has a drive letter"
    if "\\" in name:
        return "has a backslash in its name"
    if ".." in parts:
        return "would be written outside the folder"
    return None if parts else "has no name"


def _fault_of_parts(parts: tuple[str, ...], limits: Limits) -> str | None:
    for part in parts:
        if ":" in part:
            return "has a colon in its name, which Windows takes for a hidden stream of a file"
        if part[-1] in {".", " "}:
            return "has a name that ends in a dot or a space, which Windows drops"
        if part[:3].upper() in _DEVICES_BEGIN and _DEVICE.fullmatch(part.split(".", 1)[0].rstrip(" ")):
            return "has a name that Windows reserves for a device"
        if len(part.encode()) > limits.max_name_bytes:
            return f"has a name of more than {limits.max_name_bytes} bytes"
    if len("/".join(parts).encode()) > limits.max_path_bytes:
        return f"has a path of more than {limits.max_path_bytes} bytes"
    return None


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
