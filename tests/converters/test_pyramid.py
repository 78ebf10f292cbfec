"""Smaller levels: exact means and modes, by the plainest possible counting."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medshard.converters import pyramid
from medshard.converters.pyramid import halved, pyramid_plan
from medshard.converters.spooling import Spool, is_spooled

ALL = (True, True, True)
AXES = st.tuples(st.booleans(), st.booleans(), st.booleans())
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def blocks(array, axes):
    """Place of each block -> its voxels, by walking over every voxel."""
    found = {}
    for place in np.ndindex(array.shape):
        halves = (False,) * (array.ndim - 3) + axes
        target = tuple(at // 2 if half else at for at, half in zip(place, halves, strict=True))
        found.setdefault(target, []).append(array[place].item())
    return found


def label_of(values):
    """The commonest; of equally common ones a foreground value before the background, then the smallest."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value == 0, value))


class TestMeans:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["uint8", "int8", "int16", "uint16", "int32", "int64", "uint64"]).flatmap(
            lambda dtype: SHAPES.flatmap(lambda shape: arrays(dtype, shape))
        ),
        AXES,
    )
    def test_integers_are_rounded_to_the_nearest_halves_up(self, array, axes):
        small = halved(array, axes, "mean")
        assert small.dtype == array.dtype
        for place, values in blocks(array, axes).items():
            assert small[place] == floor(Fraction(sum(values), len(values)) + Fraction(1, 2))

    @settings(max_examples=20, deadline=None)
    @given(SHAPES.flatmap(lambda shape: arrays("float32", shape, elements=st.floats(-1e6, 1e6, width=32))), AXES)
    def test_floats_are_averaged(self, array, axes):
        small = halved(array, axes, "mean")
        assert small.dtype == np.float32
        for place, values in blocks(array, axes).items():
            assert small[place] == pytest.approx(np.mean(values), rel=1e-6, abs=1e-6)

    def test_a_number_that_is_none_spreads_to_its_block_alone(self):
        array = np.ones((1, 2, 4, 4), np.float32)
        array[0, 0, 0, 0] = np.nan
        small = halved(array, ALL, "mean")
        assert np.isnan(small[0, 0, 0, 0])
        assert (small.ravel()[1:] == 1).all()


class TestModes:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["uint8", "int16", "int32"]).flatmap(
            lambda dtype: SHAPES.flatmap(lambda shape: arrays(dtype, shape, elements=st.integers(0, 3)))
        ),
        AXES,
    )
    def test_the_commonest_value_wins_and_foreground_wins_a_tie(self, array, axes):
        small = halved(array, axes, "mode")
        assert small.dtype == array.dtype
        for place, values in blocks(array, axes).items():
            assert small[place] == label_of(values)

    def test_no_value_is_made_up(self):
        array = np.random.default_rng(0).choice([0, 4, 9, 200], (1, 9, 9, 9)).astype(np.uint8)
        assert set(np.unique(halved(array, ALL, "mode"))) <= {0, 4, 9, 200}


@pytest.mark.parametrize("how", ["mean", "mode"])
@pytest.mark.parametrize("axes", [ALL, (False, True, True), (True, False, False)])
def test_slabs_and_turned_views_and_files_make_no_difference(monkeypatch, tmp_path, how, axes):
    array = np.random.default_rng(1).integers(0, 9, (2, 1, 11, 7, 5)).astype(np.int16)
    whole = halved(array, axes, how)
    monkeypatch.setattr(pyramid, "SLAB_BYTES", 200)
    np.testing.assert_array_equal(halved(array, axes, how), whole)
    turned = np.ascontiguousarray(array.transpose(0, 1, 4, 3, 2)).transpose(0, 1, 4, 3, 2)
    spool = Spool(folder=tmp_path, limit_bytes=1)
    filed = halved(turned, axes, how, spool)
    assert is_spooled(filed)
    np.testing.assert_array_equal(filed, whole)


class TestPlan:
    def test_thin_slices_wait_until_rows_and_columns_have_caught_up(self):
        plan = pyramid_plan((61, 512, 512), (5.0, 0.6, 0.6), 4)
        assert [level.factors for level in plan] == [(1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16)]

    def test_a_cube_is_halved_on_every_side(self):
        assert [level.factors for level in pyramid_plan((64, 64, 64), (1, 1, 1), 2)] == [(2, 2, 2), (4, 4, 4)]

    def test_an_axis_of_one_voxel_stays_and_does_not_hold_up_the_others(self):
        assert [level.factors for level in pyramid_plan((1, 300, 200), (1, 8, 8), 1)] == [(1, 2, 2)]

    def test_it_ends_when_nothing_is_left(self):
        assert [level.factors for level in pyramid_plan((2, 3, 1), (1, 1, 1), 9)] == [(2, 2, 1), (2, 4, 1)]

    def test_slices_with_rescales_of_their_own_are_not_averaged(self):
        assert [level.factors for level in pyramid_plan((8, 8, 8), (1, 2, 2), 2, keep_z=True)] == [(1, 2, 2), (1, 4, 4)]
