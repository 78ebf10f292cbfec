"""Pictures: which slices, which way up, and which contour."""

from pathlib import Path

import numpy as np
from PIL import Image

from medshard.training.overlays import (
    CAPTION_PIXELS,
    PANEL_PIXELS,
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    choose_slices,
    write_overlay,
)
from medshard.training.scoring import overlay_name

CANONICAL = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]])


def _draw(path: Path, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    image = np.linspace(0, 1, truth.size, dtype=np.float32).reshape(truth.shape)
    write_overlay(path, image, truth, prediction, affine=CANONICAL, caption="entry/case (test)")
    return np.asarray(Image.open(path))


def _pixels(sheet: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(row, column) of a colour in the middle panel of the upper row."""
    panel = sheet[CAPTION_PIXELS : CAPTION_PIXELS + PANEL_PIXELS, PANEL_PIXELS : 2 * PANEL_PIXELS]
    return np.argwhere((panel == colour).all(axis=-1))


def test_slices_are_spread_over_those_that_hold_foreground() -> None:
    mask = np.zeros((20, 4, 4), bool)
    mask[5:9, :2, :2] = True
    assert choose_slices(mask) == [6, 7, 8]
    assert choose_slices(np.zeros((20, 4, 4), bool)) == [5, 10, 15]


def test_anterior_is_on_top_and_the_right_of_the_patient_on_the_left(tmp_path: Path) -> None:
    truth = np.zeros((5, 40, 40), np.int64)
    prediction = np.zeros_like(truth)
    truth[1:4, 30:38, 30:38] = 1  # large y is anterior, large x is right
    prediction[1:4, 2:10, 2:10] = 1
    sheet = _draw(tmp_path / "a.png", truth, prediction)
    assert (_pixels(sheet, TRUTH_COLOUR) < PANEL_PIXELS / 2).all()
    assert (_pixels(sheet, PREDICTION_COLOUR) > PANEL_PIXELS / 2).all()
    assert len(_pixels(sheet, TRUTH_COLOUR)) > 0


def test_the_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    truth = np.zeros((5, 40, 40), np.int64)
    truth[2, 10:20, 10:20] = 1
    for name in ("a.png", "b.png"):
        _draw(tmp_path / name, truth, np.zeros_like(truth))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_case_without_any_foreground_is_drawn_too(tmp_path: Path) -> None:
    nothing = np.zeros((5, 40, 40), np.int64)
    assert _draw(tmp_path / "a.png", nothing, nothing).shape == (2 * PANEL_PIXELS + CAPTION_PIXELS, 3 * PANEL_PIXELS, 3)


def test_a_case_name_becomes_one_file_name() -> None:
    assert overlay_name("entry", "a/b c") == "entry--a%2Fb%20c.png"
