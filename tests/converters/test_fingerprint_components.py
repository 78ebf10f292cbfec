"""Components of all classes at once: as many as scipy finds class by class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from medshard.converters.fingerprint import components
from medshard.converters.fingerprint.components import count_components, grouped

MAPS = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.uint32]),
    arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7),
    elements=st.integers(0, 3),
)


def by_scipy(labels, classes):
    return [ndimage.label(labels == n, np.ones((3, 3, 3)))[1] for n in range(1, classes + 1)]


@settings(max_examples=150, deadline=None)
@given(MAPS)
def test_faces_edges_and_corners_connect(labels):
    assert count_components(labels, 3) == by_scipy(labels, 3)


@pytest.mark.parametrize("density", [0.05, 0.3, 0.9])
def test_larger_maps_in_slabs_and_maps_of_mere_surface(density, monkeypatch):
    rng = np.random.default_rng(1)
    labels = (rng.integers(1, 5, (9, 20, 30)) * (rng.random((9, 20, 30)) < density)).astype(np.uint8)
    expected = by_scipy(labels, 4)
    monkeypatch.setattr(components, "SLAB_VOXELS", 2 * 20 * 30)
    assert count_components(labels, 4) == expected
    monkeypatch.setattr(components, "MOST_RUNS", 10)
    assert count_components(labels, 4) == expected


def test_an_empty_map_has_none():
    assert count_components(np.zeros((2, 3, 4), np.uint8), 2) == [0, 0]


@settings(max_examples=50, deadline=None)
@given(MAPS)
def test_values_become_the_numbers_of_their_groups_and_the_rest_is_kept_apart(labels):
    expected = np.select([labels == 1, labels == 3, labels == 2], [2, 2, 9], 0)
    np.testing.assert_array_equal(grouped(labels, {1: 2, 3: 2}, other=9), expected)
