"""The fresh folder that members are written in, and how they leave it for the target."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Self

from medshard.registry.acquisition.archives.faults import Origin, clash
from medshard.registry.acquisition.archives.members import Member
from medshard.registry.store.digests import sha256_file


class Room:
    """A fresh folder inside the target, which the files leave only when everything went well.

    Inside, because then nothing is ever written beside the target, and moving is a rename.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._created = not folder.exists()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._room = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=self._folder.resolve()))
        self.tree = self._room / "tree"
        self.tree.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        shutil.rmtree(self._room)
        if kind is not None and self._created:
            self._folder.rmdir()

    def aside(self, files: Sequence[Path]) -> list[Path]:
        """Move files out of the tree, into a folder of their own, under their names."""
        folder = Path(tempfile.mkdtemp(prefix="inner-", dir=self._room))
        return [file.rename(folder / file.name) for file in files]

    def hand_over(self, members: Collection[Member], origin: Origin) -> None:
        """Move all files to the target. Raises AcquisitionError[archive.clash] before the first one is moved."""
        target = self._folder.resolve()
        existing = {path.name for path in target.iterdir()} - {self._room.name}
        tops = {member.path.split("/", 1)[0] for member in members}
        beside = [member for member in members if member.path.split("/", 1)[0] in existing]
        moving = [member for member in beside if not _is_there(target, member, origin)]
        for top in sorted(tops - existing):
            (self.tree / top).rename(target / top)
        for member in moving:
            (target / member.path).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / member.path).rename(target / member.path)


def _is_there(target: Path, member: Member, origin: Origin) -> bool:
    """Whether the very same file is there already. Raises AcquisitionError[archive.clash] for another one."""
    path = target
    for part in PurePosixPath(member.path).parts[:-1]:
        path /= part
        found = _mode(path)
        if found is None:
            return False
        if not stat.S_ISDIR(found):
            raise clash(origin, member.path, f"needs the folder {path.name!r}, and there is a file or a link")
    path = target / member.path
    found = _mode(path)
    if found is None:
        return False
    if stat.S_ISREG(found) and path.stat().st_size == member.size and sha256_file(path) == member.sha256:
        return True
    raise clash(origin, member.path, "is there already, with different bytes")


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None
