"""NIfTI against nibabel and SimpleITK, and what a broken file says."""

from __future__ import annotations

import gzip
import struct
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
from medshard.converters.volume import LeadingAxis
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
        assert "checksum" in error.details["reason"]

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


NIFTI1 = {"dim": (40, "<8h"), "datatype": (70, "<h"), "bitpix": (72, "<h"), "pixdim": (76, "<8f")}
NIFTI1 |= {"vox_offset": (108, "<f"), "scl_slope": (112, "<f"), "scl_inter": (116, "<f"), "xyzt_units": (123, "<b")}
NIFTI1 |= {"qform_code": (252, "<h"), "sform_code": (254, "<h"), "quatern": (256, "<3f"), "srow": (280, "<12f")}
NIFTI1 |= {"magic": (344, "4s"), "sizeof_hdr": (0, "<i")}
KINDS = {".nii": nibabel.Nifti1Image, ".nii.gz": nibabel.Nifti1Image, ".hdr": nibabel.Nifti1Pair}
KINDS |= {".hdr.gz": nibabel.Nifti1Pair, ".nii2": nibabel.Nifti2Image, ".hdr2": nibabel.Nifti2Pair}
NAN, INF = float("nan"), float("inf")


def rewrite(path: Path, **fields) -> Path:
    """Overwrite header fields of a NIfTI-1 file past every check that a library would make."""
    raw = bytearray(path.read_bytes())
    for name, value in fields.items():
        offset, layout = NIFTI1[name]
        struct.pack_into(layout, raw, offset, *(value if isinstance(value, tuple) else (value,)))
    path.write_bytes(raw)
    return path


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    dtype=st.sampled_from(["<i1", ">u2", "<i4", ">u4", "<i8", ">u8", "<f4", ">f8"]),
    suffix=st.sampled_from(sorted(KINDS)),
    numbers=st.lists(st.floats(-3, 3, width=32), min_size=12, max_size=12),
)
def test_any_shape_type_affine_and_byte_order_is_as_nibabel_reads_it(tmp_path_factory, shape, dtype, suffix, numbers):
    affine = np.eye(4)
    affine[:3] = np.array(numbers).reshape(3, 4)
    affine[:3, :3] += np.diag([10.0, 10.0, 10.0])
    array = (np.random.default_rng(2).integers(0, 90, shape) + (0.5 if "f" in dtype else 0)).astype(dtype)
    kind = KINDS[suffix]
    header = kind.header_class(endianness=dtype[0])
    path = tmp_path_factory.mktemp("n") / f"scan{suffix.removesuffix('2')}"
    header.set_data_dtype(dtype)
    nibabel.save(kind(array, affine, header), path)
    image, stated = read_image([path], where="e/c"), read_header([path], where="e/c")
    oracle = nibabel.load(path)
    expected = np.asanyarray(oracle.dataobj).T
    np.testing.assert_array_equal(np.squeeze(image.array.swapaxes(0, -4)), np.squeeze(expected))
    assert stated.shape == image.shape == tuple(shape[2::-1])
    np.testing.assert_allclose(far_corner(image.affine, image.shape), far_corner(oracle.affine, shape[:3]), atol=1e-4)
    assert not [text for text in stated.warnings if "off a right angle" not in text and "disagree" not in text]


@pytest.mark.parametrize(
    ("units", "step", "leading"),
    [
        (8, 2.0, LeadingAxis(kind="time", values=(0.0, 2.0, 4.0))),
        (16, 500.0, LeadingAxis(kind="time", values=(0.0, 0.5, 1.0))),
        (24, 1e6, LeadingAxis(kind="time", values=(0.0, 1.0, 2.0))),
        (8, 0.0, LeadingAxis(kind="time")),
        (0, 2.0, LeadingAxis(kind="other")),
        (32, 2.0, LeadingAxis(kind="other")),
    ],
)
def test_the_fourth_dimension_is_time_where_its_unit_says_so(tmp_path, units, step, leading):
    path = write(tmp_path / "scan.nii", np.zeros((3, 3, 3, 3), np.uint8))
    rewrite(path, xyzt_units=units | 2, pixdim=(1.0, 1.0, 1.0, 1.0, step, 0.0, 0.0, 0.0))
    assert read_header([path], where="e/c").leading == read_image([path], where="e/c").leading == leading


class TestBrokenHeaders:
    """One decision for each kind of damage: an image with a warning, or an error that says why."""

    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    straight = np.array([[-2.0, 0, 0, 40], [0, 2.0, 0, -30], [0, 0, 3.0, 12], [0, 0, 0, 1]])

    def made(self, folder: Path, suffix: str = ".nii", *, sform: int = 1, qform: int = 1, **fields) -> Path:
        image = nibabel.Nifti1Image(self.array, None)
        image.set_sform(self.straight, sform)
        image.set_qform(self.straight, qform)
        nibabel.save(image, folder / f"scan{suffix}")
        return rewrite(folder / f"scan{suffix}", **fields)

    def read(self, path: Path, *words: str):
        """The image, its voxels as they were, and a warning with these words; none where there are no words."""
        stated, image = read_header([path], where="e/c"), read_image([path], where="e/c")
        np.testing.assert_array_equal(image.array[0], self.array.T)
        np.testing.assert_array_equal(image.affine, stated.affine)
        if words:
            assert any(all(word in text for word in words) for text in stated.warnings), stated.warnings
        else:
            assert not stated.warnings
        return image

    def expect_straight(self, image) -> None:
        np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], self.straight, atol=1e-5)

    def test_a_sound_header_has_no_warnings(self, tmp_path):
        self.expect_straight(self.read(self.made(tmp_path)))

    @pytest.mark.parametrize(
        ("srow", "word"),
        [
            ((NAN,) * 12, "finite"),
            ((0.0,) * 12, "zeros"),
            ((1.0, 0.0, 0.0, 0.0) * 3, "singular"),
            ((1e38,) * 12, "singular"),
            ((INF, *(1.0,) * 11), "finite"),
        ],
    )
    def test_an_unusable_sform_gives_way_to_the_qform(self, tmp_path, srow, word):
        self.expect_straight(self.read(self.made(tmp_path, srow=srow), "sform", word))

    def test_without_any_usable_form_the_orientation_is_assumed_as_nibabel_does(self, tmp_path):
        path = self.made(tmp_path, qform=0, srow=(0.0,) * 12)
        image = self.read(path, "assumed")
        base = nibabel.load(path).header.get_base_affine()
        np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], base, atol=1e-6)

    @pytest.mark.parametrize("factor", [1.0001, 1.004])
    def test_a_quaternion_slightly_too_long_is_made_a_unit_one(self, tmp_path, factor):
        turned = np.array([0.6, 0.64, 0.48])
        path = self.made(tmp_path, sform=0, quatern=tuple(turned * factor))
        expected = nibabel.quaternions.quat2mat([0.0, *turned]) @ np.diag([2.0, 2.0, -3.0])
        with pytest.raises(ValueError, match="w2 should be positive"):
            nibabel.load(path)
        image = self.read(path, "quaternion", "unit")
        np.testing.assert_allclose(image.affine[:3, 2::-1], expected, atol=1e-5)

    @pytest.mark.parametrize("quatern", [(2.0, 0.0, 0.0), (NAN, 0.0, 0.0)])
    def test_a_quaternion_that_is_no_rotation_is_not_used(self, tmp_path, quatern):
        self.expect_straight(self.read(self.made(tmp_path, quatern=quatern), "qform", "not used"))
        self.read(self.made(tmp_path, sform=0, quatern=quatern), "assumed")

    @pytest.mark.parametrize(("qfac", "z", "words"), [(0.0, 3.0, ()), (-1.0, -3.0, ()), (-2.0, -3.0, ("qfac",))])
    def test_qfac_gives_the_third_axis_its_sign(self, tmp_path, qfac, z, words):
        path = self.made(tmp_path, sform=0, quatern=(0.0, 0.0, 0.0), pixdim=(qfac, 2.0, 2.0, 3.0, 0, 0, 0, 0))
        np.testing.assert_allclose(np.diag(self.read(path, *words).affine[:3, 2::-1]), [2.0, 2.0, z])

    def test_negative_voxel_sizes_lose_their_sign_as_in_nibabel(self, tmp_path):
        path = self.made(tmp_path, sform=0, pixdim=(1.0, -2.0, 2.0, 3.0, 0, 0, 0, 0))
        image = self.read(path, "negative")
        np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], nibabel.load(path).affine, atol=1e-5)

    @pytest.mark.parametrize("size", [0.0, NAN, INF])
    def test_a_missing_voxel_size_matters_only_where_it_is_used(self, tmp_path, size):
        pixdim = (1.0, size, 2.0, 3.0, 0, 0, 0, 0)
        self.expect_straight(self.read(self.made(tmp_path, pixdim=pixdim), "pixdim", "sform is used"))
        error = refused([self.made(tmp_path, sform=0, pixdim=pixdim)])
        assert error.code == "geometry.singular"
        assert "pixdim" in error.details

    def test_a_picture_needs_no_size_across(self, tmp_path):
        path = write(tmp_path / "scan.nii", self.array[:, :, :1], None)
        rewrite(path, pixdim=(1.0, 2.0, 2.0, 0.0, 0, 0, 0, 0))
        assert read_header([path], where="e/c").spacing_mm == (1.0, 2.0, 2.0)

    def test_spacing_and_sform_at_odds_are_a_warning(self, tmp_path):
        path = self.made(tmp_path, qform=0, pixdim=(1.0, 2.0, 2.0, 5.0, 0, 0, 0, 0))
        self.expect_straight(self.read(path, "2x2x5", "2x2x3"))

    def test_a_sheared_sform_is_kept_exactly(self, tmp_path):
        sheared = self.straight.copy()
        sheared[0, 2] = 0.75
        path = self.made(tmp_path, qform=0, srow=tuple(sheared[:3].ravel()))
        image = self.read(path, "14.04 degrees")
        np.testing.assert_array_equal(image.affine[:, [2, 1, 0, 3]], sheared)

    def test_an_sform_that_simpleitk_refuses_for_its_rounding_is_read_exactly(self, tmp_path):
        rounded = OBLIQUE.copy()
        rounded[:3, :3] = np.round(nibabel.eulerangles.euler2mat(0.3, 0.2, 0.1) @ np.diag([0.8, 0.8, 2.5]), 2)
        path = self.made(tmp_path, qform=0, srow=tuple(rounded[:3].ravel()))
        with pytest.raises(RuntimeError, match="orthonormal"):
            sitk.ReadImage(str(path))
        image = self.read(path, "degrees")
        apart = np.linalg.solve(
            image.affine[:3, :3],
            far_corner(image.affine, image.shape) - far_corner(nibabel.load(path).affine, self.array.shape),
        )
        assert np.abs(apart).max() <= 0.01

    @pytest.mark.parametrize(
        ("unit", "factor", "words"), [(3, 1.0, ("micro",)), (1, 1e6, ("mm is assumed",)), (7, 1e3, ("code 7",))]
    )
    def test_units(self, tmp_path, unit, factor, words):
        image = self.read(self.made(tmp_path, xyzt_units=unit), *words)
        np.testing.assert_allclose(image.affine[:3, 2::-1], self.straight[:3, :3] * factor / 1000, rtol=1e-6) if (
            unit == 3
        ) else self.expect_straight(image)

    def test_metres_become_millimetres(self, tmp_path):
        path = write(tmp_path / "scan.nii", self.array, np.diag([0.002, 0.002, 0.003, 1.0]), xyzt_units=1)
        assert read_header([path], where="e/c").spacing_mm == pytest.approx((3.0, 2.0, 2.0))

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"sizeof_hdr": 0x5C010000}, ("byte order",)),
            ({"sizeof_hdr": 0}, ("sizeof_hdr",)),
            ({"magic": b"\0\0\0\0"}, ("magic is missing",)),
            ({"magic": b"n+1 "}, ("zero byte",)),
            ({"magic": b"ni1\0"}, ("magic is that of a pair",)),
            ({"bitpix": 8}, ("bitpix",)),
            ({"vox_offset": 0.0}, ("vox_offset",)),
            ({"vox_offset": NAN}, ("vox_offset",)),
            ({"vox_offset": -7.0}, ("vox_offset",)),
            ({"scl_slope": NAN}, ("scl_slope",)),
            ({"scl_slope": INF}, ("scl_slope",)),
            ({"dim": (4, 5, 4, 3, 0, 0, 0, 0)}, ("dim[4] is 0",)),
            ({"dim": (7, 5, 4, 3, 1, 1, 1, 1)}, ()),
        ],
    )
    @pytest.mark.parametrize("compressed", [False, True])
    def test_what_is_repaired(self, tmp_path, fields, words, compressed):
        path = self.made(tmp_path, **fields)
        if compressed:
            path.write_bytes(gzip.compress(path.read_bytes()))
        image = self.read(path, *words)
        self.expect_straight(image)
        assert image.rescale.is_identity

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"dim": (0, 5, 4, 3, 1, 1, 1, 1)}, "read.unreadable"),
            ({"dim": (9, 5, 4, 3, 1, 1, 1, 1)}, "read.unreadable"),
            ({"dim": (3, 5, -4, 3, 1, 1, 1, 1)}, "read.unreadable"),
            ({"dim": (3, 5, 4, 300, 1, 1, 1, 1)}, "read.truncated"),
            ({"datatype": 16, "bitpix": 16}, "read.truncated"),
            ({"scl_slope": 1.0, "scl_inter": NAN}, "read.unreadable"),
            ({"vox_offset": 1e30}, "read.truncated"),
            ({"datatype": 1}, "read.unsupported"),
            ({"datatype": 1536}, "read.unsupported"),
            ({"datatype": 1792}, "read.unsupported"),
            ({"datatype": 99}, "read.unsupported"),
        ],
    )
    def test_what_is_refused(self, tmp_path, fields, code):
        assert refused([self.made(tmp_path, **fields)]).code == code

    def test_bytes_behind_the_voxels_are_a_warning(self, tmp_path):
        path = self.made(tmp_path)
        path.write_bytes(path.read_bytes() + b"surplus")
        assert self.read(path, "7 bytes").shape == (3, 4, 5)

    def test_header_extensions_are_skipped_and_free_text_stays_in_the_file(self, tmp_path):
        image = nibabel.Nifti1Image(self.array, self.straight)
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane 1970-01-01"))
        for field in ("descrip", "aux_file", "db_name", "intent_name"):
            image.header[field] = b"Doe^Jane"
        nibabel.save(image, tmp_path / "scan.nii")
        self.read(tmp_path / "scan.nii")
        assert "Doe" not in repr(read_header([tmp_path / "scan.nii"], where="e/c"))

    def test_a_pair_with_the_magic_and_offset_of_a_single_file(self, tmp_path):
        header = write(tmp_path / "scan.hdr", self.array, kind=nibabel.Nifti1Pair)
        rewrite(header, magic=b"n+1\0", vox_offset=352.0)
        assert self.read(header, "names are those of a pair").shape == (3, 4, 5)

    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    def test_compression_is_told_by_content(self, tmp_path, name):
        path = self.made(tmp_path)
        raw = path.read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name == "scan.nii" else raw)
        self.expect_straight(self.read(tmp_path / name))


@settings(max_examples=500, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4),
    compressed=st.booleans(),
)
def test_a_damaged_header_is_an_image_as_nibabel_reads_it_or_a_warning_or_an_error(tmp_path_factory, flips, compressed):
    path = tmp_path_factory.getbasetemp() / "fuzzed.nii"
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), OBLIQUE)
    image.set_qform(OBLIQUE, 1, strip_shears=True)
    raw = bytearray(image.to_bytes())
    for place, value in flips:
        raw[place] = value
    path.write_bytes(gzip.compress(bytes(raw), 1) if compressed else raw)
    try:
        stated, found = read_header([path], where="e/c"), read_image([path], where="e/c")
    except CaseError:
        return
    if stated.format == "nifti" and not [text for text in stated.warnings if "right angle" not in text]:
        oracle = nibabel.Nifti1Image.from_bytes(bytes(raw))
        np.testing.assert_array_equal(np.squeeze(found.array), np.squeeze(oracle.dataobj.get_unscaled().T))
        np.testing.assert_allclose(found.affine[:, [2, 1, 0, 3]], oracle.affine, rtol=1e-5, atol=1e-4)
