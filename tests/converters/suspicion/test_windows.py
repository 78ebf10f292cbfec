"""Extremes within windows: what scipy's filters and dilations give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from medshard.converters.suspicion.windows import highest_in_window, lowest_in_window

PLANES = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.floats(-9, 9, width=32)
)


@settings(max_examples=60, deadline=None)
@given(PLANES, st.sampled_from([1, 3, 5, 7, 9]), st.sampled_from([0, 1]))
def test_windows_are_cut_off_at_the_ends(plane, width, axis):
    np.testing.assert_array_equal(lowest_in_window(plane, width, axis), ndimage.minimum_filter1d(plane, width, axis))
    np.testing.assert_array_equal(highest_in_window(plane, width, axis), ndimage.maximum_filter1d(plane, width, axis))


@pytest.mark.parametrize("reach", [1, 3])
def test_of_a_mask_it_is_a_dilation(reach):
    mask = np.random.default_rng(reach).random((3, 12, 17)) < 0.05
    square = np.ones((1, 2 * reach + 1, 2 * reach + 1))
    grown = highest_in_window(highest_in_window(mask, 2 * reach + 1, 1), 2 * reach + 1, 2)
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(mask, square))
