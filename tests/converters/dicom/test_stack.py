"""Where a stack lies: against GDCM by way of SimpleITK, and against the positions themselves."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_dicom import frames, planes, write

from medshard.converters.geometry import affine_from_itk
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

AXIAL, SAGITTAL, CORONAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)


def rotated(seed):
    """A random right-handed pair of row and column directions, as written with six decimals."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return tuple(round(float(v), 6) for v in basis[:2].ravel())


def corners(shape):
    z, y, x = (size - 1 for size in shape)
    return np.array([[0, 0, 0, 1], [z, 0, 0, 1], [0, y, 0, 1], [0, 0, x, 1], [z, y, x, 1]]).T


def by_simpleitk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    oracle = reader.Execute()
    affine = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
    return sitk.GetArrayFromImage(oracle), affine


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, (-1, 0, 0, 0, -1, 0), (0, 1, 0, -1, 0, 0)])
def test_planes_and_postures_are_where_gdcm_puts_them(tmp_path, orientation):
    paths = write(frames(planes(5), modality="MR", orientation=orientation), tmp_path)
    image = read_image(paths, where="e/c")
    voxels, affine = by_simpleitk(tmp_path)
    np.testing.assert_array_equal(image.array[0], voxels)
    np.testing.assert_allclose(image.affine @ corners(image.shape), affine @ corners(image.shape), atol=1e-4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), step=st.floats(0.5, 8.0))
def test_any_oblique_stack_is_where_gdcm_puts_it(tmp_path_factory, seed, step):
    folder = tmp_path_factory.mktemp("oblique")
    made = frames(planes(6), modality="MR", orientation=rotated(seed), spacing=(round(step, 4), 0.9, 0.7))
    image = read_image(write(made, folder), where="e/c")
    voxels, affine = by_simpleitk(folder)
    np.testing.assert_array_equal(image.array[0], voxels)
    np.testing.assert_allclose(image.affine @ corners(image.shape), affine @ corners(image.shape), atol=1e-4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), tilt=st.floats(-25, 25))
def test_under_any_tilt_every_slice_lies_at_its_stated_position(tmp_path_factory, seed, tilt):
    orientation = np.array(rotated(seed))
    normal = np.cross(orientation[:3], orientation[3:])
    step = 3.0 * normal + 3.0 * np.tan(np.radians(tilt)) * orientation[3:]
    made = frames(planes(7), orientation=orientation, step=step)
    header = read_header(write(made, tmp_path_factory.mktemp("tilted")), where="e/c")
    for z, dataset in enumerate(made):
        x, y, up = (float(v) for v in dataset.ImagePositionPatient)
        np.testing.assert_allclose(header.affine @ [z, 0, 0, 1], [-x, -y, up, 1], atol=1e-4)
    if abs(tilt) > 1:
        assert any("gantry tilt" in warning for warning in header.warnings)


def test_orientations_that_differ_in_the_fifth_decimal_are_one_plane(tmp_path):
    made = frames(planes(4))
    made[2].ImageOrientationPatient = [1, 0.00001, 0, -0.00001, 1, 0]
    assert read_header(write(made, tmp_path), where="e/c").shape[0] == 4


@pytest.mark.parametrize("value", [["1", "2"], ["a", "2", "3"], ["nan", "0", "0"]])
def test_a_position_that_is_none_is_an_error_and_no_guess(tmp_path, value):
    (path,) = write(frames(planes(1)), tmp_path)
    text = "\\".join(value)
    content = path.read_bytes()
    at = content.find(b"\x20\x00\x32\x00DS")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(content[: at + 8] + text.encode().ljust(length) + content[at + 8 + length :])
    with pytest.raises(CaseError) as error:
        read_header([path], where="e/c")
    assert "ImagePositionPatient" in str(error.value)


class TestDoseGrid:
    def dose(self, tmp_path, offsets, *, orientation=AXIAL, z=-100.0):
        (made,) = frames(planes(1), orientation=orientation, origin=(0, 0, z), Modality="RTDOSE")
        made.NumberOfFrames = len(offsets)
        made.GridFrameOffsetVector = offsets
        made.PixelData = planes(len(offsets)).tobytes()
        made.DoseGridScaling, made.DoseUnits = "0.5", "GY"
        return read_image(write([made], tmp_path), where="e/c")

    @pytest.mark.parametrize(
        ("offsets", "orientation", "heights"),
        [
            ([0, 2, 4], AXIAL, [-100, -98, -96]),
            ([0, -2, -4], AXIAL, [-104, -102, -100]),
            ([-100, -98, -96], AXIAL, [-100, -98, -96]),
            ([-100, -102, -104], AXIAL, [-104, -102, -100]),
            ([-100, -98, -96], (1, 0, 0, 0, -1, 0), [-96, -98, -100]),
            ([0, 2, 4], (1, 0, 0, 0, -1, 0), [-100, -102, -104]),
        ],
    )
    def test_offsets_may_be_relative_or_absolute_up_or_down(self, tmp_path, offsets, orientation, heights):
        image = self.dose(tmp_path, offsets, orientation=orientation)
        assert [float((image.affine @ [z, 0, 0, 1])[2]) for z in range(3)] == pytest.approx(heights)
        first = heights.index(-100)
        np.testing.assert_array_equal(image.array[0, first], planes(3)[0])


def test_what_rounding_leaves_across_the_slices_is_no_shear(tmp_path):
    """Positions of three decimals drift off the normal by less than a thousandth; GDCM steps along the normal."""
    made = frames(planes(20), modality="MR", orientation=rotated(3))
    for dataset in made:
        dataset.ImagePositionPatient = [round(float(v), 3) for v in dataset.ImagePositionPatient]
    image = read_image(write(made, tmp_path), where="e/c")
    step, row, column = image.affine[:3, 0], image.affine[:3, 2], image.affine[:3, 1]
    assert abs(step @ row) < 1e-9
    assert abs(step @ column) < 1e-9
    voxels, affine = by_simpleitk(tmp_path)
    np.testing.assert_array_equal(image.array[0], voxels)
    np.testing.assert_allclose(image.affine @ corners(image.shape), affine @ corners(image.shape), atol=1e-4)
