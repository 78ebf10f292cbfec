"""fingerprint: spacings, shapes, intensities and class sizes of every case, and the plans that follow from them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from medshard.converters.canonical import read_volume
from medshard.converters.fingerprint import fingerprint_volume, merge_fingerprints
from medshard.converters.plan import read_plan
from medshard.converters.plan_resolution import resolve_plan
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    CaseJob,
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


@dataclass(frozen=True, kw_only=True)
class FingerprintPayload:
    store: Store
    volume: ObjectRef


def build_fingerprint(context: Context, volumes: StageResult | None = None) -> StageResult:
    """Fingerprint every volume, merge, and freeze the entry's plans.

    A plan that was frozen before stays while its declaration in the catalog does, also when cases are added.
    """
    volumes = volumes or build_volumes(context)
    started = time.monotonic()
    jobs = [_job(context, volume) for volume in volumes.manifest.good]
    records, done = run_jobs(context, STAGE, jobs, fingerprint_case)
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
    volume = read_volume(job.payload.store.path(job.payload.volume))
    return replace(job.record, facts={**job.record.facts, "fingerprint": fingerprint_volume(volume)})


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
    if volume.output is None:
        raise ValueError(volume.case)
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
    return CaseJob(
        record=record,
        payload=FingerprintPayload(store=context.store, volume=volume.output),
        bytes_needed=(64 << 20) + 6 * int(volume.facts["bytes_in_memory"]),
    )
