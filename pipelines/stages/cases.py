"""cases (validate): find the cases in the raw tree, read their headers, judge the inclusion criteria."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from medshard.converters.companions import companions
from medshard.converters.formats.format import Header
from medshard.converters.subject import SubjectFacts
from medshard.errors import CaseError, CatalogError
from medshard.pipelines.labels.case_labels import label_sources
from medshard.pipelines.stages.carried_facts import stated_facts
from medshard.pipelines.stages.case_annotations import Places
from medshard.pipelines.stages.case_contents import read_contents, source_files, with_slides
from medshard.pipelines.stages.case_images import present_images, read_case_header
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.case_meshes import judge_mesh, judge_mesh_labels, present_meshes
from medshard.pipelines.stages.case_payload import CasePayload, CaseRows
from medshard.pipelines.stages.case_volume import decoders
from medshard.pipelines.stages.cases_table import cases_table
from medshard.pipelines.stages.content_judgement import content_warnings_of, contents_of, judge_annotations
from medshard.pipelines.stages.image_judgement import image_facts, modality_faults, size_faults
from medshard.pipelines.stages.label_judgement import judge_labels
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.pipelines.stages.pictures_of_files import each_picture
from medshard.pipelines.stages.raw import RawFile, build_raw, raw_files
from medshard.pipelines.stages.shared_rows import shared_rows, with_tabled_facts
from medshard.pipelines.stages.spool_of_store import spool_of
from medshard.pipelines.stages.stage import (
    CODE_VERSIONS,
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
from medshard.registry.schema import CaseGroup, Entry
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord, record_key

STAGE = "cases"

# Bytes and number of the files of a case that is judged in a batch with others, and about what its record takes.
LARGEST_SMALL_CASE = 1 << 20
MOST_SMALL_FILES = 16
SMALL_RECORD_BYTES = 8 << 10
# A file of many pictures and one of their masks as far as they stay in memory; more goes to the spool.
FILE_OF_PICTURES_BYTES = 512 << 20


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
    located = {path: file.location for path, file in files.items()}
    pictured = each_picture(context.entry, found.cases, located)
    duplicates = {case for case, count in Counter(case.case for case in pictured.cases).items() if count > 1}
    told_apart = [case for case in pictured.cases if case.case not in {*duplicates, *pictured.failed}]
    tabled = with_tabled_facts(context.entry, told_apart, located)
    rows = shared_rows(context.entry, tabled.cases, located)
    jobs = [
        _job(context, case, files, rows.get(case.case, {})) for case in tabled.cases if case.case not in tabled.failed
    ]
    records, done = run_jobs(context, STAGE, jobs, validate_case)
    records += [_duplicate(context, case) for case in sorted(duplicates)]
    failures = {**pictured.failed, **tabled.failed}
    records += [_refused(context, case, error) for case, error in sorted(failures.items())]
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
            "defects_of_no_case": _defects_of_no_case(context.entry, pictured.cases),
            "classes_of_no_case": _classes_of_no_case(context.entry, records),
            "shipped_split": dict(sorted(Counter(case.split for case in tabled.cases if case.split).items())),
            "warnings_of_tables": list(tabled.warnings),
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
    payload, store = with_slides(job.payload.case), job.payload.store
    headers = {name: read_case_header(payload, name) for name in present_images(payload)}
    if any(header.identifiers for header in headers.values()):
        stated = {name: header.identifiers for name, header in headers.items()}
        write_identifiers(store, payload.entry.id, payload.case.case, stated)
    images = {name: image_facts(header, payload.case.images[name]) for name, header in headers.items()}
    contents = read_contents(payload)
    warnings = [f"image {name}: {warning}" for name, header in headers.items() for warning in header.warnings]
    warnings += content_warnings_of(contents)
    meshes: dict[str, Any] = {}
    for name in present_meshes(payload):
        meshes[name], doubts = judge_mesh(payload, name)
        warnings += doubts
    faults = [*_known_defects(payload), *size_faults(payload, images), *modality_faults(payload, images)]
    labels: dict[str, Any] = {}
    for source in label_sources(payload):
        found, label_faults, label_warnings = judge_labels(payload, source, headers, spool_of(store))
        labels |= found
        faults += label_faults
        warnings += label_warnings
    places = Places(images=headers, slides=contents.slides, videos=contents.videos)
    annotations, annotation_faults, annotation_warnings = judge_annotations(payload, places)
    mesh_labels, mesh_faults = judge_mesh_labels(payload)
    annotations |= mesh_labels
    faults += [*annotation_faults, *mesh_faults]
    warnings += annotation_warnings
    usable = [layer for layer, facts in labels.items() if facts["usable"]]
    annotated = usable or any(facts["usable"] for facts in annotations.values())
    if not annotated and not any(fault.against == inclusion.NEEDS_LABELS for fault in faults):
        faults.append(inclusion.no_labels())
    facts = {
        "patient": payload.case.patient,
        "subject": payload.group.subject,
        "person": _person(payload.entry.id, headers.values()),
        "modality": payload.group.modality.value,
        "group": (payload.group.group or payload.entry.groups[0]).value,
        **stated_facts(payload.group, payload.case),
        "images": images,
        "labels": labels,
        "meshes": meshes,
        **contents_of(contents),
        **({"annotations": annotations} if annotations else {}),
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


def _job(
    context: Context, case: CaseFiles, files: Mapping[str, RawFile], rows: Mapping[str, CaseRows]
) -> CaseJob[ValidatePayload]:
    """The key digests the case's own group and files, not the rest of the entry: other edits cost no rebuild."""
    entry, group = context.entry, context.entry.cases[case.group]
    known = files.keys()
    headers = {path: companions(path, files[path].location, known) for path in case.files}
    used = {path: files[path] for path in sorted({*headers, *(data for found in headers.values() for data in found)})}
    sources = {path: file.sha256 for path, file in used.items()}
    parameters = {
        "patient": case.patient,
        **({"page": case.page} if case.page is not None else {}),
        **({"stated": stated} if (stated := stated_facts(group, case)) else {}),
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
    size = sum(file.size for file in used.values())
    payload = CasePayload(
        entry=entry,
        group=group,
        case=case,
        files={path: file.location for path, file in used.items()},
        sources=source_files(used),
        rows=rows,
    )
    return CaseJob(
        record=record,
        payload=ValidatePayload(store=context.store, case=payload),
        bytes_needed=(64 << 20) + (8 * size if case.page is None else FILE_OF_PICTURES_BYTES),
        small_bytes=SMALL_RECORD_BYTES if case.page is not None else _small_bytes(group, size, len(used)),
    )


def _small_bytes(group: CaseGroup, size: int, files: int) -> int | None:
    """What a case of a few small files adds to a batch; None for one that is judged by itself."""
    others = group.meshes or group.videos or group.signals or group.tables or group.texts
    is_small = not others and size <= LARGEST_SMALL_CASE and files <= MOST_SMALL_FILES
    return SMALL_RECORD_BYTES if is_small else None


def _duplicate(context: Context, case: str) -> CaseRecord:
    error = CaseError(
        "layout.duplicate_case",
        where=f"{context.entry.id}/{case}",
        problem="two sets of files make this name",
        action="Make the `case` templates tell them apart.",
    )
    return _refused(context, case, error, "duplicate")


def _refused(context: Context, case: str, error: CaseError, why: str = "refused") -> CaseRecord:
    """The record of a case that is excluded before anybody opens its files."""
    key = record_key(stage=STAGE, code_version=CODE_VERSIONS[STAGE], entry=context.entry.id, case=case, parameters=why)
    record = CaseRecord(stage=STAGE, entry=context.entry.id, case=case, key=key, code_version=CODE_VERSIONS[STAGE])
    return failed(record, error)
