"""Dice, normalised surface Dice and the 95th percentile of the Hausdorff distance, class by class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from torch import Tensor

HAUSDORFF_PERCENTILE = 95.0

Outcome = Literal["scored", "missed", "false_positive", "absent", "not_examined"]


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The scores of one class in one case.

    outcome: decides which scores exist.

    | outcome        | truth | prediction | dice | surface_dice | hd95_mm |
    |----------------|-------|------------|------|--------------|---------|
    | scored         | yes   | yes        | yes  | yes          | yes     |
    | missed         | yes   | no         | 0    | 0            | None    |
    | false_positive | no    | yes        | 0    | 0            | None    |
    | absent         | no    | no         | None | None         | None    |
    | not_examined   | ?     | either     | None | None         | None    |

    A distance to a surface that does not exist is infinite, and a class that is rightly absent has no overlap: neither
    is a number that may enter a mean, so both are None and counted apart.
    """

    concept: str
    outcome: Outcome
    dice: float | None
    surface_dice: float | None
    hd95_mm: float | None
    voxels: int
    prediction_voxels: int


def score_classes(
    prediction: Tensor,
    truth: Tensor,
    *,
    classes: Sequence[str],
    examined: Sequence[bool],
    spacing_mm: tuple[float, float, float],
    surface_tolerance_mm: float,
) -> list[ClassScore]:
    """Score every class of one case.

    prediction, truth: (z, y, x) integers; value k is `classes[k - 1]`, 0 the background.
    spacing_mm: voxel size along (z, y, x). surface_tolerance_mm: for the normalised surface Dice (Nikolov et al. 2021,
        arXiv:1809.04430), with surfaces counted in voxels as MONAI does.
    """
    return [
        _score(
            prediction == value,
            truth == value,
            concept=concept,
            looked_for=looked_for,
            spacing_mm=spacing_mm,
            tolerance_mm=surface_tolerance_mm,
        )
        for value, (concept, looked_for) in enumerate(zip(classes, examined, strict=True), start=1)
    ]


def _score(
    prediction: Tensor,
    truth: Tensor,
    *,
    concept: str,
    looked_for: bool,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float,
) -> ClassScore:
    voxels, prediction_voxels = int(truth.sum()), int(prediction.sum())
    outcome = _outcome(voxels, prediction_voxels, looked_for=looked_for)
    dice: float | None = None
    surface_dice: float | None = None
    hd95_mm: float | None = None
    if outcome == "scored":
        # (batch, class, z, y, x) with a single class: the background is not among the channels.
        pair = prediction[None, None].float(), truth[None, None].float()
        spacing = list(spacing_mm)
        dice = compute_dice(*pair, include_background=True).item()
        with _without_deprecation_within_monai():
            surface_dice = compute_surface_dice(*pair, [tolerance_mm], include_background=True, spacing=spacing).item()
            hd95_mm = compute_hausdorff_distance(
                *pair, include_background=True, percentile=HAUSDORFF_PERCENTILE, spacing=spacing
            ).item()
    elif outcome in ("missed", "false_positive"):
        dice, surface_dice = 0.0, 0.0
    return ClassScore(
        concept=concept,
        outcome=outcome,
        dice=dice,
        surface_dice=surface_dice,
        hd95_mm=hd95_mm,
        voxels=voxels,
        prediction_voxels=prediction_voxels,
    )


def _outcome(voxels: int, prediction_voxels: int, *, looked_for: bool) -> Outcome:
    if not looked_for:
        return "not_examined"
    if voxels:
        return "scored" if prediction_voxels else "missed"
    return "false_positive" if prediction_voxels else "absent"


@contextmanager
def _without_deprecation_within_monai() -> Iterator[None]:
    # MONAI 1.6 calls one of its own functions with an argument that it has deprecated.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        yield


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the numbers among some scores; None when there is none."""
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
