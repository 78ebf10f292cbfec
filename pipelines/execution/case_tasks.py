"""What is done for one case, and how it ended."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from medshard.errors import CaseError, MedshardError

P = TypeVar("P")
R = TypeVar("R")

TRACEBACK_FRAMES = 4

# What every further case of a batch adds to the time that it may take.
SECONDS_OF_A_SMALL_CASE = 0.1


@dataclass(frozen=True, kw_only=True)
class CaseTask(Generic[P]):
    """The work for one case.

    payload: the function's argument; it is pickled for a process pool or Dask, so paths and digests rather than voxels.
    bytes_needed: peak working memory, estimated from headers (shape x dtype x working copies); 0 where unknown.
    cases: how many it stands for; a batch of small ones is more than one.
    """

    case: str
    payload: P
    bytes_needed: int = 0
    cases: int = 1


@dataclass(frozen=True, kw_only=True)
class CaseOutcome(Generic[R]):
    """How one case ended.

    result: what the function returned; None where `error` is set.
    seconds: wall time of the last attempt.
    deterministic: the same inputs would end in the same way. False for a crash, a time-out, a shortage of memory or an
        exception that nobody foresaw: those are tried again by the next build.
    """

    case: str
    result: R | None
    error: MedshardError | None
    seconds: float
    attempts: int = 1
    deterministic: bool = True


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how wide cases are run.

    workers: child processes; 1 runs the cases one after the other in this process.
    dask_address: scheduler such as `tcp://10.0.0.1:8786`; the cases then run on its workers.
    memory_bytes: budget for the sum of `bytes_needed` of the cases that run at once in the process pool; None takes
        60 % of what the machine or the container has to spare.
    timeout_s: wall time that one case may take in the process pool, and a tenth of a second more for each further case
        of a batch. It is not applied in this process or on Dask,
        where a running function cannot be stopped from outside.

    Raises MedshardError[execution.invalid] for a number that is not positive.
    """

    workers: int = 1
    dask_address: str | None = None
    memory_bytes: int | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("workers", self.workers),
            ("memory_bytes", self.memory_bytes),
            ("timeout_s", self.timeout_s),
        ):
            if value is not None and value <= 0:
                raise MedshardError(
                    "execution.invalid", where=name, problem="must be more than 0", details={"found": value}
                )


def run_case(function: Callable[[P], R], task: CaseTask[P], *, where: str, attempts: int = 1) -> CaseOutcome[R]:
    """Call the function for one case and report how it ended; no `Exception` leaves this function.

    A CaseError is the data's fault and stands as it is. So does any other MedshardError (a damaged store, a missing
    extra), but as something that the next build tries again.
    """
    started = time.monotonic()
    try:
        result = function(task.payload)
    except Exception as error:
        return failed(
            task.case,
            as_case_failure(error, task, where=where),
            seconds=time.monotonic() - started,
            attempts=attempts,
        )
    return CaseOutcome(case=task.case, result=result, error=None, seconds=time.monotonic() - started, attempts=attempts)


def failed(case: str, error: MedshardError, *, seconds: float, attempts: int) -> CaseOutcome[R]:
    """The outcome of a case that has no result."""
    deterministic = isinstance(error, CaseError) and error.code not in CIRCUMSTANTIAL
    return CaseOutcome(
        case=case, result=None, error=error, seconds=seconds, attempts=attempts, deterministic=deterministic
    )


# Failures that say more about the machine, the moment or the code than about the data.
CIRCUMSTANTIAL = frozenset({"case.unexpected", "case.out_of_memory", "case.crashed", "case.timeout"})


def as_case_failure(error: Exception, task: CaseTask[P], *, where: str) -> MedshardError:
    """An exception as an error of ours that names the case."""
    if isinstance(error, MedshardError):
        return error
    if isinstance(error, MemoryError):
        return CaseError(
            "case.out_of_memory",
            where=f"{where}/{task.case}",
            problem="there was not enough memory for this case",
            details={"raised": _one_line(error), **needed(task)},
            action="Run with fewer workers, or on a machine with more memory.",
        )
    frames = traceback.format_tb(error.__traceback__, limit=-TRACEBACK_FRAMES)
    return CaseError(
        "case.unexpected",
        where=f"{where}/{task.case}",
        problem="the case failed in a way that the code does not foresee",
        details={"raised": _one_line(error), "traceback": indented("".join(frames))},
        action="The next build tries it again; if it fails again, please report it with these lines.",
    )


def needed(task: CaseTask[P]) -> dict[str, str]:
    """The memory estimate as a line of an error's details."""
    return {"estimated need": f"{task.bytes_needed / 2**20:.0f} MiB" if task.bytes_needed else "unknown"}


def indented(text: str) -> str:
    """Several lines as one detail of an error: below its label, and to the right of it."""
    return "".join(f"\n    {line}" for line in text.strip("\n").splitlines())


def _one_line(error: Exception) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())
