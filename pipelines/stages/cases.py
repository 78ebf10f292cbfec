"""cases (validate): find the cases in the raw tree, read their headers, judge the inclusion criteria."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from medshard.converters.companions import companions
from medshard.converters.formats.format import Header
from medshard.converters.spooling import Spool
from medshard.converters.subject import SubjectFacts
from medshard.converters.volume import AttributeValue
from medshard.errors import CaseError, CatalogError
from medshard.pipelines.labels.case_labels import CaseLabel, label_paths, label_readers, label_sources, layer_files
from medshard.pipelines.stages.case_images import present_images, read_case_header
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.pipelines.stages.case_volume import decoders
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
from medshard.registry.identifiers import site_pseudonym, write_identifiers
from medshard.registry.inclusion import Fault
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.schema import Entry
from medshard.registry.store.objects import Store
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
            "classes_of_no_case": _classes_of_no_case(context.entry, records),
            "shipped_split": dict(sorted(Counter(case.split for case in found.cases if case.split).items())),
        },
    )


def _defects_of_no_case(entry: Entry, cases: Sequence[CaseFiles]) -> list[str]:
    """Names under `known_defects` that no case has: misspelt, or not in this copy of the data."""
    named = {case for defect in entry.known_defects for case in defect.cases}
    return sorted(named - {case.case for case in cases})


def _classes_of_no_case(entry: Entry, records: Iterable[CaseRecord]) -> list[str]:
    """Classes of which no case has a voxel, though their layers are there: rare ones, or a wrong name or value."""
    found: dict[str, set[str]] = {}
    for record in records:
        for layer, facts in record.facts.get("labels", {}).items():
            if facts["usable"]:
                found.setdefault(layer, set()).update(value for value, count in facts["voxels"].items() if count)
    return sorted(
        {
            f"{layer} {value} ({concept})"
            for group in entry.cases
            for source, spec in group.labels.items()
            if spec.kind == "semantic"
            for layer, values in found.items()
            if layer == source or layer.startswith(f"{source}-")
            for value, concept in spec.classes.items()
            if str(value) not in values
        }
    )


@dataclass(frozen=True, kw_only=True)
class ValidatePayload:
    """store: for unfinished work, and for the hashed identifiers of the case."""

    store: Store
    case: CasePayload


def validate_case(job: CaseJob[ValidatePayload]) -> CaseRecord:
    """Headers of the images, voxels of the labels, verdict per purpose; runs in a worker."""
    payload, store = job.payload.case, job.payload.store
    headers = {name: read_case_header(payload, name) for name in present_images(payload)}
    if any(header.identifiers for header in headers.values()):
        stated = {name: header.identifiers for name, header in headers.items()}
        write_identifiers(store, payload.entry.id, payload.case.case, stated)
    images = {name: _image_facts(header, payload.case.images[name]) for name, header in headers.items()}
    warnings = [f"image {name}: {warning}" for name, header in headers.items() for warning in header.warnings]
    meshes = {name: _mesh_facts(payload, name, paths) for name, paths in payload.case.meshes.items()}
    faults = [*_known_defects(payload), *_size_faults(payload, images), *_modality_faults(payload, images)]
    labels: dict[str, Any] = {}
    with store.scratch() as scratch:
        for source in label_sources(payload):
            found, label_faults, label_warnings = _judge_labels(payload, source, headers, Spool(folder=scratch))
            labels |= found
            faults += label_faults
            warnings += label_warnings
    usable = [layer for layer, facts in labels.items() if facts["usable"]]
    if not usable and not any(fault.against == inclusion.NEEDS_LABELS for fault in faults):
        faults.append(inclusion.no_labels())
    facts = {
        "patient": payload.case.patient,
        "subject": payload.group.subject,
        "person": _person(payload.entry.id, headers.values()),
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


def _person(entry: str, headers: Iterable[Header]) -> dict[str, Any]:
    """Coarse facts about the person and the scanner, from the first image that states each."""
    known: dict[str, Any] = {}
    for header in headers:
        institution = header.identifiers.get("InstitutionName")
        site = site_pseudonym(entry, institution) if institution else None
        stated = {**asdict(header.subject), "site": site}
        known |= {name: value for name, value in stated.items() if value is not None and name not in known}
    return {field.name: known[field.name] for field in fields(SubjectFacts) if field.name in known}


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


def _image_facts(header: Header, files: Sequence[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "format": header.format,
        "files": len(files),
        "shape": list(header.shape),
        "channels": header.channels,
        "timepoints": header.timepoints,
        "spacing_mm": [round(float(step), 6) for step in header.spacing_mm],
        "dtype": header.dtype,
        "modality": header.modality,
        "trusted_geometry": header.trusted_geometry,
    }
    further = {
        "sequence": header.sequence,
        "leading": header.leading.kind if header.leading else None,
        "attributes": {name: _json_value(value) for name, value in sorted(header.attributes.items())},
        "burned_in": header.burned_in,
    }
    return facts | {name: value for name, value in further.items() if value}


def _json_value(value: AttributeValue) -> Any:
    return list(value) if isinstance(value, tuple) else value


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


def _judge_labels(
    payload: CasePayload, source: str, images: Mapping[str, Header], spool: Spool
) -> tuple[dict[str, Any], list[Fault], list[str]]:
    """What the layers of one label of the layout hold, and what speaks against them.

    A bad layer spoils no image, and a rater's bad file no other rater's layer. One layer is in memory at a time.
    """
    groups = label_sources(payload)[source]
    spec = payload.group.labels.get(source)
    optional = spec.optional if spec is not None else payload.group.annotations[source].optional
    missing = [number for number, files in enumerate(groups) if not files]
    # One file per class: a structure that a case lacks has none.
    every_file_counts = spec is None or not spec.per_class
    if len(missing) == len(groups) or (missing and every_file_counts):
        nothing = len(missing) == len(groups)
        paths = label_paths(payload, source)
        faults = [] if optional and nothing else [inclusion.missing_label(source, paths[number]) for number in missing]
        return {source: {"present": not nothing, "usable": False}}, faults, []
    try:
        readers = label_readers(payload, source, images=images, spool=spool)
    except CaseError as error:
        return (
            {source: _unusable(error)},
            [inclusion.bad_label(source, error.code, _evidence(error, _flat(groups)))],
            [],
        )
    layers: dict[str, Any] = {}
    faults, warnings = [], []
    for name, read in readers.items():
        try:
            label = read()
        except CaseError as error:
            layers[name] = _unusable(error)
            faults.append(
                inclusion.bad_label(name, error.code, _evidence(error, _flat(layer_files(payload, source)[name])))
            )
            continue
        layers[name], found = _judge_layer(payload, label)
        faults += found
        warnings += [f"label layer {name}: {warning}" for warning in label.warnings]
        del label
    return layers, faults, warnings


def _unusable(error: CaseError) -> dict[str, Any]:
    return {"present": True, "usable": False, "error": str(error)}


def _flat(groups: Iterable[Sequence[str]]) -> list[str]:
    return [path for files in groups for path in files]


def _evidence(error: CaseError, files: Sequence[str]) -> str:
    """The problem, with what the error has found: which file, how far apart, what was expected."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    details = {"file": f"{files[0]}{more}" if files else "none", **error.details}
    return f"{error.problem} ({'; '.join(f'{name}: {value}' for name, value in details.items())})"


def _judge_layer(payload: CasePayload, label: CaseLabel) -> tuple[dict[str, Any], list[Fault]]:
    layer, counts = label.layer, label.counts
    # The values of an instance layer are numbers of instances, not of classes.
    known = {0, *layer.classes, *layer.ignore, *(counts if layer.kind == "instance" else ())}
    if layer.kind == "soft":
        known = {number + 1 for number in layer.classes} | {0}
    unknown = [value for value in counts if (value < 0 and value not in layer.ignore) or value not in known]
    faults = [] if layer.examined else [inclusion.nothing_examined(label.name)]
    if unknown and payload.entry.inclusion.label_values_must_be_known:
        faults.append(inclusion.unknown_values(label.name, unknown, layer.classes))
    if not unknown and not any(count for value, count in counts.items() if value != 0 and value not in layer.ignore):
        faults.append(inclusion.empty_label(label.name))
    facts: dict[str, Any] = {
        "present": True,
        "usable": not (unknown and payload.entry.inclusion.label_values_must_be_known),
        "shape": list(layer.shape),
        "kind": layer.kind,
        "voxels": {str(value): count for value, count in counts.items()},
        "repair": label.repair,
    }
    further = {
        "image": label.image,
        "rater": layer.rater,
        "ignore": list(layer.ignore),
        "verdict": label.verdict.kind if label.verdict is not None and label.verdict.kind != "same" else None,
    }
    return facts | {name: value for name, value in further.items() if value}, faults


def _job(context: Context, case: CaseFiles, files: Mapping[str, RawFile]) -> CaseJob[ValidatePayload]:
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
        record=record,
        payload=ValidatePayload(store=context.store, case=payload),
        bytes_needed=(64 << 20) + 8 * sum(file.size for file in used.values()),
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
