"""Resampling: equal to scipy where it must be, band-limited where the grid gets coarser, exact in space."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel
import nilearn
import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medshard.converters import resampling
from medshard.converters.resampling import axis_weights, resample_array, resample_onto, target_grid
from medshard.converters.volume import Image, Rescale, spacing_of
from medshard.errors import CaseError


def head_mr() -> NDArray[np.uint8]:
    """A crop (z, y, x) of the ICBM 152 T1 that nilearn carries."""
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    scan = nibabel.load(folder / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(scan.dataobj[60:120, 80:150, 70:100]).T


def body_ct() -> NDArray[np.float32]:
    """One CT slice (1, y, x) in HU."""
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    return (dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept))[None].astype("f4")


def zoomed(volume: NDArray, shape: tuple[int, ...], order: int = 3) -> NDArray[np.float64]:
    """What nnU-Net's default makes of it (without separate z): spline, no low-pass, clipped to the input's range."""
    factors = [m / n for n, m in zip(volume.shape, shape, strict=True)]
    out = ndimage.zoom(volume.astype(np.float64), factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(out, volume.min(), volume.max())


@pytest.mark.parametrize(("kernel", "order"), [("cubic", 3), ("linear", 1)])
@pytest.mark.parametrize(("n_in", "n_out"), [(7, 13), (61, 94), (2, 9), (40, 41), (40, 17)])
def test_weights_without_low_pass_are_those_of_scipy(n_in, n_out, kernel, order):
    weights = axis_weights(n_in, n_out, kernel=kernel, antialias=False)
    expected = [ndimage.zoom(unit, n_out / n_in, order=order, mode="nearest", grid_mode=True) for unit in np.eye(n_in)]
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, np.stack(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("kernel", ["cubic", "linear", "nearest"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (1, 4), (9, 1), (9, 9), (50, 17), (17, 50)])
def test_rows_of_weights_sum_to_one_and_have_no_denormal_tails(n_in, n_out, kernel, antialias):
    weights = axis_weights(n_in, n_out, kernel=kernel, antialias=antialias)
    assert weights.shape == (n_out, n_in)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert np.abs(weights[weights != 0]).min() >= 1e-9


def test_an_axis_that_keeps_its_length_keeps_its_values():
    assert np.array_equal(axis_weights(12, 12, kernel="cubic", antialias=True), np.eye(12))


@pytest.mark.parametrize("shape", [(45, 90, 75), (30, 70, 60), (20, 51, 44), (45, 50, 61)])
def test_a_real_mr_scan_comes_out_as_the_cubic_spline_of_nnu_net(shape):
    scan = head_mr()
    ours = resample_array(scan[None], shape, kernel="cubic", antialias=False)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours[0], zoomed(scan, shape), atol=0.01)


def test_a_real_ct_slice_comes_out_as_the_cubic_spline_of_nnu_net():
    scan = body_ct()
    ours = resample_array(scan[None], (1, 200, 97), kernel="cubic", antialias=False)
    np.testing.assert_allclose(ours[0], zoomed(scan, (1, 200, 97)), atol=0.01)


def test_the_low_pass_removes_what_the_coarser_grid_cannot_hold_and_keeps_the_rest():
    n_in, n_out = 900, 300
    at = np.arange(n_in) + 0.5
    centres = (np.arange(n_out) + 0.5) * 3
    frequency = centres / (2 * n_in)  # of the chirp, cycles per input sample, up to 0.5
    chirp, ideal = np.cos(np.pi * at**2 / (2 * n_in)), np.cos(np.pi * centres**2 / (2 * n_in))
    inside, outside = frequency <= 1 / 6, frequency > 1 / 6

    def rms(values):
        return float(np.sqrt(np.mean(values**2)))

    low_passed = axis_weights(n_in, n_out, kernel="cubic", antialias=True) @ chirp
    aliased = axis_weights(n_in, n_out, kernel="cubic", antialias=False) @ chirp
    assert rms(aliased[outside]) > 0.65
    assert rms(low_passed[outside]) < 0.05
    assert rms((low_passed - ideal)[inside]) < 0.055
    assert rms((low_passed - ideal)[frequency <= 0.8 / 6]) < 0.01


def test_values_stay_within_the_range_of_each_channel():
    step = np.zeros((2, 4, 30, 30), np.int16)
    step[0, :, :, 15:] = 1000
    step[1, :, 10:, :] = -50
    out = resample_array(step, (9, 41, 13))
    assert (out[0].min(), out[0].max()) == (0.0, 1000.0)
    assert (out[1].min(), out[1].max()) == (-50.0, 0.0)


def test_a_constant_image_stays_constant_to_the_last_bit():
    assert np.all(resample_array(np.full((1, 9, 20, 31), 1234.5, np.float32), (14, 11, 47)) == 1234.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_voxel_without_a_number_is_refused_by_name(bad):
    image = np.zeros((1, 4, 5, 6), np.float32)
    image[0, 1, 2, 3] = bad
    with pytest.raises(CaseError) as caught:
        resample_array(image, (4, 5, 12), where="entry/case-7")
    assert caught.value.code == "image.not_finite"
    assert caught.value.where == "entry/case-7"
    assert caught.value.details == {"voxels": "1 of 120", "first": "(z, y, x) = (1, 2, 3)"}


@pytest.mark.parametrize("rows", [1, 64, 10_000, 10_000_000])
def test_the_size_of_slabs_does_not_change_a_bit(monkeypatch, rows):
    scan = head_mr()[None]
    expected = resample_array(scan, (47, 60, 71))
    monkeypatch.setattr(resampling, "SLAB_VALUES", rows)
    assert resample_array(scan, (47, 60, 71)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(90, 96, 96), (30, 192, 192), (60, 48, 48), (15, 96, 96), (59, 95, 30)])
def test_memory_stays_below_half_again_of_input_and_output(shape):
    image = np.random.default_rng(0).normal(size=(1, 60, 96, 96)).astype(np.float32)
    resample_array(image, shape)  # the weights stay in their cache
    tracemalloc.start()
    resample_array(image, shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    both = image.nbytes + 4 * np.prod(shape)
    assert image.nbytes + peak <= 1.5 * both + 600_000  # slabs and planes


def _affine(angles, spacing, origin):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, ::-1] * spacing
    affine[:3, 3] = origin
    return affine


affines = st.builds(
    _affine,
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.tuples(*[st.floats(0.3, 6.0)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
)
shapes = st.tuples(*[st.integers(1, 60)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)


@settings(max_examples=60, deadline=None)
@given(shapes, affines, spacings)
def test_the_outer_edges_of_the_field_of_view_stay_where_they_are(shape, affine, spacing):
    shape_out, affine_out = target_grid(shape, affine, spacing)
    for corner in np.ndindex(2, 2, 2):
        before = affine @ [*(np.array(corner) * shape - 0.5), 1.0]
        after = affine_out @ [*(np.array(corner) * shape_out - 0.5), 1.0]
        np.testing.assert_allclose(after, before, atol=1e-9 * max(1.0, np.abs(before).max()))


@settings(max_examples=60, deadline=None)
@given(shapes, affines, spacings)
def test_the_new_voxels_have_about_the_size_that_was_asked_for(shape, affine, spacing):
    shape_out, affine_out = target_grid(shape, affine, spacing)
    for n, m, before, after, asked in zip(
        shape, shape_out, spacing_of(affine), spacing_of(affine_out), spacing, strict=True
    ):
        if n == 1:
            assert m == 1
            assert after == pytest.approx(before)
        else:
            assert abs(m - n * before / asked) <= 0.5 + 1e-9 or m == 1
            assert m * after == pytest.approx(n * before)


@settings(max_examples=25, deadline=None)
@given(affines, st.tuples(*[st.floats(0.6, 1.9)] * 3), st.sampled_from(["cubic", "linear"]))
def test_landmarks_do_not_move(affine, ratios, kernel):
    """A blob's centre of mass lies at the same millimetre before and after."""
    shape = (24, 26, 28)
    centre = np.array([11.3, 13.1, 14.4])
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    blob = np.exp(-0.5 * ((grid - centre[:, None, None, None]) ** 2).sum(0) / 2.0**2)
    shape_out, affine_out = target_grid(shape, affine, tuple(np.array(spacing_of(affine)) * ratios))
    out = resample_array(blob[None], shape_out, kernel=kernel)[0].astype(np.float64)
    found = [float((out * axis).sum() / out.sum()) for axis in np.meshgrid(*map(np.arange, shape_out), indexing="ij")]
    moved_mm = (affine_out @ [*found, 1.0] - affine @ [*centre, 1.0])[:3]
    moved_voxels = np.linalg.inv(affine[:3, :3]) @ moved_mm
    assert np.abs(moved_voxels).max() < 0.02


def _smooth_image(affine, shape, function):
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)])
    world = np.einsum("ij,j...->i...", affine, index)
    return function(*world[:3])


def _wave(x, y, z):
    return 100 * np.sin(x / 9) + 50 * np.cos(y / 11) + 30 * np.sin(z / 8)


@pytest.mark.parametrize(
    ("angles", "tolerance"), [((0, 0, 0), 0.2), ((12, -7, 25), 0.6)], ids=["parallel axes", "turned axes"]
)
def test_an_image_on_another_grid_is_read_where_the_reference_lies(angles, tolerance):
    other = _affine((0, 0, 0), (1.5, 1.2, 1.1), (-20, -20, -20))
    image = Image(array=_smooth_image(other, (40, 45, 50), _wave)[None].astype("f4"), affine=other)
    reference = _affine(angles, (1.3, 1.4, 1.6), (0.4, -3.1, -2.2))
    out = resample_onto(image, (9, 8, 7), reference)
    np.testing.assert_allclose(out[0], _smooth_image(reference, (9, 8, 7), _wave), atol=tolerance)


def test_reading_onto_a_parallel_grid_equals_scipy_at_the_same_points():
    scan = head_mr()
    affine = _affine((5, 8, -3), (1.0, 1.0, 1.0), (10, 20, 30))
    index_map = np.diag([0.8, 0.9, 0.7, 1.0])
    index_map[:3, 3] = (3.3, 5.7, 2.2)
    out = resample_onto(Image(array=scan[None], affine=affine), (20, 30, 31), affine @ index_map)
    points = [
        start + step * np.arange(n)
        for step, start, n in zip((0.8, 0.9, 0.7), (3.3, 5.7, 2.2), (20, 30, 31), strict=True)
    ]
    expected = ndimage.map_coordinates(scan.astype(float), np.meshgrid(*points, indexing="ij"), mode="nearest")
    np.testing.assert_allclose(out[0], np.clip(expected, scan.min(), scan.max()), atol=0.01)


@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_outside_its_field_of_view_an_image_has_its_lowest_value(angle):
    affine = _affine((0, 0, 0), (1, 1, 1), (0, 0, 0))
    image = Image(array=np.full((1, 10, 10, 10), 40, np.int16), affine=affine, rescale=Rescale(unit="HU"))
    image.array[0, 0, 0, 0] = -1000
    far = _affine((0, 0, angle), (1, 1, 1), (500, 500, 500))
    assert np.all(resample_onto(image, (3, 4, 5), far) == -1000)


def test_onto_its_own_grid_an_image_comes_unchanged_in_physical_units():
    affine = _affine((10, 20, 30), (1.5, 0.7, 0.7), (3, 2, 1))
    image = Image(array=head_mr()[None], affine=affine, rescale=Rescale(slope=(0.5,), intercept=(-7.0,)))
    out = resample_onto(image, image.shape, affine)
    assert np.array_equal(out, image.array * np.float32(0.5) - 7)


def test_per_slice_rescale_is_applied_before_slices_are_mixed():
    image = Image(
        array=np.full((1, 2, 4, 4), 10, np.int16), affine=np.eye(4), rescale=Rescale(slope=(1.0, 3.0), intercept=(0.0,))
    )
    finer = np.diag([0.5, 1.0, 1.0, 1.0])
    finer[0, 3] = -0.25
    out = resample_onto(image, (4, 4, 4), finer, kernel="linear")
    np.testing.assert_allclose(out[0, :, 0, 0], [10, 15, 25, 30])
