"""Locks between processes on a file or a part of it; the system gives one back when its process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: without locks the work is done twice, or a cached block counts as absent
    fcntl = None


@contextmanager
def locked(descriptor: int, *, length: int = 0, start: int = 0) -> Iterator[None]:
    """Alone among all processes with these bytes of an open, writable file; 0 bytes are all from `start` on."""
    if fcntl is None:
        yield
        return
    fcntl.lockf(descriptor, fcntl.LOCK_EX, length, start)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)
