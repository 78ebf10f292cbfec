"""The bar chart of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS_COLOUR, RANDOM_COLOUR, CUT_COLOUR = "#0b6e69", "#8a97a6", "#d9dee4"


def draw(rows: Sequence[Mapping[str, Any]], ours: str, sizes: Sequence[int], target: Path) -> None:
    """A panel for each size of window: time as a multiple of ours, on one logarithmic axis from 1, fastest first."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import, and only for this)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(
        1,
        len(sizes),
        figsize=(4.6 * len(sizes), 0.8 + 0.34 * len(rows)),
        constrained_layout=True,
        squeeze=False,
        sharex=True,
    )
    for panel, size in zip(panels[0], sorted(sizes), strict=True):
        _panel(panel, rows, ours, size)
    swatches = [mpl.patches.Patch(color=colour) for colour in (OURS_COLOUR, RANDOM_COLOUR, CUT_COLOUR)]
    words = ["medshard", "random windows out of whole volumes", "weaker task: windows cut before, nothing else to see"]
    figure.legend(swatches, words, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(target, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _panel(panel: Any, rows: Sequence[Mapping[str, Any]], ours: str, size: int) -> None:
    ordered = sorted(rows, key=lambda row: row["times_ours"][str(size)], reverse=True)
    ratios = [row["times_ours"][str(size)] for row in ordered]
    colours = [
        OURS_COLOUR if row["name"] == ours else RANDOM_COLOUR if row["task"] == "random" else CUT_COLOUR
        for row in ordered
    ]
    # Length is the logarithm of the ratio: what is slower reaches to the right of 1, what is faster to the left.
    panel.barh([row["name"] for row in ordered], [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.72)
    panel.set_xscale("log")
    panel.set_xlim(0.1, 2000)
    panel.axvline(1, color=OURS_COLOUR, linewidth=1.5)
    for number, (ratio, row) in enumerate(zip(ratios, ordered, strict=True)):
        words = f"{row['ms'][str(size)]:.2g} ms" if row["name"] == ours else _times(ratio)
        panel.text(max(ratio, 1) * 1.12, number, words, va="center", fontsize=8.5)
    panel.set_title(f"{size}\u00b3 windows", fontsize=11)
    panel.set_xlabel("time, medshard = 1 (logarithmic)", fontsize=8.5)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.minorticks_off()
    panel.tick_params(axis="y", labelsize=8.5, length=0)
    panel.tick_params(axis="x", labelsize=8)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x" if ratio >= 1 else f"{ratio:.2f}x"
