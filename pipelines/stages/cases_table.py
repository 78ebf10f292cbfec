"""The cases table: one row per case, scalar columns only, so that Parquet and Great Expectations can hold it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.subject import SubjectFacts
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import Purpose

SUBJECT_COLUMNS = tuple(field.name for field in fields(SubjectFacts))

COLUMNS = pa.schema(
    [
        ("case", pa.string()),
        ("patient", pa.string()),
        ("subject", pa.string()),
        ("split", pa.string()),
        ("synthetic", pa.bool_()),
        ("sex", pa.string()),
        ("age_band", pa.string()),
        ("site", pa.string()),
        ("manufacturer", pa.string()),
        ("scanner", pa.string()),
        ("field_strength_t", pa.float64()),
        ("modality", pa.string()),
        ("group", pa.string()),
        ("images", pa.int32()),
        ("labels_usable", pa.int32()),
        ("meshes", pa.int32()),
        ("files", pa.int32()),
        ("image_format", pa.string()),
        ("dtype", pa.string()),
        ("channels", pa.int32()),
        *((f"shape_{axis}", pa.int32()) for axis in "zyx"),
        *((f"spacing_{axis}_mm", pa.float64()) for axis in "zyx"),
        ("trusted_geometry", pa.bool_()),
        ("burned_in_text", pa.string()),
        ("foreground_voxels", pa.int64()),
        *((f"fit_{purpose.value.replace('-', '_')}", pa.bool_()) for purpose in Purpose),
        ("excluded", pa.bool_()),
        ("reasons", pa.string()),
        ("warnings", pa.int32()),
    ]
)


def cases_table(records: Iterable[CaseRecord]) -> bytes:
    """Parquet of the records of the `cases` stage; numbers of an image are those of the case's first one."""
    rows = [table_row(record) for record in sorted(records, key=lambda record: record.case)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), sink, compression="zstd")
    return sink.getvalue()


def table_row(record: CaseRecord) -> dict[str, Any]:
    facts = record.facts
    image: dict[str, Any] = next(iter(facts.get("images", {}).values()), {})
    shape = image.get("shape", (None,) * 3)
    spacing = image.get("spacing_mm", (None,) * 3)
    labels = facts.get("labels", {})
    row = {
        "case": record.case,
        "patient": facts.get("patient"),
        "subject": facts.get("subject"),
        "split": facts.get("split"),
        "synthetic": facts.get("synthetic", False),
        **{name: facts.get("person", {}).get(name) for name in SUBJECT_COLUMNS},
        "modality": facts.get("modality"),
        "group": facts.get("group"),
        "images": len(facts.get("images", {})),
        "labels_usable": sum(bool(label["usable"]) for label in labels.values()),
        "meshes": len(facts.get("meshes", {})),
        "files": len(record.sources),
        "image_format": image.get("format"),
        "dtype": image.get("dtype"),
        "channels": image.get("channels"),
        "trusted_geometry": image.get("trusted_geometry"),
        "burned_in_text": _burned_in(facts),
        "foreground_voxels": _foreground(labels),
        "excluded": record.error is not None,
        "reasons": reasons(record),
        "warnings": len(record.warnings),
    }
    row |= {f"shape_{axis}": size for axis, size in zip("zyx", shape, strict=True)}
    row |= {f"spacing_{axis}_mm": step for axis, step in zip("zyx", spacing, strict=True)}
    return row | {f"fit_{purpose.value.replace('-', '_')}": record.fit_for(purpose.value) for purpose in Purpose}


def reasons(record: CaseRecord) -> str:
    """Why a case is excluded, for people; empty when nothing speaks against it."""
    if record.error is not None:
        return f"{record.error['code']}: {record.error['problem']}"
    return "; ".join(f"{fault['code']}: {fault['reason']}" for fault in record.facts.get("faults", []))


def _burned_in(facts: Mapping[str, Any]) -> str | None:
    """Why text is suspected in the pixels of an image of the case."""
    suspicions = (image.get("burned_in") for image in facts.get("images", {}).values())
    return next((suspicion for suspicion in suspicions if suspicion), None)


def _foreground(labels: dict[str, Any]) -> int:
    """Voxels that stand for something: neither background nor such as nobody judged."""
    found = 0
    for label in (label for label in labels.values() if label["usable"]):
        without = {"0", *map(str, label.get("ignore", ()))}
        found += sum(count for value, count in label.get("voxels", {}).items() if value not in without)
    return found
