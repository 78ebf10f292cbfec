"""shards (resample and shard): samples of one plan, packed into zips of a Zarr group, with an index for readers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medshard.converters.plan import Plan, read_plan
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_zip import pack_shard, plan_packing
from medshard.errors import CatalogError, MedshardError
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.converted_volumes import place_of
from medshard.pipelines.stages.fingerprint import build_fingerprint
from medshard.pipelines.stages.raw import raw_files
from medshard.pipelines.stages.sampling import SamplePayload, resample_batch, resample_case
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    Context,
    StageResult,
    current_head,
    publish_stage,
    run_jobs,
)
from medshard.registry.schema import Entry
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.manifests import Manifest, read_manifest, require_head
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord, record_key

STAGE = "shards"

# Of the memory that making one sample takes; a plan may make large samples of small pictures.
LARGEST_SMALL_SAMPLE = 256 << 20
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One packed file and the keys of the records whose samples it holds."""

    ref: ObjectRef
    keys: tuple[str, ...]


def build_shards(context: Context, plan_name: str = "default", fingerprint: StageResult | None = None) -> StageResult:
    """Resample and pack every volume under one plan.

    Shards are written once. Samples that a current shard holds already stay where they are; new ones go to new shards.
    Raises CatalogError[plan.unknown].
    """
    require_plan(context.entry, plan_name)
    fingerprint = fingerprint or build_fingerprint(context)
    started = time.monotonic()
    if not fingerprint.manifest.good:
        raise _nothing_left(context, fingerprint.manifest.records)
    plan_ref = fingerprint.head.attachments[f"plan-{plan_name}"]
    plan = read_plan(context.store, plan_ref)
    volumes = read_manifest(context.store, require_head(context.store, context.entry.id, "volumes").manifest)
    sources = _kept_sources(context, volumes)
    fingerprinted = {record.case for record in fingerprint.manifest.good}
    packed = _packed_before(context, plan_name)
    held = {key for shard in packed for key in shard.keys}
    jobs = [_job(context, volume, plan, sources) for volume in volumes.good if volume.case in fingerprinted]
    records, done = run_jobs(
        context,
        STAGE,
        jobs,
        resample_case,
        together=resample_batch,
        is_finished=lambda record: record.error is not None or record.key in held or context.store.has(_piece(record)),
    )
    good = [record for record in records if record.error is None]
    if not good:
        raise _nothing_left(context, records)
    current = {record.key for record in good}
    kept = [shard for shard in packed if current & set(shard.keys)]
    shards = kept + _pack(context, plan, [record for record in good if record.key not in held])
    attachments = _attachments(context.store, plan_ref, shards, good)
    result = publish_stage(
        context,
        STAGE,
        records,
        started=started,
        done=done,
        plan=plan_name,
        plan_digest=plan.digest,
        attachments=attachments,
        details={"plan": plan.to_json(), "shards": len(shards)},
    )
    _drop_pieces(context.store, good)
    return result


def require_plan(entry: Entry, name: str) -> None:
    """Raise CatalogError[plan.unknown] for a plan that the entry does not declare."""
    if name not in entry.plans:
        raise CatalogError(
            "plan.unknown",
            where=f"{entry.id}@{name}",
            problem="the entry has no plan of this name",
            details={"it has": ", ".join(entry.plans)},
            action="Declare it under `plans`.",
        )


def _nothing_left(context: Context, records: Sequence[CaseRecord]) -> MedshardError:
    return MedshardError(
        "stage.no_cases",
        where=f"{context.entry.id}/{STAGE}",
        problem="no case is left to be sharded",
        details={record.case: (record.error or {}).get("problem") for record in records[:5]},
        action="Mend the entry or its source; the other stages say more about each case.",
    )


def _kept_sources(context: Context, volumes: Manifest) -> dict[str, Path]:
    """Where the files of slides and videos lie: path in the raw tree -> place on disk."""
    if not any(volume.facts.get("kept") for volume in volumes.good):
        return {}
    raw = read_manifest(context.store, require_head(context.store, context.entry.id, "raw").manifest)
    return {path: file.location for path, file in raw_files(context.store, raw).items()}


def _job(context: Context, volume: CaseRecord, plan: Plan, kept: Mapping[str, Path]) -> CaseJob[SamplePayload]:
    key = record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=context.entry.id,
        case=volume.case,
        parameters=None,
        inputs=(volume.ref,),
        plan=plan.digest,
    )
    record = CaseRecord(
        stage=STAGE,
        entry=context.entry.id,
        case=volume.case,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        plan=plan.digest,
        inputs=(volume.ref,),
        sources=volume.sources,
        verdicts=volume.verdicts,
        facts={name: volume.facts[name] for name in ("patient", "subject", "modality", "group")},
    )
    place = place_of(volume)
    needed = _bytes_needed(volume, plan)
    is_small = place.row is not None and needed <= LARGEST_SMALL_SAMPLE
    return CaseJob(
        record=record,
        payload=SamplePayload(
            store=context.store,
            volume=place,
            plan=plan,
            files={path: kept[path] for path in volume.facts.get("kept", ()) if path in kept},
        ),
        bytes_needed=needed,
        small_bytes=int(volume.facts["bytes_in_memory"]) if is_small else None,
    )


def _bytes_needed(volume: CaseRecord, plan: Plan) -> int:
    """float32 copies of input and output, and as much again for labels and encoding."""
    voxels_in = voxels_out = 0.0
    for image in volume.facts["images"].values():
        count = 1.0
        for size in image["shape"]:
            count *= size
        growth = 1.0
        for before, after in zip(image["spacing_mm"], plan.spacing_mm or image["spacing_mm"], strict=True):
            growth *= before / after
        voxels_in += count
        voxels_out += count * growth
    return (64 << 20) + int(16 * (voxels_in + voxels_out))


def _piece(record: CaseRecord) -> ObjectRef:
    return ObjectRef.from_json(record.facts["piece"])


def _piece_bytes(record: CaseRecord) -> int:
    """Of the case alone, where its piece lies in one file with others."""
    return int(record.facts.get("piece_bytes", _piece(record).size))


def _packed_before(context: Context, plan_name: str) -> list[Shard]:
    """The shards of the current HEAD that are still there."""
    head = current_head(context, STAGE, plan_name)
    if head is None or not context.store.has(head.attachments["packing"]):
        return []
    packing = json.loads(context.store.read_bytes(head.attachments["packing"]))
    shards = [Shard(ref=head.attachments[name], keys=tuple(keys)) for name, keys in packing["shards"].items()]
    return [shard for shard in shards if context.store.has(shard.ref)]


def _pack(context: Context, plan: Plan, records: Sequence[CaseRecord]) -> list[Shard]:
    by_case = {record.case: record for record in records}
    groups = plan_packing([(record.case, _piece_bytes(record)) for record in records], plan.shard_bytes)
    return [_pack_one(context, plan, [by_case[case] for case in group]) for group in groups]


def _pack_one(context: Context, plan: Plan, records: Sequence[CaseRecord]) -> Shard:
    """One shard, by one writer. What it holds, and under which licence, stands in the shard itself."""
    entry = context.entry
    attributes = {
        "medshard": {
            "format_version": FORMAT_VERSION,
            "entry": entry.id,
            "version": entry.version,
            "licence": _stated_terms(entry),
            "plan": plan.to_json(),
            "plan_digest": plan.digest,
            "samples": [
                {"case": record.case, "record_key": record.key, "record_digest": record.digest}
                for record in sorted(records, key=lambda record: record.case)
            ],
        }
    }
    with context.store.scratch() as scratch:
        target = scratch / "shard.zip"
        pack_shard([(record.case, context.store.path(_piece(record))) for record in records], attributes, target)
        return Shard(ref=context.store.publish_file(target, ".zip"), keys=tuple(record.key for record in records))


def _attachments(
    store: Store, plan: ObjectRef, shards: Sequence[Shard], records: Sequence[CaseRecord]
) -> Mapping[str, ObjectRef]:
    names = {f"shard-{number:05d}": shard for number, shard in enumerate(shards)}
    packing = {"format_version": FORMAT_VERSION, "shards": {name: list(shard.keys) for name, shard in names.items()}}
    by_key = {record.key: record for record in records}
    rows = []
    for shard in shards:
        path = store.path(shard.ref)
        refs = {by_key[key].case: by_key[key].ref for key in shard.keys if key in by_key}
        rows += index_rows(path, path.name, refs)
    arrow, table = write_index(rows)
    return {
        "plan": plan,
        "packing": store.publish_bytes(canonical_json(packing), ".packing.json"),
        "index": store.publish_bytes(arrow, ".arrow"),
        "table": store.publish_bytes(table, ".parquet"),
        **{name: shard.ref for name, shard in names.items()},
    }


def _drop_pieces(store: Store, records: Sequence[CaseRecord]) -> None:
    """Pieces have done their service once the HEAD names the shards that they were packed into."""
    for piece in dict.fromkeys(_piece(record) for record in records):
        store.remove(piece)


def _stated_terms(entry: Entry) -> dict[str, Any]:
    """The licence without what the entry leaves empty."""
    terms = entry.licence.model_dump(mode="json")
    return {name: value for name, value in terms.items() if value or name not in {"url", "note"}}
