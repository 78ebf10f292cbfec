"""fingerprint: spacings, shapes, intensities and class sizes of every case, and the plans that follow from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medshard.converters.fingerprint import QUANTILES, fingerprint_volume, merge_fingerprints
from medshard.converters.plan import read_plan
from medshard.converters.plan_resolution import resolve_plan
from medshard.converters.volume import Volume
from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, run_case
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.converted_volumes import VolumePlace, place_of, read_all_converted, read_converted
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    Context,
    StageResult,
    current_head,
    publish_stage,
    run_jobs,
)
from medshard.pipelines.stages.volumes import build_volumes
from medshard.registry.schema import PlanDeclaration
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord, record_key

STAGE = "fingerprint"

# Of small pictures there are many, and their quantiles are pooled: more of each would only be more to keep in memory.
SMALL_QUANTILES = 32
SMALL_RECORD_BYTES = 8 << 10


@dataclass(frozen=True, kw_only=True)
class FingerprintPayload:
    store: Store
    volume: VolumePlace


def build_fingerprint(context: Context, volumes: StageResult | None = None) -> StageResult:
    """Fingerprint every volume, merge, and freeze the entry's plans.

    A plan that was frozen before stays while its declaration in the catalog does, also when cases are added.
    """
    volumes = volumes or build_volumes(context)
    started = time.monotonic()
    jobs = [_job(context, volume) for volume in volumes.manifest.good]
    records, done = run_jobs(context, STAGE, jobs, fingerprint_case, together=fingerprint_batch)
    facts = {record.case: dict(record.facts["fingerprint"]) for record in records if record.error is None}
    summary = merge_fingerprints(facts)
    attachments = {"summary": context.store.publish_bytes(canonical_json(summary), ".json")}
    for name, declaration in context.entry.plans.items():
        if facts:
            attachments[f"plan-{name}"] = _freeze_plan(context, name, declaration, facts)
    return publish_stage(
        context, STAGE, records, started=started, done=done, attachments=attachments, details={"summary": summary}
    )


def fingerprint_case(job: CaseJob[FingerprintPayload]) -> CaseRecord:
    """Runs in a worker."""
    return _measured((job, read_converted(job.payload.store, job.payload.volume)))


def fingerprint_batch(jobs: Sequence[CaseJob[FingerprintPayload]]) -> list[CaseOutcome[CaseRecord]]:
    """Small cases, whose stacks are read once each; runs in a worker."""
    volumes = read_all_converted(jobs[0].payload.store, [job.payload.volume for job in jobs])
    return [
        run_case(_measured, CaseTask(case=job.record.case, payload=(job, volume)), where=job.record.entry)
        for job, volume in zip(jobs, volumes, strict=True)
    ]


def _measured(work: tuple[CaseJob[FingerprintPayload], Volume]) -> CaseRecord:
    job, volume = work
    quantiles = QUANTILES if job.payload.volume.row is None else SMALL_QUANTILES
    return replace(
        job.record, facts={**job.record.facts, "fingerprint": fingerprint_volume(volume, quantiles=quantiles)}
    )


def _freeze_plan(
    context: Context, name: str, declaration: PlanDeclaration, facts: dict[str, dict[str, object]]
) -> ObjectRef:
    plan = resolve_plan(name, context.entry.id, declaration.stated(), facts)
    head = current_head(context, STAGE)
    frozen = head.attachments.get(f"plan-{name}") if head else None
    if frozen and context.store.has(frozen) and read_plan(context.store, frozen).recipe_digest == plan.recipe_digest:
        return frozen
    return context.store.publish_bytes(canonical_json(plan.to_json()), ".plan.json")


def _job(context: Context, volume: CaseRecord) -> CaseJob[FingerprintPayload]:
    key = record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=context.entry.id,
        case=volume.case,
        parameters=None,
        inputs=(volume.ref,),
    )
    record = CaseRecord(
        stage=STAGE,
        entry=context.entry.id,
        case=volume.case,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        inputs=(volume.ref,),
        sources=volume.sources,
        verdicts=volume.verdicts,
    )
    place, size = place_of(volume), int(volume.facts["bytes_in_memory"])
    return CaseJob(
        record=record,
        payload=FingerprintPayload(store=context.store, volume=place),
        bytes_needed=(64 << 20) + 6 * size,
        small_bytes=None if place.row is None else SMALL_RECORD_BYTES + size,
    )
