"""The loss curve of a training, as a table and as a picture; equal curves give equal bytes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from PIL import Image, ImageDraw

SIZE = (700, 400)
FRAME = (60, 44, 650, 350)  # left, upper, right, lower
TICKS = 5
LOSS_COLOUR, DICE_COLOUR = (31, 90, 160), (200, 90, 20)
FAINT, GRID = (185, 205, 230), (230, 230, 230)


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
    """PNG of the loss (left axis) and, where it was measured, of the validation Dice (right axis, 0 to 1)."""
    losses = [point.loss for point in curve]
    top = max(losses) * 1.05 or 1.0
    last = max(2, curve[-1].step)
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)

    def place(step: float, share: float) -> tuple[float, float]:
        """Pixel of a step and of a share of the height, from the bottom."""
        left, upper, right, lower = FRAME
        return left + (right - left) * (step - 1) / (last - 1), lower - (lower - upper) * share

    _draw_axes(draw, top=top, last=last, title=title)
    draw.line([place(point.step, point.loss / top) for point in curve], fill=FAINT)
    means = zip(curve, _running_mean(losses), strict=True)
    draw.line([place(point.step, mean / top) for point, mean in means], fill=LOSS_COLOUR, width=2)
    measured = [place(point.step, point.validation_dice) for point in curve if point.validation_dice is not None]
    draw.line(measured, fill=DICE_COLOUR, width=2)
    for x, y in measured:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=DICE_COLOUR)
    draw.text((FRAME[0], 24), "loss of each step, and running mean", fill=LOSS_COLOUR)
    if measured:
        draw.text((FRAME[2] - 220, 24), "Dice on fixed validation windows", fill=DICE_COLOUR)
    image.save(path, format="PNG")


def _draw_axes(draw: ImageDraw.ImageDraw, *, top: float, last: int, title: str) -> None:
    left, upper, right, lower = FRAME
    draw.text((left, 8), title, fill="black")
    for tick in range(TICKS + 1):
        y = lower - (lower - upper) * tick / TICKS
        draw.line((left, y, right, y), fill=GRID)
        draw.text((left - 6, y), f"{top * tick / TICKS:.3g}", fill=LOSS_COLOUR, anchor="rm")
        draw.text((right + 6, y), f"{tick / TICKS:.1f}", fill=DICE_COLOUR, anchor="lm")
        x = left + (right - left) * tick / TICKS
        draw.text((x, lower + 6), f"{1 + (last - 1) * tick / TICKS:.0f}", fill="black", anchor="ma")
    draw.rectangle(FRAME, outline="black")
    draw.text(((left + right) / 2, lower + 22), "step", fill="black", anchor="ma")


def _running_mean(values: Sequence[float]) -> list[float]:
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]
