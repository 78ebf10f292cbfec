"""What the machine gives: cores, memory for files, memory that processes share."""

from __future__ import annotations

import os
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_MEMORY = Path("/proc/meminfo")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core during the last minute, on average; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def shared_memory_free(folder: Path = SHARED_MEMORY) -> int | None:
    """Bytes left for batches that workers hand over; None where there is no folder with a limit."""
    if not folder.is_dir() or not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def memory_for_files(facts: Path = _MEMORY) -> int | None:
    """Bytes of memory that the system can keep files in; None where it does not say."""
    if not facts.is_file():
        return None
    for line in facts.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None
