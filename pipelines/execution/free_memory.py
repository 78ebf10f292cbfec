"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

# (limit, use) of the container that this process is in: control groups version 2, then version 1.
CGROUP_FILES = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def free_memory_bytes() -> int:
    """What the machine can give without swapping, or what is left of the container's limit if that is less."""
    return max(1, min([_machine_bytes(), *_container_bytes()]))


def _machine_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container_bytes() -> list[int]:
    return [
        int(limit.read_text()) - _in_use(use)
        for limit, use in CGROUP_FILES
        if limit.exists() and limit.read_text().strip() != "max"
    ]


def _in_use(use: Path) -> int:
    """Bytes charged to the container, without the file cache that the kernel drops when asked for memory."""
    statistics = use.with_name("memory.stat")
    lines = statistics.read_text().splitlines() if statistics.exists() else []
    cache = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return int(use.read_text()) - cache
