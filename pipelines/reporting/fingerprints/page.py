"""A fingerprint as one HTML page, or as a section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from medshard.converters.fingerprint import Facts, summary_of
from medshard.pipelines.reporting.fingerprints.figures import fingerprint_figures
from medshard.pipelines.reporting.report_html import Html, element, figure, page, table

MOST_CLASSES = 300


def fingerprint_page(title: str, sketch: dict[str, Any]) -> str:
    """A document that asks for no other file."""
    summary = summary_of(sketch)
    lead = f"{summary['cases']:,} cases of {len(summary['entries'])} entries."
    parts = [element("h1", title), element("p", lead), *fingerprint_section(sketch), *_tables(summary)]
    return page(title, parts)


def fingerprint_section(sketch: dict[str, Any]) -> Iterator[Html]:
    """The figures, each with what it shows."""
    for drawn in fingerprint_figures(sketch):
        yield figure(drawn.png, drawn.caption)


def _tables(summary: Facts) -> Iterator[Html]:
    yield element("h2", "Images")
    header = ("modality", "images", "spacing, mm", "from", "to", "voxels", "from", "to")
    yield table(header, [_grid_row(name, grid) for name, grid in summary["grids"].items()], caption="Medians; z, y, x.")
    known = {name: facts for name, facts in summary["foreground"].items() if facts}
    if known:
        yield element("h2", "Foreground")
        yield table(
            ("modality", "of", "images", "weight", "mean", "std", "0.5 %", "50 %", "99.5 %"),
            [row for name, facts in known.items() for row in _foreground_rows(name, facts)],
        )
    if summary["classes"]:
        yield element("h2", "Classes")
        yield _class_table(summary)


def _grid_row(name: str, grid: Facts) -> Sequence[Any]:
    return (
        name or "unstated",
        grid["cases"],
        *(steps(grid["spacing_mm"], part) for part in ("median", "minimum", "maximum")),
        *(steps(grid["shape"], part) for part in ("median", "minimum", "maximum")),
    )


def steps(per_axis: Facts | None, part: str) -> str | None:
    """Three numbers for people, such as `3 x 0.5 x 0.5`."""
    return " x ".join(f"{step:.4g}" for step in per_axis[part]) if per_axis else None


def _foreground_rows(name: str, facts: Facts) -> Iterator[Sequence[Any]]:
    for weight, numbers in (("by voxels", facts), ("by images", facts["by_case"])):
        values = (f"{numbers[key]:.5g}" for key in ("mean", "std", "p0_5", "p50", "p99_5"))
        yield (name or "unstated", facts["source"], facts["cases"], weight, *values)


def _class_table(summary: Facts) -> Html:
    ranked = sorted(summary["classes"].items(), key=lambda item: (-item[1]["voxels"], item[0]))
    rows = [
        (
            concept,
            facts["cases"],
            facts["examined"],
            facts["voxels"],
            f"{100 * facts['share_of_voxels']:.3g}",
            f"{facts['volume_ml']:.4g}",
            facts["components"],
            "; ".join(f"{m} {n['mean']:.4g} ± {n['std']:.3g}" for m, n in facts["intensity"].items()) or None,
        )
        for concept, facts in ranked[:MOST_CLASSES]
    ]
    header = ("class", "in cases", "of", "voxels", "% of voxels", "ml", "components", "intensity inside")
    left = f" The first {MOST_CLASSES} of {len(ranked)}." if len(ranked) > MOST_CLASSES else ""
    return table(header, rows, caption=f"All layers together.{left}")
