"""volumes (convert): every case to canonical Zarr: original integers, exact affine, labels as arrays of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medshard.converters.canonical import write_volume
from medshard.converters.fingerprint import content_facts
from medshard.converters.spooling import Spool
from medshard.converters.volume import Volume
from medshard.errors import StoreError
from medshard.pipelines.stages.case_contents import source_files
from medshard.pipelines.stages.case_payload import CasePayload, CaseRows
from medshard.pipelines.stages.case_volume import content_warnings, decoders, read_case
from medshard.pipelines.stages.cases import build_cases
from medshard.pipelines.stages.raw import RawFile, raw_files
from medshard.pipelines.stages.shared_rows import shared_rows, with_tabled_facts
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    CaseJob,
    Context,
    StageResult,
    publish_stage,
    run_jobs,
)
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.store.manifests import read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord, record_key
from medshard.registry.vocabulary import Purpose

STAGE = "volumes"

# A worker is one core: cases are spread over workers, and `--workers 2` means two cores, not four.
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class ConvertPayload:
    store: Store
    case: CasePayload
    layers: tuple[str, ...]
    annotations: tuple[str, ...]


def build_volumes(context: Context, cases: StageResult | None = None) -> StageResult:
    """Convert every case that is fit for at least one purpose."""
    cases = cases or build_cases(context)
    started = time.monotonic()
    raw = read_manifest(context.store, require_head(context.store, context.entry.id, "raw").manifest)
    files = raw_files(context.store, raw)
    located = {path: file.location for path, file in files.items()}
    tabled = with_tabled_facts(context.entry, discover(context.entry, list(files)).cases, located)
    found = {case.case: case for case in tabled.cases}
    rows = shared_rows(context.entry, tabled.cases, located)
    fit = [record for record in cases.manifest.good if any(record.fit_for(purpose.value) for purpose in Purpose)]
    _refuse_other_files(context, fit, found, files)
    jobs = [_job(context, record, found[record.case], files, rows.get(record.case, {})) for record in fit]
    records, done = run_jobs(context, STAGE, jobs, convert_case)
    return publish_stage(context, STAGE, records, started=started, done=done)


def _refuse_other_files(
    context: Context, cases: list[CaseRecord], found: Mapping[str, CaseFiles], files: Mapping[str, RawFile]
) -> None:
    """What was validated is what is converted: the same cases, made of the same bytes."""
    changed = [
        record.case
        for record in cases
        if record.case not in found
        or any(path not in files or files[path].sha256 != digest for path, digest in record.sources.items())
    ]
    if changed:
        raise StoreError(
            "stage.outdated",
            where=f"{context.entry.id}/cases",
            problem="the layout or the files have changed since the cases were validated",
            details={"cases": ", ".join(changed[:5])},
            action=f"Run: medshard build {context.entry.id}",
        )


def convert_case(job: CaseJob[ConvertPayload]) -> CaseRecord:
    """Read one case, bring it to canonical orientation, write its Zarr; runs in a worker."""
    payload = job.payload
    with payload.store.scratch() as scratch:
        spool = Spool(folder=scratch)
        volume = read_case(payload.case, layers=payload.layers, annotations=payload.annotations, spool=spool)
        warnings = content_warnings(volume)
        folder = scratch / "volume"
        write_volume(volume, folder, pyramid_levels=payload.case.entry.pyramid_levels, threads=THREADS)
        output = payload.store.publish_tree(folder, ".zarr")
    facts = {
        **job.record.facts,
        "images": {
            name: {
                "shape": list(image.array.shape),
                "dtype": str(image.array.dtype),
                "spacing_mm": list(image.spacing_mm),
            }
            for name, image in volume.images.items()
        },
        "labels": {
            name: {"shape": list(label.array.shape), "kind": label.kind} for name, label in volume.labels.items()
        },
        "meshes": {
            name: {"vertices": len(mesh.vertices), "faces": len(mesh.faces)} for name, mesh in volume.meshes.items()
        },
        **content_facts(volume),
        **_kept_sources(volume),
        "bytes_in_memory": sum(image.array.nbytes for image in volume.images.values()),
    }
    return replace(
        job.record,
        output=output,
        facts=facts,
        warnings=warnings,
        decoders=decoders(payload.case, layers=payload.layers),
    )


def _kept_sources(volume: Volume) -> dict[str, Any]:
    """Paths in the raw tree of what is decoded when it is sharded."""
    slides = {file.path for slide in volume.slides.values() for file in slide.files}
    videos = {file.path for video in volume.videos.values() for file in video.files}
    return {"kept": sorted(slides | videos)} if slides or videos else {}


def _job(
    context: Context,
    case: CaseRecord,
    files_of_case: CaseFiles,
    files: dict[str, RawFile],
    rows: Mapping[str, CaseRows],
) -> CaseJob[ConvertPayload]:
    group = context.entry.cases[files_of_case.group]
    layers = tuple(layer for layer, facts in case.facts["labels"].items() if facts["usable"])
    annotations = tuple(name for name, facts in case.facts.get("annotations", {}).items() if facts["usable"])
    parameters = {
        "group": group.model_dump(mode="json", exclude_defaults=True),
        "layers": layers,
        "annotations": annotations,
        "pyramid_levels": context.entry.pyramid_levels,
        "repair": [
            defect.model_dump(mode="json") for defect in context.entry.known_defects if defect.concerns(case.case)
        ],
    }
    key = record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=context.entry.id,
        case=case.case,
        parameters=parameters,
        inputs=(case.ref,),
    )
    record = CaseRecord(
        stage=STAGE,
        entry=context.entry.id,
        case=case.case,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        inputs=(case.ref,),
        sources=case.sources,
        verdicts=case.verdicts,
        facts={name: case.facts[name] for name in ("patient", "subject", "modality", "group")},
    )
    payload = ConvertPayload(
        store=context.store,
        layers=layers,
        annotations=annotations,
        case=CasePayload(
            entry=context.entry,
            group=group,
            case=files_of_case,
            files={path: files[path].location for path in files_of_case.files},
            sources=source_files({path: files[path] for path in files_of_case.files}),
            rows=rows,
        ),
    )
    return CaseJob(record=record, payload=payload, bytes_needed=_bytes_needed(case))


def _bytes_needed(case: CaseRecord) -> int:
    """The largest image and its labels once in memory, or the little that is in memory of those that are spooled."""
    images = case.facts["images"].values()
    decoded = sum(_decoded_bytes(image) for image in images)
    voxels = sum(math.prod(image["shape"]) for image in images)
    labels = voxels * len(case.facts["labels"])
    return (256 << 20) + min(decoded, len(images) * Spool().limit_bytes) * 3 // 2 + 2 * labels


def _decoded_bytes(image: Mapping[str, Any]) -> int:
    voxels = math.prod(image["shape"]) * image["channels"] * max(1, image["timepoints"])
    return voxels * np.dtype(image["dtype"]).itemsize
