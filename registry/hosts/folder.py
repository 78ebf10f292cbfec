"""Kind `folder`: a folder, or an archive, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import Asking, Host, ListedFile, Listing, LocalAddress
from medshard.registry.hosts.selection import require_selection, select
from medshard.registry.schema.model import Model, Sha256
from medshard.registry.store.digests import sha256_file, tree_files


class FolderSource(Model):
    """A folder, or a zip or tar archive, on this machine. Relative paths start at the catalog file."""

    kind: Literal["folder"]
    path: str
    include: tuple[str, ...] = ("*",)
    files: dict[str, Sha256] = {}
    sha256: Sha256 | None = None
    into: str = ""


def _place(source: FolderSource) -> str:
    # A folder of a private catalog is a path of somebody's machine, which nobody else has any use for.
    elsewhere = source.path.startswith(("/", "~"))
    return "a local folder" if elsewhere else f"folder `{source.path}` beside the catalog"


def _list_files(source: FolderSource, asking: Asking) -> Listing:
    """Every selected file (or the archive) with its digest, so that a changed file is a new acquisition.

    Raises AcquisitionError: folder.missing, folder.sha256, folder.link, source.empty.
    """
    path = _locate(source, asking.base)
    if path.is_file():
        packed = ListedFile(
            name=path.name,
            address=LocalAddress(path=path),
            size=path.stat().st_size,
            checksum=f"sha256:{source.sha256 or sha256_file(path)}",
            include=source.include,
        )
        return Listing(files=(packed,))
    return Listing(files=tuple(_listed(path, name) for name in _selected(source, path)))


def _listed(folder: Path, name: str) -> ListedFile:
    path = folder / name
    return ListedFile(
        name=name,
        address=LocalAddress(path=path),
        size=path.stat().st_size,
        checksum=f"sha256:{sha256_file(path)}",
        archive="none",
    )


def _where(source: FolderSource) -> str:
    return f"folder {source.path}"


def _locate(source: FolderSource, base: Path) -> Path:
    from medshard.registry.acquisition.archives import is_archive  # noqa: PLC0415 - the catalog needs no unpacking

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
    raise AcquisitionError(
        "folder.missing",
        where=_where(source),
        problem="the file is not an archive" if path.is_file() else "there is no such folder or archive",
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


HOST = Host(source=FolderSource, place=_place, list_files=_list_files, local=True)
