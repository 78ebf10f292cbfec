"""Small cases done by the thousand: one task, one pack of records, and the culprit of a crash named alone.

Which cases are dealt to which batch depends on the cases alone, in sorted order. A batch is full by what it holds, not
by what comes next: a build that was interrupted finds the rest in the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from medshard.errors import MedshardError
from medshard.pipelines.execution.case_pool import WORTH_A_RETRY
from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, run_case
from medshard.pipelines.stages.case_job import CaseJob, P
from medshard.registry.store.records import CaseRecord

MOST_CASES = 4096
MOST_BYTES = 128 << 20
# Fewer small cases than this are not worth a stack: each stays an object of its own.
FEWEST_CASES = 64
# Into how many parts a batch is cut whose worker has died: 4096 cases are down to one in three steps.
PARTS = 16

Single = Callable[[CaseJob[P]], CaseRecord]
Together = Callable[[Sequence[CaseJob[P]]], list[CaseOutcome[CaseRecord]]]


@dataclass(frozen=True, kw_only=True)
class Work(Generic[P]):
    """What one task does: a single case, or a batch of small ones. single, together: functions of a module."""

    jobs: tuple[CaseJob[P], ...]
    batched: bool
    single: Single[P]
    together: Together[P] | None = None


def do_work(work: Work[P]) -> list[CaseOutcome[CaseRecord]]:
    """Runs in a worker. A bad case of a batch is an outcome among the others; a single one raises."""
    if not work.batched:
        (job,) = work.jobs
        record = work.single(job)
        return [CaseOutcome(case=record.case, result=record, error=None, seconds=0.0)]
    if work.together is not None:
        return work.together(work.jobs)
    return [run_case(work.single, alone(job), where=job.record.entry) for job in work.jobs]


def alone(job: CaseJob[P]) -> CaseTask[CaseJob[P]]:
    """The task that a job of a batch would be by itself."""
    return CaseTask(case=job.record.case, payload=job, bytes_needed=job.bytes_needed)


def dealt(jobs: Sequence[CaseJob[P]], *, are_many: bool) -> Iterator[tuple[bool, list[CaseJob[P]]]]:
    """(whether they are a batch, jobs) that cover the jobs once. are_many: whether small ones go into batches."""
    batch: list[CaseJob[P]] = []
    filled = 0
    for job in sorted(jobs, key=lambda job: job.record.case):
        if job.small_bytes is None or not are_many:
            yield False, [job]
            continue
        batch.append(job)
        filled += job.small_bytes
        if len(batch) == MOST_CASES or filled >= MOST_BYTES:
            yield True, batch
            batch, filled = [], 0
    if batch:
        yield True, batch


def parts_of(jobs: Sequence[CaseJob[P]]) -> list[Sequence[CaseJob[P]]]:
    """The parts of a batch whose worker has died."""
    step = -(-len(jobs) // PARTS)
    return [jobs[start : start + step] for start in range(0, len(jobs), step)]


def task_of(work: Work[P]) -> CaseTask[Work[P]]:
    """A task is called after its case, or after the first and the last of its batch."""
    names = [job.record.case for job in work.jobs]
    return CaseTask(
        case=names[0] if len(names) == 1 else f"{len(names)} cases from {names[0]} to {names[-1]}",
        payload=work,
        bytes_needed=max(job.bytes_needed for job in work.jobs) + sum(job.small_bytes or 0 for job in work.jobs),
        cases=len(names),
    )


def is_worth_a_retry(error: MedshardError | None) -> bool:
    """Whether it says more about the moment than about the case."""
    return error is not None and error.code in WORTH_A_RETRY
