"""A tree into the inbox of a store, packed as its source packs it, and the entry that takes it from there.

Everything after the download is the real thing: the names of the catalog, the inbox, the kinds of archives, archives in
archives, what `into` and `include` say. What cannot be had here are the hosts, so that each source becomes one by hand;
sizes and checksums of the real files are left out.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import py7zr
import zstandard
from trees.tree import Packed, Tree

from medshard.registry import Catalog
from medshard.registry.acquisition.gates.inbox import inbox_of
from medshard.registry.hosts.manual import ManualSource
from medshard.registry.hosts.selection import select
from medshard.registry.hosts.source import RemoteFile
from medshard.registry.schema import Entry, RemoteSource, Source
from medshard.registry.store.objects import Store

OLD = 1_600_000_000
"""Time of every file: what was written just now could still be on its way."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of a source: an archive that was packed for it, or a plain one."""

    name: str
    path: Path
    kind: str | None = None


def offer(root: Tree, entry: Entry, catalog: Catalog, store: Store) -> Catalog:
    """Put the tree into the inbox; the catalog with the entry that takes it from there.

    root: its folder has to exist, and nothing but the tree lies beside it. Raises AssertionError for a file that the
    entry does not want by that name.
    """
    sources = []
    for number, files in sorted(_offered(root).items()):
        assert number < len(entry.acquisition), f"{entry.id} has no source {number}"
        wanted = _wanted(entry, number, files)
        inbox = inbox_of(store, entry) / f"{len(sources):02d}-manual"
        for file in wanted:
            target = inbox / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.path.replace(target)
            os.utime(target, (OLD, OLD))
        sources.append(_by_hand(entry.acquisition[number], wanted))
    changed = entry.model_copy(update={"acquisition": tuple(sources)})
    return replace(catalog, entries={**catalog.entries, entry.id: changed})


def _offered(root: Tree) -> dict[int, list[_File]]:
    found: dict[int, list[_File]] = defaultdict(list)
    for number, packed in enumerate(root.archives):
        place = root.folder.with_name(f"packed-{number:02d}") / packed.name
        found[packed.part.source].append(_File(name=packed.name, path=pack(packed, place), kind=packed.kind))
    for part in (root, *root.plain):
        for name, path in part.paths().items():
            found[part.source].append(_File(name=name, path=path))
    return found


def _wanted(entry: Entry, number: int, files: list[_File]) -> list[_File]:
    """The files that the entry takes of its source."""
    source = entry.acquisition[number]
    chosen = set(select((file.name for file in files), getattr(source, "include", ("*",))))
    known = _by_last_part(source)
    for name in sorted(chosen):
        assert not known or _last_part(name) in known, f"{entry.id} names {sorted(known)[:9]} and no {name}"
    return [file for file in files if file.name in chosen]


def _by_hand(source: Source, wanted: list[_File]) -> ManualSource:
    known = _by_last_part(source)
    files = []
    for file in wanted:
        stated = known.get(_last_part(file.name))
        archive = file.kind or (stated.archive if stated else None)
        if archive is None and len(wanted) == 1 and not known and isinstance(source, RemoteSource):
            archive = source.archive
        files.append(RemoteFile.model_validate({"name": file.name, "archive": archive}))
    return ManualSource(
        kind="manual", instructions="Made for a test.", files=tuple(files), into=getattr(source, "into", "")
    )


def _by_last_part(source: Source) -> dict[str, RemoteFile]:
    return {_last_part(file.name): file for file in source.files} if isinstance(source, RemoteSource) else {}


def _last_part(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def pack(packed: Packed, place: Path) -> Path:
    """Write an archive of what lies in it, archives in it first, in the order of the names."""
    for inner in packed.part.archives:
        pack(inner, packed.part / inner.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    kind = packed.kind or next((kind for end, kind in _KINDS.items() if packed.name.lower().endswith(end)), None)
    assert kind in _WRITERS, f"nobody writes {packed.name}: give it a `kind` of {', '.join(_WRITERS)}"
    _WRITERS[kind](place, packed.part.paths())
    return place


def _zip(place: Path, members: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in members.items():
            archive.write(path, name)


def _tar(mode: str) -> Callable[[Path, Mapping[str, Path]], None]:
    def write(place: Path, members: Mapping[str, Path]) -> None:
        with tarfile.open(place, mode) as archive:  # type: ignore[call-overload]
            for name, path in members.items():
                archive.add(path, name)

    return write


def _tar_zst(place: Path, members: Mapping[str, Path]) -> None:
    with (
        place.open("wb") as file,
        zstandard.ZstdCompressor(level=1).stream_writer(file) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for name, path in members.items():
            archive.add(path, name)


def _seven_zip(place: Path, members: Mapping[str, Path]) -> None:
    with py7zr.SevenZipFile(place, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 1}]) as archive:
        for name, path in members.items():
            archive.write(path, name)


def _gz(place: Path, members: Mapping[str, Path]) -> None:
    (path,) = members.values()
    place.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, Path]], None]] = MappingProxyType(
    {
        "zip": _zip,
        "tar": _tar("w"),
        "tar.gz": _tar("w:gz"),
        "tar.bz2": _tar("w:bz2"),
        "tar.xz": _tar("w:xz"),
        "tar.zst": _tar_zst,
        "7z": _seven_zip,
        "gz": _gz,
    }
)
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ".tar.gz": "tar.gz",
        ".tgz": "tar.gz",
        ".tar.bz2": "tar.bz2",
        ".tar.xz": "tar.xz",
        ".tar.zst": "tar.zst",
        ".tar": "tar",
        ".zip": "zip",
        ".7z": "7z",
        ".gz": "gz",
    }
)
