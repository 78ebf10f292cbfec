"""What every stage has in common: find finished cases by their key, do the rest, publish the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from medshard.errors import MedshardError
from medshard.pipelines.execution.map_cases import CaseOutcome, CaseTask, Execution, map_cases
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import Head, Manifest, publish_manifest, read_head, swap_head
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord, error_to_json, read_record, write_record

STAGES = ("raw", "cases", "volumes", "fingerprint", "shards")

# A stage's version is raised when its output for the same input changes: tests/pipelines/test_golden_digests.py fails
# when one is forgotten.
CODE_VERSIONS = {"raw": "2", "cases": "3", "volumes": "3", "fingerprint": "1", "shards": "2"}

P = TypeVar("P")


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
class CaseJob(Generic[P]):
    """One case to be done. The record says what goes in; the worker fills in what comes out.

    bytes_needed: estimated peak of working memory.
    """

    record: CaseRecord
    payload: P
    bytes_needed: int = 64 << 20


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
    function: Callable[[CaseJob[P]], CaseRecord],
    *,
    is_finished: Callable[[CaseRecord], bool] | None = None,
) -> tuple[list[CaseRecord], int]:
    """The record of every job, in order, and how many of them were made now.

    A case whose record is in the store is not done again. Failures that the data are to blame for are recorded as
    well; crashes, time-outs and surprises are reported in the manifest and tried again by the next build.

    is_finished: more that has to hold for an old record to count.
    """
    known = {job.record.key: read_record(context.store, job.record.key) for job in jobs}
    records = {key: record for key, record in known.items() if record and (is_finished is None or is_finished(record))}
    open_jobs = [job for job in jobs if job.record.key not in records]
    by_case = {job.record.case: job for job in open_jobs}
    if open_jobs and context.dry:
        raise _work_needed(context, stage, f"{len(open_jobs)} cases are to be done")

    def keep(outcome: CaseOutcome[CaseRecord]) -> None:
        job = by_case[outcome.case]
        record = outcome.result if outcome.result is not None else failed(job.record, outcome.error)
        records[job.record.key] = record
        if outcome.error is None or outcome.deterministic:
            write_record(context.store, record)

    tasks = [CaseTask(case=job.record.case, payload=job, bytes_needed=job.bytes_needed) for job in open_jobs]
    if tasks:
        map_cases(
            function,
            tasks,
            execution=context.execution,
            where=context.entry.id,
            on_outcome=keep,
            progress=f"{context.entry.id} {stage}" if context.progress else "",
        )
    return [records[job.record.key] for job in jobs], len(open_jobs)


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
    outputs = [record.output for record in records if record.output is not None] + list(head.attachments.values())
    return StageResult(
        entry=context.entry.id,
        stage=stage,
        plan=plan,
        head=head,
        manifest=manifest,
        done=done,
        reused=len(records) - done,
        seconds=time.monotonic() - started,
        bytes_out=sum(ref.size for ref in outputs),
        details=dict(details or {}),
    )


def _work_needed(context: Context, stage: str, problem: str) -> MedshardError:
    return MedshardError("stage.work_needed", where=f"{context.entry.id}/{stage}", problem=problem)


def current_head(context: Context, stage: str, plan: str | None = None) -> Head | None:
    return read_head(context.store, context.entry.id, stage, plan)
