"""The object store: files and trees, immutable, named by digest, published whole or not at all."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fsspec.core import split_protocol

from medshard.errors import StoreError
from medshard.registry.store import processes
from medshard.registry.store.digests import canonical_json, sha256_bytes, sha256_file, tree_files, tree_listing

FORMAT_VERSION = 1
LISTING_SUFFIX = ".listing"

# From how many files on a tree is brought to the disk with its whole file system: one by one, each waits for the disk.
MANY_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """The name of one object.

    digest: SHA-256 of the file's bytes, or of the tree's listing.
    suffix: such as ".zip" or ".zarr", so that people and tools recognise the file.
    size: bytes of the file, or of all files of the tree.
    """

    digest: str
    suffix: str
    size: int
    kind: Literal["file", "tree"]

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "suffix": self.suffix, "size": self.size, "kind": self.kind}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ObjectRef:
        return cls(**document)


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """One line of a tree's listing."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Store:
    """A store in a local folder. Cheap to pickle: it is only the path."""

    root: Path

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> Store:
        """Open the store at a path or `file://` URL.

        Raises StoreError for other schemes, for a folder that is no store, and for a newer format.
        """
        root = _local_folder(url)
        marker = root / "store.json"
        if not marker.exists():
            if not create:
                raise StoreError(
                    "store.missing",
                    where=str(root),
                    problem="there is no medshard store here",
                    action="Name the store with --root or MEDSHARD_ROOT, or run `medshard build` first.",
                )
            # The drafts of builders that create the same store at this moment, or died doing so, do no harm.
            if root.exists() and not root.is_dir():
                raise StoreError(
                    "store.not_a_store",
                    where=str(root),
                    problem="this is a file, not a folder",
                    action="Name a folder with --root.",
                )
            if root.exists() and any(not path.name.startswith(f".{marker.name}.") for path in root.iterdir()):
                raise StoreError(
                    "store.not_a_store",
                    where=str(root),
                    problem="the folder has other files in it and is not a medshard store",
                    action="Name an empty or a new folder with --root.",
                )
            _make_root(root)
            write_atomically(marker, canonical_json({"format_version": FORMAT_VERSION}) + b"\n")
        check_format_version(read_json(marker), where=str(marker))
        return cls(root.resolve())

    @classmethod
    def containing(cls, path: Path) -> Store | None:
        """The store that a file lies in, found by walking up from it."""
        for folder in path.resolve().parents:
            if (folder / "store.json").is_file() and (folder / "objects").is_dir():
                return cls.open(folder, create=False)
        return None

    def path(self, ref: ObjectRef) -> Path:
        return self.root / "objects" / ref.digest[:2] / f"{ref.digest}{ref.suffix}"

    def has(self, ref: ObjectRef) -> bool:
        """Whether the object is there; a tree without its listing is not."""
        return self.path(ref).exists() and (ref.kind == "file" or self._listing_path(ref).exists())

    def publish_file(self, source: Path, suffix: str, *, sha256: str | None = None) -> ObjectRef:
        """Move a finished file of this store's file system into place, and return its name.

        sha256: of its bytes, where they were hashed while they came.
        """
        digest = sha256 or sha256_file(source)
        ref = ObjectRef(digest=digest, suffix=suffix, size=source.stat().st_size, kind="file")
        _rename_into_place(source, self.path(ref))
        return ref

    def publish_bytes(self, data: bytes, suffix: str) -> ObjectRef:
        ref = ObjectRef(digest=sha256_bytes(data), suffix=suffix, size=len(data), kind="file")
        if not self.has(ref):
            self.write(self.path(ref), data)
        return ref

    def publish_tree(self, folder: Path, suffix: str, *, known: Mapping[str, str] | None = None) -> ObjectRef:
        """Move a finished folder of this store's scratch into place, and return its name.

        known: path -> SHA-256 of files that were hashed while they were written.
        """
        listing = tree_listing(folder, known or {})
        digest = sha256_bytes(listing)
        size = sum(path.stat().st_size for path in tree_files(folder))
        ref = ObjectRef(digest=digest, suffix=suffix, size=size, kind="tree")
        if not self._listing_path(ref).exists():
            self.write(self._listing_path(ref), listing)
        if self.path(ref).exists():
            # Published before; whatever has happened to its files since then is mended by what was made now.
            damaged = self.suspects(ref, verify=True)
            self.restore(ref, {path: folder / path for path in damaged})
        else:
            _rename_into_place(folder, self.path(ref))
        return ref

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the store, whole or not at all. Drafts of killed writers lie in scratch and are swept."""
        write_atomically(path, data, drafts=self.root / "scratch")

    def tree_files(self, ref: ObjectRef) -> list[TreeFile]:
        """The files of a tree object, from its listing, sorted by path."""
        lines = os.fsdecode(self._listing_path(ref).read_bytes()).split("\n")[:-1]
        rows = (line.split(" ", 2) for line in lines)
        return [TreeFile(path=path, size=int(size), sha256=digest) for digest, size, path in rows]

    def read_bytes(self, ref: ObjectRef) -> bytes:
        try:
            return self.path(ref).read_bytes()
        except FileNotFoundError:
            raise self._missing(ref) from None

    def verify(self, ref: ObjectRef) -> None:
        """Read an object again and compare it with its name. Raises StoreError naming the file that differs."""
        path = self.path(ref)
        if not path.exists():
            raise self._missing(ref)
        if ref.kind == "file":
            _expect(path, ref.digest, sha256_file(path))
            return
        listing = self._listing_path(ref)
        if not listing.exists():
            raise self._missing(ref)
        _expect(listing, ref.digest, sha256_file(listing))
        for row in self.tree_files(ref):
            member = path / row.path
            _expect(member, row.sha256, sha256_file(member) if member.exists() else "no such file")
        listed = {row.path for row in self.tree_files(ref)}
        for member in tree_files(path):
            if member.relative_to(path).as_posix() not in listed:
                _expect(member, "of nothing: the file was not published", sha256_file(member))

    def remove(self, ref: ObjectRef) -> None:
        """Remove a temporary object, such as a piece that has been packed into a shard. Absent is fine.

        It is moved away first: a half-removed tree must never pass for the whole one.
        """
        with self.scratch() as scratch, suppress(FileNotFoundError):
            self.path(ref).rename(scratch / "removed")
        if ref.kind == "tree":
            self._listing_path(ref).unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder on the store's file system for unfinished work; removed at the end."""
        folder = self.root / "scratch" / f"{processes.this_process()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def files_of_digest(self, sha256: str) -> Iterator[Path]:
        """The file objects with these bytes, whatever they are called."""
        folder = self.root / "objects" / sha256[:2]
        for path in sorted(folder.glob(f"{sha256}*")) if folder.is_dir() else ():
            if path.is_file() and path.suffix != LISTING_SUFFIX:
                yield path

    def suspects(self, ref: ObjectRef, *, verify: bool = False) -> list[str]:
        """Files of a tree object that are missing or may have been changed, by size and time of change.

        A published file is older than its tree's listing. verify: hash every file instead. A file that is younger but
        has the right bytes is no suspect, and is made as old, so that it is not hashed each time.
        """
        root, published_ns = self.path(ref), self._listing_path(ref).stat().st_mtime_ns

        def is_whole(row: TreeFile) -> bool:
            path = root / row.path
            if not path.is_file() or path.stat().st_size != row.size:
                return False
            is_young = path.stat().st_mtime_ns > published_ns
            if not is_young and not verify:
                return True
            is_good = sha256_file(path) == row.sha256
            if is_good and is_young:
                os.utime(path, ns=(published_ns, published_ns))
            return is_good

        return [row.path for row in self.tree_files(ref) if not is_whole(row)]

    def restore(self, ref: ObjectRef, sources: Mapping[str, Path]) -> None:
        """Put files of a tree object back: path -> a file of this file system, which is moved.

        Raises StoreError when the bytes are not those that were published.
        """
        if not sources:
            return
        digests = {row.path: row.sha256 for row in self.tree_files(ref)}
        published_ns = self._listing_path(ref).stat().st_mtime_ns
        for path, source in sources.items():
            target = self.path(ref) / path
            _expect(target, digests[path], sha256_file(source))
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(source)
            source.replace(target)
            os.utime(target, ns=(published_ns, published_ns))

    def sweep_scratch(self) -> None:
        """Remove what processes that no longer live have left behind."""
        scratch = self.root / "scratch"
        for folder in scratch.iterdir() if scratch.exists() else ():
            if not processes.may_be_alive(folder.name.rsplit("-", 1)[0]):
                folder.unlink(missing_ok=True) if folder.is_file() else shutil.rmtree(folder, ignore_errors=True)

    def _listing_path(self, ref: ObjectRef) -> Path:
        return self.root / "objects" / ref.digest[:2] / f"{ref.digest}{LISTING_SUFFIX}"

    def _missing(self, ref: ObjectRef) -> StoreError:
        return StoreError(
            "object.missing",
            where=str(self.path(ref)),
            problem="an object that a record names is not there",
            action="Build the entry again; it makes what is missing.",
        )


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "store.unwritable",
            where=str(root),
            problem="the folder of the store cannot be made",
            details={"system": error},
            action="Name a folder that you may write to with --root.",
        ) from error


def write_atomically(path: Path, data: bytes, *, drafts: Path | None = None) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    drafts: folder on the same file system for the unfinished file; beside the finished one when not given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{processes.this_process()}-{uuid.uuid4().hex[:8]}"
    if drafts is not None:
        drafts.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{name}.tmp") if drafts is None else drafts / name
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise StoreError(
            "store.unreadable",
            where=str(path),
            problem="the file is not JSON",
            details={"reader": error},
            action="Remove it and build again.",
        ) from error


def check_format_version(document: dict[str, Any], *, where: str) -> None:
    """Raise StoreError when a document was written by a newer format than this code reads."""
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise StoreError(
            "store.format_version",
            where=where,
            problem="written by another version of the format",
            details={"expected": FORMAT_VERSION, "found": version},
            action="Install the medshard that wrote it, or build into a new root.",
        )


def _local_folder(url: str | Path) -> Path:
    protocol, _ = split_protocol(str(url))
    if protocol is None:
        return Path(url).expanduser()
    if protocol != "file":
        raise StoreError(
            "store.scheme",
            where=str(url),
            problem="only local folders can hold a store so far",
            action="Give a path or a file:// URL.",
        )
    return Path(url2pathname(urlsplit(str(url)).path))


def _rename_into_place(source: Path, target: Path) -> None:
    paths = [source, *source.rglob("*")]
    if len(paths) < MANY_FILES or not _sync_file_system(source):
        for path in paths:
            if path.exists():  # a broken link has nothing to bring to the disk
                _sync(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # the same bytes, published before
        return
    try:
        source.rename(target)
    except OSError:
        if not target.exists():  # somebody else published the same tree in between
            raise
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _sync_file_system(path: Path) -> bool:
    """Bring all that its file system has to the disk, at once; False where the system has no such call."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0
    finally:
        os.close(descriptor)


def _expect(path: Path, expected: str, found: str) -> None:
    if expected != found:
        raise StoreError(
            "object.corrupt",
            where=str(path),
            problem="the bytes are not those that were published",
            details={"expected": f"sha256 {expected}", "found": found},
            action="Remove the whole object (the file or folder named by its digest) and build the entry again.",
        )
