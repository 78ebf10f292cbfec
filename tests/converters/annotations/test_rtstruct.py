"""RT structure sets: the real one that pydicom ships, and made ones with what real ones have wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RTStructureSetStorage

from medshard.converters.annotations import dicom_seg, rtstruct
from medshard.converters.annotations.rasterise import rasterise
from medshard.errors import CaseError

SQUARE = [10, 20, 5, 10, 30, 5, 20, 30, 5, 20, 20, 5]


def contour(numbers: list[float | str], kind: str = "CLOSED_PLANAR", count: int | None = None) -> Dataset:
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(numbers) // 3 if count is None else count
    item.ContourData = [str(number) for number in numbers]
    return item


def write(path: Path, regions: dict[str, list[Dataset]], *, syntax: str = ExplicitVRLittleEndian) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        told, drawn = Dataset(), Dataset()
        told.ROINumber, told.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [255, 128, number]
        drawn.ContourSequence = contours
        dataset.StructureSetROISequence.append(told)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path, enforce_file_format=True)
    return path


def refused(path: Path) -> CaseError:
    with pytest.raises(CaseError) as error:
        rtstruct.read([path])
    return error.value


def test_the_real_structure_set_of_pydicom():
    path = get_testdata_file("rtstruct.dcm")
    assert isinstance(path, str)
    assert rtstruct.sniff([Path(path)])
    found = rtstruct.read([Path(path)])
    source = pydicom.dcmread(path, force=True)
    assert [region.name for region in found.regions] == ["patient", "Isocenter 1", "Isocenter 2"]
    contours = source.ROIContourSequence[0].ContourSequence
    for outline, item in zip(found.regions[0].outlines, contours, strict=True):
        stated = np.array([float(number) for number in item.ContourData]).reshape(-1, 3) * (-1, -1, 1)
        # The file states the first point again at the end.
        np.testing.assert_array_equal(stated[-1], stated[0])
        np.testing.assert_array_equal(outline.points, stated[:-1])
    assert found.regions[0].colour == "#dca078"
    assert found.warnings == ("2 points are left out",)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_contours_become_outlines_in_ras_mm(tmp_path, syntax):
    path = write(tmp_path / "rs.dcm", {"Lt Lung": [contour(SQUARE), contour([*SQUARE, 10, 20, 5])]}, syntax=syntax)
    assert rtstruct.sniff([path])
    assert not dicom_seg.sniff([path])
    found = rtstruct.read([path])
    assert found.space == "ras-mm"
    region = found.regions[0]
    assert (region.number, region.name, region.colour) == (1, "Lt Lung", "#ff8001")
    for outline in region.outlines:
        np.testing.assert_array_equal(outline.points, [[-10, -20, 5], [-10, -30, 5], [-20, -30, 5], [-20, -20, 5]])


def test_an_outline_is_drawn_where_it_lies(tmp_path):
    found = rtstruct.read([write(tmp_path / "rs.dcm", {"a": [contour(SQUARE)]})])
    affine = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]])
    mask = rasterise(found, found.regions[0], (3, 40, 40), affine).mask
    assert set(zip(*np.nonzero(mask), strict=True)) == {(1, y, x) for y in range(20, 30) for x in range(10, 20)}


def test_what_has_no_area_is_left_out_and_counted(tmp_path):
    contours = [
        contour(SQUARE, "CLOSEDPLANAR_XOR"),
        contour(SQUARE[:3], "POINT"),
        contour(SQUARE, "OPEN_PLANAR"),
        contour(SQUARE, "OPEN_NONPLANAR"),
        contour(SQUARE[:6]),
    ]
    found = rtstruct.read([write(tmp_path / "rs.dcm", {"a": contours, "empty": []})])
    assert [len(region.outlines) for region in found.regions] == [1, 0]
    assert found.warnings == (
        "1 contours of fewer than three points are left out",
        "2 open contours are left out",
        "1 points are left out",
    )


@pytest.mark.parametrize(
    "broken",
    [contour(SQUARE[:-1]), contour(SQUARE, count=9), contour([*SQUARE[:-1], "1e400"])],
    ids=["half a point", "another count", "no number"],
)
def test_a_contour_that_is_not_made_of_points_is_refused_without_a_name(tmp_path, broken):
    error = refused(write(tmp_path / "rs.dcm", {"Doe^Jane": [broken]}))
    assert error.code == "read.unreadable"
    assert "Doe" not in str(error)


def test_two_regions_of_one_number_are_refused(tmp_path):
    path = write(tmp_path / "rs.dcm", {"a": [contour(SQUARE)], "b": []})
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ROINumber = 1
    dataset.save_as(path)
    assert refused(path).code == "read.unreadable"


def test_flipped_and_missing_bytes_end_in_an_error_or_in_outlines(tmp_path):
    whole = write(tmp_path / "rs.dcm", {"a": [contour(SQUARE)] * 3, "b": [contour(SQUARE)]}).read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "broken.dcm"
    for _ in range(300):
        broken = bytearray(whole[: rng.integers(140, len(whole))] if rng.random() < 0.3 else whole)
        for at in rng.integers(128, len(broken), 3):
            broken[at] = rng.integers(256)
        path.write_bytes(bytes(broken))
        rtstruct.sniff([path])
        try:
            found = rtstruct.read([path])
        except CaseError:
            continue
        assert all(np.isfinite(outline.points).all() for region in found.regions for outline in region.outlines)
