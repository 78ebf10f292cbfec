"""Affines and canonical orientation."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.spatial.transform import Rotation

from medshard.converters import geometry
from medshard.converters.volume import Affine, Image, LabelLayer, Rescale, Volume, spacing_of
from medshard.errors import CaseError

FEW = settings(max_examples=25, deadline=None)
SHAPE = (3, 4, 5)


def rotation_matrices(largest_degrees: float = 180.0) -> st.SearchStrategy[np.ndarray]:
    vectors = npst.arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1)
    return st.builds(
        lambda axis, degrees: Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(degrees)).as_matrix(),
        vectors,
        st.floats(0, largest_degrees),
    )


@st.composite
def oblique_affines(draw: st.DrawFn, largest_degrees: float = 180.0) -> Affine:
    """Rotated, anisotropic, sheared along one axis as by a tilted gantry, and sometimes mirrored."""
    linear = draw(rotation_matrices(largest_degrees)) @ np.diag(
        draw(npst.arrays(np.float64, 3, elements=st.floats(0.3, 6)))
    )
    linear[:, 0] += linear[:, 1] * draw(st.floats(-0.2, 0.2))
    linear[:, 2] *= draw(st.sampled_from((1.0, -1.0)))
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = draw(npst.arrays(np.float64, 3, elements=st.floats(-300, 300)))
    return affine


def world(affine: Affine, index: tuple[int, ...]) -> np.ndarray:
    return (affine @ np.array([*index, 1.0]))[:3]


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def signed_axes() -> Affine:
    """z to Superior, y to Posterior, x to Left: what most CT files have."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 5.0, -0.7, -0.7, 1.0
    affine[:3, 3] = (120.0, 130.0, -500.0)
    return affine


class TestAffines:
    @FEW
    @given(rotation_matrices(), st.tuples(*[st.floats(0.2, 5)] * 3), st.tuples(*[st.floats(-200, 200)] * 3))
    def test_an_itk_index_lies_where_itk_puts_it(self, direction, spacing, origin):
        image = sitk.Image(5, 4, 3, sitk.sitkUInt8)
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction.ravel().tolist())
        affine = geometry.affine_from_itk(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
        lps = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2)))
        np.testing.assert_allclose(world(affine, (2, 3, 4)), lps * (-1, -1, 1), atol=1e-4)

    def test_a_two_dimensional_itk_image_lies_in_one_plane_with_a_step_of_one_mm(self):
        affine = geometry.affine_from_itk((10.0, 20.0), (0.5, 0.25), (1.0, 0.0, 0.0, 1.0))
        assert spacing_of(affine) == (1.0, 0.25, 0.5)
        np.testing.assert_array_equal(world(affine, (0, 4, 2)), (-11.0, -21.0, 0.0))

    @FEW
    @given(oblique_affines())
    def test_a_nifti_index_lies_where_nibabel_puts_it(self, xyz_affine):
        affine = geometry.affine_from_nifti(xyz_affine)
        expected = nibabel.affines.apply_affine(xyz_affine, (4, 3, 2))
        np.testing.assert_allclose(world(affine, (2, 3, 4)), expected, atol=1e-9)

    def test_a_dicom_pixel_lies_where_the_standard_puts_it(self):
        row, column = np.array([0.8, 0.6, 0.0]), np.array([-0.6, 0.8, 0.0])
        position, step = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 2.0])
        affine = geometry.affine_from_dicom([*row, *column], position, step, (0.7, 0.9))
        lps = position + 2 * step + 3 * 0.7 * column + 4 * 0.9 * row
        np.testing.assert_allclose(world(affine, (2, 3, 4)), lps * (-1, -1, 1), atol=1e-12)

    def test_equal_affines_have_equal_bytes(self):
        affine = geometry.affine_from_itk((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), np.eye(3).ravel())
        assert not np.signbit(affine[affine == 0]).any()

    @pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
    def test_a_grid_that_spans_no_space_is_refused(self, broken):
        affine = signed_axes()
        affine[:3, 0] = broken
        with pytest.raises(CaseError) as error:
            geometry.check_affine(affine, where="entry/case", file="scan.nii")
        assert error.value.code == "geometry.singular"

    def test_a_voxel_of_a_micrometre_is_no_singular_grid(self):
        geometry.check_affine(np.diag([1e-3, 1e-3, 1e-3, 1.0]), where="entry/case", file="scan.nii")
        assert np.linalg.det(np.diag([1e-3, 1e-3, 1e-3])) < 1e-8


class TestCanonicalOrientation:
    @FEW
    @given(oblique_affines())
    def test_every_voxel_keeps_its_place_in_the_world(self, affine):
        array = numbered(SHAPE)
        turned, turned_affine = geometry.to_canonical(array, affine)
        assert sorted(turned.shape) == sorted(SHAPE)
        for index in np.ndindex(turned.shape):
            old = tuple(int(i) for i in np.argwhere(array == turned[index])[0])
            np.testing.assert_allclose(world(turned_affine, index), world(affine, old), atol=1e-9)

    @FEW
    @given(oblique_affines())
    def test_a_second_time_changes_nothing(self, affine):
        array, once = geometry.to_canonical(numbered(SHAPE), affine)
        again, twice = geometry.to_canonical(array, once)
        np.testing.assert_array_equal(again, array)
        np.testing.assert_array_equal(twice, once)

    @FEW
    @given(rotation_matrices(35.0), st.sampled_from(geometry.ALL_ORIENTATIONS))
    def test_up_to_35_degrees_it_is_what_nibabel_calls_closest_canonical(self, rotation, orientation):
        affine = geometry.reorient_affine(np.eye(4), SHAPE, orientation)
        affine[:3, :3] = rotation @ affine[:3, :3]
        array, canonical = geometry.to_canonical(numbered(SHAPE), affine)
        xyz = nibabel.Nifti1Image(numbered(SHAPE).T, affine[:, [2, 1, 0, 3]])
        expected = nibabel.as_closest_canonical(xyz)
        np.testing.assert_array_equal(array.T, np.asarray(expected.dataobj))
        np.testing.assert_allclose(canonical[:, [2, 1, 0, 3]], expected.affine, atol=1e-9)

    def test_two_axes_that_both_lean_most_to_one_world_axis_are_still_told_apart(self):
        linear = Rotation.from_euler("xyz", (40, 40, 40), degrees=True).as_matrix()
        affine = np.eye(4)
        for degrees in range(90):
            affine[:3, :3] = linear @ Rotation.from_euler("z", degrees, degrees=True).as_matrix()
            nearest = np.abs(affine[:3, :3]).argmax(axis=0)
            if len(set(nearest)) < 3:
                break
        assert len(set(nearest)) < 3, "the example must defeat a choice axis by axis"
        assert sorted(geometry.canonical_orientation(affine).axes) == [0, 1, 2]

    def test_a_tie_leaves_the_axes_in_their_order(self):
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("x", 45, degrees=True).as_matrix()[:, ::-1]
        assert geometry.canonical_orientation(affine).axes == (0, 1, 2)

    def test_time_and_channels_stay_in_front(self):
        array = numbered((2, 3, *SHAPE))
        turned, _ = geometry.to_canonical(array, signed_axes())
        np.testing.assert_array_equal(turned, array[..., ::-1, ::-1])

    def test_nothing_is_copied(self):
        array = numbered((2, 3, *SHAPE))
        assert np.shares_memory(geometry.to_canonical(array, signed_axes())[0], array)

    def test_a_picture_without_geometry_is_left_alone(self):
        assert geometry.canonical_orientation(geometry.pixel_grid_affine()).is_identity

    def test_a_whole_case_is_brought_over(self):
        array = numbered((1, *SHAPE))
        image = Image(array=array, affine=signed_axes())
        layer = LabelLayer(array=array, affine=signed_axes(), classes={1: "liver"}, examined=("liver",))
        volume = geometry.canonical_volume(
            Volume(entry="e", case="c", patient="p", images={"ct": image}, labels={"liver": layer})
        )
        np.testing.assert_array_equal(volume.images["ct"].array, array[..., ::-1, ::-1])
        np.testing.assert_array_equal(volume.labels["liver"].array, array[..., ::-1, ::-1])
        assert spacing_of(volume.images["ct"].affine) == spacing_of(signed_axes())


class TestRescalePerSlice:
    rescale = Rescale(slope=(1.0, 2.0, 3.0), intercept=(0.0, 10.0, 20.0))

    @pytest.mark.parametrize("flipped", [False, True])
    def test_it_follows_its_slices(self, flipped):
        affine = np.diag([-1.0 if flipped else 1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
        image = Image(array=numbered((1, *SHAPE)), affine=affine, rescale=self.rescale)
        turned = geometry.reorient_image(image, geometry.canonical_orientation(affine), where="e/c")
        expected = image.rescale.apply(image.array)
        np.testing.assert_array_equal(turned.rescale.apply(turned.array), expected[:, ::-1] if flipped else expected)

    def test_it_cannot_follow_slices_that_no_longer_lie_along_z(self):
        image = Image(array=numbered((1, *SHAPE)), affine=np.eye(4), rescale=self.rescale)
        with pytest.raises(CaseError) as error:
            geometry.reorient_image(image, geometry.canonical_orientation(np.eye(4)), where="e/c")
        assert error.value.code == "geometry.per_slice_rescale"
        assert error.value.where == "e/c"
