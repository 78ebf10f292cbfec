"""DICOM Segmentation against highdicom, voxel by voxel; written by highdicom on a made series, and real ones."""

from __future__ import annotations

import warnings
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from made_segments import COLOURS, SHAPE, ct_series, write_seg
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medshard.converters.annotations import dicom_seg
from medshard.converters.annotations.segment_grid import on_image_grid
from medshard.converters.formats.format import Request
from medshard.converters.geometry import affine_from_itk
from medshard.converters.spooling import Spool
from medshard.converters.volume import spacing_of
from medshard.errors import CaseError

OBLIQUE = affine_from_itk(
    (-20.5, 15.25, -310.5),
    (0.8, 0.6, 2.5),
    # A turn by 30 degrees about the patient's left-right axis.
    [1, 0, 0, 0, 0.75**0.5, -0.5, 0, 0.5, 0.75**0.5],
)
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def series(tmp_path) -> list[pydicom.Dataset]:
    return ct_series(tmp_path / "ct", OBLIQUE)


def masks(count: int = 3) -> np.ndarray:
    """(z, y, x, segment), overlapping, with slices that hold nothing."""
    rng = np.random.default_rng(1)
    found = rng.random((*SHAPE, count)) < 0.3
    found[[0, 3, 6]] = False
    return found


def highdicom_masks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(segment, z, y, x) and the affine, index (z, y, x, 1) -> RAS+ mm, as highdicom has them."""
    volume = hd.seg.segread(path).get_volume(combine_segments=False, rescale_fractional=False)
    return np.moveaxis(volume.array, -1, 0), TO_LPS @ volume.affine


def refused(path: Path) -> CaseError:
    with pytest.raises(CaseError) as error:
        dicom_seg.read([path])
    return error.value


def edited(path: Path, **fields: object) -> Path:
    dataset = pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def same_masks(path: Path) -> None:
    """Each segment's voxels lie where highdicom has them, in patient space, whatever the order of slices."""
    ours = dicom_seg.read([path])
    theirs, affine = highdicom_masks(path)
    placed = on_image_grid(ours, theirs.shape[1:], affine)
    for number, segment in enumerate(ours.segments):
        np.testing.assert_array_equal(placed.array[segment.channel] == segment.value, theirs[number] != 0)


class TestBinary:
    def test_voxels_and_places_are_highdicoms(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(), ["a", "b", "c"])
        assert dicom_seg.sniff([path])
        same_masks(path)

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
    def test_every_encoding_holds_the_same_voxels(self, tmp_path, series, syntax):
        path = write_seg(tmp_path / "seg.dcm", series, masks(), ["a", "b", "c"])
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / "other.dcm")
        assert dicom_seg.sniff([tmp_path / "other.dcm"])
        same, plain = dicom_seg.read([tmp_path / "other.dcm"]), dicom_seg.read([path])
        np.testing.assert_array_equal(same.array, plain.array)
        np.testing.assert_allclose(same.affine, plain.affine)

    def test_slices_that_are_left_out_are_zeros_and_count_in_the_spacing(self, tmp_path, series):
        pixels = masks(1)
        path = write_seg(tmp_path / "seg.dcm", series, pixels, ["a"])
        assert int(pydicom.dcmread(path).NumberOfFrames) == 4
        found = dicom_seg.read([path])
        assert found.shape == (5, 36, 44)
        assert spacing_of(found.affine) == pytest.approx((2.5, 0.6, 0.8))
        placed = on_image_grid(found, SHAPE, OBLIQUE)
        np.testing.assert_array_equal(placed.array[0] != 0, pixels[..., 0])
        np.testing.assert_array_equal(placed.affine, OBLIQUE)

    def test_segments_share_a_channel_until_they_overlap(self, tmp_path, series):
        pixels = np.zeros((*SHAPE, 3), bool)
        pixels[2, 2:6, 2:6, 0] = pixels[2, 10:12, 2:6, 1] = pixels[2, 5:8, 5:8, 2] = True
        found = dicom_seg.read([write_seg(tmp_path / "seg.dcm", series, pixels, ["a", "b", "c"])])
        assert [(s.number, s.name, s.channel, s.value) for s in found.segments] == [
            (1, "a", 0, 1),
            (2, "b", 0, 2),
            (3, "c", 1, 3),
        ]
        assert [int((found.array[s.channel] == s.value).sum()) for s in found.segments] == [16, 8, 9]

    def test_colours_are_those_that_were_meant(self, tmp_path, series):
        found = dicom_seg.read([write_seg(tmp_path / "seg.dcm", series, masks(), ["a", "b", "c"])])
        for segment, meant in zip(found.segments, COLOURS, strict=True):
            assert segment.colour is not None
            stated = np.frombuffer(bytes.fromhex(segment.colour[1:]), np.uint8).astype(int)
            # Sixteen bits of CIELab leave a step of 255 at most.
            assert np.abs(stated - np.frombuffer(bytes.fromhex(meant[1:]), np.uint8)).max() <= 1

    def test_one_frame_takes_its_spacing_from_the_header(self, tmp_path, series):
        pixels = np.zeros((*SHAPE, 1), bool)
        pixels[4, 3:5, 3:9] = True
        found = dicom_seg.read([write_seg(tmp_path / "seg.dcm", series, pixels, ["a"])])
        assert found.shape == (1, 36, 44)
        placed = on_image_grid(found, SHAPE, OBLIQUE)
        np.testing.assert_array_equal(placed.array[0] != 0, pixels[..., 0])

    def test_a_large_grid_goes_where_the_spool_puts_it(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(), ["a", "b", "c"])
        request = Request(spool=Spool(folder=tmp_path, limit_bytes=1))
        np.testing.assert_array_equal(dicom_seg.read([path], request).array, dicom_seg.read([path]).array)

    @pytest.mark.parametrize("name", ["liver.dcm", "liver_expb.dcm"])
    def test_real_liver_is_that_of_pydicom(self, name):
        path = get_testdata_file(name)
        assert isinstance(path, str)
        found = dicom_seg.read([Path(path)])
        dataset = pydicom.dcmread(path)
        heights = [
            float(group.PlanePositionSequence[0].ImagePositionPatient[2])
            for group in dataset.PerFrameFunctionalGroupsSequence
        ]
        np.testing.assert_array_equal(found.array[0], dataset.pixel_array[np.argsort(heights)])
        assert [(s.name, s.colour) for s in found.segments] == [("Liver", "#dd8265")]


class TestFractional:
    @pytest.mark.parametrize(
        "syntax",
        [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian],
    )
    def test_stored_numbers_are_highdicoms(self, tmp_path, series, syntax):
        fractions = np.round(np.random.default_rng(2).random((*SHAPE, 2)), 2)
        fractions[:2] = 0
        written = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
        path = write_seg(
            tmp_path / "seg.dcm",
            series,
            fractions,
            ["a", "b"],
            kind="FRACTIONAL",
            syntax=written,
            max_fractional_value=200,
        )
        if written != syntax:
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path)
        found = dicom_seg.read([path])
        assert (found.kind, found.largest, found.array.shape[0]) == ("fractional", 200, 2)
        placed = on_image_grid(found, SHAPE, OBLIQUE)
        stored = np.moveaxis(np.rint(fractions * 200), -1, 0)
        np.testing.assert_array_equal(placed.array, stored)


class TestLabelMap:
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
    def test_values_are_segment_numbers(self, tmp_path, series, syntax):
        labels = np.random.default_rng(3).integers(0, 4, SHAPE).astype(np.uint8)
        path = write_seg(tmp_path / "seg.dcm", series, labels, ["a", "b", "c"], kind="LABELMAP", syntax=syntax)
        assert dicom_seg.sniff([path])
        found = dicom_seg.read([path])
        assert [(s.number, s.name, s.channel, s.value) for s in found.segments] == [
            (1, "a", 0, 1),
            (2, "b", 0, 2),
            (3, "c", 0, 3),
        ]
        np.testing.assert_array_equal(on_image_grid(found, SHAPE, OBLIQUE).array[0], labels)

    def test_a_value_of_no_segment_is_told_by_its_count(self, tmp_path, series):
        labels = np.random.default_rng(3).integers(0, 4, SHAPE).astype(np.uint8)
        path = write_seg(tmp_path / "seg.dcm", series, labels, ["a", "b", "c"], kind="LABELMAP")
        dataset = pydicom.dcmread(path)
        del dataset.SegmentSequence[2]
        dataset.save_as(path)
        assert any("1 values of the label map" in warning for warning in dicom_seg.read([path]).warnings)


class TestRefusals:
    def test_uneven_positions(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(1), ["a"])
        dataset = pydicom.dcmread(path)
        for group, z in zip(dataset.PerFrameFunctionalGroupsSequence, (0.0, 1.0, 2.37, 3.1), strict=True):
            group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, z]
        dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [
            1,
            0,
            0,
            0,
            1,
            0,
        ]
        dataset.save_as(path)
        assert refused(path).code == "dicom.irregular_spacing"

    def test_two_frames_of_a_segment_in_one_slice(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(1), ["a"])
        dataset = pydicom.dcmread(path)
        groups = dataset.PerFrameFunctionalGroupsSequence
        groups[1].PlanePositionSequence = groups[0].PlanePositionSequence
        dataset.save_as(path)
        assert refused(path).code == "dicom.duplicate_slices"

    def test_frames_far_apart_ask_for_no_memory(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(1), ["a"])
        dataset = pydicom.dcmread(path)
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, number * 1e7 + number % 2]
        dataset.save_as(path)
        assert refused(path).code == "dicom.irregular_spacing"

    def test_short_pixels(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(1), ["a"])
        assert refused(edited(path, PixelData=b"\0" * 64)).code == "read.truncated"

    def test_no_message_holds_a_value_of_the_header(self, tmp_path, series):
        path = write_seg(tmp_path / "seg.dcm", series, masks(1), ["Doe^Jane"])
        dataset = pydicom.dcmread(path)
        dataset.SegmentSequence[0].SegmentNumber = 9
        dataset.save_as(path)
        assert "Doe" not in str(refused(path))

    def test_flipped_and_missing_bytes_end_in_an_error_or_in_voxels(self, tmp_path, series):
        whole = write_seg(tmp_path / "seg.dcm", series, masks(), ["a", "b", "c"]).read_bytes()
        rng = np.random.default_rng(7)
        path = tmp_path / "broken.dcm"
        for _ in range(150):
            broken = bytearray(whole[: rng.integers(200, len(whole))] if rng.random() < 0.3 else whole)
            for at in rng.integers(128, len(broken), 4):
                broken[at] = rng.integers(256)
            path.write_bytes(bytes(broken))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found = dicom_seg.read([path])
                except CaseError:
                    continue
            assert all(0 <= segment.channel < len(found.array) for segment in found.segments)
            assert np.isfinite(found.affine).all()
