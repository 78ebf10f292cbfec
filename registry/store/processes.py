"""Which process of which host made something, and whether it can still be alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """`host.pid.start`, unique also when the system hands a process number out again."""
    return f"{_host()}.{os.getpid()}.{_start_ticks(os.getpid()) or 0}"


def may_be_alive(process: str) -> bool:
    """False only for a process of this host that is certainly gone."""
    parts = process.rsplit(".", 2)
    if len(parts) != 3 or not parts[1].isdigit() or parts[0] != _host():
        return True
    start = _start_ticks(int(parts[1]))
    return start is not None and str(start) == parts[2]


def _host() -> str:
    return socket.gethostname().split(".", 1)[0].replace("-", "_")


def _start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        return _start_without_proc(pid)
    # The command name, in parentheses, may itself hold spaces: count from behind it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _start_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
