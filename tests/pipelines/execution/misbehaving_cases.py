"""What the tests of `map_cases` let children do: a module of its own, because children import functions by name."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from medshard.errors import CaseError, StoreError

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Appointment:
    """Where a case meets the others: a folder, its own name, and whom it waits for."""

    folder: Path
    name: str
    others: tuple[str, ...] = ()


def double(number: int) -> int:
    return 2 * number


def process_of(_: object) -> int:
    return os.getpid()


def environment_of(name: str) -> str | None:
    return os.environ.get(name)


def imported_main(_: object) -> str | None:
    return getattr(sys.modules["__main__"], "__file__", None)


def say(text: str) -> None:
    sys.stdout.write(text)


def fail_in_the_way_of(way: str) -> str:
    if way == "bad data":
        raise CaseError("geometry.mismatch", where="demo/bad data", problem="image and mask lie on different grids")
    if way == "bad store":
        raise StoreError("object.corrupt", where="objects/ab", problem="the bytes are not those that were published")
    if way == "bug":
        raise KeyError("spacing")
    if way == "memory":
        raise MemoryError
    if way == "result that does not pickle":
        return lambda: way  # type: ignore[return-value]
    if way == "exit":
        os._exit(9)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "segfault":
        ctypes.string_at(0)
    if way == "hang":
        time.sleep(PATIENCE_S)
    return way


def work_beside_others(appointment: Appointment) -> list[str]:
    """The other cases that are at work when this one starts; a name that says so dies on the first attempt."""
    been_here = appointment.folder / f"{appointment.name}.been"
    if appointment.name.startswith("dies once") and not been_here.exists():
        been_here.touch()
        os._exit(1)
    others = sorted(path.name for path in appointment.folder.glob("*.working"))
    working = appointment.folder / f"{appointment.name}.working"
    working.touch()
    time.sleep(0.2)
    working.unlink()
    return others


def meet(appointment: Appointment) -> bool:
    """True when every other case was at work at the same time as this one."""
    (appointment.folder / appointment.name).touch()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if all((appointment.folder / other).exists() for other in appointment.others):
            return True
        time.sleep(0.01)
    return False


def interval(seconds: float) -> tuple[float, float]:
    """When it started and when it ended, on the clock that all processes share."""
    started = time.monotonic()
    time.sleep(seconds)
    return started, time.monotonic()


def sleep_long(folder: Path) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(600)


def never_release_the_interpreter_lock(folder: Path) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    re.match(r"(a+)+$", "a" * 64 + "b")
