"""volumes (convert): every case to canonical Zarr: original integers, exact affine, labels as arrays of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from medshard.converters.spooling import Spool
from medshard.errors import StoreError
from medshard.pipelines.stages.carried_facts import carried_facts
from medshard.pipelines.stages.case_contents import source_files
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.case_payload import CasePayload, CaseRows
from medshard.pipelines.stages.cases import build_cases
from medshard.pipelines.stages.converting import ConvertPayload, convert_batch, convert_case
from medshard.pipelines.stages.pictures_of_files import each_picture
from medshard.pipelines.stages.raw import RawFile, raw_files
from medshard.pipelines.stages.shared_rows import shared_rows, with_tabled_facts
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    Context,
    StageResult,
    publish_stage,
    run_jobs,
)
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.store.manifests import read_manifest, require_head
from medshard.registry.store.records import CaseRecord, record_key
from medshard.registry.vocabulary import Purpose

STAGE = "volumes"

# Bytes of the images and label layers of a case that goes into a stack: 512 x 512 in colour, with a mask.
LARGEST_SMALL_CASE = 1 << 20


def build_volumes(context: Context, cases: StageResult | None = None) -> StageResult:
    """Convert every case that is fit for at least one purpose."""
    cases = cases or build_cases(context)
    started = time.monotonic()
    raw = read_manifest(context.store, require_head(context.store, context.entry.id, "raw").manifest)
    files = raw_files(context.store, raw)
    located = {path: file.location for path, file in files.items()}
    pictured = each_picture(context.entry, discover(context.entry, list(files)).cases, located)
    tabled = with_tabled_facts(context.entry, pictured.cases, located)
    found = {case.case: case for case in tabled.cases}
    rows = shared_rows(context.entry, tabled.cases, located)
    fit = [record for record in cases.manifest.good if any(record.fit_for(purpose.value) for purpose in Purpose)]
    _refuse_other_files(context, fit, found, files)
    jobs = [_job(context, record, found[record.case], files, rows.get(record.case, {})) for record in fit]
    records, done = run_jobs(context, STAGE, jobs, convert_case, together=convert_batch)
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
        facts=carried_facts(case.facts),
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
    return CaseJob(
        record=record,
        payload=payload,
        bytes_needed=_bytes_needed(case),
        small_bytes=_small_bytes(case, pyramid_levels=context.entry.pyramid_levels),
    )


def _small_bytes(case: CaseRecord, *, pyramid_levels: int) -> int | None:
    """Bytes of a case of a few small pictures, with their masks; None for any other."""
    images = case.facts["images"].values()
    others = any(case.facts.get(kind) for kind in ("meshes", "slides", "videos", "signals", "tables", "texts"))
    if others or not images or pyramid_levels:
        return None
    if any(image["shape"][0] > 1 or image["timepoints"] > 1 for image in images):
        return None
    masks = sum(math.prod(facts.get("shape", ())) for facts in case.facts["labels"].values() if facts["usable"])
    size = sum(_decoded_bytes(image) for image in images) + 2 * masks
    return size if size <= LARGEST_SMALL_CASE else None


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
