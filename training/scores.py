"""The table of an evaluation: as JSON for programs, CSV for spreadsheets and Markdown for people."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from medshard.registry.splits import Part
from medshard.registry.store.digests import canonical_json
from medshard.training.metrics import ClassScore, mean_of

FORMAT_VERSION = 1
METRICS = ("dice", "surface_dice", "hd95_mm")
COLUMNS = (
    *("entry", "case", "patient", "part", "class", "outcome"),
    *METRICS,
    *("voxels", "prediction_voxels"),
)


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One class in one case."""

    entry: str
    case: str
    patient: str
    part: Part
    score: ClassScore

    def to_json(self) -> dict[str, Any]:
        score = asdict(self.score)
        score["class"] = score.pop("concept")
        return {"entry": self.entry, "case": self.case, "patient": self.patient, "part": self.part, **score}


def summarise(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """Means for each part, entry and class, over the cases where a score exists, and how many those are."""
    groups: dict[tuple[str, str, str], list[ScoreRow]] = {}
    for row in rows:
        groups.setdefault((row.part, row.entry, row.score.concept), []).append(row)
    return [
        {
            "part": part,
            "entry": entry,
            "class": concept,
            "cases": len(group),
            **{name: mean_of([getattr(row.score, name) for row in group]) for name in METRICS},
            **{f"{name}_cases": sum(getattr(row.score, name) is not None for row in group) for name in METRICS},
        }
        for (part, entry, concept), group in sorted(groups.items())
    ]


def write_scores(folder: Path, rows: Sequence[ScoreRow], header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write `scores.json`, `scores.csv` and `scores.md`. header: recipe, claim, digests and settings.

    Returns the means, as `summarise` gives them.
    """
    means = summarise(rows)
    cases = [row.to_json() for row in rows]
    document = {"format_version": FORMAT_VERSION, **header, "cases": cases, "means": means}
    (folder / "scores.json").write_bytes(canonical_json(document) + b"\n")
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(cases)
    (folder / "scores.md").write_text(_markdown(cases, means, header), encoding="utf-8")
    return means


def mean_over_classes(means: Sequence[Mapping[str, Any]], part: str) -> dict[str, float | None]:
    """One number per metric for a part: the mean of the means of its entries and classes."""
    chosen = [mean for mean in means if mean["part"] == part]
    return {name: _mean(mean[name] for mean in chosen) for name in METRICS}


def _mean(values: Any) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None


def _markdown(cases: Sequence[Mapping[str, Any]], means: Sequence[Mapping[str, Any]], header: Mapping[str, Any]) -> str:
    tolerance = header["surface_tolerance_mm"]
    lines = [
        f"# Scores of {header['recipe']}",
        "",
        str(header["claim"]).strip(),
        "",
        f"Surface Dice at {tolerance:g} mm. A dash: the score does not exist for this outcome.",
        "",
        *_table(cases, ("part", "entry", "case", "class", "outcome", *METRICS, "voxels", "prediction_voxels")),
        "",
        "Means over the cases where the score exists:",
        "",
        *_table(means, ("part", "entry", "class", "cases", *METRICS)),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    def cell(value: Any) -> str:
        if value is None:
            return "–"
        return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")

    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return head + ["| " + " | ".join(cell(row[column]) for column in columns) + " |" for row in rows]
