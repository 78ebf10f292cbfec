"""Scores against shapes whose answer is known by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from medshard.training.metrics import ClassScore, mean_of, score_classes

SPACING_MM = (4.0, 1.0, 0.5)


def _cube(start: tuple[int, int, int], size: int = 4, shape: tuple[int, int, int] = (12, 12, 12)) -> torch.Tensor:
    cube = torch.zeros(shape, dtype=torch.int64)
    z, y, x = start
    cube[z : z + size, y : y + size, x : x + size] = 1
    return cube


def _score(
    prediction: torch.Tensor, truth: torch.Tensor, *, examined: bool = True, tolerance: float = 0.6
) -> ClassScore:
    (score,) = score_classes(
        prediction,
        truth,
        classes=["lesion"],
        examined=[examined],
        spacing_mm=SPACING_MM,
        surface_tolerance_mm=tolerance,
    )
    return score


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 4.0), (1, 1.0), (2, 0.5)])
def test_two_cubes_one_voxel_apart_have_the_dice_and_distance_of_that_step(axis: int, step_mm: float) -> None:
    start = [4, 4, 4]
    start[axis] += 1
    score = _score(_cube((start[0], start[1], start[2])), _cube((4, 4, 4)))
    assert score.outcome == "scored"
    assert score.dice == pytest.approx(2 * 48 / 128)
    assert score.hd95_mm == pytest.approx(step_mm)


def test_a_surface_within_the_tolerance_counts_and_one_beyond_it_does_not() -> None:
    shifted = _cube((4, 4, 5))
    assert _score(shifted, _cube((4, 4, 4)), tolerance=0.6).surface_dice == pytest.approx(1.0)
    # Each cube of 4^3 has 56 surface voxels. Those of its outer face, 16, lie half a millimetre off the other surface;
    # those of the opposite face lie inside of the other cube, and only the 4 in its middle are not on a surface of it.
    assert _score(shifted, _cube((4, 4, 4)), tolerance=0.4).surface_dice == pytest.approx((56 - 16 - 4) * 2 / 112)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 5.0))
def test_scores_agree_with_distances_between_all_pairs_of_surface_voxels(seed: int, tolerance: float) -> None:
    generator = np.random.default_rng(seed)
    masks = [ndimage.binary_dilation(generator.random((8, 9, 10)) > 0.99, iterations=2) for _ in range(2)]
    if not all(mask.any() for mask in masks):
        return
    prediction, truth = (torch.from_numpy(mask.astype(np.int64)) for mask in masks)
    score = _score(prediction, truth, tolerance=tolerance)
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(SPACING_MM) for mask in masks]
    distances = cdist(*points)
    there, back = distances.min(axis=1), distances.min(axis=0)
    assert score.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    close = (there <= tolerance).sum() + (back <= tolerance).sum()
    assert score.surface_dice == pytest.approx(close / (len(there) + len(back)), abs=1e-6)
    assert score.dice == pytest.approx(2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()))


@pytest.mark.parametrize(
    ("predicted", "present", "examined", "outcome", "dice"),
    [
        (False, True, True, "missed", 0.0),
        (True, False, True, "false_positive", 0.0),
        (False, False, True, "absent", None),
        (True, True, False, "not_examined", None),
    ],
)
def test_what_has_no_surface_has_no_distance(
    predicted: bool, present: bool, examined: bool, outcome: str, dice: float | None
) -> None:
    cube, nothing = _cube((4, 4, 4)), torch.zeros(12, 12, 12, dtype=torch.int64)
    score = _score(cube if predicted else nothing, cube if present else nothing, examined=examined)
    assert (score.outcome, score.dice, score.hd95_mm) == (outcome, dice, None)
    assert score.surface_dice == dice


def test_each_class_is_scored_on_its_own_value() -> None:
    truth = _cube((1, 1, 1)) + 2 * _cube((7, 7, 7))
    prediction = 2 * _cube((7, 7, 7))
    scores = score_classes(
        prediction, truth, classes=["a", "b"], examined=[True, True], spacing_mm=SPACING_MM, surface_tolerance_mm=1.0
    )
    assert [(score.concept, score.outcome, score.dice) for score in scores] == [
        ("a", "missed", 0.0),
        ("b", "scored", 1.0),
    ]


def test_a_mean_leaves_out_what_does_not_exist() -> None:
    assert mean_of([0.5, None, 1.0]) == 0.75
    assert mean_of([None]) is None
