"""Leases: at most one builder works on a stage, and a crashed one blocks nobody."""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from medshard.errors import StoreError
from medshard.registry.store import processes
from medshard.registry.store.objects import Store

EXPIRY_S = 60.0
RENEWAL_S = 10.0
POLL_S = 0.2


@dataclass(frozen=True)
class Lease:
    path: Path
    holder: str


@contextmanager
def hold_lease(store: Store, name: str, *, wait_s: float = 600.0) -> Iterator[Lease]:
    """Hold the lease `name` while the block runs, waiting for another builder to finish first.

    Raises StoreError[lease.held] when it is still held after `wait_s`.
    """
    lease = Lease(
        store.root / "leases" / f"{name.replace('/', '--')}.lease", f"{processes.this_process()}-{uuid.uuid4().hex}"
    )
    _acquire(lease, name, time.monotonic() + wait_s)
    stop = threading.Event()
    renewal = threading.Thread(target=_renew, args=(lease, stop), daemon=True, name=f"lease {name}")
    renewal.start()
    try:
        yield lease
    finally:
        stop.set()
        renewal.join()
        _release(lease)


def _acquire(lease: Lease, name: str, deadline: float) -> None:
    lease.path.parent.mkdir(parents=True, exist_ok=True)
    while not _create(lease):
        if _is_stale(lease.path):
            _remove_if(_is_stale, lease.path)
            continue
        if time.monotonic() > deadline:
            holder = _holder(lease.path) or "a builder that has just finished"
            raise StoreError(
                "lease.held",
                where=name,
                problem="another builder is at work on this stage",
                details={"holder": holder, "file": lease.path},
                action="Wait for it to end, or stop that process; a dead one loses its lease by itself.",
            )
        time.sleep(POLL_S)


def _create(lease: Lease) -> bool:
    # Written aside and linked, so that the file is never seen without its holder.
    draft = lease.path.with_name(f".{lease.path.name}.{lease.holder}")
    lease.path.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(lease.holder)
    try:
        os.link(draft, lease.path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _is_stale(path: Path) -> bool:
    """Whether a lease has expired or its process is gone."""
    holder = _holder(path)
    if holder is None:
        return False
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    return age_s > EXPIRY_S or not processes.may_be_alive(holder.rsplit("-", 1)[0])


def _remove_if(condition: Callable[[Path], bool], path: Path) -> None:
    """Remove a lease that meets the condition.

    Looking and removing are two steps; between them another builder could put its own lease there. Every removal
    therefore happens under a lock of the operating system, which a process that dies gives back.
    """
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if condition(path):
            path.unlink(missing_ok=True)


def _renew(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(RENEWAL_S):
        if _holder(lease.path) == lease.holder:
            with suppress(FileNotFoundError):
                os.utime(lease.path)


def _release(lease: Lease) -> None:
    _remove_if(lambda path: _holder(path) == lease.holder, lease.path)


def _holder(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
