"""NIfTI files of volumes: read by nibabel, SimpleITK and medshard itself, voxel by voxel and affine by affine."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medshard.converters.canonical import read_volume
from medshard.converters.conversion import convert_images, find_images
from medshard.converters.reading import read_image
from medshard.converters.volume import LeadingAxis, Rescale
from medshard.pipelines.exporting.nifti_file import write_nifti

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
RELAXED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def affines(draw: st.DrawFn, *, sheared: bool = False) -> NDArray[np.float64]:
    """(z, y, x, 1) -> RAS+ mm: any rotation, steps of 0.1 to 9 mm; sheared: axes up to 40 degrees off."""
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    steps = [draw(st.floats(0.1, 9)) for _ in range(3)]
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    if sheared:
        axes = axes @ np.array([[1, draw(st.floats(0.05, 0.6)), 0], [0, 1, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(steps)
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


def in_xyz(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return affine[:, [2, 1, 0, 3]]


def numbers(dtype: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.generic]:
    """Numbers of the whole range of a dtype."""
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array = np.frombuffer(raw, dtype).reshape(shape)
    return np.nan_to_num(array) if array.dtype.kind == "f" else array


@RELAXED
@given(affine=affines(), dtype=st.sampled_from(DTYPES))
def test_nibabel_reads_the_voxels_and_the_affine_to_the_last_bit_of_the_header(
    tmp_path: Path, affine: NDArray[np.float64], dtype: str
) -> None:
    array = numbers(dtype, (1, 4, 3, 5))
    facts = write_nifti(tmp_path / "a.nii.gz", array, affine)
    found = nib.load(tmp_path / "a.nii.gz")
    assert found.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), array[0].transpose(2, 1, 0))
    np.testing.assert_array_equal(found.affine, in_xyz(affine).astype(np.float32))
    assert facts.affine_error_mm < 1e-3
    np.testing.assert_allclose(found.get_qform(), found.get_sform(), atol=1e-3)
    assert int(found.header["qform_code"]) == int(found.header["sform_code"]) == 1


@RELAXED
@given(affine=affines())
def test_simpleitk_puts_every_voxel_where_the_volume_has_it(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    array = numbers("int16", (1, 4, 3, 5))
    write_nifti(tmp_path / "a.nii.gz", array, affine)
    found = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), array[0])
    for z, y, x in np.ndindex(2, 2, 2):
        lps = found.TransformIndexToPhysicalPoint((x * 4, y * 2, z * 3))
        np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], (affine @ [z * 3, y * 2, x * 4, 1])[:3], atol=1e-2)


@RELAXED
@given(affine=affines(sheared=True))
def test_a_sheared_grid_has_an_sform_alone(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    facts = write_nifti(tmp_path / "a.nii.gz", numbers("uint8", (1, 4, 3, 5)), affine)
    found = nib.load(tmp_path / "a.nii.gz")
    assert facts.sheared
    assert int(found.header["qform_code"]) == 0
    np.testing.assert_array_equal(found.affine, in_xyz(affine).astype(np.float32))


@RELAXED
@given(affine=affines(), slope=st.floats(1e-3, 1e3), intercept=st.floats(-2e3, 2e3))
def test_nothing_is_rounded_where_exactness_is_asked_for(
    tmp_path: Path, affine: NDArray[np.float64], slope: float, intercept: float
) -> None:
    array = numbers("int16", (1, 2, 3, 4))
    rescale = Rescale(slope=(slope,), intercept=(intercept,))
    facts = write_nifti(tmp_path / "a.nii.gz", array, affine, rescale=rescale, exact=True)
    found = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.affine, in_xyz(affine))
    assert facts.affine_error_mm == 0
    assert (found.dataobj.slope, found.dataobj.inter) == (slope, intercept)
    np.testing.assert_array_equal(found.dataobj.get_unscaled(), array[0].transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", "float16"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 3, 4, 5), (4, 1, 3, 4, 5), (4, 2, 3, 4, 5)])
def test_medshard_reads_back_what_it_wrote(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = numbers("uint8", shape).astype(bool) if dtype == "bool" else numbers(dtype, shape)
    rescale = Rescale(slope=(2.0,), intercept=(-1024.0,)) if array.dtype.kind in "iu" else Rescale()
    affine = np.diag([2.5, 0.5, 0.75, 1.0])[[2, 1, 0, 3]][:, [0, 1, 2, 3]]
    write_nifti(tmp_path / "a.nii.gz", array, affine, rescale=rescale)
    found = read_image([tmp_path / "a.nii.gz"], where="a")
    # float64 whose numbers all fit is narrowed by the reader, which `astype` undoes.
    np.testing.assert_array_equal(found.array.astype(array.dtype), array)
    np.testing.assert_array_equal(found.affine, affine)
    assert (found.rescale.slope, found.rescale.intercept) == (rescale.slope, rescale.intercept)


def test_convert_makes_the_same_volume_of_the_file(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 0.5, -8], [0, 0.25, 0, 3], [4.0, 0, 0, 1], [0, 0, 0, 1]])
    array = numbers("int16", (1, 3, 4, 5))
    write_nifti(tmp_path / "in" / "a.nii.gz", array, affine, rescale=Rescale(intercept=(-1024.0,)))
    (made,) = convert_images(find_images([tmp_path / "in"]).images, tmp_path / "out")
    assert made.folder is not None
    image = read_volume(made.folder).images["image"]
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(image.affine, affine)
    assert image.rescale.intercept == (-1024.0,)


def test_time_points_keep_their_step(tmp_path: Path) -> None:
    leading = LeadingAxis(kind="time", values=(0.0, 2.0, 4.0))
    write_nifti(tmp_path / "a.nii.gz", numbers("int16", (3, 1, 2, 4, 5)), np.eye(4), leading=leading)
    assert nib.load(tmp_path / "a.nii.gz").header.get_zooms()[3] == 2.0
    assert read_image([tmp_path / "a.nii.gz"], where="a").leading == leading


def test_uneven_time_points_are_said(tmp_path: Path) -> None:
    leading = LeadingAxis(kind="time", values=(0.0, 2.0, 9.0))
    facts = write_nifti(tmp_path / "a.nii.gz", numbers("int16", (3, 1, 2, 4, 5)), np.eye(4), leading=leading)
    assert any("evenly" in note for note in facts.notes)


def test_a_rescale_of_every_slice_is_applied_and_said(tmp_path: Path) -> None:
    rescale = Rescale(slope=(1.0, 2.0), intercept=(0.0, 1.0))
    array = np.ones((1, 2, 2, 2), np.int16)
    facts = write_nifti(tmp_path / "a.nii.gz", array, np.eye(4), rescale=rescale)
    found = nib.load(tmp_path / "a.nii.gz").get_fdata()
    assert (found[..., 0] == 1).all()
    assert (found[..., 1] == 3).all()
    assert facts.values == "physical"
    assert facts.notes


def test_a_slope_that_float32_rounds_is_applied_unless_exactness_is_asked_for(tmp_path: Path) -> None:
    array, rescale = np.full((1, 2, 2, 2), 30000, np.int16), Rescale(slope=(0.1,))
    assert write_nifti(tmp_path / "a.nii.gz", array, np.eye(4), rescale=rescale).values == "physical"
    assert write_nifti(tmp_path / "b.nii.gz", array, np.eye(4), rescale=rescale, exact=True).values == "stored"
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").get_fdata(), 3000, rtol=1e-6)


def test_a_grid_that_means_no_place_does_not_claim_to_be_the_scanners(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", numbers("uint8", (1, 1, 4, 5)), np.eye(4), trusted=False)
    assert int(nib.load(tmp_path / "a.nii.gz").header["sform_code"]) == 2


def test_equal_volumes_have_equal_bytes(tmp_path: Path) -> None:
    array = numbers("int16", (1, 3, 4, 5))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, array, np.eye(4))
    data = (tmp_path / "a.nii.gz").read_bytes()
    assert data == (tmp_path / "b.nii.gz").read_bytes()
    assert data[4:8] == bytes(4), "gzip keeps the time of writing"
    assert len(gzip.decompress(data)) == 352 + array.nbytes
