"""Contact sheets: the cases of an entry in one small picture, for the UI and the report; and its histograms."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from medshard.converters.volume import Volume
from medshard.pipelines.reporting.previews.cases import ShownCase, ShownCases, cases_to_show
from medshard.pipelines.reporting.previews.colours import CONCEPT_COLOURS
from medshard.pipelines.reporting.previews.panels import Size
from medshard.pipelines.reporting.previews.sheet import sheet_png
from medshard.pipelines.reporting.previews.views import shown_cases
from medshard.registry.store.objects import Store

__all__ = ["CONCEPT_COLOURS", "contact_sheet", "draw_sheet", "histogram_png"]

TILE: Size = (480, 190)
# A sheet that is too large when everything on it is small shows fewer cases.
FEWER = (1.0, 0.5, 0.25)


def contact_sheet(
    store: Store,
    entry_id: str,
    *,
    stage: Literal["volumes", "shards"] = "volumes",
    plan: str | None = None,
    most_cases: int = 12,
    tile: Size = TILE,
    most_bytes: int = 100_000,
) -> bytes:
    """PNG of the cases of an entry, each family as docs/previews.md says, with a legend of the classes.

    stage: `volumes` shows them as converted, `shards` as they went into the shards of `plan`. Of more than `most_cases`
    cases, evenly spaced ones are taken. tile: largest width and height of one image's slices in pixels; it shrinks, as
    do the number of greys and of cases, until the file has at most `most_bytes`. Equal stores give equal bytes.
    Raises StoreError[stage.not_built].
    """
    png = b""
    for share in FEWER:
        most = max(1, round(most_cases * share))
        found = cases_to_show(store, entry_id, stage=stage, plan=plan or "default", most_cases=most)
        png = _drawn(found, min(most, found.total), tile, most_bytes)
        if len(png) <= most_bytes or found.total <= 1:
            break
    return png


def draw_sheet(volumes: Iterable[Volume], *, tile: Size = TILE, most_bytes: int = 100_000, note: str = "") -> bytes:
    """PNG of volumes in canonical orientation, as `contact_sheet` describes it. note: printed before the convention."""
    shown = shown_cases(ShownCase(volume=volume) for volume in volumes)
    return sheet_png(shown, tile=tile, most_bytes=most_bytes, note=note)


def _drawn(found: ShownCases, shown: int, tile: Size, most_bytes: int) -> bytes:
    note = f"{shown} of {found.total} cases, evenly spaced. " if found.total > shown else ""
    return sheet_png(shown_cases(found.cases), tile=tile, most_bytes=most_bytes, note=note)


def histogram_png(summary: Mapping[str, Any], cases: Mapping[str, Mapping[str, Any]] | None = None) -> bytes:
    """PNG of an entry's intensities per modality and of its voxel spacings.

    summary: what `merge_fingerprints` returns; its foreground percentiles are marked. cases: case -> facts of
    `fingerprint_volume`; each gives a curve and its spacing a point. Without them only the summary's ranges are drawn.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second, and a sheet does not need it)

    modalities = list(summary["modalities"])
    figure = Figure(figsize=(3.3 * (len(modalities) + 1), 2.7), dpi=80, layout="constrained")
    panels = figure.subplots(1, len(modalities) + 1, squeeze=False)[0]
    images = [image for facts in (cases or {}).values() for _, image in sorted(facts["images"].items())]
    for panel, modality in zip(panels, modalities, strict=False):
        _draw_intensities(
            panel, modality, [i for i in images if i["modality"] == modality], summary["foreground"][modality]
        )
    _draw_spacings(panels[-1], [image for image in images if image["trusted_geometry"]], summary["images"])
    stream = io.BytesIO()
    # Without the name and version of the software that drew it, the picture depends on the numbers alone.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_intensities(
    panel: Any, modality: str, images: Sequence[Mapping[str, Any]], foreground: Mapping[str, Any] | None
) -> None:
    known = [image["intensity"] for image in images if image["intensity"] is not None]
    for intensity in known:
        histogram = intensity["histogram"]
        shares = np.array(histogram["counts"], float) / max(1, sum(histogram["counts"]))
        edges = np.linspace(histogram["low"], histogram["high"], len(shares) + 1)
        panel.stairs(np.where(shares > 0, shares, np.nan), edges, linewidth=0.9, baseline=None)
    units = sorted({image["unit"] for image in images})
    if foreground is not None:
        for name in ("p0_5", "p50", "p99_5"):
            panel.axvline(foreground[name], color="0.4", linewidth=0.7, linestyle=":" if name != "p50" else "--")
        panel.set_xlabel(f"{', '.join(units)}; lines: 0.5, 50, 99.5 % of {foreground['source']}", fontsize=8)
    if known:
        panel.set_yscale("log")
        panel.set_ylabel("share of voxels", fontsize=8)
    panel.set_title(f"{modality} ({len(images)})" if images else modality, fontsize=9)
    panel.tick_params(labelsize=8)


def _draw_spacings(panel: Any, images: Sequence[Mapping[str, Any]], grids: Mapping[str, Mapping[str, Any]]) -> None:
    for image in images:
        panel.plot([0, 1, 2], image["spacing_mm"], marker="o", markersize=3, linewidth=0.5, color="tab:blue", alpha=0.6)
    for grid in grids.values():
        if grid["spacing_mm"] is not None:
            spacing = grid["spacing_mm"]
            panel.vlines([0, 1, 2], spacing["minimum"], spacing["maximum"], color="0.6", linewidth=1.0)
            panel.plot([0, 1, 2], spacing["median"], linestyle="", marker="_", markersize=14, color="black")
    panel.set_xticks([0, 1, 2], ["z", "y", "x"])
    panel.set_xlim(-0.5, 2.5)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("mm", fontsize=8)
    panel.set_title("voxel spacing; bars: medians", fontsize=9)
    panel.tick_params(labelsize=8)
