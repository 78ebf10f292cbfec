"""One function over many cases: in this process, in child processes, or on a Dask cluster.

A failing case never stops the others: it becomes an outcome with an error that names it. What stops everything is an
exception of the caller's own (`on_outcome`, Ctrl-C, Dagster's interruption), and then no child process is left behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from medshard.errors import MissingExtraError
from medshard.pipelines.execution.case_pool import run_in_pool
from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, Execution, P, R, run_case

__all__ = ["CaseOutcome", "CaseTask", "Execution", "map_cases"]

_log = logging.getLogger(__name__)


def map_cases(
    function: Callable[[P], R],
    tasks: Sequence[CaseTask[P]],
    *,
    execution: Execution,
    where: str,
    on_outcome: Callable[[CaseOutcome[R]], None] | None = None,
    progress: str = "",
) -> list[CaseOutcome[R]]:
    """Call a function once for each task and return the outcomes in the order of the tasks.

    function: for more than one worker it must be importable by name from a module (children are fresh interpreters that
        do not run the caller's script again, so neither a function of `__main__` nor a lambda will do) and its argument
        and result must pickle.
    where: what errors are about; the case's name is appended, as in `kits23/case_00042`.
    on_outcome: called in this process as soon as each case has ended, in any order. What it raises stops everything.
    progress: description of a bar on stderr, drawn on terminals only; elsewhere the end is logged. Empty for neither.

    How cases end:

    - `CaseError`: the data's fault, `deterministic`. Other errors of medshard stand as they are, not deterministic.
    - `CaseError[case.unexpected]`: any other exception, with the end of its traceback.
    - `CaseError[case.out_of_memory]`, `[case.timeout]`, `[case.crashed]` (killed by a signal, or ended by `exit`): with
      the estimate of its memory. In the process pool such a case is tried once more with nothing else running.

    In this process (one worker, no Dask) there is no time-out and nothing outlives a crash. On Dask there is no
    time-out, and how often a case whose worker died is tried again is the scheduler's setting.

    Raises MedshardError[pool.start_failed] when a child cannot start or import the function, MedshardError
    [dask.unreachable], and MissingExtraError without `medshard[dask]`.
    """
    started = time.monotonic()
    # `disable=None` draws the bar on terminals only.
    cases = {task.case: task.cases for task in tasks}
    with tqdm(total=sum(cases.values()), desc=progress, unit="case", disable=None if progress else True) as bar:

        def note(outcome: CaseOutcome[R]) -> None:
            bar.update(cases[outcome.case])
            if on_outcome is not None:
                on_outcome(outcome)

        outcomes = _run(function, tasks, execution=execution, where=where, on_outcome=note)
    if progress:
        failures = sum(outcome.error is not None for outcome in outcomes)
        seconds = time.monotonic() - started
        _log.info("%s: %d cases in %.1f s, %d failed", progress, sum(cases.values()), seconds, failures)
    return outcomes


def _run(
    function: Callable[[P], R],
    tasks: Sequence[CaseTask[P]],
    *,
    execution: Execution,
    where: str,
    on_outcome: Callable[[CaseOutcome[R]], None],
) -> list[CaseOutcome[R]]:
    if not tasks:
        return []
    if execution.dask_address is not None:
        try:
            from medshard.pipelines.execution.dask_cases import run_on_dask  # noqa: PLC0415 - distributed is an extra
        except ImportError as error:
            raise MissingExtraError(
                "extra.dask",
                where=where,
                problem="running on a Dask cluster needs the package distributed",
                details={"scheduler": execution.dask_address, "raised": error},
                action="Run: pip install 'medshard[dask]'",
            ) from error
        return run_on_dask(function, tasks, address=execution.dask_address, where=where, on_outcome=on_outcome)
    if execution.workers > 1:
        return run_in_pool(function, tasks, execution=execution, where=where, on_outcome=on_outcome)
    outcomes = []
    for task in tasks:
        outcomes.append(run_case(function, task, where=where))
        on_outcome(outcomes[-1])
    return outcomes
