"""Many samples in one file: a zip, stored and with fixed dates, that holds one Zarr v3 group."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from medshard.errors import StoreError
from medshard.registry.store.digests import tree_files

# The first date that a zip can hold: the bytes must not depend on when they were written.
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
COPY_BYTES = 1 << 20


def node_name(name: str) -> str:
    """A case, layer or mesh name as the name of a Zarr node: percent-encoded, so that `unquote` gives it back.

    Letters, digits, `-`, `.`, `_` and `~` stay. Zarr forbids names of periods only and names that begin with `__`;
    their first character is encoded too. Raises StoreError[shard.name] for the empty name.
    """
    if not name:
        raise StoreError("shard.name", where="(empty)", problem="a case, layer or mesh without a name cannot be stored")
    encoded = quote(name, safe="")
    if not encoded.strip(".") or encoded.startswith("__"):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded


def name_of_node(node: str) -> str:
    """The name that `node_name` encoded."""
    return unquote(node)


def plan_packing(sizes: Sequence[tuple[str, int]], shard_bytes: int) -> list[list[str]]:
    """Deal cases to shards, in their order: a shard is closed before it would grow beyond `shard_bytes`.

    sizes: (case, bytes) pairs. A case that is larger than a shard gets one of its own.
    """
    shards: list[list[str]] = []
    filled = shard_bytes
    for case, size in sizes:
        if filled + size > shard_bytes or not shards:
            shards.append([])
            filled = 0
        shards[-1].append(case)
        filled += size
    return shards


def pack_shard(pieces: Sequence[tuple[str, Path]], attributes: Mapping[str, Any], target: Path) -> None:
    """Write the group trees of several cases (`encode_sample`) into one zip at `target`, a new file.

    pieces: (case, place) pairs, the place being the folder of the case, or a file of a `PiecesWriter` that holds it;
    the members of each case stand under its `node_name`, sorted by path.
    attributes: of the root group, plain JSON.
    Equal pieces give equal bytes. The caller publishes the file; nothing is synced here.
    """
    root = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    with ZipFile(target, "x", ZIP_STORED, allowZip64=True) as archive:
        text = json.dumps(root, sort_keys=True, indent=2, allow_nan=False)
        archive.writestr(_member("zarr.json", len(text.encode())), text)
        with _OpenPieces() as together:
            for case, place in pieces:
                if place.is_file():
                    together.copy(case, place, archive)
                else:
                    _add_folder(case, place, archive)


class PiecesWriter:
    """The pieces of many small cases in one file, until they are packed into a shard."""

    def __init__(self, target: Path) -> None:
        self._archive = ZipFile(target, "x", ZIP_STORED, allowZip64=True)

    def add(self, case: str, folder: Path) -> int:
        """Add the group tree of one case. Returns the bytes of its files."""
        return _add_folder(case, folder, self._archive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


class _OpenPieces:
    """The file of pieces that was asked for last: cases that lie in one file are packed one after the other."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._archive: ZipFile | None = None
        self._members: dict[str, list[ZipInfo]] = {}

    def copy(self, case: str, path: Path, target: ZipFile) -> None:
        """Raises StoreError[shard.piece] when the file does not hold the case."""
        if path != self._path or self._archive is None:
            self._open(path)
        node = node_name(case)
        if self._archive is None or node not in self._members:
            raise StoreError(
                "shard.piece",
                where=str(path),
                problem="the piece of a case is not in the file that its record names",
                details={"case": case},
                action="Remove the file and build the shards stage again.",
            )
        for info in self._members[node]:
            target.writestr(_member(info.filename, info.file_size), self._archive.read(info))

    def _open(self, path: Path) -> None:
        self.__exit__()
        self._path, self._archive, self._members = path, ZipFile(path), {}
        for info in self._archive.infolist():
            self._members.setdefault(info.filename.partition("/")[0], []).append(info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()


def _add_folder(case: str, folder: Path, archive: ZipFile) -> int:
    size = 0
    for path in tree_files(folder):
        info = _member(f"{node_name(case)}/{path.relative_to(folder).as_posix()}", path.stat().st_size)
        with path.open("rb") as source, archive.open(info, "w") as member:
            shutil.copyfileobj(source, member, COPY_BYTES)
        size += info.file_size
    return size


def _member(name: str, size: int) -> ZipInfo:
    info = ZipInfo(name, FIXED_DATE)
    info.compress_type = ZIP_STORED
    info.create_system = 3  # Unix, on every platform
    info.external_attr = 0o644 << 16
    info.file_size = size  # tells zipfile beforehand whether the member needs zip64
    return info
