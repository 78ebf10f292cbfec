"""Values of masks: counted, thresholded, read off colours; numpy on the whole array is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medshard.converters import label_values
from medshard.converters.label_values import (
    exchanged,
    grey,
    kept_from,
    marked,
    smallest_type,
    value_counts,
    values_of_colours,
    whole_values,
)
from medshard.converters.spooling import Spool
from medshard.converters.volume import Image, Rescale
from medshard.errors import CaseError

FEW = settings(max_examples=40, deadline=None)


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_values, "SLAB_VOXELS", 16)


def masks() -> st.SearchStrategy[np.ndarray]:
    kinds = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32])
    shapes = npst.array_shapes(min_dims=4, max_dims=4, max_side=6)
    return kinds.flatmap(lambda kind: npst.arrays(kind, shapes))


@FEW
@given(masks())
def test_counts_are_those_of_numpy(array: np.ndarray) -> None:
    values, counts = np.unique(array, return_counts=True)
    assert value_counts(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))


@FEW
@given(masks())
def test_the_smallest_type_keeps_every_value(array: np.ndarray) -> None:
    small = smallest_type(array)
    np.testing.assert_array_equal(small, array)
    if array.min() >= 0:
        assert small.dtype == np.min_scalar_type(int(array.max()))


@FEW
@given(masks(), st.integers(1, 300), st.integers(1, 300))
def test_a_threshold_is_inclusive(array: np.ndarray, threshold: int, value: int) -> None:
    found = marked(array, threshold=threshold, background=0, value=value)
    np.testing.assert_array_equal(found, np.where(array >= threshold, value, 0))
    np.testing.assert_array_equal(kept_from(array, threshold), np.where(array >= threshold, array, 0))


@pytest.mark.parametrize("threshold", [None, 128])
def test_what_an_inverted_mask_marks_is_not_its_background(threshold: int | None) -> None:
    array = np.array([0, 255, 255], np.uint8).reshape(1, 1, 1, 3)
    assert marked(array, threshold=threshold, background=255, value=4).tolist() == [[[[4, 0, 0]]]]


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_a_picture_that_is_taken_for_a_mask_is_refused_before_its_counts_fill_the_memory(dtype: type) -> None:
    array = np.arange(1 << 19, dtype=dtype).reshape(1, 8, 256, 256) * 3
    with pytest.raises(CaseError, match="different values"):
        value_counts(array)


@FEW
@given(masks(), st.integers(1, 300))
def test_two_values_change_places_and_back(array: np.ndarray, value: int) -> None:
    there = exchanged(array, 0, value)
    np.testing.assert_array_equal(there == value, array == 0)
    np.testing.assert_array_equal(exchanged(there, 0, value), array)


def test_a_spooled_mask_is_counted_and_changed_like_any_other(tmp_path: Path) -> None:
    spool = Spool(folder=tmp_path, limit_bytes=1)
    array = spool.empty((1, 9, 4, 4), np.uint16)
    array[...] = np.arange(144).reshape(array.shape) % 5
    assert value_counts(array) == {0: 29, 1: 29, 2: 29, 3: 29, 4: 28}
    assert value_counts(marked(array, threshold=3, background=0, value=7, spool=spool)) == {0: 87, 7: 57}


class TestScaled:
    def image(self, array: np.ndarray, *, slope: tuple[float, ...], intercept: float = 0.0) -> Image:
        return Image(array=array, affine=np.eye(4), rescale=Rescale(slope=slope, intercept=(intercept,)))

    def test_a_scale_in_the_header_counts_where_the_values_are_whole(self) -> None:
        array = np.arange(12, dtype=np.int16).reshape(1, 3, 2, 2)
        found = whole_values(self.image(array, slope=(2.0,), intercept=1.0), where="e/c")
        np.testing.assert_array_equal(found, array * 2 + 1)
        assert found.dtype == np.uint8

    def test_each_slice_may_have_its_own(self) -> None:
        array = np.ones((1, 3, 2, 2), np.int16)
        found = whole_values(self.image(array, slope=(1.0, 2.0, 3.0)), where="e/c")
        np.testing.assert_array_equal(found[0, :, 0, 0], [1, 2, 3])

    def test_fractions_are_refused(self) -> None:
        with pytest.raises(CaseError, match=r"annotation\.scaled"):
            whole_values(self.image(np.ones((1, 3, 2, 2), np.int16), slope=(0.3,)), where="e/c")
        with pytest.raises(CaseError, match=r"annotation\.not_a_mask"):
            whole_values(self.image(np.full((1, 3, 2, 2), 0.3, np.float32), slope=(1.0,)), where="e/c")


class TestColours:
    colours = ("#ff0000", "#00ff00")

    def picture(self, *pixels: tuple[int, int, int]) -> np.ndarray:
        return np.array(pixels, np.uint8).T.reshape(3, 1, 1, len(pixels))

    def test_each_colour_is_its_value_and_black_the_background(self) -> None:
        picture = self.picture((255, 0, 0), (0, 0, 0), (0, 255, 0))
        found = values_of_colours(picture, {"#ff0000": 3, "#00ff00": 1}, background=0, where="e/c")
        assert found.tolist() == [[[[3, 0, 1]]]]

    def test_black_is_what_the_entry_says_where_it_does(self) -> None:
        picture = self.picture((255, 255, 255), (0, 0, 0))
        found = values_of_colours(picture, {"#ffffff": 0, "#000000": 1}, background=0, where="e/c")
        assert found.tolist() == [[[[0, 1]]]]

    def test_a_grey_picture_has_equal_channels(self) -> None:
        picture = np.array([0x3F, 0, 0x7E], np.uint8).reshape(1, 1, 1, 3)
        found = values_of_colours(picture, {"#3f3f3f": 1, "#7e7e7e": 2}, background=0, where="e/c")
        assert found.tolist() == [[[[1, 0, 2]]]]

    def test_unknown_colours_are_counted_and_shown(self) -> None:
        picture = self.picture((255, 0, 0), (1, 2, 3), (1, 2, 3), (9, 9, 9))
        with pytest.raises(CaseError, match=r"annotation\.unknown_colours") as error:
            values_of_colours(picture, {"#ff0000": 3}, background=0, where="e/c")
        assert error.value.details == {"colours": "2", "voxels": "3", "examples": "#010203 (2), #090909 (1)"}

    def test_sixteen_bits_are_no_picture(self) -> None:
        with pytest.raises(CaseError, match=r"annotation\.not_a_picture"):
            values_of_colours(np.zeros((1, 1, 2, 2), np.uint16), {"#ff0000": 3}, background=0, where="e/c")

    def test_grey_is_the_mean_without_alpha(self) -> None:
        picture = np.array([30, 60, 91, 255], np.uint8).reshape(4, 1, 1, 1)
        assert grey(picture).tolist() == [[[[60]]]]
