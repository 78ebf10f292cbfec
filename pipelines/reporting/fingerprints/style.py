"""How the figures look: colours that the colour-blind can tell apart, few lines, bytes that depend on the numbers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

# Okabe and Ito, "Color Universal Design" (2008), without black and the yellow that is too pale for lines.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
INK, GREY, PALE = "#22262b", "#6b7480", "#dfe3e8"
DPI = 110
SMALL = 8


def new_figure(width: float, height: float) -> Any:
    """Inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second, and not every report draws)

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def plain(axes: Any) -> None:
    """Only the lines that carry numbers."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(labelsize=SMALL, colors=INK, which="both")
    axes.grid(visible=True, color=PALE, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def titled(axes: Any, title: str, x: str = "", y: str = "") -> None:
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=SMALL + 0.5, color=INK)
    axes.set_ylabel(y, fontsize=SMALL + 0.5, color=INK)


def png_of(figure: Any) -> bytes:
    stream = io.BytesIO()
    # Without the name and version of the software that drew it, the picture depends on the numbers alone.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def named_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of the first names, grey for the others."""
    return {name: COLOURS[number] if number < len(COLOURS) else GREY for number, name in enumerate(names)}


def plain_numbers(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis as numbers that people say: 0.5, 1, 2, 5, 10."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator  # noqa: PLC0415 (as above)

    ticks = ticks_between(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}".replace("e+0", "e"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def ticks_between(low: float, high: float) -> list[float]:
    """At most about eight round numbers between two positive ones."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(-9, 16) for step in steps]
        chosen = [tick for tick in ticks if low <= tick <= high]
        if len(chosen) <= 8:
            return chosen or [low, high]
    return chosen[:: max(1, len(chosen) // 6)]


def shortened(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def by_amount(amounts: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """The largest first, equal ones by name."""
    return sorted(amounts, key=lambda item: (-item[1], item[0]))
