"""fingerprint: spacings, shapes, intensities and class sizes of every case, and the plans that follow from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medshard.converters.fingerprint import (
    QUANTILES,
    duplicates_in,
    fingerprint_volume,
    sketch_of_cases,
    sketch_to_json,
    summary_of,
)
from medshard.converters.suspicion import suspicion_facts
from medshard.converters.volume import Volume
from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, run_case
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.converted_volumes import VolumePlace, place_of, read_all_converted, read_converted
from medshard.pipelines.stages.plan_freezing import freeze_plans
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    Context,
    StageResult,
    publish_stage,
    run_jobs,
)
from medshard.pipelines.stages.volumes import build_volumes
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import Store
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

    Attached are the `summary` for people and the `sketch`, which merges with those of other entries.
    A plan that was frozen before stays while its declaration in the catalog does, also when cases are added.
    """
    volumes = volumes or build_volumes(context)
    started = time.monotonic()
    jobs = [_job(context, volume) for volume in volumes.manifest.good]
    records, done = run_jobs(context, STAGE, jobs, fingerprint_case, together=fingerprint_batch)
    facts = {record.case: dict(record.facts["fingerprint"]) for record in records if record.error is None}
    sketch = sketch_of_cases(facts, context.entry.id)
    summary = {**summary_of(sketch), "duplicates": duplicates_in(facts)}
    attachments = {
        "summary": context.store.publish_bytes(canonical_json(summary), ".json"),
        "sketch": context.store.publish_bytes(canonical_json(sketch_to_json(sketch)), ".sketch.json"),
    }
    plans = freeze_plans(context, facts)
    attachments |= plans.attachments
    left_out = {"plans_left_out": dict(plans.left_out)} if plans.left_out else {}
    return publish_stage(
        context,
        STAGE,
        records,
        started=started,
        done=done,
        attachments=attachments,
        details={"summary": summary, **left_out},
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
    measured = {**fingerprint_volume(volume, quantiles=quantiles), "suspicion": suspicion_facts(volume)}
    return replace(job.record, facts={**job.record.facts, "fingerprint": measured})


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
