"""Cases on the workers of a Dask cluster. Needs the extra `medshard[dask]`, so `map_cases` imports it on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from medshard.errors import CaseError, MedshardError
from medshard.pipelines.execution.case_tasks import (
    CaseOutcome,
    CaseTask,
    P,
    R,
    as_case_failure,
    failed,
    needed,
    run_case,
)

CONNECT_TIMEOUT_S = 30


def run_on_dask(
    function: Callable[[P], R],
    tasks: Sequence[CaseTask[P]],
    *,
    address: str,
    where: str,
    on_outcome: Callable[[CaseOutcome[R]], None],
) -> list[CaseOutcome[R]]:
    """Run the function for every task on the workers of a scheduler; see `map_cases`.

    Memory is the cluster's business: a worker that dies is replaced by its nanny, and its cases are tried on other
    workers as often as the scheduler's `allowed-failures` says before they end as CaseError[case.crashed].
    """
    client = _connect(address, where)
    waiting: dict[Future[Any], int] = {}
    outcomes: dict[int, CaseOutcome[R]] = {}
    try:
        for number, task in enumerate(tasks):
            waiting[client.submit(run_case, function, task, where=where, pure=False)] = number
        for future in as_completed(list(waiting), loop=client.loop):
            number = waiting.pop(future)
            outcomes[number] = _outcome(future, tasks[number], where)
            on_outcome(outcomes[number])
    except BaseException:
        # What already runs on a worker runs to its end; what waits there does not start.
        client.cancel(list(waiting), force=True)
        raise
    finally:
        client.close()
    return [outcomes[number] for number in range(len(tasks))]


def _connect(address: str, where: str) -> Client:
    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MedshardError(
            "dask.unreachable",
            where=where,
            problem="the Dask scheduler does not answer",
            details={"scheduler": address, "raised": repr(error)},
            action="Start it (dask scheduler), or correct MEDSHARD_DASK_ADDRESS.",
        ) from error


def _outcome(future: Future[Any], task: CaseTask[P], where: str) -> CaseOutcome[R]:
    try:
        outcome: CaseOutcome[R] = future.result()
    except KilledWorker as error:
        crash = CaseError(
            "case.crashed",
            where=f"{where}/{task.case}",
            problem="the workers that tried this case died",
            details={**needed(task), "last worker": error.last_worker.address},
            action="Look into that worker's log; give the workers more memory if it ran out.",
        )
        return failed(task.case, crash, seconds=0.0, attempts=error.allowed_failures + 1)
    except Exception as error:
        return failed(task.case, as_case_failure(error, task, where=where), seconds=0.0, attempts=1)
    return outcome
