"""The part of the report on a recipe: its split, its curves, its scores, and what the checkpoint was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medshard.pipelines.reporting.report_html import Html, details, digest, element, figure, join, table
from medshard.registry.lineage import CaseLineage, Lineage, SourceFile, trace
from medshard.registry.splits import PARTS, Split
from medshard.registry.store.manifests import Head, read_head, read_manifest
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord

SCORE_COLUMNS = ("dice", "surface_dice", "hd95_mm")
TRAININGS = ("pretrained", "finetuned")
SOURCE_COLUMNS = ("entry", "patient", "case", "part", "source file", "brought by", "licence", "SHA-256")
# A series of more files is folded away.
FEW_FILES = 8


def training_section(store: Store, recipe_id: str) -> Html | None:
    """What the store holds of a recipe; None when not even its split was made."""
    head = read_head(store, recipe_id, "split")
    if head is None:
        return None
    split = Split.from_bytes(store.read_bytes(head.attachments["split"]))
    return join(*_parts(store, recipe_id, split))


def checkpoint_path(store: Store, recipe_id: str) -> Path | None:
    """The weights of the recipe's fine-tuned network, or else of its pretrained encoder."""
    for stage in reversed(TRAININGS):
        head = read_head(store, recipe_id, stage)
        if head is not None:
            return store.path(head.attachments["checkpoint"]) / "checkpoint.pt"
    return None


def _parts(store: Store, recipe_id: str, split: Split) -> Iterator[Html]:
    yield element("h2", f"Training: {recipe_id}")
    heads = {stage: head for stage in (*TRAININGS, "evaluation") if (head := read_head(store, recipe_id, stage))}
    records = {stage: read_manifest(store, head.manifest).records[0] for stage, head in heads.items()}
    claim = next((str(record.facts["claim"]).strip() for record in records.values()), "")
    if claim:
        yield element("p", claim, kind="statement")
    yield element("h3", "Split: no patient is on two sides")
    rows = sorted(split.rows, key=lambda row: (PARTS.index(row.part), row.entry, row.case))
    yield table(
        ("part", "entry", "patient", "case", "component of the leakage graph"),
        [(row.part, row.entry, row.patient, row.case, row.component) for row in rows],
        caption=f"Split digest {split.digest[:12]}.",
    )
    trained = [stage for stage in TRAININGS if stage in heads]
    if trained:
        yield element("h3", "Trainings")
        yield _trainings([records[stage] for stage in trained], [heads[stage] for stage in trained])
        yield element("div", join(*(_curve(store, stage, heads[stage]) for stage in trained)), kind="row")
    if "evaluation" in heads:
        yield from _scores(store.path(heads["evaluation"].attachments["evaluation"]))
    checkpoint = checkpoint_path(store, recipe_id)
    if checkpoint is not None:
        yield from _lineage(trace(checkpoint, store))


def _trainings(records: Sequence[CaseRecord], heads: Sequence[Head]) -> Html:
    rows = []
    for record, head in zip(records, heads, strict=True):
        losses: Mapping[str, float] = record.facts["losses"]
        rows.append(
            (
                record.stage,
                record.facts["cases"],
                record.facts["left_out"],
                record.facts["step"],
                record.facts["parameters"],
                float(losses["first"]),
                float(losses["last"]),
                digest(str(record.facts["checkpoint_sha256"])),
                digest(str(record.facts["training_manifest"])),
                digest(head.data_version),
            )
        )
    header = (
        *("stage", "cases", "left out", "steps", "parameters", "loss, first tenth", "last tenth"),
        *("checkpoint", "training manifest", "data version"),
    )
    return table(header, rows)


def _curve(store: Store, stage: str, head: Head) -> Html:
    return figure((store.path(head.attachments["checkpoint"]) / "curve.png").read_bytes(), f"Loss of {stage}.")


def _scores(folder: Path) -> Iterator[Html]:
    document = json.loads((folder / "scores.json").read_bytes())
    yield element("h3", f"Scores (surface Dice at {document['surface_tolerance_mm']:g} mm)")
    columns = ("part", "entry", "case", "class", "outcome", *SCORE_COLUMNS, "voxels", "prediction_voxels")
    yield table(_titles(columns), [[case[name] for name in columns] for case in document["cases"]], caption="Per case")
    summary = ("part", "entry", "class", "cases", *SCORE_COLUMNS)
    caption = "Per data set: means over the cases where the score exists"
    yield table(_titles(summary), [[mean[name] for name in summary] for mean in document["means"]], caption=caption)
    pictures = [
        figure(file.read_bytes(), file.stem.replace("--", " / "))
        for file in sorted((folder / "overlays").glob("*.png"))
    ]
    yield element("div", join(*pictures), kind="row")


def _titles(columns: Sequence[str]) -> list[str]:
    shown = {"surface_dice": "surface Dice", "dice": "Dice", "hd95_mm": "HD95, mm", "prediction_voxels": "voxels found"}
    return [shown.get(name, name) for name in columns]


def _lineage(traced: Lineage) -> Iterator[Html]:
    yield element("h3", "What the checkpoint was made from")
    facts: list[tuple[str, Any]] = [
        ("checkpoint", element("code", str(traced.artefact.path))),
        ("SHA-256", element("code", traced.artefact.sha256)),
    ]
    yield table(("", ""), facts)
    licences = {
        name: snapshot["licence"]["id"] if snapshot["licence"] else "unknown"
        for lineage in _with_bases(traced)
        for name, snapshot in lineage.entries.items()
    }
    cases = traced.all_cases
    few = [case for case in cases if len(case.sources) <= FEW_FILES]
    yield table(SOURCE_COLUMNS, [_source_row(case, source, licences) for case in few for source in case.sources])
    for case in cases:
        if len(case.sources) > FEW_FILES:
            rows = [_source_row(case, source, licences) for source in case.sources]
            yield details(f"{len(rows)} more files of {case.entry}/{case.case}", table(SOURCE_COLUMNS, rows))


def _source_row(case: CaseLineage, source: SourceFile, licences: Mapping[str, str]) -> tuple[Any, ...]:
    from_archive = f", {source.archive['name']}" if source.archive else ""
    origin = source.origin + from_archive
    if source.made_from:
        origin += " from " + ", ".join(f"{made.path} (SHA-256 {made.sha256})" for made in source.made_from)
    sha256 = element("code", source.sha256)
    return case.entry, case.patient, case.case, case.part, source.path, origin, licences[case.entry], sha256


def _with_bases(traced: Lineage) -> Iterator[Lineage]:
    yield traced
    for base in traced.base:
        yield from _with_bases(base)
