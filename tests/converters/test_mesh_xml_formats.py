"""VTP, GIFTI and FreeSurfer's surfaces, against nibabel and what they were written of."""

from __future__ import annotations

import base64
import gzip
import tracemalloc
import zlib
from importlib.resources import files as package_files
from pathlib import Path

import nibabel
import numpy as np
import pytest
from made_meshes import CORNERS, TRIANGLES, save, vtp

from medshard.converters.reading import read_header, read_mesh
from medshard.errors import CaseError

FSAVERAGE = Path(str(package_files("nilearn.datasets.data"))) / "fsaverage5"
PACKINGS = ["ascii", "binary", "appended-raw", "appended-base64"]


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_mesh(files, where="entry/case")
    assert error.value.where == "entry/case"
    return error.value


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("packing", PACKINGS)
def test_vtp_holds_the_same_surface_however_it_is_packed(tmp_path, packing, packed, wide, order):
    content = vtp(packing=packing, packed=packed, wide=wide, order=order, strips=[[0, 1, 3, 2]])
    mesh = read_mesh(save(tmp_path / "a.vtp", content), where="e/c")
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    np.testing.assert_array_equal(mesh.faces, [*TRIANGLES.tolist(), [0, 1, 3], [3, 1, 2]])
    # Cells are numbered from the one point that comes first.
    assert mesh.labels["part_face"].array.tolist() == [n for n in range(1, 8) for _ in range(2)]
    assert mesh.labels["part"].array.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'NumberOfPoints="8"', b'NumberOfPoints="2147483648"', "read.unreadable"),
        (b'NumberOfPolys="6"', b'NumberOfPolys="2147483648"', "read.unreadable"),
        (b'NumberOfPolys="6"', b'NumberOfPolys="5"', "read.unreadable"),
        (b'type="PolyData"', b'type="UnstructuredGrid"', "read.unsupported"),
        (b'compressor="vtkZLib', b'compressor="vtkLZ4', "read.unsupported"),
        (b"<?xml version", b"<!DOCTYPE x [<!ENTITY a 'b'>]><?xml version", "read.unreadable"),
        (b"</Piece>", b"", "read.unreadable"),
        (b'type="Int16"', b'type="Float16"', "read.unsupported"),
    ],
)
@pytest.mark.parametrize("packing", PACKINGS)
def test_hostile_vtp_costs_an_error_and_no_memory(tmp_path, packing, old, new, code):
    content = vtp(packing=packing, packed=True)
    assert old in content
    files = save(tmp_path / "a.vtp", content.replace(old, new, 1))
    tracemalloc.start()
    try:
        if packing == "ascii" or b"LZ4" in new:
            assert refused(files).code in (code, "read.unreadable")
        else:
            assert refused(files).code == code
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_zlib_bomb_in_vtp_is_not_unpacked(tmp_path):
    size = 1 << 29
    packer = zlib.compressobj(9)
    block = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    head = np.array([1, size, 0, len(block)], "<u4").tobytes()
    text = vtp(packing="binary", packed=True).decode()
    start = text.index("<Points>")
    begin, end = text.index(">", text.index("<DataArray", start)) + 1, text.index("</DataArray>", start)
    bomb = (base64.b64encode(head) + base64.b64encode(block)).decode()
    text = text[:begin] + bomb + text[end:]
    files = save(tmp_path / "a.vtp", text.replace('NumberOfPoints="8"', f'NumberOfPoints="{size // 12 + 1}"', 1))
    tracemalloc.start()
    try:
        assert refused(files).code in ("read.unreadable", "read.too_large")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["pial_left", "white_right", "sphere_left", "infl_right", "flat_left"])
def test_a_real_gifti_surface_is_read_as_nibabel_reads_it(name):
    path = FSAVERAGE / f"{name}.gii.gz"
    mesh = read_mesh([path], where="e/c")
    vertices, faces = nibabel.load(path).agg_data()
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.faces, faces)
    assert (mesh.unit, mesh.space) == ("mm", "own")
    assert "no scan's space" in read_header([path], where="e/c").warnings[0]


@pytest.mark.parametrize("encoding", ["ASCII", "B64BIN", "B64GZ"])
@pytest.mark.parametrize("space", ["SCANNER_ANAT", "TALAIRACH", "UNKNOWN"])
def test_gifti_in_each_encoding_says_where_it_lies(tmp_path, encoding, space):
    shift = np.eye(4)
    shift[:3, 3] = (10, -20, 30)
    reached = "SCANNER_ANAT" if space == "UNKNOWN" else space
    system = nibabel.gifti.GiftiCoordSystem(f"NIFTI_XFORM_{space}", f"NIFTI_XFORM_{reached}", shift)
    arrays = [
        nibabel.gifti.GiftiDataArray(
            CORNERS.astype("f4"), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", encoding=encoding, coordsys=system
        ),
        nibabel.gifti.GiftiDataArray(
            TRIANGLES.astype("i4"), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32", encoding=encoding
        ),
        nibabel.gifti.GiftiDataArray(
            np.arange(8, dtype="i4"), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32", encoding=encoding
        ),
    ]
    image = nibabel.gifti.GiftiImage(darrays=arrays, meta=nibabel.gifti.GiftiMetaData(UserName="Jane Doe"))
    files = save(tmp_path / "a.surf.gii", image.to_bytes())
    mesh = read_mesh(files, where="e/c")
    np.testing.assert_allclose(mesh.vertices, CORNERS + (shift[:3, 3] if space == "UNKNOWN" else 0))
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)
    assert mesh.space == ("own" if space == "TALAIRACH" else "ras")
    assert mesh.labels["label_1"].array.tolist() == list(range(8))
    assert "Jane" not in repr((mesh, read_header(files, where="e/c")))


def test_a_gifti_that_names_another_file_or_a_bomb_is_refused(tmp_path):
    text = gzip.decompress((FSAVERAGE / "pial_left.gii.gz").read_bytes()).decode()
    outside = text.replace("GZipBase64Binary", "ExternalFileBinary").replace("Base64Binary", "ExternalFileBinary")
    assert refused(save(tmp_path / "a.gii", outside)).code == "read.unsupported"
    bomb = gzip.compress(b"<?xml version='1.0'?><GIFTI>" + b" " * (200 << 20))
    tracemalloc.start()
    try:
        assert refused(save(tmp_path / "b.gii.gz", bomb)).code == "read.too_large"
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_a_freesurfer_surface_is_read_as_nibabel_reads_it(tmp_path):
    path = tmp_path / "lh.pial"
    vertices, faces = nibabel.load(FSAVERAGE / "pial_left.gii.gz").agg_data()
    nibabel.freesurfer.write_geometry(path, vertices, faces, create_stamp="created by jane")
    mesh = read_mesh([path], where="e/c")
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.faces, faces)
    path.write_bytes(path.read_bytes()[:5000])
    assert refused([path]).code == "read.truncated"
