"""What a source had when it was first asked, so that a later change there is noticed and not swallowed.

One JSON document per entry in the store, `locks/<entry>.json`. It is found by what the catalog says of a part, so an
edited entry is asked anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.parts import Part
from medshard.registry.hosts.host import ListedFile, Listing
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import FORMAT_VERSION, Store, check_format_version, read_json

CHANGES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """size, checksum: as the source states them. bytes, sha256: of what came; None until it did.

    repeatable: whether two fetches give the same bytes; an archive that is packed for each request does not.
    """

    name: str
    size: int | None = None
    checksum: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class LockedPart:
    """mirror: which source of the part was used. tree: digest of what its files unpacked to; None until then."""

    mirror: int
    revision: str | None
    files: tuple[LockedFile, ...]
    tree: str | None = None

    @property
    def listing(self) -> dict[str, Any]:
        """What decides the content, for the key of the part."""
        stated = [{"name": file.name, "size": file.size, "checksum": file.checksum} for file in self.files]
        return {"revision": self.revision, "files": stated}

    @cached_property
    def by_name(self) -> Mapping[str, LockedFile]:
        return {file.name: file for file in self.files}

    def file(self, name: str) -> LockedFile | None:
        return self.by_name.get(name)

    def extended(self, longer: LockedPart) -> LockedPart:
        """With the files that only `longer` has; what the part unpacks to is then open."""
        return replace(longer, files=tuple(self.file(file.name) or file for file in longer.files), tree=None)

    def with_content(self, found: Mapping[str, tuple[int, str]], tree: str) -> LockedPart:
        """The same with what is known once the files are here. found: name -> bytes and SHA-256."""
        files = tuple(
            replace(file, bytes=found[file.name][0], sha256=found[file.name][1]) if file.name in found else file
            for file in self.files
        )
        return replace(self, files=files, tree=tree)


def lock_of(listing: Listing, mirror: int, *, tree: str | None = None) -> LockedPart:
    """tree: what the part unpacked to before, where another mirror gave it."""
    files = tuple(
        LockedFile(
            name=file.name,
            size=file.size,
            checksum=file.checksum,
            repeatable=getattr(file.address, "ranges", True),
        )
        for file in listing.files
    )
    return LockedPart(mirror=mirror, revision=listing.revision, files=files, tree=tree)


def lock_path(store: Store, entry: str) -> Path:
    return store.root / "locks" / f"{entry}.json"


def read_lock(store: Store, entry: str) -> dict[str, LockedPart]:
    """Part key -> what was locked. Raises StoreError when the file is no lock of this format."""
    path = lock_path(store, entry)
    if not path.exists():
        return {}
    document = read_json(path)
    check_format_version(document, where=str(path))
    return {key: _from_json(part) for key, part in document["parts"].items()}


def write_lock(store: Store, entry: str, part: Part, locked: LockedPart) -> None:
    """Add or renew one part. Called under the lease of the entry."""
    parts = {**read_lock(store, entry), part.key: locked}
    document = {
        "format_version": FORMAT_VERSION,
        "parts": {
            key: {**asdict(known), "files": [asdict(file) for file in known.files]} for key, known in parts.items()
        },
    }
    store.write(lock_path(store, entry), canonical_json(document) + b"\n")


def changes(locked: LockedPart, listing: Listing) -> list[str]:
    """What a host says now that contradicts what it said when the part was locked, one line each.

    What only one of the two knows is no change: files of the inbox come without the host's word.
    """
    now = {file.name: file for file in listing.files}
    lines = []
    if _differ(locked.revision, listing.revision):
        lines.append(f"revision {locked.revision} became {listing.revision}")
    for file in locked.files:
        if file.name not in now:
            lines.append(f"{file.name} is gone")
            continue
        lines += _changed(file, now[file.name])
    known = {file.name for file in locked.files}
    return lines + [f"{name} is new" for name in now if name not in known]


def refuse_changes(locked: LockedPart, listing: Listing, *, where: str) -> None:
    """Raise AcquisitionError[source.changed] when a source is no longer what it was."""
    lines = changes(locked, listing)
    if lines:
        raise source_changed(lines, where=where)


def source_changed(lines: list[str], *, where: str) -> AcquisitionError:
    more = f" and {len(lines) - CHANGES_SHOWN} more" if len(lines) > CHANGES_SHOWN else ""
    return AcquisitionError(
        "source.changed",
        where=where,
        problem="the source is not what it was when this store first asked it",
        details={"changes": "; ".join(lines[:CHANGES_SHOWN]) + more},
        action="Look at what its publisher says; then build with --accept-changes to take the new state over.",
    )


def _changed(locked: LockedFile, now: ListedFile) -> list[str]:
    pairs = (("size", locked.size, now.size), ("checksum", locked.checksum, now.checksum))
    return [f"{locked.name}: {name} {old} became {new}" for name, old, new in pairs if _differ(old, new)]


def _differ(old: object, new: object) -> bool:
    """Whether both are known and cannot both be true; digests of two kinds can."""
    kinds = {str(value).partition(":")[0] for value in (old, new) if ":" in str(value)}
    return old is not None and new is not None and old != new and len(kinds) < 2


def _from_json(document: dict[str, Any]) -> LockedPart:
    return LockedPart(**{**document, "files": tuple(LockedFile(**file) for file in document["files"])})
