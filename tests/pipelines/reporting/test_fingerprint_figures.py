"""The figures and the page of a fingerprint: something for one entry and for many, and the same bytes each time."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from medshard.converters.fingerprint import fingerprint_volume, merge_sketches, sketch_of_cases
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.pipelines.reporting.fingerprints import fingerprint_figures, fingerprint_page
from medshard.pipelines.reporting.fingerprints.ranked import MOST_NAMED, head_and_tail
from medshard.pipelines.reporting.fingerprints.style import ticks_between

MODALITIES = ("CT", "MR", "PET")


def entry(number: int, *, cases: int = 2, labelled: bool = True, value: float | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    modality = MODALITIES[number % 3]
    facts = {}
    for case in range(cases):
        array = rng.normal(50, 60, (1, 4, 9, 8)).astype(np.float32)
        if value is not None:
            array[:] = value
        labels = np.zeros((1, 4, 9, 8), np.uint8)
        labels[0, :2, :4], labels[0, 3, 0, 0] = 1, 2
        affine = np.diag([2.0 + number % 4, 0.7, 0.7, 1.0])
        rescale = Rescale(unit="HU" if modality == "CT" else "arbitrary")
        image = Image(array=array, affine=affine, modality=modality, rescale=rescale)
        classes = {1: "liver", 2: f"organ {number}"}
        layer = LabelLayer(array=labels, affine=affine, classes=classes, examined=tuple(classes.values()))
        volume = Volume(
            entry="e",
            case=str(case),
            patient="p",
            images={"scan": image},
            labels={"organs": layer} if labelled else {},
        )
        facts[str(case)] = fingerprint_volume(volume, quantiles=32)
    return sketch_of_cases(facts, f"entry-{number}")


@pytest.mark.parametrize("entries", [1, 45])
def test_every_figure_is_a_picture_that_fits_a_page(entries):
    sketch = merge_sketches(entry(number) for number in range(entries))
    figures = fingerprint_figures(sketch)
    names = ["intensities", "spacings", "shapes", "classes", "ratios", *(["entries"] if entries > 1 else [])]
    assert [figure.name for figure in figures] == names
    for figure in figures:
        with Picture.open(io.BytesIO(figure.png)) as picture:
            assert picture.width <= 1200
            assert picture.height <= 1200
        assert figure.caption.endswith(".")


def test_equal_sketches_give_equal_bytes():
    drawn = [[figure.png for figure in fingerprint_figures(entry(2, labelled=False))] for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_what_is_not_there_has_no_figure():
    unlabelled = fingerprint_figures(entry(1, labelled=False))
    assert [figure.name for figure in unlabelled] == ["intensities", "spacings", "shapes"]
    assert fingerprint_figures(sketch_of_cases({}, "nothing")) == []


@pytest.mark.parametrize(("number", "value"), [(0, 7.0), (1, 7.0), (1, float("nan"))])
def test_images_of_one_value_or_of_none_can_be_drawn(number, value):
    names = [figure.name for figure in fingerprint_figures(entry(number, value=value, labelled=False))]
    assert names == [*(["intensities"] if np.isfinite(value) else []), "spacings", "shapes"]


def test_of_many_amounts_the_head_and_the_tail_are_named_and_the_rest_is_counted():
    amounts = [(f"class {n:03}", float(200 - n)) for n in range(200)]
    rows = head_and_tail(amounts)
    assert len(rows) <= MOST_NAMED
    assert (rows[0], rows[-1]) == (("class 000", 200.0), ("class 199", 1.0))
    [gap] = [name for name, amount in rows if amount is None]
    assert gap.startswith(f"{200 - len(rows) + 1} more")
    assert head_and_tail(amounts[:MOST_NAMED]) == amounts[:MOST_NAMED]


@pytest.mark.parametrize(("low", "high"), [(0.3, 7.0), (1e-5, 80.0), (12.0, 13.0), (1.0, 1e12)])
def test_ticks_are_few_and_lie_within(low, high):
    ticks = ticks_between(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_a_page_asks_for_no_other_file_and_names_what_it_is_of():
    page = fingerprint_page("Two <entries>", merge_sketches([entry(0), entry(1)]))
    assert "Two &lt;entries&gt;" in page
    assert "4 cases of 2 entries" in page
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")
    assert "organ 1" in page
