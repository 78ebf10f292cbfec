"""The format is found by content, and what goes wrong is said of the case."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.io
import SimpleITK
from PIL import Image as Pillow
from pydicom.data import get_testdata_file

from medshard.converters import reading
from medshard.converters.formats import nifti
from medshard.errors import CaseError

NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 1 2\nencoding: raw\n\n" + bytes(range(24))
META = (
    b"ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 1 2\nElementType = MET_UCHAR\n"
    b"ElementDataFile = LOCAL\n" + bytes(range(24))
)
SURFACE = (
    b"# vtk DataFile Version 3.0\nsurface\nASCII\nDATASET POLYDATA\n"
    b"POINTS 3 float\n0 0 0 1 0 0 1 1 0\nPOLYGONS 1 4\n3 0 1 2\n"
)
OBJ = b"# surface\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n"


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """One file of each format, under names that say nothing."""
    paths = {known.name: tmp_path / f"{known.name}-file" for known in reading.FORMATS}
    nibabel.save(nibabel.Nifti1Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(paths["nifti"])
    shutil.copy(str(get_testdata_file("CT_small.dcm")), paths["dicom"])
    paths["nrrd"].write_bytes(NRRD)
    paths["metaimage"].write_bytes(META)
    Pillow.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(paths["raster"], format="PNG")
    paths["mesh"].write_bytes(OBJ)
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    with paths["numpy"].open("wb") as stream:
        np.save(stream, voxels)
    with paths["matlab"].open("wb") as stream:
        scipy.io.savemat(stream, {"scan": voxels})
    nibabel.save(nibabel.AnalyzeImage(voxels, np.eye(4)), tmp_path / "b.img")
    (tmp_path / "b.hdr").rename(paths["analyze"])
    (tmp_path / "b.img").rename(tmp_path / f"{paths['analyze'].name}.img")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), tmp_path / "c.vtk")
    (tmp_path / "c.vtk").rename(paths["vtk-image"])
    paths["vtk-mesh"].write_bytes(SURFACE)
    return paths


def test_every_format_is_known_by_its_content_alone(files):
    assert {name: reading.identify([path], "e/c").name for name, path in files.items()} == {
        name: name for name in files
    }
    assert {known.name for known in reading.FORMATS} == set(files)


def test_a_misleading_name_changes_nothing(files, tmp_path):
    shutil.copy(files["nrrd"], tmp_path / "scan.nii.gz")
    assert reading.identify([tmp_path / "scan.nii.gz"], "e/c").name == "nrrd"


@pytest.mark.parametrize("name", ["nifti", "dicom", "nrrd", "metaimage", "raster", "numpy", "matlab", "vtk-image"])
def test_header_and_image_agree(files, name):
    header = reading.read_header([files[name]], where="e/c")
    image = reading.read_image([files[name]], where="e/c")
    assert header.format == name
    assert (header.channels, *header.shape) == image.array.shape
    assert header.dtype == image.array.dtype
    assert header.voxel_bytes == image.array.nbytes
    assert header.spacing_mm == image.spacing_mm
    assert header.trusted_geometry == image.trusted_geometry
    np.testing.assert_array_equal(header.affine, image.affine)


def test_every_decoder_names_its_version():
    for known in reading.FORMATS:
        assert all(version[0].isdigit() for version in known.decoders().values())
        assert known.decoders()


def test_an_unknown_format_says_what_it_begins_with_and_quotes_no_text(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"dear colleague, the scans follow")
    (tmp_path / "blob").write_bytes(b"\x7fELF\x02\x01\x01\x00\x00")
    with pytest.raises(CaseError) as error:
        reading.identify([tmp_path / "notes.txt"], "lidc/case_1")
    assert (error.value.code, error.value.where) == ("read.unknown_format", "lidc/case_1")
    assert error.value.details["file"] == "notes.txt"
    assert error.value.details["begins with"] == "text"
    with pytest.raises(CaseError) as error:
        reading.identify([tmp_path / "blob"], "lidc/case_1")
    assert error.value.details["begins with"] == "7f 45 4c 46 02 01 01 00"


@pytest.mark.parametrize(("content", "code"), [(b"", "read.truncated"), (b"\x00", "read.unknown_format")])
def test_a_file_of_hardly_any_bytes_is_refused(tmp_path, content, code):
    (tmp_path / "scan.nii.gz").write_bytes(content)
    with pytest.raises(CaseError) as error:
        reading.read_image([tmp_path / "scan.nii.gz"], where="e/c")
    assert error.value.code == code


def test_no_file_at_all_is_refused():
    with pytest.raises(CaseError, match=r"read\.no_files"):
        reading.read_header([], where="e/c")


def test_a_mesh_is_no_image_and_an_image_is_no_mesh(files):
    with pytest.raises(CaseError, match=r"read\.wrong_kind"):
        reading.read_image([files["mesh"]], where="e/c")
    with pytest.raises(CaseError, match=r"read\.wrong_kind"):
        reading.read_mesh([files["nrrd"]], where="e/c")


def test_a_singular_grid_is_refused_by_header_and_image_alike(tmp_path):
    directions = b"space: left-posterior-superior\nspace directions: (1,0,0) (1,0,0) (0,0,2)\nspace origin: (0,0,0)"
    (tmp_path / "scan.nrrd").write_bytes(NRRD.replace(b"spacings: 1 1 2", directions))
    for read in (reading.read_header, reading.read_image):
        with pytest.raises(CaseError) as error:
            read([tmp_path / "scan.nrrd"], where="e/c")
        assert error.value.code in ("geometry.singular", "read.unreadable")


class TestErrorsThatAreNotTheFiles:
    def reading_raises(self, monkeypatch, files, error: BaseException) -> None:
        def fail(_files, _request):
            raise error

        broken = dataclasses.replace(nifti.FORMAT, read=fail)
        monkeypatch.setattr(reading, "FORMATS", (broken,))
        reading.read_image([files["nifti"]], where="e/c")

    @pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), OSError(28, "No space left on device")])
    def test_what_the_machine_does_passes_through(self, monkeypatch, files, error):
        with pytest.raises(type(error)):
            self.reading_raises(monkeypatch, files, error)

    def test_a_lack_of_memory_inside_itk_is_a_lack_of_memory(self, monkeypatch, files):
        with pytest.raises(MemoryError):
            self.reading_raises(monkeypatch, files, RuntimeError("Failed to allocate memory for image."))

    def test_a_file_that_is_gone_is_no_bad_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            reading.read_image([tmp_path / "gone.nii"], where="e/c")

    def test_what_a_library_says_loses_folders_and_addresses(self, monkeypatch, files):
        path = files["nifti"]
        message = f"/build/x.cxx:12: NrrdImageIO(0x55d0): Error reading {path}: bad"
        with pytest.raises(CaseError) as error:
            self.reading_raises(monkeypatch, files, RuntimeError(message))
        assert error.value.details["reason"] == "RuntimeError: NrrdImageIO: Error reading nifti-file: bad"
