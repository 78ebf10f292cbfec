"""A slide whose file asks to be shown turned is read as it is stored, and says so."""

from __future__ import annotations

from pathlib import Path

import made_slides
import numpy as np
import pytest
from made_slides import slide_picture

from medshard.converters.slides.reading import open_regions, read_slide

PICTURE = slide_picture(520, 700)


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_is_not_applied_and_said(tmp_path: Path, orientation: int) -> None:
    made = made_slides.pyramid(tmp_path / "s.tif", PICTURE, extratags=[(274, 3, 1, orientation, True)])
    slide = read_slide(made.files, where="e/c")
    assert any(f"orientation {orientation}: not applied" in warning for warning in slide.warnings)
    with open_regions(made.files, slide, where="e/c") as region:
        np.testing.assert_array_equal(region(0, 0, 0, 60, 80), np.moveaxis(PICTURE[:60, :80], -1, 0))


def test_the_usual_orientation_is_not_worth_a_word(tmp_path: Path) -> None:
    made = made_slides.pyramid(tmp_path / "s.tif", PICTURE, extratags=[(274, 3, 1, 1, True)])
    assert not [warning for warning in read_slide(made.files, where="e/c").warnings if "orientation" in warning]
