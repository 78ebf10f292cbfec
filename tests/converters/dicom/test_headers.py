"""Opening DICOM files: what is read when, and what a hostile or odd file may cost."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import pydicom
import pytest
from made_dicom import frames, planes, write
from pydicom.data import get_testdata_file

from medshard.converters.dicom.headers import looks_like_dicom, notes_of, pixels_attached, read_file_header, remarks
from medshard.converters.reading import read_header
from medshard.errors import CaseError


@pytest.fixture
def one(tmp_path):
    return write(frames(planes(1)), tmp_path)[0]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
def test_pixels_come_later_and_go_again(name):
    path = get_testdata_file(name)
    file = read_file_header(Path(path))
    assert "PixelData" not in file.dataset
    with pixels_attached(file) as dataset:
        assert dataset.PixelData == pydicom.dcmread(path).PixelData
    assert "PixelData" not in file.dataset


def test_a_file_without_a_preamble_is_known_by_its_first_element(one, tmp_path):
    bare = tmp_path / "bare"
    bare.write_bytes(one.read_bytes()[132:])
    assert looks_like_dicom(bare)
    assert read_header([bare], where="e/c").shape == (1, 6, 8)


def test_a_directory_of_images_is_passed_over(tmp_path):
    paths = write(frames(planes(3)), tmp_path)
    directory = tmp_path / "DICOMDIR"
    directory.write_bytes(b"whatever it holds")
    assert read_header([*paths, directory], where="e/c").shape[0] == 3


def test_a_length_of_gigabytes_in_a_small_file_costs_no_memory(one):
    content = bytearray(one.read_bytes())
    at = content.find(b"\x10\x00\x20\x00LO")
    content[at : at + 8] = b"\x10\x00\x20\x00OB\0\0"
    content[at + 8 : at + 12] = b"\xf0\xff\xff\x7f"
    one.write_bytes(bytes(content))
    tracemalloc.start()
    with pytest.raises(CaseError):
        read_header([one], where="e/c")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_deflated_file_that_inflates_without_end_is_refused(one):
    dataset = pydicom.dcmread(one)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(one)
    content = one.read_bytes()
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(400)) + deflate.flush()
    one.write_bytes(content[:meta_end] + bomb)
    with pytest.raises(CaseError) as error:
        read_header([one], where="e/c")
    assert error.value.code == "read.unreadable"
    assert "inflates" in error.value.problem


@pytest.mark.parametrize("count", [2, 10**6, 10**9])
def test_more_frames_than_the_file_can_hold_are_refused_before_they_are_counted(tmp_path, count):
    (path,) = write(frames(planes(1), NumberOfFrames=count), tmp_path)
    with pytest.raises(CaseError) as error:
        read_header([path], where="e/c")
    assert error.value.code == "read.truncated"


@pytest.mark.parametrize("name", ["Doe^John", "O'Brien^Ann", 'He said "no"'])
def test_a_remark_of_pydicom_is_kept_without_the_value_it_quotes(name, caplog):
    dataset = pydicom.Dataset()
    with remarks() as caught:
        dataset.add_new("PatientBirthDate", "DA", name)
        dataset.add_new("StudyInstanceUID", "UI", name)
    notes = notes_of(caught)
    assert notes
    assert not any(part in note for note in notes for part in ("Doe", "Brien", "said"))
    assert "Doe" not in caplog.text
