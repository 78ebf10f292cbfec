"""CT series written from real voxels come back exactly, here and in SimpleITK."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from scipy.spatial.transform import Rotation

from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.geometry import affine_from_itk, canonical_orientation, reorient_image
from medshard.converters.reading import read_header, read_image
from medshard.converters.volume import Image, Rescale
from medshard.errors import CaseError


def ct(affine: np.ndarray | None = None, *, rescale: Rescale | None = None) -> Image:
    plane = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array[::8, ::4]
    voxels = np.stack([plane, plane[::-1], plane[:, ::-1] - 1500])[None]
    grid = affine_from_itk((-120.5, 80.25, -310.0), (0.661468, 0.5, 5.0), np.eye(3).ravel())
    return Image(array=voxels, affine=grid if affine is None else affine, rescale=rescale or Rescale(unit="HU"))


def write(image, folder, **changes):
    arguments = {"patient_id": "P1", "series_description": "chest CT", "uid_seed": "seed", **changes}
    return write_ct_series(image, folder, **arguments)


@settings(max_examples=15, deadline=None)
@given(
    rotation=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_any_oblique_stack_comes_back_exactly_here_and_in_simpleitk(tmp_path_factory, rotation, spacing, origin):
    direction = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    image = ct(affine_from_itk(origin, spacing, direction.ravel()))
    files = write(image, tmp_path_factory.mktemp("series"))
    back = read_image(files, where="e/c")
    np.testing.assert_array_equal(back.array, image.array)
    corner = [2, 15, 31, 1]
    np.testing.assert_allclose(back.affine @ corner, image.affine @ corner, atol=1e-4)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in files])
    oracle = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(oracle), image.array[0])
    theirs = affine_from_itk(oracle.GetOrigin(), oracle.GetSpacing(), oracle.GetDirection())
    np.testing.assert_allclose(theirs @ corner, image.affine @ corner, atol=1e-4)


def test_an_image_in_canonical_orientation_keeps_the_order_of_its_slices(tmp_path):
    image = reorient_image(ct(), canonical_orientation(ct().affine), where="e/c")
    np.testing.assert_array_equal(read_image(write(image, tmp_path), where="e/c").array, image.array)


def test_hounsfield_units_are_exact_under_any_rescale(tmp_path):
    image = ct(rescale=Rescale(slope=(0.5, 1.0, 2.25), intercept=(-1024.0, 0.0, 7.5), unit="HU"))
    back = read_image(write(image, tmp_path), where="e/c")
    assert back.rescale == image.rescale
    np.testing.assert_array_equal(back.rescale.apply(back.array), image.rescale.apply(image.array))


def test_numbers_above_the_signed_range_are_written_unsigned(tmp_path):
    image = dataclasses.replace(ct(), array=np.full((1, 2, 3, 4), 60000, np.int32))
    back = read_image(write(image, tmp_path), where="e/c")
    assert back.array.dtype == np.uint16
    np.testing.assert_array_equal(back.array, image.array)


def test_two_writes_are_equal_byte_for_byte_and_another_seed_is_another_series(tmp_path):
    first, second = write(ct(), tmp_path / "a"), write(ct(), tmp_path / "b")
    assert [path.name for path in first] == ["slice-0001.dcm", "slice-0002.dcm", "slice-0003.dcm"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    other = pydicom.dcmread(write(ct(), tmp_path / "c", uid_seed="other")[0])
    mine = pydicom.dcmread(first[0])
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert mine[name].value != other[name].value


def test_every_uid_is_valid_and_made_under_2_25(tmp_path):
    datasets = [pydicom.dcmread(path) for path in write(ct(), tmp_path)]
    made = [(d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID, d.FrameOfReferenceUID) for d in datasets]
    assert all(re.fullmatch(r"2\.25\.[1-9]\d*", uid) and uid.is_valid for uids in made for uid in uids)
    assert len({uids[2] for uids in made}) == 3
    assert len({uids[1] for uids in made}) == 1
    assert all(d.SOPInstanceUID == d.file_meta.MediaStorageSOPInstanceUID for d in datasets)


def test_the_series_says_that_it_is_re_encoded_and_holds_no_date(tmp_path):
    dataset = pydicom.dcmread(write(ct(), tmp_path, series_description="a" * 80)[0])
    assert dataset.SeriesDescription.endswith("(re-encoded)")
    assert len(dataset.SeriesDescription) <= 64
    assert "DERIVED" in dataset.ImageType
    assert not [e for e in dataset if e.VR in ("DA", "TM", "DT") and e.value]


def test_the_attributes_that_a_ct_image_must_have_are_there(tmp_path):
    dataset = pydicom.dcmread(write(ct(), tmp_path)[0])
    # Types 1 and 2 of the modules of the CT Image IOD, DICOM PS3.3 A.3.3, as far as they hold for every image.
    required = """PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime
        ReferringPhysicianName StudyID AccessionNumber Modality SeriesInstanceUID SeriesNumber FrameOfReferenceUID
        PositionReferenceIndicator Manufacturer AcquisitionNumber InstanceNumber PixelSpacing ImageOrientationPatient
        ImagePositionPatient SliceThickness ImageType SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored
        HighBit PixelRepresentation Rows Columns PixelData RescaleIntercept RescaleSlope KVP SOPClassUID
        SOPInstanceUID"""
    assert [name for name in required.split() if name not in dataset] == []
    assert read_header([tmp_path / "slice-0001.dcm"], where="e/c").warnings[0].startswith("a single slice")


def test_a_sheared_stack_is_written_as_a_tilted_gantry(tmp_path):
    affine = ct().affine.copy()
    affine[1, 0] = 1.25
    header = read_header(write(ct(affine), tmp_path), where="e/c")
    np.testing.assert_allclose(header.affine, affine, atol=1e-4)
    assert "gantry tilt" in header.warnings[0]


@pytest.mark.parametrize(
    "image",
    [
        dataclasses.replace(ct(), array=np.zeros((2, 3, 4, 5), np.int16)),
        dataclasses.replace(ct(), array=np.zeros((1, 3, 4, 5), np.float32)),
        dataclasses.replace(ct(), array=np.array([-1, 70000], np.int32).reshape(1, 1, 1, 2)),
        ct(rescale=Rescale(slope=(1 / 3,))),
        ct(np.array([[0, 0.2, 1, 0], [0, 1, 0.2, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])),
    ],
    ids=["two channels", "floats", "too wide", "slope with 16 digits", "sheared in the plane"],
)
def test_what_a_ct_series_cannot_hold_exactly_is_refused(tmp_path, image):
    with pytest.raises(CaseError, match=r"dicom_writer\.unsupported"):
        write(image, tmp_path)
