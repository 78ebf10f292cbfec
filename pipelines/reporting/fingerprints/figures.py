"""The figures of a fingerprint, drawn from its sketch: of one entry, or of all entries of a selection together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.fingerprint import Facts, merge_sketches, summary_of
from medshard.converters.fingerprint.sketch import BINS, MARGIN
from medshard.converters.fingerprint.volume_facts import HU_EDGES
from medshard.pipelines.reporting.fingerprints.ranked import draw_ranked, head_and_tail, height_of
from medshard.pipelines.reporting.fingerprints.style import (
    COLOURS,
    GREY,
    INK,
    SMALL,
    named_colours,
    new_figure,
    plain,
    plain_numbers,
    png_of,
    titled,
)

Sketch = dict[str, Any]

MOST_PANELS = 9
PANELS_A_ROW = 3
# Shares of voxels below this are drawn at the lower edge.
LEAST_SHARE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Figure:
    """name: such as `spacings`. caption: one sentence or two."""

    name: str
    caption: str
    png: bytes


def fingerprint_figures(sketch: Sketch) -> list[Figure]:
    """Those that the sketch has something for, in the order of a page. Equal sketches give equal bytes."""
    drawn = (
        _intensities(sketch),
        _spacings(sketch),
        _shapes(sketch),
        _classes(summary_of(sketch)["classes"]),
        _ratios(sketch),
        _entries(sketch),
    )
    return [figure for figure in drawn if figure is not None]


def _intensities(sketch: Sketch) -> Figure | None:
    groups = [
        (modality, unit, found)
        for modality, units in sketch["intensities"].items()
        for unit, found in units.items()
        if "inside" in found or "outside" in found
    ]
    groups.sort(key=lambda group: (-group[2]["images"], group[:2]))
    shown = groups[:MOST_PANELS]
    if not shown:
        return None
    columns = min(PANELS_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(4.4, 3.2 * columns), 2.5 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (modality, unit, found) in zip(panels, shown, strict=False):
        _draw_histogram(panel, f"{modality or 'unstated'}, {found['images']} images", unit, found)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    panels[0].legend(fontsize=SMALL, frameon=False, loc="best")
    more = (
        f" Of {len(groups)} kinds of image the {len(shown)} most frequent are shown."
        if len(groups) > len(shown)
        else ""
    )
    return Figure(
        name="intensities",
        caption="Intensities inside the foreground (labelled voxels; without labels those above -500 HU, or other than "
        f"0) and outside of it; every image counts alike.{more}",
        png=png_of(figure),
    )


def _draw_histogram(axes: Any, title: str, unit: str, found: Mapping[str, Any]) -> None:
    in_hu = unit == "HU"
    edges = np.linspace(*HU_EDGES, BINS + 1) if in_hu else np.linspace(-MARGIN, 1 + MARGIN, BINS + 1)
    for name, colour in (("outside", COLOURS[1]), ("inside", COLOURS[0])):
        if name not in found:
            continue
        counts = np.array(found[name], np.float64)
        shares = counts / max(counts.sum(), 1)
        heights = np.maximum(shares, LEAST_SHARE)
        if name == "inside":
            axes.stairs(heights, edges, baseline=LEAST_SHARE, fill=True, color=colour, alpha=0.25, zorder=2)
        axes.stairs(heights, edges, baseline=None, color=colour, linewidth=1.4, label=name, zorder=3)
    plain(axes)
    axes.set_yscale("log")
    axes.set_ylim(LEAST_SHARE, 1)
    low, high = _occupied(found, edges) if in_hu else (edges[0], edges[-1])
    axes.set_xlim(low, high)
    if in_hu:
        titled(axes, title, "HU", "share of voxels")
    else:
        axes.set_xticks([0, 0.5, 1], ["0.5th", "middle", "99.5th"])
        titled(axes, title, f"between the image's percentiles ({unit})", "share of voxels")


def _occupied(found: Mapping[str, Any], edges: NDArray[np.float64]) -> tuple[float, float]:
    """Between which edges all bins lie that are drawn above the lower edge."""
    shares = [np.array(found[name]) / max(sum(found[name]), 1) for name in ("inside", "outside") if name in found]
    there = np.flatnonzero((np.array(shares) > LEAST_SHARE).any(axis=0))
    return float(edges[max(0, there[0] - 1)]), float(edges[min(BINS, there[-1] + 2)])


def _spacings(sketch: Sketch) -> Figure | None:
    return _scatter(
        sketch,
        "spacing_mm",
        lambda values: (np.sqrt(np.prod(np.sort(values, axis=1)[:, :2], axis=1)), values.max(axis=1)),
        ("Voxel spacing", "in plane: mean of the two smaller steps, mm", "between slices: largest step, mm"),
        Figure(
            name="spacings",
            caption="Voxel spacings of the images whose geometry is trusted: in plane against between slices. "
            "On the line voxels are cubes; a dot is larger where more images fall on it.",
            png=b"",
        ),
    )


def _shapes(sketch: Sketch) -> Figure | None:
    return _scatter(
        sketch,
        "shape",
        lambda values: (np.sqrt(values[:, 1] * values[:, 2]), values[:, 0]),
        ("Shape", "in plane: mean of y and x, voxels", "slices along z"),
        Figure(
            name="shapes",
            caption="Sizes of the images in voxels: in plane against the number of slices (1 for 2-D images). "
            "On the line they are cubes; a dot is larger where more images fall on it.",
            png=b"",
        ),
    )


def _scatter(
    sketch: Sketch, what: str, place: Callable[[Any], tuple[Any, Any]], titles: tuple[str, str, str], figure: Figure
) -> Figure | None:
    by_modality = _tallies(sketch, what)
    if not by_modality:
        return None
    names = sorted(by_modality, key=lambda name: (-by_modality[name].total, name))
    colours = named_colours(names)
    images = sum(tally.total for tally in by_modality.values())
    drawing = new_figure(5.2, 4.4)
    axes = drawing.subplots()
    lowest, highest, labelled = np.inf, -np.inf, False
    for name in names:  # the most frequent first, so that what is rare lies above
        tally = by_modality[name]
        x, y = place(np.maximum(tally.values, 1e-6))
        lowest, highest = min(lowest, x.min(), y.min()), max(highest, x.max(), y.max())
        areas = 12 + 120 * np.sqrt(tally.weights[:, 0] / images)
        label = f"{name or 'unstated'} ({tally.total})" if colours[name] != GREY else "others"
        hidden = label == "others" and labelled
        labelled |= label == "others"
        axes.scatter(
            x,
            y,
            s=areas,
            color=colours[name],
            alpha=0.55,
            linewidths=0.5,
            edgecolors="white",
            label=None if hidden else label,
            zorder=3,
        )
    low, high = lowest / 1.4, highest * 1.4
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=1)
    plain(axes)
    for axis, set_scale, set_limits in (
        (axes.xaxis, axes.set_xscale, axes.set_xlim),
        (axes.yaxis, axes.set_yscale, axes.set_ylim),
    ):
        set_scale("log")
        set_limits(low, high)
        plain_numbers(axis, low, high)
    titled(axes, *titles)
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(handles, labels, fontsize=SMALL, frameon=False, loc="best", labelcolor=INK)
    for handle in legend.legend_handles:
        handle.set_sizes([30])
    return Figure(name=figure.name, caption=figure.caption, png=png_of(drawing))


def _tallies(sketch: Sketch, what: str) -> dict[str, Any]:
    found: dict[str, list[Sketch]] = {}
    for by_modality in sketch["grids"].values():
        for modality, grid in by_modality.items():
            if what in grid:
                found.setdefault(modality, []).append({what: grid[what]})
    return {modality: merge_sketches(parts)[what] for modality, parts in found.items()}


def _classes(totals: Facts) -> Figure | None:
    classes = {name: facts for name, facts in totals.items() if facts["voxels"]}
    if not classes:
        return None
    voxels = head_and_tail([(name, 100 * facts["share_of_voxels"]) for name, facts in classes.items()])
    cases = head_and_tail([(name, 100 * facts["share_of_cases"]) for name, facts in classes.items()])
    figure = new_figure(9.6, height_of(len(voxels)))
    left, right = figure.subplots(1, 2)
    draw_ranked(left, voxels, logarithmic=True)
    plain_numbers(left.xaxis, *left.get_xlim())
    titled(
        left,
        f"{len(classes)} {'class' if len(classes) == 1 else 'classes'} by voxels",
        "share of all labelled voxels, %",
    )
    draw_ranked(right, cases, logarithmic=False, colour=COLOURS[3])
    titled(right, "By cases", "share of the cases in which it was looked for, %")
    empty = len(totals) - len(classes)
    note = f" {empty} further classes have no voxel." if empty else ""
    return Figure(
        name="classes",
        caption=f"How frequent each class is, by voxels (logarithmic) and by cases, each in its own order.{note}",
        png=png_of(figure),
    )


def _ratios(sketch: Sketch) -> Figure | None:
    tallies = [{"ratio": layer["ratio"]} for layer in sketch["labels"].values() if "ratio" in layer]
    tally = merge_sketches(tallies)["ratio"] if tallies else None
    if tally is None or tally.values.max() <= 1:
        return None
    values, weights = tally.values[:, 0], tally.weights[:, 0]
    high = max(float(values.max()) * 1.01, 10.0)
    edges = np.geomspace(1.0, high, 33)
    counts, _ = np.histogram(np.clip(values, 1.0, high), bins=edges, weights=weights)
    figure = new_figure(5.2, 2.8)
    axes = figure.subplots()
    axes.stairs(counts, edges, fill=True, color=COLOURS[0], alpha=0.75, zorder=2)
    axes.axvline(tally.median(), color=COLOURS[3], linewidth=1.4, zorder=3)
    axes.annotate(
        f" median {tally.median():.3g}",
        (tally.median(), 1.0),
        xycoords=("data", "axes fraction"),
        fontsize=SMALL,
        color=COLOURS[3],
        va="bottom",
    )
    plain(axes)
    axes.set_xscale("log")
    axes.set_xlim(1.0, high)
    plain_numbers(axes.xaxis, 1.0, high)
    titled(axes, "", "voxels of the largest over those of the smallest class in a case", "label layers of cases")
    return Figure(
        name="ratios",
        caption="How unequal the classes of a case are: the largest by the smallest; 1 where only one is there.",
        png=png_of(figure),
    )


def _entries(sketch: Sketch) -> Figure | None:
    if len(sketch["entries"]) < 2:
        return None
    rows = head_and_tail([(name, float(cases)) for name, cases in sketch["entries"].items()])
    figure = new_figure(6.4, height_of(len(rows)))
    axes = figure.subplots()
    draw_ranked(axes, rows, logarithmic=True, colour=COLOURS[2])
    plain_numbers(axes.xaxis, *axes.get_xlim())
    titled(axes, f"{sketch['cases']:,} cases of {len(sketch['entries'])} entries", "cases")
    return Figure(name="entries", caption="Cases of each entry.", png=png_of(figure))
