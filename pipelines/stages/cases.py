"""cases (validate): find the cases in the raw tree, read their headers, judge the inclusion criteria."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medshard.converters.companions import companions
from medshard.converters.reading import read_header
from medshard.errors import CaseError, CatalogError
from medshard.pipelines.stages.case_reading import CasePayload, decoders, read_case_label
from medshard.pipelines.stages.cases_table import cases_table
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.pipelines.stages.raw import RawFile, build_raw, raw_files
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
    CaseJob,
    Context,
    StageResult,
    failed,
    publish_stage,
    run_jobs,
)
from medshard.registry import inclusion
from medshard.registry.inclusion import Fault
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.schema import Entry, LabelSpec
from medshard.registry.store.records import CaseRecord, record_key

STAGE = "cases"

# Modalities that DICOM and the catalog call by the same code.
COMPARED = frozenset({"CT", "MR", "PT", "US"})
# DICOM objects that may have pixels and are no scans (PS3.3 C.7.3.1.1.1).
NOT_SCANS = frozenset({"SEG", "RTDOSE", "RTIMAGE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "DOC", "PLAN"})


def build_cases(context: Context, raw: StageResult | None = None) -> StageResult:
    """Validate every case that the layout finds.

    Raises CatalogError[layout.no_cases] when it finds none.
    """
    refuse_unread_layout(context.entry)
    raw = raw or build_raw(context)
    started = time.monotonic()
    files = raw_files(context.store, raw.manifest)
    found = discover(context.entry, list(files))
    if not found.cases:
        raise CatalogError(
            "layout.no_cases",
            where=context.entry.id,
            problem="no file matches the layout",
            details={
                "looked for": ", ".join(group.anchor for group in context.entry.cases),
                "the tree has": ", ".join(list(files)[:5]),
            },
            action="Mend the templates under `cases`; `medshard where ID raw` prints where the files lie.",
        )
    duplicates = {case for case, count in Counter(case.case for case in found.cases).items() if count > 1}
    jobs = [_job(context, case, files) for case in found.cases if case.case not in duplicates]
    records, done = run_jobs(context, STAGE, jobs, validate_case)
    records += [_duplicate(context, case) for case in sorted(duplicates)]
    table = context.store.publish_bytes(cases_table(records), ".parquet")
    return publish_stage(
        context,
        STAGE,
        records,
        started=started,
        done=done,
        attachments={"table": table},
        details={
            "unmatched_files": len(found.unmatched),
            "unmatched_examples": list(found.unmatched[:5]),
            "defects_of_no_case": _defects_of_no_case(context.entry, found.cases),
            "shipped_split": dict(sorted(Counter(case.split for case in found.cases if case.split).items())),
        },
    )


def _defects_of_no_case(entry: Entry, cases: Sequence[CaseFiles]) -> list[str]:
    """Names under `known_defects` that no case has: misspelt, or not in this copy of the data."""
    named = {case for defect in entry.known_defects for case in defect.cases}
    return sorted(named - {case.case for case in cases})


def validate_case(job: CaseJob[CasePayload]) -> CaseRecord:
    """Headers of the images, voxels of the labels, verdict per purpose; runs in a worker."""
    payload = job.payload
    images, warnings = _image_facts(payload)
    meshes = {name: _mesh_facts(payload, name, paths) for name, paths in payload.case.meshes.items()}
    faults = [*_known_defects(payload), *_size_faults(payload, images), *_modality_faults(payload, images)]
    labels: dict[str, Any] = {}
    for layer, spec in payload.group.labels.items():
        labels[layer], layer_faults, layer_warnings = _label_facts(payload, layer, spec)
        faults += layer_faults
        warnings += layer_warnings
    usable = [layer for layer, facts in labels.items() if facts["usable"]]
    if not usable and not any(fault.against == inclusion.NEEDS_LABELS for fault in faults):
        faults.append(inclusion.no_labels())
    facts = {
        "patient": payload.case.patient,
        "subject": payload.group.subject,
        "modality": payload.group.modality.value,
        "group": (payload.group.group or payload.entry.groups[0]).value,
        "images": images,
        "labels": labels,
        "meshes": meshes,
        "faults": [fault.to_json() for fault in faults],
    }
    return replace(
        job.record,
        facts=facts,
        verdicts=inclusion.verdicts(faults),
        warnings=tuple(warnings),
        decoders=decoders(payload, layers=usable),
    )


def _known_defects(payload: CasePayload) -> list[Fault]:
    return [
        inclusion.listed_defect(defect.problem)
        for defect in payload.entry.known_defects
        if defect.action == "exclude" and defect.concerns(payload.case.case)
    ]


def _size_faults(payload: CasePayload, images: dict[str, Any]) -> list[Fault]:
    smallest = payload.entry.inclusion.smallest_shape
    shapes = [image["shape"] for image in images.values()][:1]
    small = [shape for shape in shapes if any(n < least for n, least in zip(shape, smallest, strict=True))]
    return [inclusion.too_small(shape, smallest) for shape in small]


def _image_facts(payload: CasePayload) -> tuple[dict[str, Any], list[str]]:
    facts: dict[str, Any] = {}
    warnings: list[str] = []
    for name, paths in payload.case.images.items():
        if not paths:
            raise CaseError(
                "image.missing",
                where=payload.where,
                problem=f"no file matches the image {name}",
                details={"looked for": payload.group.images[name].path},
                action="Complete the source, or list the case under `known_defects`.",
            )
        header = read_header(payload.locate(paths), where=payload.where)
        warnings += [f"image {name}: {warning}" for warning in header.warnings]
        facts[name] = {
            "format": header.format,
            "files": len(paths),
            "shape": list(header.shape),
            "channels": header.channels,
            "timepoints": header.timepoints,
            "spacing_mm": [round(float(step), 6) for step in header.spacing_mm],
            "dtype": header.dtype,
            "modality": header.modality,
            "trusted_geometry": header.trusted_geometry,
        }
    return facts, warnings


def _modality_faults(payload: CasePayload, images: dict[str, Any]) -> list[Fault]:
    """A header that says CT where the catalog says MR is a wrong entry or a wrong file; either way it is not used."""
    faults = []
    for name, image in images.items():
        stated = (payload.group.images[name].modality or payload.group.modality).value
        found = image["modality"]
        if found in NOT_SCANS or (found in COMPARED and stated in COMPARED and found != stated):
            faults.append(inclusion.wrong_modality(name, stated, found))
    return faults


def _mesh_facts(payload: CasePayload, name: str, paths: tuple[str, ...]) -> dict[str, Any]:
    if not paths:
        raise CaseError(
            "mesh.missing",
            where=payload.where,
            problem=f"no file matches the mesh {name}",
            details={"looked for": payload.group.meshes[name].path},
            action="Complete the source.",
        )
    return {"files": len(paths), "bytes": sum(path.stat().st_size for path in payload.locate(paths))}


def _label_facts(payload: CasePayload, layer: str, spec: LabelSpec) -> tuple[dict[str, Any], list[Fault], list[str]]:
    """What one label layer holds, and what speaks against it. A bad layer never spoils the image."""
    found = payload.case.labels[layer]
    missing = [path for path, files in zip(spec.paths, found, strict=True) if not files]
    if missing:
        nothing = len(missing) == len(spec.paths)
        faults = [] if spec.optional and nothing else [inclusion.missing_label(layer, path) for path in missing]
        return {"present": not nothing, "usable": False}, faults, []
    try:
        label, warning = read_case_label(payload, layer)
    except CaseError as error:
        facts = {"present": True, "usable": False, "error": str(error)}
        return facts, [inclusion.bad_label(layer, error.code, error.problem)], []
    counts = _class_counts(label.array, spec)
    # The values of an instance layer are numbers of instances, not of classes.
    known = counts if spec.kind == "instance" else spec.concepts
    unknown = [value for value in counts if value < 0 or (value != 0 and value not in known)]
    faults = []
    if unknown and payload.entry.inclusion.label_values_must_be_known:
        faults.append(inclusion.unknown_values(layer, unknown, spec.concepts))
    if not unknown and not any(count for value, count in counts.items() if value != 0):
        faults.append(inclusion.empty_label(layer))
    facts = {
        "present": True,
        "usable": not (unknown and faults),
        "shape": list(label.shape),
        "kind": spec.kind,
        "voxels": {str(value): count for value, count in counts.items()},
        "repair": warning,
    }
    return facts, faults, [f"label layer {layer}: {warning}"] if warning else []


def _class_counts(array: np.ndarray[Any, Any], spec: LabelSpec) -> dict[int, int]:
    """Voxels per stored value; for soft layers per channel, those above half of the scale."""
    if spec.kind == "soft":
        return {
            number: int(np.count_nonzero(channel * spec.maps[number - 1].scale > 0.5))
            for number, channel in enumerate(array, start=1)
        }
    values, counts = np.unique(array, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def _job(context: Context, case: CaseFiles, files: Mapping[str, RawFile]) -> CaseJob[CasePayload]:
    """The key digests the case's own group and files, not the rest of the entry: other edits cost no rebuild."""
    entry, group = context.entry, context.entry.cases[case.group]
    known = files.keys()
    headers = {path: companions(path, files[path].location, known) for path in case.files}
    used = {path: files[path] for path in sorted({*headers, *(data for found in headers.values() for data in found)})}
    sources = {path: file.sha256 for path, file in used.items()}
    parameters = {
        "group": group.model_dump(mode="json", exclude_defaults=True),
        "entry_group": entry.groups[0].value,
        "inclusion": entry.inclusion.model_dump(mode="json", include={"smallest_shape", "label_values_must_be_known"}),
        "defects": [defect.model_dump(mode="json") for defect in entry.known_defects if defect.concerns(case.case)],
    }
    record = CaseRecord(
        stage=STAGE,
        entry=entry.id,
        case=case.case,
        code_version=CODE_VERSIONS[STAGE],
        key=record_key(
            stage=STAGE,
            code_version=CODE_VERSIONS[STAGE],
            entry=entry.id,
            case=case.case,
            parameters=parameters,
            sources=sources,
        ),
        inputs=tuple(sorted({file.record for file in used.values()}, key=lambda ref: ref.key)),
        sources=sources,
    )
    payload = CasePayload(
        entry=entry, group=group, case=case, files={path: file.location for path, file in used.items()}
    )
    return CaseJob(
        record=record, payload=payload, bytes_needed=(64 << 20) + 8 * sum(file.size for file in used.values())
    )


def _duplicate(context: Context, case: str) -> CaseRecord:
    error = CaseError(
        "layout.duplicate_case",
        where=f"{context.entry.id}/{case}",
        problem="two sets of files make this name",
        action="Make the `case` templates tell them apart.",
    )
    key = record_key(
        stage=STAGE, code_version=CODE_VERSIONS[STAGE], entry=context.entry.id, case=case, parameters="duplicate"
    )
    record = CaseRecord(stage=STAGE, entry=context.entry.id, case=case, key=key, code_version=CODE_VERSIONS[STAGE])
    return failed(record, error)
