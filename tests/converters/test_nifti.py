"""NIfTI against nibabel and SimpleITK, and what a broken file says."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import nilearn
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.geometry import affine_from_itk
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

NIBABEL_DATA = Path(nibabel.__file__).parent / "tests" / "data"
T1 = Path(nilearn.__file__).parent / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
OBLIQUE = np.array([[0.9, -0.3, 0.1, -90.0], [0.25, 0.8, -0.5, -120.0], [0.05, 0.4, 2.9, -70.0], [0, 0, 0, 1]])


def far_corner(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return (affine @ [*(n - 1 for n in shape), 1.0])[:3]


def write(
    path: Path, array: np.ndarray, affine: np.ndarray | None = OBLIQUE, *, kind=nibabel.Nifti1Image, **fields
) -> Path:
    image = kind(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_image(files, where="entry/case")
    return error.value


@pytest.mark.parametrize("file", [T1, NIBABEL_DATA / "anatomical.nii"], ids=["T1", "big-endian"])
def test_voxels_and_far_corner_are_those_of_simpleitk(file):
    image = read_image([file], where="e/c")
    oracle = sitk.ReadImage(str(file))
    np.testing.assert_array_equal(image.array[0], sitk.GetArrayFromImage(oracle))
    expected = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
    np.testing.assert_allclose(far_corner(image.affine, image.shape), far_corner(expected, image.shape), atol=1e-4)
    assert image.array.dtype.isnative


@pytest.mark.parametrize("name", ["functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz"])
def test_stored_numbers_and_rescale_together_give_nibabels_values(name):
    image = read_image([NIBABEL_DATA / name], where="e/c")
    oracle = nibabel.load(NIBABEL_DATA / name)
    values = image.rescale.apply(image.array).astype(np.float64)
    expected = np.asarray(oracle.dataobj).T
    np.testing.assert_allclose(np.squeeze(values), np.squeeze(expected), rtol=1e-6)
    xyz = far_corner(oracle.affine, oracle.shape[:3])
    np.testing.assert_allclose(far_corner(image.affine, image.shape), xyz, atol=1e-4)


def test_scaled_integers_stay_as_they_are_stored():
    image = read_image([NIBABEL_DATA / "functional.nii"], where="e/c")
    assert image.array.dtype == np.int16
    assert image.array.shape == (20, 1, 3, 21, 17)
    assert image.rescale.slope[0] == pytest.approx(0.075406968593)
    assert image.rescale.intercept[0] == pytest.approx(3100.7617, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    dtype=st.sampled_from(["<i2", ">i2", "<u2", "|u1", "<i4", ">i4"]),
    kind=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_what_nibabel_writes_comes_back_exactly(tmp_path_factory, shape, dtype, kind, suffix):
    array = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    path = write(tmp_path_factory.mktemp("n") / f"scan{suffix}", array, kind=kind)
    image = read_image([path], where="e/c")
    header = read_header([path], where="e/c")
    assert image.array.dtype == np.dtype(dtype).newbyteorder("=") == np.dtype(header.dtype)
    np.testing.assert_array_equal(np.squeeze(image.array), np.squeeze(array.T))
    assert (header.timepoints, header.channels, *header.shape) == (1, *image.array.shape)[-5:]
    np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], nibabel.load(path).affine, atol=1e-9)


def test_a_pair_is_one_image_whichever_file_is_named(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    header = write(tmp_path / "scan.hdr", array, kind=nibabel.Nifti1Pair)
    for files in ([header], [header.with_suffix(".img"), header]):
        np.testing.assert_array_equal(read_image(files, where="e/c").array[0], array.T)


def test_a_header_without_its_image_file_is_named_as_such():
    error = refused([NIBABEL_DATA / "nifti1.hdr"])
    assert error.code == "read.missing_part"
    assert error.details["expected"] == "nifti1.img"


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        (np.array([0.0, 1.0, 4.0]), np.uint8),
        (np.array([-1024.0, 3071.0, 0.0]), np.int16),
        (np.array([0.0, 70000.0, 1.0]), np.int32),
        (np.array([0.0, 0.5, 1.0]), np.float32),
        (np.array([0.0, np.nan, 1.0]), np.float32),
    ],
)
def test_floats_become_integers_only_where_they_are_integers(tmp_path, stored, kept):
    path = write(tmp_path / "scan.nii", stored.reshape(3, 1, 1))
    image = read_image([path], where="e/c")
    assert image.array.dtype == kept
    np.testing.assert_array_equal(image.array.ravel(), stored.astype(np.float32))


def test_colour_voxels_become_three_channels(tmp_path):
    rgb = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = np.arange(24).reshape(4, 3, 2)
    image = read_image([write(tmp_path / "scan.nii", rgb)], where="e/c")
    assert image.array.shape == (3, 2, 3, 4)
    np.testing.assert_array_equal(image.array[1], rgb["G"].T)
    assert not image.array[[0, 2]].any()


def test_a_vector_image_has_channels_and_no_time(tmp_path):
    array = np.arange(120, dtype=np.float32).reshape(5, 4, 3, 1, 2) + 0.5
    image = read_image([write(tmp_path / "scan.nii", array)], where="e/c")
    np.testing.assert_array_equal(image.array, np.moveaxis(array[:, :, :, 0], -1, 0).transpose(0, 3, 2, 1))


class TestAffine:
    array = np.zeros((5, 4, 3), np.uint8)

    def both_forms(self, path: Path, sform_code: int, qform_code: int) -> Path:
        image = nibabel.Nifti1Image(self.array, None)
        image.header.set_sform(np.diag([2.0, 2.0, 2.0, 1.0]), sform_code)
        image.header.set_qform(np.diag([3.0, 3.0, 3.0, 1.0]), qform_code)
        nibabel.save(image, path)
        return path

    @pytest.mark.parametrize(("sform_code", "qform_code", "spacing"), [(1, 1, 2.0), (1, 0, 2.0), (0, 1, 3.0)])
    def test_the_sform_goes_before_the_qform_where_its_code_is_set(self, tmp_path, sform_code, qform_code, spacing):
        header = read_header([self.both_forms(tmp_path / "scan.nii", sform_code, qform_code)], where="e/c")
        assert header.spacing_mm == (spacing,) * 3

    def test_a_disagreement_is_a_warning(self, tmp_path):
        header = read_header([self.both_forms(tmp_path / "scan.nii", 1, 1)], where="e/c")
        assert any("sform and qform disagree" in warning for warning in header.warnings)

    def test_without_either_form_the_orientation_is_said_to_be_assumed(self, tmp_path):
        header = read_header([self.both_forms(tmp_path / "scan.nii", 0, 0)], where="e/c")
        assert header.spacing_mm == (3.0, 3.0, 3.0)
        assert any("assumed" in warning for warning in header.warnings)

    def test_micrometres_become_millimetres(self, tmp_path):
        path = write(tmp_path / "scan.nii", self.array, np.diag([500.0, 500.0, 2000.0, 1.0]), xyzt_units=3)
        assert read_header([path], where="e/c").spacing_mm == pytest.approx((2.0, 0.5, 0.5))

    def test_a_singular_header_excludes_the_case(self, tmp_path):
        image = nibabel.Nifti1Image(self.array, np.eye(4))
        image.header["srow_x"] = image.header["srow_y"] = (1.0, 0.0, 0.0, 0.0)
        image.header["qform_code"] = 0
        image.header["pixdim"][1:4] = 0
        path = tmp_path / "scan.nii"
        nibabel.save(image, path)
        raw = bytearray(path.read_bytes())
        raw[280:328] = np.zeros(12, "<f4").tobytes()
        raw[80:92] = np.full(3, np.nan, "<f4").tobytes()
        raw[254:256] = np.int16(1).tobytes()
        path.write_bytes(raw)
        assert refused([path]).code == "geometry.singular"


class TestBrokenFiles:
    def noise(self, path: Path) -> Path:
        return write(path, np.random.default_rng(0).integers(0, 4000, (40, 30, 20)).astype(np.int16))

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("kept", [0.9, 0.5, 0.003])
    def test_a_cut_file_is_truncated_wherever_it_is_cut(self, tmp_path, suffix, kept):
        path = self.noise(tmp_path / f"scan{suffix}")
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        error = refused([path])
        assert error.code == "read.truncated"
        assert error.where == "entry/case"
        assert error.details["file"] == path.name

    def test_a_gzip_file_without_its_last_bytes_is_truncated(self, tmp_path):
        path = self.noise(tmp_path / "scan.nii.gz")
        path.write_bytes(path.read_bytes()[:-4])
        assert refused([path]).code == "read.truncated"

    def test_a_changed_byte_is_found_by_the_checksum(self, tmp_path):
        path = self.noise(tmp_path / "scan.nii.gz")
        stored = bytearray(gzip.decompress(path.read_bytes()))
        good = gzip.compress(bytes(stored), mtime=0)
        stored[-1] ^= 1
        changed = gzip.compress(bytes(stored), mtime=0)
        path.write_bytes(changed[:-8] + good[-8:])
        error = refused([path])
        assert error.code == "read.unreadable"
        assert "CRC" in error.details["reason"]

    def test_a_header_that_promises_a_terabyte_allocates_nothing(self, tmp_path):
        path = self.noise(tmp_path / "scan.nii")
        raw = bytearray(path.read_bytes())
        raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
        path.write_bytes(raw)
        assert refused([path]).code == "read.truncated"

    def test_the_header_is_read_without_the_voxels(self, tmp_path):
        path = self.noise(tmp_path / "scan.nii")
        path.write_bytes(path.read_bytes()[:352])
        assert read_header([path], where="e/c").shape == (20, 30, 40)

    def test_more_dimensions_than_space_time_and_components_are_refused(self):
        assert refused([NIBABEL_DATA / "row_major.dconn.nii"]).code == "read.unsupported"

    def test_complex_voxels_are_refused(self, tmp_path):
        assert refused([write(tmp_path / "scan.nii", np.zeros((2, 2, 2), np.complex64))]).code == "read.unsupported"
