"""Copies of whole remote objects on the local disk, for all processes of a machine: one fetches, the others wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medshard.errors import StoreError
from medshard.loaders.file_locks import locked
from medshard.registry.store.objects import ObjectRef

DEFAULT_COPIES_BYTES = 16 << 30


def default_cache_folder() -> Path:
    """`MEDSHARD_CACHE`, or `medshard` in the user's folder for caches."""
    named = os.environ.get("MEDSHARD_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medshard"


@dataclass(frozen=True)
class LocalCopies:
    """A folder of objects, named by their digests: what is there is whole. The least recently used give way."""

    folder: Path
    most_bytes: int

    def path(self, ref: ObjectRef, fetch: Callable[[Path], str], *, where: str) -> Path:
        """The copy of an object, which `fetch` writes into a new file, returning its SHA-256, if it is not there yet.

        Raises StoreError[cache.too_small] and StoreError[object.corrupt].
        """
        target = self.folder / "copies" / f"{ref.digest}{ref.suffix}"
        if self._is_there(target, ref):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        # One at a time for the whole folder, so that two copies never come into the same room.
        with (self.folder / "copies.lock").open("ab") as lock, locked(lock.fileno()):
            if self._is_there(target, ref):  # somebody else has fetched it meanwhile
                return target
            for abandoned in target.parent.glob("*.draft"):  # of a process that died
                abandoned.unlink()
            self._make_room(ref, where)
            draft = target.with_name(f"{target.name}.draft")
            try:
                found = fetch(draft)
                if found != ref.digest:
                    raise StoreError(
                        "object.corrupt",
                        where=where,
                        problem="the bytes are not those that were published",
                        details={"expected": f"sha256 {ref.digest}", "found": found},
                        action="Copy the object to the remote store again, or build the entry again.",
                    )
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
        return target

    def _is_there(self, target: Path, ref: ObjectRef) -> bool:
        try:
            if target.stat().st_size != ref.size:
                return False
            os.utime(target)  # its last use
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, ref: ObjectRef, where: str) -> None:
        if ref.size > self.most_bytes:
            raise StoreError(
                "cache.too_small",
                where=str(self.folder),
                problem="an object is larger than all copies together may be",
                details={"object": where, "needed": f"{ref.size} bytes", "allowed": f"{self.most_bytes} bytes"},
            )
        found = [(path.stat(), path) for path in (self.folder / "copies").iterdir()]
        files = [(facts.st_mtime_ns, path, facts.st_size) for facts, path in found]
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total + ref.size <= self.most_bytes:
                return
            # Who has it mapped keeps it until the end.
            path.unlink()
            total -= size
