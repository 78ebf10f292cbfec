"""`<target>.done.json`: what is known of a finished file, so that it is neither fetched nor hashed again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from medshard.registry.acquisition.transfer.hashing import kind_of
from medshard.registry.acquisition.transfer.journal import machine_start
from medshard.registry.acquisition.transfer.part import journal_path, part_path


@dataclass(frozen=True, kw_only=True)
class Done:
    """checksum: the one that the file was compared with. url: without secrets. machine_start: when it was hashed."""

    size: int
    mtime_ns: int
    sha256: str
    checksum: str | None
    url: str
    validator: str | None
    machine_start: str


def sidecar_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.done.json")


def publish(target: Path, done: Done) -> None:
    """Give a whole part its name. Killed at any moment, the next process finishes this without a request."""
    _write(target, done)
    part_path(target).replace(target)
    journal_path(target).unlink(missing_ok=True)


def find_done(target: Path, *, url: str, size: int | None, checksum: str | None) -> Done | None:
    """The record of a finished file that is what is wanted now; None when it has to be fetched."""
    done = _read(sidecar_path(target))
    if done is None:
        return None
    if not target.exists() and _is(part_path(target), done):
        publish(target, done)
    if not _is(target, done) or (size is not None and size != done.size):
        return None
    if checksum is None:
        same = url == done.url
    else:
        same = checksum in {done.checksum, f"sha256:{done.sha256}"} or _has_checksum(target, checksum)
    return _confirmed(target, replace(done, checksum=checksum or done.checksum)) if same else None


def _is(path: Path, done: Done) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (done.size, done.mtime_ns)


def _has_checksum(path: Path, checksum: str) -> bool:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind_of(checksum)).hexdigest() == checksum.partition(":")[2].lower()


def _confirmed(target: Path, done: Done) -> Done | None:
    """After a new start of the machine the content is read once: it may not have reached the disk."""
    if done.machine_start == machine_start():
        return done
    if not _has_checksum(target, f"sha256:{done.sha256}"):
        return None
    done = replace(done, machine_start=machine_start())
    _write(target, done)
    return done


def _read(path: Path) -> Done | None:
    try:
        return Done(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):  # the file is then fetched again, which mends the record
        return None


def _write(target: Path, done: Done) -> None:
    path = sidecar_path(target)
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(asdict(done), indent=1, sort_keys=True) + "\n", encoding="utf8")
    draft.replace(path)
