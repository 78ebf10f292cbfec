"""What the UI shows of a materialisation: a few numbers under the same names in every stage, tables and one picture.

Numbers become plots over time, so their names are few and stay. What grows with the number of cases stays in the
store: the event log is never pruned.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import dagster as dg

from medshard.pipelines.stages.stage import Context, StageResult
from medshard.registry.acquisition.journal import read_journal
from medshard.registry.store.manifests import head_path, read_manifest, require_head
from medshard.registry.store.objects import Store, write_atomically
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import Purpose

MOST_PICTURE_BYTES = 100_000
EXCLUDED_SHOWN = 50
WARNINGS_SHOWN = 20
MB = 1e6

Metadata = dict[str, Any]


def stage_metadata(context: Context, result: StageResult) -> Metadata:
    """Metadata of one materialisation of one stage.

    Every stage: bytes (of what belongs to it now), seconds, mb_per_s (only where something was done), state, manifest,
    head; every stage but `raw`, whose records are sources: cases_in, cases_ok, cases_excluded, cases_done_now, and
    `excluded`, the reasons. Each stage adds its own: see `STAGE_FACTS`.
    """
    return {
        **_counts(result),
        "bytes": result.bytes_out,
        "seconds": round(result.seconds, 3),
        **(
            {"mb_per_s": round(result.bytes_out / MB / result.seconds, 3)} if result.done and result.seconds > 0 else {}
        ),
        "state": result.state,
        **_excluded(result.excluded),
        **_warnings(result.manifest.good),
        **STAGE_FACTS[result.stage](context, result),
        "manifest": dg.MetadataValue.path(context.store.path(result.head.manifest)),
        "head": dg.MetadataValue.path(head_path(context.store, result.entry, result.stage, result.plan)),
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, most: int | None = None) -> str:
    """A Markdown table of at most `most` rows, and a line that says how many there are when that is not all."""
    shown = rows if most is None else rows[:most]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in shown]
    if len(shown) < len(rows):
        lines += ["", f"{len(shown)} of {len(rows)} rows."]
    return "\n".join(lines)


def picture(png: bytes, *, caption: str) -> dg.MarkdownMetadataValue:
    """A picture inside the metadata, for there is no other way to show one in the UI."""
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _counts(result: StageResult) -> Metadata:
    if result.stage == "raw":
        return {"sources": len(result.manifest.records), "sources_done_now": result.done}
    return {
        "cases_in": len(result.manifest.records),
        "cases_ok": len(result.manifest.good),
        "cases_excluded": len(result.excluded),
        "cases_done_now": result.done,
    }


def _excluded(records: Iterable[CaseRecord]) -> Metadata:
    rows = [
        (record.case, str((record.error or {}).get("code", "")), str((record.error or {}).get("problem", "")))
        for record in records
    ]
    table = markdown_table(("case", "code", "reason"), rows, most=EXCLUDED_SHOWN)
    return {"excluded": dg.MetadataValue.md(table)} if rows else {}


def _warnings(records: Iterable[CaseRecord]) -> Metadata:
    rows = [(record.case, warning) for record in records for warning in record.warnings]
    table = markdown_table(("case", "warning"), rows, most=WARNINGS_SHOWN)
    return {"warnings": dg.MetadataValue.md(table)} if rows else {}


def _raw_facts(context: Context, result: StageResult) -> Metadata:
    rows = [
        (record.case, record.facts["files"], record.output.size if record.output else 0, _archives(record))
        for record in result.manifest.records
    ]
    return {
        "files": result.details["files"],
        "bytes": result.details["bytes"],
        "transferred_bytes": result.details["transferred"],
        **_repaired(result),
        "acquired": dg.MetadataValue.md(_acquired(context, result)),
        "manifest": dg.MetadataValue.path(context.store.path(result.head.attachments["files"])),
        "contents": dg.MetadataValue.md(markdown_table(("source", "files", "bytes", "archives"), rows)),
        "folder": dg.MetadataValue.path(_folder(context.store, result.manifest.good)),
    }


def _repaired(result: StageResult) -> Metadata:
    mended = result.details["repaired"]
    more = f" and {len(mended) - EXCLUDED_SHOWN} more" if len(mended) > EXCLUDED_SHOWN else ""
    return {"repaired": ", ".join(mended[:EXCLUDED_SHOWN]) + more} if mended else {}


def _acquired(context: Context, result: StageResult) -> str:
    """When, from where and how fast each part came: what its journal keeps."""
    journals = [
        (record.case, read_journal(context.store, record.entry, record.key)) for record in result.manifest.records
    ]
    rows = [
        (case, found.when, found.place, found.transferred, f"{found.transferred / 1e6 / max(found.seconds, 1e-9):.1f}")
        for case, found in journals
        if found is not None
    ]
    return markdown_table(("part", "when", "from", "bytes transferred", "MB/s"), rows)


def _cases_facts(context: Context, result: StageResult) -> Metadata:
    counts = {purpose: sum(record.fit_for(purpose.value) for record in result.manifest.records) for purpose in Purpose}
    unfit = [
        (record.case, fault["code"], fault["reason"], ", ".join(fault["against"]))
        for record in result.manifest.good
        for fault in record.facts["faults"]
    ]
    limits = markdown_table(("case", "code", "reason", "not for"), unfit, most=EXCLUDED_SHOWN)
    return {
        **{f"fit_{purpose.value.replace('-', '_')}": count for purpose, count in counts.items()},
        "patients": len({record.facts["patient"] for record in result.manifest.good}),
        "dagster/row_count": len(result.manifest.records),
        "table": dg.MetadataValue.path(context.store.path(result.head.attachments["table"])),
        "unmatched_files": result.details["unmatched_files"],
        "text_suspected_in_pixels": sum(_suspects_text(record) for record in result.manifest.good),
        **({"limits": dg.MetadataValue.md(limits)} if unfit else {}),
        **_repaired_grids(result),
    }


def _suspects_text(record: CaseRecord) -> bool:
    return any(image.get("burned_in") for image in record.facts["images"].values())


def _repaired_grids(result: StageResult) -> Metadata:
    """How many masks lay on their image only after a repair, by verdict."""
    kinds = Counter(
        label["verdict"]
        for record in result.manifest.good
        for label in record.facts["labels"].values()
        if label.get("repair") and label.get("verdict")
    )
    return {f"masks_repaired_{kind}": count for kind, count in sorted(kinds.items())}


def _volumes_facts(context: Context, result: StageResult) -> Metadata:
    return {
        "bytes_in_memory": sum(record.facts["bytes_in_memory"] for record in result.manifest.good),
        "folder": dg.MetadataValue.path(_folder(context.store, result.manifest.good)),
        **_contact_sheet(context, result),
    }


def _fingerprint_facts(context: Context, result: StageResult) -> Metadata:
    summary = result.details["summary"]
    classes = [
        (layer, concept, facts["cases"], facts["voxels"], facts["volume_ml"], facts["components"])
        for layer, totals in summary["labels"].items()
        for concept, facts in totals["classes"].items()
    ]
    header = ("layer", "concept", "cases", "voxels", "ml", "components")
    spacings = [
        (f"{name}, {statistic}", facts["spacing_mm"][statistic])
        for name, facts in summary["images"].items()
        for statistic in ("minimum", "median", "maximum")
        if facts["spacing_mm"]
    ]
    plans = {
        name.removeprefix("plan-"): ref for name, ref in result.head.attachments.items() if name.startswith("plan-")
    }
    documents = {name: json.loads(context.store.read_bytes(ref)) for name, ref in plans.items()}
    return {
        "spacing_mm": dg.MetadataValue.md(_axis_table(spacings)),
        **({"classes": dg.MetadataValue.md(markdown_table(header, classes))} if classes else {}),
        **_figures(context, result),
        "plans": dg.MetadataValue.json(documents),
        "summary": dg.MetadataValue.path(context.store.path(result.head.attachments["summary"])),
    }


def _shards_facts(context: Context, result: StageResult) -> Metadata:
    plan = result.details["plan"]
    before = _medians(
        record.facts["spacing_before_mm"] for record in result.manifest.good if record.facts["spacing_before_mm"]
    )
    after = plan["spacing_mm"] or before
    ratios = _volume_ratios(result.manifest.good)
    header = ("layer/concept", "cases", "smallest", "median", "largest")
    index = context.store.path(result.head.attachments["index"])
    return {
        "shards": result.details["shards"],
        "source_bytes": _source_bytes(context.store, result.entry),
        "spacing_mm": dg.MetadataValue.md(_axis_table([("before (median)", before), ("after", after)])),
        **({"volume_ratios": dg.MetadataValue.md(markdown_table(header, ratios))} if ratios else {}),
        **_contact_sheet(context, result),
        "plan": dg.MetadataValue.json(plan),
        "plan_digest": result.manifest.plan or "",
        "index": dg.MetadataValue.path(index),
        "table": dg.MetadataValue.path(context.store.path(result.head.attachments["table"])),
    }


STAGE_FACTS: Mapping[str, Callable[[Context, StageResult], Metadata]] = {
    "raw": _raw_facts,
    "cases": _cases_facts,
    "volumes": _volumes_facts,
    "fingerprint": _fingerprint_facts,
    "shards": _shards_facts,
}


def _contact_sheet(context: Context, result: StageResult) -> Metadata:
    from medshard.pipelines.reporting.montage import contact_sheet  # noqa: PLC0415 - brings Pillow and zarr

    if not result.manifest.good:
        return {}
    stage: Literal["volumes", "shards"] = "shards" if result.stage == "shards" else "volumes"
    return _drawn(
        context,
        result,
        "contact_sheet",
        lambda: contact_sheet(context.store, result.entry, stage=stage, plan=result.plan),
    )


def _figures(context: Context, result: StageResult) -> Metadata:
    from medshard.pipelines.reporting.fingerprints import (  # noqa: PLC0415 - brings matplotlib
        fingerprint_figures,
        sketch_of_entry,
    )

    figures = {figure.name: figure.png for figure in fingerprint_figures(sketch_of_entry(context.store, result.entry))}
    drawn: Metadata = {}
    for name, png in figures.items():
        drawn |= _drawn(context, result, name, partial(bytes, png))
    return drawn


def _drawn(context: Context, result: StageResult, name: str, draw: Callable[[], bytes]) -> Metadata:
    """A picture of what a manifest says, drawn once for each manifest and kept among the reports."""
    file = context.store.root / "reports" / result.entry / f"{name}-{result.head.data_version[:16]}.png"
    if not file.is_file():
        write_atomically(file, draw())
    png = file.read_bytes()
    shown = {name: picture(png, caption=f"{result.entry} {result.stage}")} if len(png) <= MOST_PICTURE_BYTES else {}
    return {**shown, f"{name}_file": dg.MetadataValue.path(file)}


def _volume_ratios(records: Iterable[CaseRecord]) -> list[tuple[str, int, str, str, str]]:
    ratios: dict[str, list[float]] = {}
    for record in records:
        for concept, ratio in record.facts["volume_ratio"].items():
            ratios.setdefault(concept, []).append(ratio)
    return [
        (concept, len(values), *(f"{number:.3f}" for number in (min(values), median(values), max(values))))  # type: ignore[misc]
        for concept, values in sorted(ratios.items())
    ]


def _medians(triples: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Median for each axis, z, y, x; empty when there is nothing to take it of."""
    return tuple(median(axis) for axis in zip(*triples, strict=True))


def _axis_table(rows: Iterable[tuple[str, Sequence[float]]]) -> str:
    return markdown_table(
        ("mm", "z", "y", "x"), [(name, *(f"{step:.3g}" for step in steps)) for name, steps in rows if steps]
    )


def _source_bytes(store: Store, entry_id: str) -> int:
    records = read_manifest(store, require_head(store, entry_id, "raw").manifest).records
    return sum(record.output.size for record in records if record.output is not None)


def _folder(store: Store, records: Sequence[CaseRecord]) -> Path:
    """Where the first record's output lies: a place to start looking at files."""
    first = next((record.output for record in records if record.output is not None), None)
    return store.path(first) if first is not None else store.root


def _archives(record: CaseRecord) -> str:
    return ", ".join(f"{archive['name']} sha256 {archive['sha256'][:16]}" for archive in record.facts["archives"])


def _cell(value: Any) -> str:
    """One cell: no line breaks, no bars, and nothing that counts as HTML."""
    text = "" if value is None else str(value)
    for mark, replacement in (("\n", " "), ("|", "\\|"), ("<", "&lt;")):
        text = text.replace(mark, replacement)
    return text
