"""What a case has besides images and masks, and what speaks against its annotations that are rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medshard.converters.annotations.rows.reading import RowsRead
from medshard.converters.fingerprint import content_facts
from medshard.converters.table import Table
from medshard.converters.volume import Volume
from medshard.errors import CaseError
from medshard.pipelines.stages.case_annotations import Places, annotation_readers
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry import inclusion
from medshard.registry.inclusion import Fault
from medshard.registry.schema import AnyAnnotation

# Kinds of which every case has a row; a case without boxes or marks may be a healthy one.
ONE_ROW_AT_LEAST = frozenset({"classes", "scores", "report", "question-answers"})


def contents_of(volume: Volume) -> dict[str, Any]:
    """Facts about slides, videos, signals, tables and texts, kind -> name -> facts."""
    found = {kind: facts for kind, facts in content_facts(volume).items() if kind != "annotations"}
    tables = {"tables": volume.tables, "texts": volume.texts}
    return found | {kind: _table_facts(named) for kind, named in tables.items() if named}


def content_warnings_of(volume: Volume) -> list[str]:
    """What the readers have said of each."""
    return [
        f"{kind} {name}: {warning}"
        for kind in ("slides", "videos", "signals", "tables", "texts")
        for name, content in getattr(volume, kind).items()
        for warning in content.warnings
    ]


def judge_annotations(payload: CasePayload, places: Places) -> tuple[dict[str, Any], list[Fault], list[str]]:
    """Facts, faults and warnings of the annotations that are rows. A bad one spoils no other."""
    facts: dict[str, Any] = {}
    faults: list[Fault] = []
    warnings: list[str] = []
    for name, annotation in payload.group.annotations.items():
        if annotation.unread is not None:
            warnings.append(f"annotation {name} is left out: {annotation.unread}")
        if _lacks_its_file(payload, name, annotation):
            facts[name] = {"present": False, "usable": False}
            faults += [] if annotation.optional else [inclusion.missing_label(name, getattr(annotation, "path", ""))]
    for name, read in annotation_readers(payload, places).items():
        try:
            found = read()
        except CaseError as error:
            facts[name] = {"present": True, "usable": False, "error": str(error)}
            faults.append(inclusion.bad_annotation(name, error.code, _evidence(error)))
            continue
        facts[name], more = _judge(payload, name, found)
        faults += more
        warnings += [f"annotation {name}: {warning}" for warning in _said(found)]
    return facts, faults, warnings


def _judge(payload: CasePayload, name: str, found: RowsRead) -> tuple[dict[str, Any], list[Fault]]:
    annotation, table = payload.group.annotations[name], found.table
    rows = table.table.num_rows
    faults = []
    missing = rows == 0 and table.kind in ONE_ROW_AT_LEAST
    if missing and not annotation.optional:
        faults.append(inclusion.missing_row(name))
    strict = payload.entry.inclusion.label_values_must_be_known
    if found.unknown_words and strict:
        faults.append(inclusion.unknown_words(name, found.unknown_words, annotation.values))
    facts = {
        "present": not missing,
        "usable": not missing and not (found.unknown_words and strict),
        "kind": table.kind,
        "rows": rows,
    }
    if table.kind == "classes":
        states = zip(table.table["concept"].to_pylist(), table.table["state"].to_pylist(), strict=True)
        facts["concepts"] = {concept: state for concept, state in states if concept is not None}
    return facts, faults


def _said(found: RowsRead) -> list[str]:
    said = list(found.table.warnings)
    if found.out_of_image:
        said.append(f"{found.out_of_image} places lie outside of the image")
    if found.invalid:
        said.append(f"{found.invalid} rows have no extent or run backwards")
    return said


def _lacks_its_file(payload: CasePayload, name: str, annotation: AnyAnnotation) -> bool:
    """Whether an annotation that stands in a file has none; outlines on images are label layers and judged as such."""
    if (
        annotation.unread is not None
        or annotation.kind in ("class-folder", "mesh-labels")
        or (annotation.kind == "contours" and not payload.slides)
    ):
        return False
    return not payload.case.others.get(f"annotation {name}")


def _evidence(error: CaseError) -> str:
    return f"{error.problem} ({'; '.join(f'{name}: {value}' for name, value in error.details.items())})"


def _table_facts(tables: Mapping[str, Table]) -> dict[str, Any]:
    return {name: {"columns": len(table.schema), "format": table.format} for name, table in tables.items()}
