"""shards (resample and shard): samples of one plan, packed into zips of a Zarr group, with an index for readers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.plan import Plan
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_zip import pack_shard, plan_packing
from medshard.converters.spooling import Spool
from medshard.errors import MedshardError
from medshard.pipelines.stages.carried_facts import carried_facts
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.converted_volumes import place_of
from medshard.pipelines.stages.fingerprint import build_fingerprint
from medshard.pipelines.stages.plan_freezing import frozen_plan, require_plan
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

BASE_BYTES = 64 << 20
# A layer before and after resampling; and, once, what its classes vote with: two float32 and the winner.
BYTES_PER_LABEL = 4
BYTES_OF_VOTE = 16
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
    Raises CatalogError[plan.unknown], and [plan.kind] for a plan that does not fit the entry.
    """
    require_plan(context.entry, plan_name)
    fingerprint = fingerprint or build_fingerprint(context)
    started = time.monotonic()
    if not fingerprint.manifest.good:
        raise _nothing_left(context, fingerprint.manifest.records)
    measured = {record.case: record.facts["fingerprint"] for record in fingerprint.manifest.good}
    plan_ref, plan = frozen_plan(context, plan_name, fingerprint.head.attachments, measured)
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
        facts=carried_facts(volume.facts),
    )
    place = place_of(volume)
    needed = bytes_needed(volume, plan)
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


def bytes_needed(volume: CaseRecord, plan: Plan) -> int:
    """An upper bound of what making the sample holds in memory: `docs/plans.md` says what is held when."""
    images: Mapping[str, Mapping[str, Any]] = volume.facts["images"]
    channels = [images[name] for name in plan.channels if name in images]
    others = [images[name] for name in (plan.pairs.others if plan.pairs is not None else ()) if name in images]
    if not channels:
        # Tiles and frames are spooled; what decodes them is not.
        stacked = any(volume.facts.get(kind) for kind in ("slides", "videos"))
        return BASE_BYTES + (2 * Spool().limit_bytes if stacked else 0)
    needed = sum(_image_bytes(image, channels[0], plan) for image in channels)
    needed += sum(_image_bytes(image, image, plan) for image in others)
    grid = max(math.prod(channels[0]["shape"][-3:]), _voxels_out(channels[0], plan))
    layers = len(volume.facts["labels"])
    return BASE_BYTES + needed + (BYTES_PER_LABEL * layers + BYTES_OF_VOTE * bool(layers)) * math.ceil(grid)


def _image_bytes(image: Mapping[str, Any], reference: Mapping[str, Any], plan: Plan) -> int:
    """Of one image: its array as stored, as float32 before and after resampling, and as stored again.

    Of an image with a time axis one frame at a time is float32 before; all of them after, up to the limit of the spool.
    """
    *leading, channels = image["shape"][:-3]
    frames = math.prod(leading)
    stored = np.dtype(image["dtype"]).itemsize
    voxels_in = channels * math.prod(image["shape"][-3:])
    voxels_out = math.ceil(channels * _voxels_out(reference, plan))
    if leading:
        after = min(4 * frames * voxels_out, Spool().limit_bytes) + 2 * frames * voxels_out
        return int(stored * frames * voxels_in + 8 * voxels_in + 4 * voxels_out + after)
    if plan.stored == "physical" and len(plan.channels) == 1 and np.dtype(image["dtype"]).kind in "iu":
        return int(stored * voxels_in + 4 * voxels_out)  # in slabs: never whole as floats
    return int((stored + 8) * voxels_in + 10 * voxels_out)


def _voxels_out(image: Mapping[str, Any], plan: Plan) -> float:
    """Voxels of one channel on the plan's grid, or on its own where it has more: the record does not say whether its
    voxel size is trusted, nor what a crop will leave."""
    own = [float(size) for size in image["shape"][-3:]]
    if plan.spacing_mm is None:
        return math.prod(own)
    steps = zip(own, image["spacing_mm"], plan.spacing_mm, strict=True)
    # An axis of one voxel is never resampled, and neither is that of slices.
    resampled = [
        size if size == 1 or axis == plan.slice_axis else math.ceil(size * before / after)
        for axis, (size, before, after) in enumerate(steps)
    ]
    return max(math.prod(own), math.prod(resampled))


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
