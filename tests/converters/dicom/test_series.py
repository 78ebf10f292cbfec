"""One image out of a folder of many: by what it is, by what is selected, and without naming anybody."""

from __future__ import annotations

import numpy as np
import pytest
from made_dicom import frames, planes, write

from medshard.converters.formats import dicom
from medshard.converters.formats.format import Request
from medshard.converters.reading import read_header
from medshard.errors import CaseError

NAME = "Hasenpfeffer"


@pytest.fixture
def folder(tmp_path):
    thin = frames(planes(4), series="thin", number=2, SeriesDescription=f"Thin {NAME}", ConvolutionKernel="B70f")
    thick = frames(planes(3), series="thick", number=3, SeriesDescription="Thick soft", ConvolutionKernel="B30f")
    return write([*thin, *thick], tmp_path)


@pytest.mark.parametrize(
    ("select", "slices"),
    [
        ({"SeriesDescription": "*THICK*"}, 3),
        ({"SeriesNumber": "2"}, 4),
        ({"SeriesNumber": "2.0"}, 4),
        ({"ConvolutionKernel": "b30*"}, 3),
        ({"ImageType": "ORIGINAL\\PRIMARY\\*", "Modality": "ct", "SeriesNumber": "3"}, 3),
    ],
)
def test_a_pattern_selects(folder, select, slices):
    assert read_header(folder, where="e/c", request=Request(select=select)).shape[0] == slices


@pytest.mark.parametrize("select", [{}, {"SeriesDescription": "*nothing*"}, {"SeriesDescription": "*T*"}])
def test_what_is_refused_lists_the_images_and_names_nobody(folder, select):
    with pytest.raises(CaseError) as error:
        read_header(folder, where="e/c", request=Request(select=select))
    assert error.value.code in ("dicom.several_series", "dicom.no_series")
    assert "series 2, CT, 8 x 6 x 4" in str(error.value)
    assert NAME not in str(error.value)


def test_a_pattern_is_no_regular_expression(folder):
    with pytest.raises(CaseError, match="dicom.no_series"):
        read_header(folder, where="e/c", request=Request(select={"ConvolutionKernel": "B.0f"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"Modality": "SEG"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"Modality": "SR", "Rows": None},
    ],
)
def test_what_is_no_scan_is_passed_over_beside_one_and_counted(tmp_path, fields):
    scan = frames(planes(4))
    other = frames(planes(1), series="other", number=9, **fields)
    header = read_header(write([*other, *scan], tmp_path), where="e/c")
    assert header.shape[0] == 4
    assert any("passed over: 1 " in warning for warning in header.warnings)


def test_a_localiser_alone_is_an_image(tmp_path):
    made = frames(planes(2), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert read_header(write(made, tmp_path), where="e/c").shape[0] == 2


def test_a_folder_is_converted_image_by_image_whatever_else_lies_in_it(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    found = list(dicom.read_all([*folder, tmp_path / "notes.txt"]))
    assert [image.shape[0] for _, image in found] == [4, 3]
    assert [header.shape[0] for header, _ in found] == [4, 3]


def test_a_cut_copy_does_not_displace_the_whole_file(tmp_path):
    files = write(frames(planes(4)), tmp_path)
    whole = files[1].read_bytes()
    (tmp_path / "0-cut.dcm").write_bytes(whole[: len(whole) - 60])
    header = dicom.read_header([tmp_path / "0-cut.dcm", *files])
    image = dicom.read([tmp_path / "0-cut.dcm", *files])
    np.testing.assert_array_equal(image.array[0], planes(4))
    assert any("0-cut.dcm of image-0002.dcm (shorter)" in warning for warning in header.warnings)


def test_an_attribute_that_dicom_does_not_have_is_refused_with_the_nearest(folder):
    with pytest.raises(CaseError, match="dicom.select_unknown") as error:
        dicom.read(folder, Request(select={"SeriesDescripton": "*"}))
    assert error.value.details["nearest"] == "SeriesDescription"


def test_each_image_is_listed_with_what_selects_it(folder):
    with pytest.raises(CaseError, match="dicom.several_series") as error:
        dicom.read(folder)
    listed = [str(value) for name, value in error.value.details.items() if name.startswith("image")]
    assert [line.rpartition("; ")[2] for line in listed] == ["select: {SeriesNumber: 2}", "select: {SeriesNumber: 3}"]


def test_what_changes_from_slice_to_slice_is_not_offered_to_tell_images_apart(tmp_path):
    first, second = (
        frames(planes(3), ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]),
        frames(planes(3, start=900), series="series", ImageType=["DERIVED", "SECONDARY", "AXIAL"]),
    )
    for number, made in enumerate([*first, *second]):
        made.AcquisitionNumber, made.SOPInstanceUID = number, f"1.2.{number}"
    with pytest.raises(CaseError, match="dicom.several_series") as error:
        dicom.read(write([*first, *second], tmp_path))
    assert "ImageType" in error.value.action
