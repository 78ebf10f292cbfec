"""DICOM series against SimpleITK (GDCM) and pydicom, and series with planted faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.data import get_testdata_file

from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.geometry import affine_from_itk, pixel_grid_affine
from medshard.converters.reading import read_header, read_image
from medshard.converters.volume import Image, Rescale
from medshard.errors import CaseError


def sample(name: str) -> Path:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    return Path(found)


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_header(files, where="entry/case")
    return error.value


def edit(path: Path, **fields) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


@pytest.fixture
def series(tmp_path) -> list[Path]:
    """Twelve slices of 2.5 mm made from the pixels of a real CT slice, each different."""
    plane = pydicom.dcmread(sample("CT_small.dcm")).pixel_array[32:96:2, ::4]
    voxels = np.stack([np.roll(plane, shift, axis=1) for shift in range(12)])[None]
    affine = affine_from_itk((-20.0, 15.0, -310.5), (0.8, 0.6, 2.5), np.eye(3).ravel())
    image = Image(array=voxels, affine=affine, rescale=Rescale(slope=(1.0,), intercept=(-1024.0,), unit="HU"))
    return write_ct_series(image, tmp_path, patient_id="P1", series_description="test", uid_seed="seed")


class TestRealFiles:
    @pytest.mark.parametrize(
        "name",
        [
            "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "image_dfl.dcm", "emri_small.dcm",
            "emri_small_jpeg_2k_lossless.dcm", "J2K_pixelrep_mismatch.dcm", "SC_rgb_16bit.dcm", "JPEG-LL.dcm",
            "SC_ybr_full_422_uncompressed.dcm", "color-pl.dcm", "gdcm-US-ALOKA-16.dcm", "bad_sequence.dcm",
        ],
    )  # fmt: skip
    def test_physical_values_are_those_of_gdcm_in_every_transfer_syntax(self, name):
        image = read_image([sample(name)], where="e/c")
        oracle = sitk.ReadImage(str(sample(name)))
        values = sitk.GetArrayFromImage(oracle)
        expected = np.moveaxis(values, -1, 0) if oracle.GetNumberOfComponentsPerPixel() == 3 else values
        np.testing.assert_array_equal(image.rescale.apply(image.array).reshape(expected.shape), expected)

    @pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm"])
    def test_a_slice_lies_where_gdcm_puts_it(self, name):
        image = read_image([sample(name)], where="e/c")
        oracle = sitk.ReadImage(str(sample(name)))
        expected = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
        corner = [0, image.shape[1] - 1, image.shape[2] - 1, 1]
        np.testing.assert_allclose(image.affine @ corner, expected @ corner, atol=1e-4)

    def test_the_array_holds_the_stored_numbers_and_the_rescale_makes_hounsfield_units(self):
        image = read_image([sample("CT_small.dcm")], where="e/c")
        dataset = pydicom.dcmread(sample("CT_small.dcm"))
        np.testing.assert_array_equal(image.array[0, 0], dataset.pixel_array)
        assert image.array.dtype == np.int16
        assert (image.rescale.unit, image.modality) == ("HU", "CT")
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(image.rescale.apply(image.array)[0, 0], expected)

    def test_in_an_inverted_radiograph_larger_physical_values_are_brighter(self):
        image = read_image([sample("RG3_UNCR.dcm")], where="e/c")
        dataset = pydicom.dcmread(sample("RG3_UNCR.dcm"))
        assert dataset.PhotometricInterpretation == "MONOCHROME1"
        np.testing.assert_array_equal(image.array[0, 0], dataset.pixel_array)
        np.testing.assert_array_equal(image.rescale.apply(image.array)[0, 0], 1023.0 - dataset.pixel_array)

    def test_a_radiograph_is_not_placed_in_the_patient(self):
        header = read_header([sample("RG3_UNCR.dcm")], where="e/c")
        assert not header.trusted_geometry
        np.testing.assert_array_equal(header.affine, pixel_grid_affine())

    def test_an_enhanced_ct_takes_positions_and_rescale_from_its_functional_groups(self):
        image = read_image([sample("eCT_Supplemental.dcm")], where="e/c")
        dataset = pydicom.dcmread(sample("eCT_Supplemental.dcm"))
        positions = [
            np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            for group in dataset.PerFrameFunctionalGroupsSequence
        ]
        assert image.rescale == Rescale(slope=(1.0,), intercept=(-1024.0,), unit="HU")
        for frame, position in enumerate(positions):
            z = next(z for z in range(2) if np.array_equal(image.array[0, z], dataset.pixel_array[frame]))
            np.testing.assert_allclose(image.affine @ [z, 0, 0, 1], [*(position * (-1, -1, 1)), 1], atol=1e-9)

    def test_a_segmentation_object_has_the_grid_that_gdcm_gives_it(self):
        image = read_image([sample("liver.dcm")], where="e/c")
        oracle = sitk.ReadImage(str(sample("liver.dcm")))
        np.testing.assert_array_equal(image.array[0] > 0, sitk.GetArrayFromImage(oracle) > 0)
        expected = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
        np.testing.assert_allclose(image.affine, expected, atol=1e-4)

    def test_a_dose_grid_has_its_scaling_and_its_offsets(self):
        image = read_image([sample("rtdose.dcm")], where="e/c")
        dataset = pydicom.dcmread(sample("rtdose.dcm"))
        assert image.spacing_mm == pytest.approx((5.0, 10.0, 10.0))
        assert image.rescale.slope == (float(dataset.DoseGridScaling),)
        np.testing.assert_array_equal(image.array[0], dataset.pixel_array)

    def test_a_cine_runs_in_time(self):
        image = read_image([sample("examples_ybr_color.dcm")], where="e/c")
        header = read_header([sample("examples_ybr_color.dcm")], where="e/c")
        assert image.array.shape == (30, 3, 1, 240, 320)
        assert (header.timepoints, header.channels, header.shape) == (30, 3, (1, 240, 320))
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(sample("examples_ybr_color.dcm"))))
        difference = np.moveaxis(expected, -1, 1)[:, :, None].astype(int) - image.array
        assert np.abs(difference).max() <= 4, "two JPEG decoders may round differently"

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("MR_truncated.dcm", "read.truncated"),
            ("badVR.dcm", "read.unreadable"),
            ("JPEG-lossy.dcm", "read.unreadable"),
            ("emri_small_jpeg_2k_lossless_too_short.dcm", "read.unreadable"),
            ("test-SR.dcm", "read.unsupported"),
            ("rtplan.dcm", "read.unsupported"),
        ],
    )
    def test_what_cannot_be_an_image_is_refused(self, name, code):
        with pytest.raises(CaseError) as error:
            read_image([sample(name)], where="entry/case")
        assert error.value.code == code
        assert error.value.details["file"] == name

    def test_what_pydicom_warns_of_stands_in_the_header_without_values(self):
        warnings = read_header([sample("MR_small_padded.dcm")], where="e/c").warnings
        assert all("CompressedSamples" not in warning for warning in warnings)


class TestSeries:
    def test_slices_are_sorted_by_position_whatever_names_and_numbers_say(self, series):
        for number, path in enumerate(series):
            edit(path, InstanceNumber=100 - number)
        shuffled = [series[index] for index in np.random.default_rng(3).permutation(len(series))]
        image, ordered = read_image(shuffled, where="e/c"), read_image(series, where="e/c")
        np.testing.assert_array_equal(image.array, ordered.array)
        np.testing.assert_array_equal(image.affine, ordered.affine)
        for z, path in enumerate(series):
            np.testing.assert_array_equal(image.array[0, z], pydicom.dcmread(path).pixel_array)

    def test_voxels_and_grid_are_those_of_simpleitks_series_reader(self, series):
        image = read_image(series, where="e/c")
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series[0].parent)))
        oracle = reader.Execute()
        np.testing.assert_array_equal(image.rescale.apply(image.array)[0], sitk.GetArrayFromImage(oracle))
        expected = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
        np.testing.assert_allclose(image.affine, expected, atol=1e-4)

    def test_the_header_needs_no_pixels(self, series):
        for path in series:
            dataset = pydicom.dcmread(path)
            del dataset.PixelData
            dataset.save_as(path)
        header = read_header(series, where="e/c")
        assert (header.shape, header.dtype) == ((12, 32, 32), "int16")
        assert header.spacing_mm == pytest.approx((2.5, 0.6, 0.8))
        assert header.warnings == ()

    @pytest.mark.parametrize("signed", [0, 1])
    def test_what_old_files_keep_in_the_unused_bits_is_no_part_of_the_image(self, series, signed):
        values = np.arange(32 * 32, dtype=np.int16).reshape(32, 32) - 300 * signed
        overlay = np.int16(0x5000) * (values % 7 == 0)
        dataset = pydicom.dcmread(series[0])
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, signed
        dataset.PixelData = ((values & 0x0FFF) | overlay).astype("<i2").tobytes()
        dataset.save_as(series[0])
        image = read_image(series[:1], where="e/c")
        np.testing.assert_array_equal(image.array[0, 0], values)
        oracle = sitk.GetArrayFromImage(sitk.ReadImage(str(series[0])))
        np.testing.assert_array_equal(image.rescale.apply(image.array)[0], oracle)

    def test_an_inverted_image_of_signed_numbers_keeps_their_range(self, series):
        for path in series:
            edit(path, PhotometricInterpretation="MONOCHROME1", Modality="MR", RescaleType="US", RescaleIntercept="0")
        image = read_image(series, where="e/c")
        np.testing.assert_array_equal(image.rescale.apply(image.array), -1.0 - image.array)

    def test_an_inverted_display_does_not_turn_hounsfield_units_over(self, series):
        for path in series:
            edit(path, PhotometricInterpretation="MONOCHROME1")
        assert read_image(series, where="e/c").rescale == Rescale(slope=(1.0,), intercept=(-1024.0,), unit="HU")

    def test_each_slice_keeps_its_own_rescale(self, series):
        edit(series[3], RescaleSlope="2.5", RescaleIntercept="-10")
        image = read_image(series, where="e/c")
        assert len(image.rescale.slope) == len(image.rescale.intercept) == 12
        dataset = pydicom.dcmread(series[3])
        np.testing.assert_array_equal(image.rescale.apply(image.array)[0, 3], dataset.pixel_array * 2.5 - 10)

    def test_a_tilted_gantry_keeps_its_sheared_affine_and_warns(self, series):
        for z, path in enumerate(series):
            x, y, position = pydicom.dcmread(path).ImagePositionPatient
            edit(path, ImagePositionPatient=[x, y - 0.5 * z, position])
        header = read_header(series, where="e/c")
        np.testing.assert_allclose(header.affine[:3, 0], (0.0, 0.5, 2.5), atol=1e-9)
        assert "11.31 degrees" in header.warnings[0]

    def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(self, series):
        for z, path in enumerate(series):
            x, y, position = pydicom.dcmread(path).ImagePositionPatient
            edit(path, ImagePositionPatient=[x, y, round(float(position) + 0.05 * (z % 2), 1)])
        assert read_header(series, where="e/c").spacing_mm[0] == pytest.approx(2.5, abs=0.01)

    def test_a_single_slice_takes_its_step_from_the_header_and_warns(self, series):
        header = read_header(series[:1], where="e/c")
        assert header.spacing_mm[0] == 2.5
        assert "Spacing Between Slices" in header.warnings[0]

    def test_a_stated_spacing_that_the_positions_contradict_is_a_warning(self, series):
        header = read_header(series[::2], where="e/c")
        assert header.spacing_mm[0] == pytest.approx(5.0)
        assert header.warnings == ("Spacing Between Slices says 2.5 mm, the positions say 5.000 mm",)


class TestFaultySeries:
    @pytest.mark.parametrize("gone", [[5], [1], [10], [3, 4], [2, 7]])
    def test_missing_slices_are_counted_and_placed(self, series, gone):
        lost = pydicom.dcmread(series[gone[0]]).ImagePositionPatient
        error = refused([path for index, path in enumerate(series) if index not in gone])
        assert error.code == "dicom.missing_slices"
        assert error.where == "entry/case"
        assert error.problem.startswith(str(len(gone)))
        assert f"{lost[2]:.2f}) mm LPS" in error.details["missing at"]

    def test_of_three_slices_one_of_four_is_known_to_be_missing(self, series):
        assert refused([series[0], series[1], series[3]]).code == "dicom.missing_slices"

    def test_another_slice_at_the_same_place_is_a_duplicate(self, series, tmp_path):
        copy = tmp_path / "copy.dcm"
        copy.write_bytes(series[4].read_bytes())
        edit(copy, SOPInstanceUID="1.2.3", PixelData=pydicom.dcmread(series[5]).PixelData)
        error = refused([*series, copy])
        assert error.code == "dicom.duplicate_slices"
        assert "slice-0005.dcm" in error.details["first pair"]

    @pytest.mark.parametrize("uid", [None, "1.2.3"])
    def test_a_copy_of_a_slice_is_left_out_and_named(self, series, tmp_path, uid):
        copy = tmp_path / "copy.dcm"
        copy.write_bytes(series[4].read_bytes())
        if uid:
            edit(copy, SOPInstanceUID=uid)
        header = read_header([*series, copy], where="e/c")
        assert header.shape == (12, 32, 32)
        assert "copy.dcm" in header.warnings[0]
        assert "slice-0005.dcm" in header.warnings[0]

    def test_a_slice_out_of_place_is_irregular_and_named(self, series):
        x, y, z = pydicom.dcmread(series[6]).ImagePositionPatient
        edit(series[6], ImagePositionPatient=[x, y, float(z) + 0.6])
        error = refused(series)
        assert error.code == "dicom.irregular_spacing"
        assert "slice-0007.dcm" in error.details["largest deviation"]

    def test_a_drift_that_no_neighbours_show_is_irregular(self, series):
        for index, path in enumerate(series):
            x, y, z = pydicom.dcmread(path).ImagePositionPatient
            edit(path, ImagePositionPatient=[x, y, float(z) + 0.02 * index**2])
        assert refused(series).code == "dicom.irregular_spacing"

    def test_a_slice_moved_within_its_plane_is_irregular(self, series):
        x, y, z = pydicom.dcmread(series[6]).ImagePositionPatient
        edit(series[6], ImagePositionPatient=[float(x) + 3, y, z])
        assert refused(series).code == "dicom.irregular_spacing"

    def test_two_series_are_not_one_image_and_both_are_listed(self, series):
        edit(series[-1], SeriesInstanceUID="1.2.3.4", SeriesNumber=7)
        error = refused(series)
        assert error.code == "dicom.several_series"
        assert "series 7, CT, 32 x 32 x 1" in error.details["image 2"]
        assert "SeriesNumber: 1" in error.action
        assert "1.2.3.4" not in str(error)

    def test_a_slice_of_another_plane_is_another_image(self, series):
        edit(series[0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
        assert refused(series).code == "dicom.several_series"

    def test_a_localiser_beside_a_stack_is_passed_over(self, series):
        edit(series[0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        header = read_header(series, where="e/c")
        assert header.shape == (11, 32, 32)
        assert header.warnings == ("files beside the image are passed over: 1 localisers and screen shots",)

    @pytest.mark.parametrize(("field", "value"), [("Rows", 16), ("PixelSpacing", [0.6, 0.9])])
    def test_slices_of_another_grid_are_another_image(self, series, field, value):
        edit(series[2], **{field: value})
        error = refused(series)
        assert error.code == "dicom.several_series"
        assert "dicom.missing_slices" in str(error.details)

    def test_a_slice_without_a_position_is_named(self, series):
        dataset = pydicom.dcmread(series[2])
        del dataset.ImagePositionPatient
        dataset.save_as(series[2])
        error = refused(series)
        assert (error.code, error.details["file"]) == ("dicom.no_positions", "slice-0003.dcm")

    def test_rows_and_columns_that_are_not_perpendicular_are_refused(self, series):
        for path in series:
            edit(path, ImageOrientationPatient=[1, 0, 0, 0.1, 0.995, 0])
        assert refused(series).code == "dicom.bad_orientation"

    def test_a_cut_slice_is_named(self, series):
        series[7].write_bytes(series[7].read_bytes()[:-100])
        with pytest.raises(CaseError) as error:
            read_image(series, where="e/c")
        assert (error.value.code, error.value.details["file"]) == ("read.truncated", "slice-0008.dcm")

    def test_another_file_among_the_slices_is_named(self, series, tmp_path):
        note = tmp_path / "readme.txt"
        note.write_text("not a slice " * 50)
        error = refused([*series, note])
        assert error.details["file"] == "readme.txt"
        assert error.code.startswith("read.")
