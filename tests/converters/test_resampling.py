"""Resampling: equal to scipy where it must be, band-limited where the grid gets coarser, exact in space."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import nibabel
import nilearn
import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medshard.converters import axis_products
from medshard.converters.axis_matrices import axis_weights
from medshard.converters.missing_voxels import fill_not_finite, touched_mask
from medshard.converters.nnunet_labels import resize_like_nnunet
from medshard.converters.resampling import (
    resample_array,
    resample_onto,
    resample_slabs,
    separate_axis,
    target_grid,
)
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


def zoomed_slices(volume: NDArray, shape: tuple[int, ...], axis: int) -> NDArray[np.float64]:
    """The same with separate z: every slice across the axis on its own, then the nearest of them."""
    flat = tuple(n for number, n in enumerate(shape) if number != axis)
    slices = np.stack([zoomed(plane, flat) for plane in np.moveaxis(volume, axis, 0)])
    places = (np.arange(shape[axis]) + 0.5) * volume.shape[axis] / shape[axis] - 0.5
    nearest = ndimage.map_coordinates(np.arange(volume.shape[axis]), places[None], order=0, mode="nearest")
    return np.moveaxis(slices[nearest], 0, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(45, 90, 75), (20, 51, 44), (30, 70, 60), (29, 70, 71)])
def test_slice_by_slice_is_the_separate_z_of_nnu_net(shape, axis):
    scan = head_mr()
    ours = resample_array(scan[None], shape, antialias=False, slices=axis)
    np.testing.assert_allclose(ours[0], zoomed_slices(scan, shape, axis), atol=0.01)


@pytest.mark.parametrize(
    ("before", "after", "axis"),
    [
        ((5.0, 0.7, 0.7), (1.0, 1.0, 1.0), 0),
        ((0.7, 0.7, 5.0), (1.0, 1.0, 1.0), 2),
        ((1.0, 1.0, 1.0), (0.8, 4.0, 0.8), 1),
        ((3.0, 1.0, 1.0), (3.0, 1.0, 1.0), None),
        ((0.24, 1.25, 1.25), (5.0, 1.0, 1.0), None),
        ((5.0, 1.0, 1.0), (0.5, 0.5, 5.0), 0),
    ],
    ids=["before", "another axis", "after", "three is not more", "two coarse axes", "before goes first"],
)
def test_the_axis_of_separate_slices_is_the_one_of_nnu_net(before, after, axis):
    assert separate_axis(before, after) == axis


PEER_SCRIPT = """
import sys
import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis, resample_data_or_seg
given = np.load(sys.argv[1])
made = {}
for name in given["names"]:
    shape, axis = tuple(given[name + "_shape"]), int(given[name + "_axis"])
    for part, is_seg, order in (("image", False, 3), ("labels", True, 1)):
        made[name + "_" + part] = resample_data_or_seg(
            given[part][None], shape, is_seg, axis if axis >= 0 else None, order, axis >= 0, order_z=0)[0]
axes = [determine_do_sep_z_and_axis(None, *pair)[1] for pair in given["spacings"]]
made["axes"] = np.array([-1 if axis is None else int(axis) for axis in axes])
np.savez(sys.argv[2], **made)
"""


@pytest.mark.skipif("MEDSHARD_PEERS" not in os.environ, reason="MEDSHARD_PEERS names no Python that has nnunetv2")
def test_images_labels_and_the_axis_are_those_of_nnu_net_itself(tmp_path):
    scan = head_mr()
    image = scan.astype(np.float32) * 16 - 1000
    labels = np.digitize(scan, [40, 90, 130]).astype(np.int16) - 1
    shapes = [(45, 90, 75), (20, 51, 44), (30, 140, 120)]
    cases = {f"{n}{axis}": (shape, axis) for n, shape in enumerate(shapes) for axis in (-1, 0, 1, 2)}
    spacings = np.random.default_rng(0).choice([0.5, 1.0, 2.0, 4.0], (200, 2, 3))
    given = {f"{name}_shape": shape for name, (shape, _) in cases.items()}
    given |= {f"{name}_axis": axis for name, (_, axis) in cases.items()}
    np.savez(tmp_path / "in.npz", names=list(cases), image=image, labels=labels, spacings=spacings, **given)
    run = [os.environ["MEDSHARD_PEERS"], "-c", PEER_SCRIPT, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(run, check=True, capture_output=True)
    theirs = np.load(tmp_path / "out.npz")
    for name, (shape, axis) in cases.items():
        slices = axis if axis >= 0 else None
        ours = resample_array(image[None], shape, antialias=False, slices=slices)[0]
        np.testing.assert_allclose(ours, theirs[f"{name}_image"], atol=0.01, err_msg=name)
        assert np.array_equal(resize_like_nnunet(labels, shape, slices=slices), theirs[f"{name}_labels"]), name
    assert [-1 if (a := separate_axis(*pair)) is None else a for pair in spacings] == theirs["axes"].tolist()


def rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_the_low_pass_removes_what_the_coarser_grid_cannot_hold_and_keeps_the_rest(axes):
    """A zone plate, cos(pi r^2 / 2n), whose frequency grows with r up to half a cycle per voxel, three times down."""
    n = 300 if len(axes) == 3 else 900
    shape = tuple(n if axis in axes else 1 for axis in range(3))
    shape_out = tuple(m // 3 if m > 1 else 1 for m in shape)

    def plate(counts, step):
        places = [((np.arange(m) + 0.5) * step if m > 1 else np.zeros(1)) for m in counts]
        squares = sum(place**2 for place in np.meshgrid(*places, indexing="ij", sparse=True))
        return np.cos(np.pi / (2 * n) * squares.astype(np.float32)), np.sqrt(squares) / (2 * n)

    chirp, _ = plate(shape, 1.0)
    ideal, frequency = plate(shape_out, 3.0)
    inside, outside = frequency <= 1 / 6, frequency > 1 / 6
    aliased = resample_array(chirp[None], shape_out, antialias=False)[0]
    low_passed = resample_array(chirp[None], shape_out, antialias=True)[0]
    assert rms(aliased[outside]) > 0.65
    assert rms(low_passed[outside]) < 0.10
    assert rms((low_passed - ideal)[inside]) < 0.05
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


@pytest.mark.parametrize("shape", [(47, 60, 71), (131, 60, 71), (20, 30, 70)], ids=["mixed", "up", "down"])
@pytest.mark.parametrize("size", [1, 20_000, 100_000_000])
def test_the_size_of_slabs_does_not_change_a_bit(monkeypatch, size, shape):
    scan = head_mr()[None]
    expected = resample_array(scan, shape)
    monkeypatch.setattr(axis_products, "SLAB_BYTES", size)
    monkeypatch.setattr(axis_products, "MOST_SLICES", max(1, size // 1_000_000))
    assert resample_array(scan, shape).tobytes() == expected.tobytes()


@pytest.mark.skipif(axis_products.axis_kernel is None, reason="the compiled kernel is not built here")
@pytest.mark.parametrize("shape", [(47, 64, 71), (131, 60, 30), (30, 30, 70), (1, 64, 64)])
def test_without_the_compiled_kernel_no_bit_is_different(monkeypatch, shape):
    scan = head_mr()[None]
    compiled = resample_array(scan, shape)
    monkeypatch.setattr(axis_products, "axis_kernel", None)
    assert resample_array(scan, shape).tobytes() == compiled.tobytes()


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


@pytest.mark.parametrize("slices", [None, 0, 1])
def test_slabs_are_the_slices_of_the_whole(slices):
    scan = np.stack([head_mr(), head_mr()[::-1]])
    whole = resample_array(scan, (51, 60, 77), antialias=False, slices=slices)
    slabs = list(resample_slabs(scan, (51, 60, 77), antialias=False, slices=slices))
    assert [slab.start for slab in slabs] == np.cumsum([0, *(slab.values.shape[1] for slab in slabs)])[:-1].tolist()
    assert np.concatenate([slab.values for slab in slabs], axis=1).tobytes() == whole.tobytes()


MEMORY_SCRIPT = """
import sys
import numpy as np
from medshard.converters.resampling import resample_array
def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
shape, shape_out = eval(sys.argv[1])
resample_array(np.zeros((1, 8, 8, 8), np.int16), (9, 9, 9))
before = kib("VmRSS:")
image = np.ones((1, *shape), np.int16)
out = resample_array(image, shape_out)
print(1024 * (kib("VmHWM:") - before) / (image.nbytes + out.nbytes))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak in /proc")
@pytest.mark.parametrize(
    "shapes", [((100, 400, 400), (150, 380, 380)), ((150, 400, 400), (50, 300, 300)), ((40, 300, 300), (30, 600, 600))]
)
def test_a_process_needs_no_more_than_half_again_of_integers_and_output(shapes):
    run = subprocess.run([sys.executable, "-c", MEMORY_SCRIPT, repr(shapes)], check=True, capture_output=True)
    assert 1.0 <= float(run.stdout) <= 1.5


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


def test_a_rotation_there_and_back_returns_the_image():
    scan = ndimage.gaussian_filter(head_mr().astype(np.float32), 1.0)
    affine = np.eye(4)
    turned = _affine((9, -12, 15), (1.0, 1.0, 1.0), (0, 0, 0))
    turned[:3, 3] = np.array(scan.shape) / 2 - turned[:3, :3] @ np.full(3, 50.0)
    there = resample_onto(Image(array=scan[None], affine=affine), (100, 100, 100), turned)
    back = resample_onto(Image(array=there, affine=turned), scan.shape, affine)[0]
    middle = (slice(6, -6),) * 3
    assert rms((back - scan)[middle]) < 0.01 * np.ptp(scan)


def test_a_turned_grid_reads_what_simpleitk_reads():
    scan = head_mr().astype(np.float32)
    angles = (12, -7, 25)
    # No affine of ours: in (x, y, z), of a grid of 1.0 mm steps through the middle of the scan.
    source = SimpleITK.GetImageFromArray(scan)
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    origin = np.array([12.0, 18.0, 14.0])
    reference = SimpleITK.Image(24, 26, 28, SimpleITK.sitkFloat32)
    reference.SetDirection(direction.ravel().tolist())
    reference.SetOrigin(origin.tolist())
    theirs = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(source, reference, SimpleITK.Transform(), SimpleITK.sitkBSpline, -1.0)
    )
    own = np.eye(4)[:, [2, 1, 0, 3]]  # (z, y, x) -> x, y, z
    grid = np.eye(4)
    grid[:3, :3] = direction[:, ::-1]
    grid[:3, 3] = origin
    ours = resample_onto(Image(array=scan[None], affine=own), (28, 26, 24), grid, antialias=False)[0]
    # Near the edges the two differ in what they take to be beyond.
    index = np.stack([*np.meshgrid(*map(np.arange, ours.shape), indexing="ij"), np.ones(ours.shape)])
    places = np.einsum("ij,j...->i...", np.linalg.inv(own) @ grid, index)[:3]
    last = np.array(scan.shape)[:, None, None, None] - 1
    clear = np.all((places >= 4) & (places <= last - 4), axis=0)
    assert clear.mean() > 0.2
    assert np.abs(ours - np.clip(theirs, scan.min(), scan.max()))[clear].max() < 0.01 * np.ptp(scan)


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, 5, -10)], ids=["parallel axes", "turned axes"])
def test_a_coarser_grid_holds_no_more_than_it_can(angles):
    """A wave of 2.5 voxels has no place on a grid of 3."""
    z = np.arange(90)
    wave = np.broadcast_to(100 * np.sin(2 * np.pi * z / 2.5)[:, None, None], (90, 90, 90)).astype(np.float32)
    grid = _affine((0, 0, 0), (3.0, 3.0, 3.0), (0, 0, 0))
    grid[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * 3.0
    grid[:3, 3] = 45 - grid[:3, :3] @ np.full(3, 7.0)
    image = Image(array=wave[None], affine=np.eye(4))
    assert rms(resample_onto(image, (15, 15, 15), grid, antialias=False)) > 50
    assert rms(resample_onto(image, (15, 15, 15), grid)) < 5


def test_a_blob_does_not_move_on_turned_axes():
    centre = np.array([24.3, 26.1, 25.4])
    grid = np.stack(np.meshgrid(*[np.arange(50)] * 3, indexing="ij"))
    blob = np.exp(-0.5 * ((grid - centre[:, None, None, None]) ** 2).sum(0) / 3.0**2).astype(np.float32)
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (20, -14, 33), degrees=True).as_matrix() * 1.7
    turned[:3, 3] = 25 - turned[:3, :3] @ np.full(3, 14.0)
    out = resample_onto(Image(array=blob[None], affine=np.eye(4)), (28, 28, 28), turned)[0].astype(np.float64)
    found = [(out * axis).sum() / out.sum() for axis in np.meshgrid(*[np.arange(28)] * 3, indexing="ij")]
    assert np.abs((turned @ [*found, 1.0])[:3] - centre).max() < 0.02


@pytest.mark.parametrize("slope", [2.0, -0.5])
def test_the_rescale_comes_after_resampling_and_means_the_same(slope):
    image = Image(
        array=head_mr()[None].astype(np.int16), affine=np.eye(4), rescale=Rescale(slope=(slope,), intercept=(-7.0,))
    )
    physical = Image(array=image.rescale.apply(image.array), affine=np.eye(4))
    grid = np.diag([1.3, 0.9, 1.1, 1.0])
    grid[:3, 3] = (-4.0, 3.0, 2.0)
    np.testing.assert_allclose(
        resample_onto(image, (30, 40, 40), grid), resample_onto(physical, (30, 40, 40), grid), atol=2e-3
    )


def test_voxels_without_a_number_take_the_nearest_value_and_are_remembered():
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    image[1, 1, 1], image[2, 3, 4] = np.nan, np.inf
    filled, mask = fill_not_finite(image)
    assert np.argwhere(mask).tolist() == [[1, 1, 1], [2, 3, 4]]
    assert filled[1, 1, 1] in {image[0, 1, 1], image[2, 1, 1], image[1, 0, 1], image[1, 2, 1], image[1, 1, 0], 27.0}
    assert filled[2, 3, 4] in {image[1, 3, 4], image[2, 2, 4], image[2, 3, 3]}
    assert np.array_equal(filled[~mask], image[~mask])


def test_an_image_of_numbers_is_not_copied():
    for image in (np.ones((2, 3, 4), np.float32), np.ones((2, 3, 4), np.int16)):
        filled, mask = fill_not_finite(image)
        assert filled is image
        assert not mask.any()


def test_an_image_without_any_number_is_refused():
    with pytest.raises(CaseError) as caught:
        fill_not_finite(np.full((2, 2, 2), np.nan), "entry/case")
    assert (caught.value.code, caught.value.where) == ("image.nothing_finite", "entry/case")


def test_a_mask_touches_every_voxel_that_it_reaches():
    mask = np.zeros((12, 12, 12), np.bool_)
    mask[5, 5, 5] = True
    assert np.argwhere(touched_mask(mask, (6, 6, 6))).min(axis=0).tolist() == [2, 2, 2]
    assert touched_mask(mask, (6, 6, 6))[2, 2, 2]
    assert touched_mask(mask, (24, 24, 24))[10:12, 10:12, 10:12].all()
    assert not touched_mask(mask, (24, 24, 24))[13:].any()
