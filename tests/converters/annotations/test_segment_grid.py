"""Segments placed on their image: by slices, flips and permutations; and refused when they lie between its voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.converters.annotations.segment_grid import on_image_grid
from medshard.converters.annotations.segments import Segment, SegmentedImage
from medshard.converters.geometry import ALL_ORIENTATIONS, affine_from_itk, reorient
from medshard.converters.spooling import Spool
from medshard.errors import CaseError

SHAPE = (8, 10, 12)
ANGLE = np.deg2rad(20)
TURN = [np.cos(ANGLE), -np.sin(ANGLE), 0, np.sin(ANGLE), np.cos(ANGLE), 0, 0, 0, 1]
AFFINE = affine_from_itk((12.5, -40, 70), (0.7, 0.9, 2.5), TURN)


def segments(array: np.ndarray, affine: np.ndarray, **options) -> SegmentedImage:
    told = (Segment(number=1, name="a", channel=0, value=1),)
    return SegmentedImage(array=array, affine=affine, segments=told, **options)


def labels(seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, 3, (2, *SHAPE)).astype(np.uint8)
    found[:, [0, 4, 7]] = 0
    return found


def moved(affine: np.ndarray, z: float, y: float = 0, x: float = 0) -> np.ndarray:
    found = affine.copy()
    found[:3, 3] += affine[:3, :3] @ (z, y, x)
    return found


def refused(segmented: SegmentedImage, shape=SHAPE, affine=AFFINE) -> CaseError:
    with pytest.raises(CaseError) as error:
        on_image_grid(segmented, shape, affine)
    assert error.value.code == "geometry.mismatch"
    return error.value


@given(st.sampled_from(ALL_ORIENTATIONS), st.integers(0, 9))
def test_any_flip_and_permutation_comes_back_to_the_image(orientation, seed):
    array, affine = reorient(labels(seed), AFFINE, orientation)
    found = on_image_grid(segments(array, affine), SHAPE, AFFINE)
    np.testing.assert_array_equal(found.array, labels(seed))
    np.testing.assert_array_equal(found.affine, AFFINE)


@given(st.sampled_from(ALL_ORIENTATIONS))
def test_a_box_cut_out_of_the_image_comes_back_to_its_place(orientation):
    expected = np.zeros((2, *SHAPE), np.uint8)
    expected[:, 2:6, 3:9, 1:5] = labels()[:, 2:6, 3:9, 1:5]
    array, affine = reorient(expected[:, 2:6, 3:9, 1:5], moved(AFFINE, 2, 3, 1), orientation)
    np.testing.assert_array_equal(on_image_grid(segments(array, affine), SHAPE, AFFINE).array, expected)


def test_a_grid_of_every_second_slice_or_of_half_slices_fits_by_its_content():
    whole = labels()
    whole[:, 1::2] = 0
    sparse = AFFINE @ np.diag([2.0, 1, 1, 1])
    np.testing.assert_array_equal(on_image_grid(segments(whole[:, ::2], sparse), SHAPE, AFFINE).array, whole)
    dense = np.zeros((2, 15, 10, 12), np.uint8)
    dense[:, ::2] = whole
    found = on_image_grid(segments(dense, AFFINE @ np.diag([0.5, 1, 1, 1])), SHAPE, AFFINE)
    np.testing.assert_array_equal(found.array, whole)


def test_empty_margins_may_reach_beyond_the_image():
    array = np.zeros((1, 12, 14, 16), np.uint8)
    array[:, 2:10, 2:12, 2:14] = labels()[:1]
    found = on_image_grid(segments(array, moved(AFFINE, -2, -2, -2)), SHAPE, AFFINE)
    np.testing.assert_array_equal(found.array, labels()[:1])


@pytest.mark.parametrize("step", [(0, 0, 3), (0, 4, 0), (3, 0, 0), (0, 40, 0), (50, 0, 0)])
def test_content_beyond_the_image_is_counted(step):
    array = np.ones((1, *SHAPE), np.uint8)
    found = refused(segments(array, moved(AFFINE, *step)))
    assert int(found.details["voxels outside"]) > 0


@pytest.mark.parametrize("step", [(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.04), (-0.1, 0, 0)])
def test_slices_between_voxels_are_not_moved(step):
    error = refused(segments(labels(), moved(AFFINE, *step)))
    assert error.details["off the image's voxels"] == "5"


@pytest.mark.parametrize(
    "change",
    [np.diag([1, 1, 1.01, 1]), np.diag([1, 2, 1, 1]), np.diag([1, 0.5, 0.5, 1]), np.diag([0.37, 1, 1, 1])],
    ids=["x 1 %", "y double", "finer pixels", "other slices"],
)
def test_another_spacing_is_refused(change):
    error = refused(segments(labels(), AFFINE @ change.astype(float)))
    assert error.details["image (z, y, x)"] == str(SHAPE)


def test_a_turn_of_one_degree_is_refused():
    small = np.deg2rad(1.0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(small), -np.sin(small)], [np.sin(small), np.cos(small)]]
    error = refused(segments(labels(), turn @ AFFINE))
    assert error.details["off the image's voxels"] == "5"


def test_rounding_of_a_header_takes_the_images_affine():
    found = on_image_grid(segments(labels(), np.round(AFFINE, 4)), SHAPE, AFFINE)
    np.testing.assert_array_equal(found.affine, AFFINE)
    np.testing.assert_array_equal(found.array, labels())


def test_segments_without_geometry_go_by_shape_with_a_warning():
    bare = segments(labels(), np.eye(4), trusted_geometry=False)
    assert "by their shape alone" in on_image_grid(bare, SHAPE, AFFINE).warnings[-1]
    refused(bare, (8, 10, 13))


def test_empty_segments_say_so():
    array = np.zeros((1, 3, 10, 12), np.uint8)
    found = on_image_grid(segments(array, AFFINE), SHAPE, AFFINE)
    assert found.array.shape == (1, *SHAPE)
    assert not found.array.any()
    assert found.warnings == ("no segment has any voxel",)


def test_the_spool_holds_the_result(tmp_path):
    spool = Spool(folder=tmp_path, limit_bytes=1)
    found = on_image_grid(segments(labels()[:, :6], AFFINE), SHAPE, AFFINE, spool=spool)
    np.testing.assert_array_equal(found.array[:, :6], labels()[:, :6])
    assert not found.array[:, 6:].any()
