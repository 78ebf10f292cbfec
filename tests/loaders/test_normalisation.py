"""How stored numbers become what a network sees, as arithmetic on arrays and as what a reader is asked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.samples import IntensityStatistics, make_sample
from medshard.converters.volume import Image, Rescale, Volume
from medshard.errors import StoreError
from medshard.loaders import ShardDataset
from medshard.loaders.normalisation import Normalisation, normalisation_of, view_normalisation
from medshard.loaders.views import WholeView
from medshard.loaders.windows import Scale
from medshard.registry.store import Store

PLAN = Plan(name="p", entry="e", recipe_digest="", channels=("mr",), spacing_mm=None)
STATISTICS = IntensityStatistics(mean=100.0, std=20.0, minimum=-5.0, maximum=400.0)
NUMBERS = st.floats(-1000, 1000, width=32)


def row_of(**changes):
    facts = {
        "name": "e/c", "modality": "MR", "unit": "arbitrary", "slope": 0.5, "intercept": 3.0, "statistics": STATISTICS,
        "channels": 2, "contents": {},
    }  # fmt: skip
    return SimpleNamespace(**{**facts, **changes})


def scaled(values, scale: Scale):
    """A scale, worked out step by step in float32 as its documentation says."""
    values = values.astype(np.float32)
    if (scale.slope, scale.intercept) != (1.0, 0.0):
        values = values * np.float32(scale.slope) + np.float32(scale.intercept)
    if scale.low is not None and scale.high is not None:
        values = np.minimum(np.maximum(values, np.float32(scale.low)), np.float32(scale.high))
    if (scale.mean, scale.std) != (0.0, 1.0):
        values = (values - np.float32(scale.mean)) / np.float32(scale.std)
    return values


RULES = st.builds(
    Normalisation,
    slope=st.floats(2**-9, 4, width=32),
    intercept=NUMBERS,
    mean=NUMBERS,
    std=st.floats(2**-6, 512, width=32),
    clip=st.none() | st.tuples(st.floats(-512, 0, width=32), st.floats(1, 512, width=32)),
    outside=NUMBERS,
    channels=st.none(),
)


@settings(max_examples=60, deadline=None)
@given(RULES)
def test_a_reader_that_scales_gives_the_bytes_that_arithmetic_on_the_array_gives(rule):
    stored = np.arange(-300, 300, dtype=np.int16).reshape(1, 6, 10, 10)
    assert np.array_equal(rule.apply(stored.astype(np.float32)), scaled(stored, rule.scale))


def test_images_of_one_channel_go_by_the_rule_of_their_modality():
    rule = IntensityRule(scheme="dataset", clip=(0.0, 50.0), mean=10.0, std=5.0)
    found = normalisation_of(row_of(), replace(PLAN, intensity={"MR": rule}))
    assert (found.clip, found.mean, found.std, found.outside) == ((0.0, 50.0), 10.0, 5.0, 0.0)
    by_case = normalisation_of(row_of(), PLAN)
    assert (by_case.clip, by_case.mean, by_case.std, by_case.outside) == (None, 100.0, 20.0, -5.0)


def test_normalised_samples_are_scaled_and_no_more():
    found = normalisation_of(row_of(unit="normalised"), replace(PLAN, stored="normalised"))
    assert (found.scale, found.outside) == (Scale(slope=0.5, intercept=3.0), -5.0)
    assert normalisation_of(row_of(unit="normalised"), replace(PLAN, stored="normalised", kind="nnunet")).outside == 0.0


def test_physical_values_of_normalised_samples_come_back_channel_by_channel():
    contents = {"channels": {"0": {"slope": 20.0, "intercept": 100.0}, "1": {"slope": 2.0, "intercept": -1.0}}}
    row = row_of(unit="normalised", contents=contents)
    found = normalisation_of(row, replace(PLAN, stored="normalised"), normalise=False)
    stored = np.array([[[[2.0]]], [[[4.0]]]], np.float32)
    assert found.apply(stored.copy()).ravel().tolist() == [(2 * 0.5 + 3) * 20 + 100, (4 * 0.5 + 3) * 2 - 1]
    assert np.array_equal(found.finish(scaled(stored, found.scale)), found.apply(stored.copy()))


def test_a_frame_of_a_video_under_a_plan_of_several_channels_is_no_normalised_sample():
    found = normalisation_of(row_of(unit=""), replace(PLAN, stored="normalised"))
    assert (found.mean, found.std) == (100.0, 20.0)


def test_a_view_goes_by_the_rule_of_its_own_modality():
    facts = {
        "modality": "PT", "slope": 0.1, "intercept": 0.0,
        "statistics": {"mean": 2.0, "std": 0.5, "minimum": 0.0, "maximum": 9.0},
    }  # fmt: skip
    row = row_of(contents={"views": {"pet": facts}})
    assert view_normalisation(row, "pet", PLAN).scale == Scale(slope=0.1, mean=2.0, std=0.5)
    rule = IntensityRule(scheme="dataset", clip=(0.0, 5.0), mean=1.0, std=2.0)
    found = view_normalisation(row, "pet", replace(PLAN, intensity={"PT": rule}))
    assert found.scale == Scale(slope=0.1, low=0.0, high=5.0, mean=1.0, std=2.0)


def test_a_rule_without_numbers_is_refused():
    with pytest.raises(Exception, match="no mean and standard deviation"):
        normalisation_of(row_of(statistics=None), PLAN)


def normalised_row(*channels):
    return row_of(
        unit="normalised", contents={"channels": {str(number): facts for number, facts in enumerate(channels)}}
    )


def test_outside_of_a_normalised_sample_each_channel_is_physically_at_its_least():
    row = normalised_row(
        {"slope": 200.0, "intercept": 40.0, "clip": [-1100.0, 600.0], "masked": False},
        {"slope": 2.0, "intercept": 30.0, "clip": None, "masked": False},
        {"slope": 2.0, "intercept": -1.0, "clip": None, "masked": False},
    )
    row.channels = 3
    for kind in ("volume", "nnunet"):
        found = normalisation_of(row, replace(PLAN, stored="normalised", kind=kind), normalise=False)
        # -5 normalised is -960, 20 and -11; the clip of the first lies lower, and 0 below the second.
        assert found.outside_of == (-1100.0, 0.0, -11.0)
        assert found.missing == -1100.0
    assert normalisation_of(row, replace(PLAN, stored="normalised")).outside_of is None


def test_physical_values_of_a_masked_background_are_refused():
    plain = {"slope": 20.0, "intercept": 300.0, "clip": None, "masked": False}
    row = normalised_row(plain, {**plain, "masked": True})
    plan = replace(PLAN, stored="normalised", kind="nnunet")
    with pytest.raises(StoreError, match=r"sample\.masked.*e/c"):
        normalisation_of(row, plan, normalise=False)
    assert normalisation_of(row, plan).outside == 0.0


def test_physical_values_of_normalised_channels_are_padded_with_their_own_least(tmp_path, publish):
    values = np.random.default_rng(0).integers(400, 600, (2, 4, 6, 6)).astype(np.int16)
    affine = np.eye(4)[:, [2, 1, 0, 3]]
    images = {
        "ct": Image(array=values[:1] - 1500, affine=affine, modality="CT", rescale=Rescale(unit="HU")),
        "mr": Image(array=values[1:], affine=affine, modality="MR"),
    }
    plan = Plan(
        name="default", entry="both", recipe_digest="0", channels=("ct", "mr"), spacing_mm=None, stored="normalised",
        intensity={
            "ct": IntensityRule(scheme="dataset", clip=(-1200.0, 100.0), mean=-1000.0, std=50.0),
            "mr": IntensityRule(scheme="case"),
        },
    )  # fmt: skip
    store = Store.open(tmp_path / "store")
    publish(store, plan, [[make_sample(Volume(entry="both", case="c", patient="p", images=images), plan)]])
    maps = {"both": ["mr", None, "ct"]}
    image = ShardDataset(store, ["both"], view=WholeView(multiple_of=(8, 8, 8)), channels=maps, normalise=False)[0][
        "image"
    ]
    image = image.numpy()
    inside = (slice(2, 6), slice(1, 7), slice(1, 7))
    assert image.shape == (3, 8, 8, 8)
    assert np.abs(image[0][inside] - images["mr"].array[0]).max() < 1.0
    assert np.abs(image[2][inside] - images["ct"].array[0]).max() < 1.0
    outside = np.ones((8, 8, 8), np.bool_)
    outside[inside] = False
    assert set(image[0][outside].tolist()) == {0.0}
    assert set(image[2][outside].tolist()) == {-1200.0}
    assert set(image[1].ravel().tolist()) == {-1200.0}  # a missing channel, as outside
