"""Kind `folder`: a folder, or a zip or tar archive, on this machine."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.acquired import Acquired, check_digest, check_files, require_selection, select
from medshard.registry.acquisition.archives import is_archive, unpack
from medshard.registry.schema import FolderSource
from medshard.registry.store.digests import sha256_file, tree_files


def identity(source: FolderSource, base: Path) -> dict[str, Any]:
    """The digest of every selected file (or of the archive), so that a changed file is a new acquisition."""
    path = _locate(source, base)
    stated = source.model_dump(mode="json", exclude={"into", "path"})
    if path.is_file():
        return {**stated, "archive": sha256_file(path)}
    return {**stated, "content": {name: sha256_file(path / name) for name in _selected(source, path)}}


def acquire(source: FolderSource, base: Path, folder: Path) -> Acquired:
    """Copy the selected files, or unpack the archive, below `folder`.

    Raises AcquisitionError: folder.missing, folder.link, source.empty, checksum.mismatch, and those of unpacking.
    """
    path = _locate(source, base)
    where = _where(source)
    tree = folder / "tree"
    tools = {"medshard": version("medshard")}
    if path.is_file():
        if source.sha256 is not None:
            check_digest(path, source.sha256, where=where)
        copy = folder / path.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        unpack(copy, tree, include=source.include, where=where)
        check_files(tree, source.files, where=where)
        return Acquired(tree=tree, archive=copy, tools=tools)
    for name in _selected(source, path):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / name, target)
    check_files(tree, source.files, where=where)
    return Acquired(tree=tree, tools=tools)


def _where(source: FolderSource) -> str:
    return f"folder {source.path}"


def _locate(source: FolderSource, base: Path) -> Path:
    path = (base / Path(source.path).expanduser()).resolve()
    if path.is_dir() and source.sha256 is not None:
        raise AcquisitionError(
            "folder.sha256",
            where=_where(source),
            problem="`sha256` pins an archive, and this is a folder",
            action="Pin its files under `files`.",
        )
    if path.is_dir() or (path.is_file() and is_archive(path)):
        return path
    problem = "the file is not a zip or tar archive" if path.is_file() else "there is no such folder or archive"
    raise AcquisitionError(
        "folder.missing",
        where=_where(source),
        problem=problem,
        details={"looked at": path},
        action="A relative path starts at the folder of the catalog file that holds the entry.",
    )


def _selected(source: FolderSource, folder: Path) -> list[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(folder)):
            raise AcquisitionError(
                "folder.link",
                where=_where(source),
                problem="a link leads to a folder, out of the source, or nowhere",
                details={"link": path.relative_to(folder), "to": path.readlink()},
                action="Replace the link by the files, or name the folder that it leads to as a source of its own.",
            )
    seen = [path.relative_to(folder).as_posix() for path in tree_files(folder)]
    names = select(seen, source.include)
    require_selection(names, source.include, where=_where(source), seen=seen)
    return names
