"""Cases in child processes: a memory budget, time-outs, one retry alone, and no child that outlives the parent."""

from __future__ import annotations

import logging
import math
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any, Generic

from medshard.errors import CaseError, MedshardError
from medshard.pipelines.execution.case_child import Assignment, Job, Started
from medshard.pipelines.execution.case_tasks import (
    SECONDS_OF_A_SMALL_CASE,
    CaseOutcome,
    CaseTask,
    Execution,
    P,
    R,
    as_case_failure,
    failed,
    indented,
    needed,
)
from medshard.pipelines.execution.child_processes import Child, lifeline, start_child, stop_children
from medshard.pipelines.execution.free_memory import free_memory_bytes

BUDGET_SHARE = 0.6
POLL_S = 0.5
GRACE_S = 2.0
START_TIMEOUT_S = 120.0

# A case that ends so is tried once more with the machine to itself.
WORTH_A_RETRY = frozenset({"case.crashed", "case.timeout", "case.out_of_memory"})

_log = logging.getLogger(__name__)


def run_in_pool(
    function: Callable[[P], R],
    tasks: Sequence[CaseTask[P]],
    *,
    execution: Execution,
    where: str,
    on_outcome: Callable[[CaseOutcome[R]], None],
) -> list[CaseOutcome[R]]:
    """Run the function for every task in at most `execution.workers` child processes; see `map_cases`."""
    with lifeline() as lifeline_end:
        pool: _Pool[P, R] = _Pool(
            assignment=pickle.dumps(Assignment(function=_by_reference(function, where), where=where)),
            tasks=tasks,
            where=where,
            budget_bytes=execution.memory_bytes or int(BUDGET_SHARE * free_memory_bytes()),
            timeout_s=math.inf if execution.timeout_s is None else execution.timeout_s,
            on_outcome=on_outcome,
            lifeline_end=lifeline_end,
        )
        try:
            outcomes = pool.run(execution.workers)
        except BaseException:
            # Ctrl-C and Dagster's interruption come this way too: whoever stops the run stops its children.
            stop_children(pool.children, grace_s=0.0)
            raise
        stop_children(pool.children, grace_s=GRACE_S)
        return outcomes


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A task in a child.

    number: position of the task.
    attempts: 1, or 2 when it is tried again.
    started, deadline: monotonic seconds.
    """

    number: int
    attempts: int
    started: float
    deadline: float


@dataclass(kw_only=True)
class _Pool(Generic[P, R]):
    """The children of one call, which case each of them works on, and how the others ended."""

    assignment: bytes
    tasks: Sequence[CaseTask[P]]
    where: str
    budget_bytes: int
    timeout_s: float
    on_outcome: Callable[[CaseOutcome[R]], None]
    lifeline_end: int
    children: list[Child] = field(default_factory=list)
    running: dict[Child, _Attempt] = field(default_factory=dict)
    outcomes: dict[int, CaseOutcome[R]] = field(default_factory=dict)

    def run(self, workers: int) -> list[CaseOutcome[R]]:
        """Run all tasks, the largest first, then those worth a retry one at a time; outcomes in task order."""
        largest_first = sorted(range(len(self.tasks)), key=lambda number: -self.tasks[number].bytes_needed)
        again = self._run_numbers(largest_first, attempts=1, at_once=workers)
        self._run_numbers(again, attempts=2, at_once=1)
        return [self.outcomes[number] for number in range(len(self.tasks))]

    def _run_numbers(self, numbers: list[int], *, attempts: int, at_once: int) -> list[int]:
        waiting, again = list(numbers), []
        while waiting or self.running:
            while len(self.running) < at_once and (number := self._first_that_fits(waiting)) is not None:
                waiting.remove(number)
                self._start(number, attempts)
            for number, outcome in self._ended():
                if attempts == 1 and outcome.error is not None and outcome.error.code in WORTH_A_RETRY:
                    again.append(number)
                else:
                    self._deliver(number, outcome)
        return again

    def _first_that_fits(self, waiting: list[int]) -> int | None:
        """The first task that the budget has room for; one larger than the budget runs when nothing else does."""
        room = self.budget_bytes - sum(self.tasks[attempt.number].bytes_needed for attempt in self.running.values())
        return next((n for n in waiting if not self.running or self.tasks[n].bytes_needed <= room), None)

    def _start(self, number: int, attempts: int) -> None:
        task = self.tasks[number]
        try:
            payload = pickle.dumps(task.payload, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            failure = as_case_failure(error, task, where=self.where)
            self._deliver(number, failed(task.case, failure, seconds=0.0, attempts=attempts))
            return
        child = self._idle_child()
        now = time.monotonic()
        deadline = now + (self._allowed_s(number) if child.ready else START_TIMEOUT_S)
        self.running[child] = _Attempt(number=number, attempts=attempts, started=now, deadline=deadline)
        with suppress(ConnectionError):  # it has just died: `_ended` finds out how
            child.connection.send(Job(task=_with_payload(task, payload), attempts=attempts))

    def _idle_child(self) -> Child:
        for child in [child for child in self.children if child not in self.running]:
            if child.alive:
                return child
            self._discard(child)
        child = start_child(self.lifeline_end)
        self.children.append(child)
        with suppress(ConnectionError):
            child.connection.send_bytes(self.assignment)
        return child

    def _ended(self) -> Iterator[tuple[int, CaseOutcome[R]]]:
        """Wait a little; the tasks that have ended since."""
        if not self.running:
            return
        nearest_s = min(attempt.deadline for attempt in self.running.values()) - time.monotonic()
        answered = wait([child.connection for child in self.running], max(0.0, min(POLL_S, nearest_s)))
        for child, attempt in list(self.running.items()):
            outcome = self._outcome(child, attempt, answered=child.connection in answered)
            if outcome is not None:
                del self.running[child]
                yield attempt.number, outcome

    def _outcome(self, child: Child, attempt: _Attempt, *, answered: bool) -> CaseOutcome[R] | None:
        """How the attempt ended; None while it goes on."""
        if answered:
            try:
                message = child.connection.recv()
            except (EOFError, ConnectionError):
                return self._crashed(child, attempt)
            if isinstance(message, Started):
                self._note_start(child, attempt, message)
                return None
            return self._unpacked(child, attempt, message)
        if not child.alive:
            return self._crashed(child, attempt)
        if time.monotonic() > attempt.deadline:
            return self._timed_out(child, attempt)
        return None

    def _note_start(self, child: Child, attempt: _Attempt, message: Started) -> None:
        if message.problem is not None:
            raise _start_failed(self.where, {"traceback": indented(message.problem)})
        child.ready = True
        now = time.monotonic()  # the time to import the function is not the case's
        self.running[child] = replace(attempt, started=now, deadline=now + self._allowed_s(attempt.number))

    def _allowed_s(self, number: int) -> float:
        return self.timeout_s + SECONDS_OF_A_SMALL_CASE * (self.tasks[number].cases - 1)

    def _unpacked(self, child: Child, attempt: _Attempt, outcome: CaseOutcome[bytes]) -> CaseOutcome[R]:
        if output := child.new_output():
            _log.warning("%s/%s printed:\n%s", self.where, outcome.case, output)
        error, result = outcome.error, None
        if outcome.result is not None:
            try:
                result = pickle.loads(outcome.result)
            except Exception as failure:
                error = as_case_failure(failure, self.tasks[attempt.number], where=self.where)
        if error is not None:
            return failed(outcome.case, error, seconds=outcome.seconds, attempts=attempt.attempts)
        return CaseOutcome(
            case=outcome.case, result=result, error=None, seconds=outcome.seconds, attempts=attempt.attempts
        )

    def _crashed(self, child: Child, attempt: _Attempt) -> CaseOutcome[R]:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(GRACE_S)
        child.kill()
        evidence = {"process": child.how_it_ended(), **child.last_words()}
        if not child.ready:
            raise _start_failed(self.where, evidence)
        problem = "the process that worked on this case died"
        action = "Run with fewer workers if memory was short; otherwise report the file that its reader cannot survive."
        return self._gone(attempt, "case.crashed", problem, evidence, action)

    def _timed_out(self, child: Child, attempt: _Attempt) -> CaseOutcome[R]:
        evidence = child.kill_with_stack()
        if not child.ready:
            raise _start_failed(self.where, {"waited": f"{START_TIMEOUT_S:.0f} s for a first answer", **evidence})
        problem = f"the case took longer than {self._allowed_s(attempt.number):g} s"
        return self._gone(attempt, "case.timeout", problem, evidence, "Allow more time per case.")

    def _gone(
        self, attempt: _Attempt, code: str, problem: str, evidence: dict[str, Any], action: str
    ) -> CaseOutcome[R]:
        task = self.tasks[attempt.number]
        details = {"attempts": attempt.attempts, **needed(task), **evidence}
        error = CaseError(code, where=f"{self.where}/{task.case}", problem=problem, details=details, action=action)
        seconds = time.monotonic() - attempt.started
        return failed(task.case, error, seconds=seconds, attempts=attempt.attempts)

    def _deliver(self, number: int, outcome: CaseOutcome[R]) -> None:
        self.outcomes[number] = outcome
        self.on_outcome(outcome)

    def _discard(self, child: Child) -> None:
        child.kill()
        child.close()
        self.children.remove(child)


def _with_payload(task: CaseTask[Any], payload: bytes) -> CaseTask[bytes]:
    return CaseTask(case=task.case, payload=payload, bytes_needed=task.bytes_needed, cases=task.cases)


def _by_reference(function: Callable[..., Any], where: str) -> bytes:
    try:
        return pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise _start_failed(where, {"function": repr(function), "raised": repr(error)}) from error


def _start_failed(where: str, evidence: dict[str, str]) -> MedshardError:
    return MedshardError(
        "pool.start_failed",
        where=where,
        problem="a worker process could not be started, or could not import the function that it was to run",
        details=evidence,
        action="Define the function at the top level of an installed module (not in a script or a notebook), "
        "or run with one worker.",
    )
