"""Unpacking of zip and tar archives, by selection, and never outside the target folder."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.acquired import require_selection, select


def is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path, *, include: Iterable[str], where: str) -> None:
    """Unpack the members that `include` selects below `folder`, under their own names.

    Raises AcquisitionError: archive.unreadable (also when truncated), archive.unsafe for a selected member whose name
    leaves the folder, that is no plain file, or that differs from another only in case; source.empty.
    """
    with _open(archive, where=where) as members:
        selected = select(members, include)
        require_selection(selected, include, where=where, seen=members)
        _check_names(selected, where=where)
        for name in selected:
            opener = members[name]
            if opener is None:
                raise _unsafe(name, "is a link or a device, not a file", where=where)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with opener() as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


Members = dict[str, Callable[[], IO[bytes]] | None]


@contextmanager
def _open(archive: Path, *, where: str) -> Iterator[Members]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(opened)
        else:
            with tarfile.open(archive) as opened_tar:
                yield _tar_members(opened_tar)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, OSError) as error:
        raise AcquisitionError(
            "archive.unreadable",
            where=where,
            problem=f"{archive.name} cannot be unpacked",
            details={"reader": error, "size": f"{archive.stat().st_size} bytes"},
            action="It may be cut off: fetch it again.",
        ) from error


def _zip_members(opened: zipfile.ZipFile) -> Members:
    def member(info: zipfile.ZipInfo) -> Callable[[], IO[bytes]] | None:
        mode = info.external_attr >> 16
        return None if stat.S_IFMT(mode) not in {0, stat.S_IFREG} else lambda: opened.open(info)

    return {info.filename: member(info) for info in opened.infolist() if not info.is_dir()}


def _tar_members(opened: tarfile.TarFile) -> Members:
    def member(info: tarfile.TarInfo) -> Callable[[], IO[bytes]] | None:
        def read() -> IO[bytes]:
            stream = opened.extractfile(info)
            if stream is None:
                raise tarfile.ReadError(info.name)
            return stream

        return read if info.isfile() else None

    return {info.name: member(info) for info in opened.getmembers() if not info.isdir()}


def _check_names(names: Iterable[str], *, where: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
            raise _unsafe(name, "would be written outside the folder", where=where)
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise _unsafe(name, f"differs from {other} only in case", where=where)


def _unsafe(name: str, why: str, *, where: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.unsafe",
        where=where,
        problem=f"the member {name!r} {why}",
        action="Nothing of the archive was kept. Tell its publisher.",
    )
