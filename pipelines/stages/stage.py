"""What every stage has in common: find finished cases by their key, do the rest, publish the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medshard.errors import MedshardError
from medshard.pipelines.execution.map_cases import CaseOutcome, Execution, map_cases
from medshard.pipelines.stages.batches import (
    FEWEST_CASES,
    Single,
    Together,
    Work,
    dealt,
    do_work,
    is_worth_a_retry,
    parts_of,
    task_of,
)
from medshard.pipelines.stages.case_job import CaseJob, P
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import Head, Manifest, publish_manifest, read_head, swap_head
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.record_packs import find_records, write_pack
from medshard.registry.store.records import CaseRecord, error_to_json, write_record

STAGES = ("raw", "cases", "volumes", "fingerprint", "shards")

# A stage's version is raised when its output for the same input changes: tests/pipelines/test_golden_digests.py fails
# when one is forgotten.
CODE_VERSIONS = {"raw": "2", "cases": "4", "volumes": "3", "fingerprint": "2", "shards": "3"}


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where a stage works: the store, the catalog, the entry, and how cases are executed.

    dry: do no case; raise MedshardError[stage.work_needed] at the first that is to be done. acquisition: what the user
    says about downloads.
    """

    store: Store
    catalog: Catalog
    entry: Entry
    execution: Execution = field(default_factory=Execution)
    progress: bool = False
    dry: bool = False
    acquisition: AcquisitionOptions = field(default_factory=AcquisitionOptions)


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage did, for people: the UI, the command line and the report."""

    entry: str
    stage: str
    plan: str | None
    head: Head
    manifest: Manifest
    done: int
    reused: int
    seconds: float
    bytes_out: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def excluded(self) -> tuple[CaseRecord, ...]:
        return self.manifest.excluded

    @property
    def changed(self) -> bool:
        return self.done > 0

    @property
    def state(self) -> str:
        return "degraded" if self.excluded else "complete"


def run_jobs(
    context: Context,
    stage: str,
    jobs: Sequence[CaseJob[P]],
    function: Single[P],
    *,
    together: Together[P] | None = None,
    is_finished: Callable[[CaseRecord], bool] | None = None,
) -> tuple[list[CaseRecord], int]:
    """The record of every job, in order, and how many of them were made now.

    A case whose record is in the store is not done again. Failures that the data are to blame for are recorded as
    well; crashes, time-outs and surprises are reported in the manifest and tried again by the next build. Where small
    cases are many they are done in batches.

    together: what does a batch of small jobs, where that is more than the function for each of them. is_finished: more
    that has to hold for an old record to count.
    """
    known = find_records(context.store, [job.record.key for job in jobs])
    records = {key: record for key, record in known.items() if is_finished is None or is_finished(record)}
    open_jobs = [job for job in jobs if job.record.key not in records]
    if open_jobs and context.dry:
        raise _work_needed(context, stage, f"{len(open_jobs)} cases are to be done")
    are_many = sum(job.small_bytes is not None for job in jobs) >= FEWEST_CASES
    waiting = [
        Work(jobs=tuple(some), batched=batched, single=function, together=together)
        for batched, some in dealt(open_jobs, are_many=are_many)
    ]
    while waiting:
        waiting = _done(context, stage, waiting, records)
    return [records[job.record.key] for job in jobs], len(open_jobs)


def _done(context: Context, stage: str, works: Sequence[Work[P]], records: dict[str, CaseRecord]) -> list[Work[P]]:
    """Do the work and keep its records; what is left to be done again is the parts of batches whose worker died."""
    tasks = [task_of(work) for work in works]
    work_of = {task.case: task.payload for task in tasks}
    again: list[Work[P]] = []

    def keep(outcome: CaseOutcome[list[CaseOutcome[CaseRecord]]]) -> None:
        work = work_of[outcome.case]
        if outcome.result is None and len(work.jobs) > 1:
            again.extend(replace(work, jobs=tuple(part)) for part in parts_of(work.jobs))
            return
        outcomes = outcome.result if outcome.result is not None else [_without_result(outcome)]
        final = []
        for job, found in zip(work.jobs, outcomes, strict=True):
            if work.batched and is_worth_a_retry(found.error) and outcome.result is not None:
                again.append(replace(work, jobs=(job,), batched=False))
                continue
            record = found.result if found.result is not None else failed(job.record, found.error)
            records[job.record.key] = record
            final += [record] if found.error is None or found.deterministic else []
        _write(context.store, final, batched=work.batched)

    map_cases(
        do_work,
        tasks,
        execution=context.execution,
        where=context.entry.id,
        on_outcome=keep,
        progress=f"{context.entry.id} {stage}" if context.progress else "",
    )
    return again


def _without_result(outcome: CaseOutcome[list[CaseOutcome[CaseRecord]]]) -> CaseOutcome[CaseRecord]:
    return CaseOutcome(
        case=outcome.case,
        result=None,
        error=outcome.error,
        seconds=outcome.seconds,
        attempts=outcome.attempts,
        deterministic=outcome.deterministic,
    )


def _write(store: Store, records: Sequence[CaseRecord], *, batched: bool) -> None:
    if batched and len(records) > 1:
        write_pack(store, records)
        return
    for record in records:
        write_record(store, record)


def failed(record: CaseRecord, error: MedshardError | None) -> CaseRecord:
    if error is None:
        error = MedshardError(
            "case.no_result", where=f"{record.entry}/{record.case}", problem="the worker returned nothing"
        )
    return replace(record, error=error_to_json(error))


def publish_stage(
    context: Context,
    stage: str,
    records: Sequence[CaseRecord],
    *,
    started: float,
    done: int,
    plan: str | None = None,
    plan_digest: str | None = None,
    attachments: Mapping[str, ObjectRef] | None = None,
    details: Mapping[str, Any] | None = None,
) -> StageResult:
    """Publish the manifest of a stage and make it current."""
    manifest = Manifest(
        stage=stage,
        entry=context.entry.id,
        code_version=CODE_VERSIONS[stage],
        plan=plan_digest,
        records=tuple(sorted(records, key=lambda record: record.case)),
    )
    head = Head(manifest=publish_manifest(context.store, manifest), attachments=dict(attachments or {}))
    if context.dry and head != current_head(context, stage, plan):
        raise _work_needed(context, stage, "what is current differs")
    swap_head(context.store, context.entry.id, stage, head, plan)
    outputs = {record.output for record in records if record.output is not None}  # small cases share one
    return StageResult(
        entry=context.entry.id,
        stage=stage,
        plan=plan,
        head=head,
        manifest=manifest,
        done=done,
        reused=len(records) - done,
        seconds=time.monotonic() - started,
        bytes_out=sum(ref.size for ref in (*outputs, *head.attachments.values())),
        details=dict(details or {}),
    )


def _work_needed(context: Context, stage: str, problem: str) -> MedshardError:
    return MedshardError("stage.work_needed", where=f"{context.entry.id}/{stage}", problem=problem)


def current_head(context: Context, stage: str, plan: str | None = None) -> Head | None:
    return read_head(context.store, context.entry.id, stage, plan)
