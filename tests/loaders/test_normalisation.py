"""How stored numbers become what a network sees, as arithmetic on arrays and as what a reader is asked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.samples import IntensityStatistics
from medshard.loaders.normalisation import Normalisation, normalisation_of, view_normalisation
from medshard.loaders.windows import Scale

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
