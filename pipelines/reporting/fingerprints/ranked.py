"""Ranked amounts with their names: all of them where there are few, head and tail where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medshard.pipelines.reporting.fingerprints.style import COLOURS, GREY, INK, SMALL, by_amount, plain, shortened

MOST_NAMED = 40
HEAD, TAIL = 22, 12
INCHES_A_ROW = 0.17

Row = tuple[str, float | None]


def head_and_tail(amounts: Sequence[tuple[str, float]]) -> list[Row]:
    """The rows to show, largest first; a row without an amount says how many are left out there."""
    ranked = by_amount(amounts)
    if len(ranked) <= MOST_NAMED:
        return list(ranked)
    left_out = ranked[HEAD:-TAIL]
    note = f"{len(left_out)} more: {left_out[0][1]:.3g} to {left_out[-1][1]:.3g}"
    return [*ranked[:HEAD], (note, None), *ranked[-TAIL:]]


def height_of(rows: int) -> float:
    """Inches of a panel with so many rows."""
    return 1.0 + INCHES_A_ROW * max(rows, 3)


def draw_ranked(axes: Any, rows: Sequence[Row], *, logarithmic: bool, colour: str = COLOURS[0]) -> None:
    """One dot a row, on a line from the left edge; the names stand at the axis."""
    known = [amount for _, amount in rows if amount is not None and amount > 0]
    low = min(known, default=1.0) / 2 if logarithmic else 0.0
    for place, (_, amount) in enumerate(rows):
        if amount is None or amount <= 0:
            continue
        axes.plot([low, amount], [place, place], color=colour, linewidth=1.0, alpha=0.45, zorder=2)
        axes.plot([amount], [place], marker="o", markersize=3.5, color=colour, zorder=3)
    plain(axes)
    axes.grid(visible=False, axis="y")
    if logarithmic and known:
        axes.set_xscale("log")
        axes.set_xlim(low, max(known) * 1.4)
    else:
        axes.set_xlim(0, max(known, default=1.0) * 1.05)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [shortened(name, 44) for name, _ in rows], fontsize=SMALL)
    for label, (_, amount) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK if amount is not None else GREY)
        label.set_style("normal" if amount is not None else "italic")
    axes.tick_params(axis="y", length=0)
