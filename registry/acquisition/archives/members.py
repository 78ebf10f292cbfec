"""Members of archives: as the archive states them, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file that came out of an archive. path: below the target folder. size: bytes.

    archives: the chain of archive names, outermost first. member: its name inside the innermost.
    """

    path: str
    size: int
    sha256: str
    archives: tuple[str, ...]
    member: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A selected member that did not become a file, and why."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A file that was kept as it is although something is wrong with it. path: below the target folder."""

    path: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What an archive says of one member. size: unpacked bytes, None when it does not say."""

    name: str
    size: int | None = None
    form: Literal["file", "folder", "link", "hard link", "device"] = "file"
