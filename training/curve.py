"""The loss curve of a training, as a table and as a picture; equal curves give equal bytes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One step of training. validation_dice: where it was measured after this step."""

    step: int
    loss: float
    learning_rate: float
    validation_dice: float | None = None


def summarise_losses(curve: Sequence[CurvePoint]) -> dict[str, float]:
    """Mean loss over the first and over the last tenth of the steps (at least one each)."""
    tenth = max(1, len(curve) // 10)
    return {
        "first": fmean(point.loss for point in curve[:tenth]),
        "last": fmean(point.loss for point in curve[-tenth:]),
    }


def write_curve_table(curve: Sequence[CurvePoint], path: Path) -> None:
    """CSV with a header; an empty cell where nothing was measured."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(CurvePoint)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in curve)


def write_curve_picture(curve: Sequence[CurvePoint], path: Path, *, title: str) -> None:
    """PNG of the loss, with the validation Dice on a second axis where it was measured."""
    figure = Figure(figsize=(7.0, 4.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    steps = [point.step for point in curve]
    axes.plot(steps, [point.loss for point in curve], color="0.75", linewidth=0.8, label="loss of each step")
    axes.plot(steps, _running_mean([point.loss for point in curve]), color="tab:blue", label="running mean")
    axes.set(title=title, xlabel="step", ylabel="loss")
    measured = [(point.step, point.validation_dice) for point in curve if point.validation_dice is not None]
    if measured:
        dice = axes.twinx()
        dice.plot(*zip(*measured, strict=True), color="tab:orange", marker="o", markersize=3, label="validation Dice")
        dice.set(ylabel="Dice on fixed validation windows", ylim=(0.0, 1.0))
        dice.legend(loc="upper right")
    axes.legend(loc="lower left")
    # Without the name and version of the software that drew it, the picture depends on the curve alone.
    figure.savefig(path, format="png", metadata={"Software": None})


def _running_mean(values: Sequence[float]) -> list[float]:
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]
