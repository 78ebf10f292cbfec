"""VTK's legacy files: images written and read by SimpleITK, and surfaces written word by word here."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.formats.format import ANY, Format
from medshard.converters.formats.vtk import IMAGE_FORMAT, MESH_FORMAT
from medshard.converters.volume import Image, Mesh
from medshard.errors import CaseError

POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1.5]], ">f4")
TRIANGLES = [[0, 1, 2], [0, 2, 3], [0, 1, 4]]


def read(path: Path, found: Format) -> Image | Mesh:
    assert found.sniff([path])
    with bad_file_errors(path, found.name):
        header = found.read_header([path], ANY)
        read = found.read([path], ANY)
    if isinstance(read, Image):
        assert read.array.shape == (header.channels, *header.shape)
    else:
        assert (header.vertices, header.faces) == (len(read.vertices), len(read.faces))
    return read


def refused(path: Path, found: Format) -> CaseError:
    with pytest.raises(CaseError) as error:
        read(path, found)
    return error.value


def surface(path: Path) -> Mesh:
    found = read(path, MESH_FORMAT)
    assert isinstance(found, Mesh)
    return found


def assert_simpleitk_agrees(path: Path) -> None:
    expected = sitk.ReadImage(str(path))
    image = read(path, IMAGE_FORMAT)
    assert isinstance(image, Image)
    stored = sitk.GetArrayFromImage(expected)
    np.testing.assert_array_equal(np.moveaxis(image.array, 0, -1), stored.reshape(*image.shape, -1))
    last = [size - 1 for size in expected.GetSize()]
    # Of a single slice SimpleITK makes an image of two dimensions.
    corner = np.array(expected.TransformIndexToPhysicalPoint(last)) * (-1, -1, 1)[: len(last)]
    found = image.affine @ [*(n - 1 for n in image.shape), 1]
    np.testing.assert_allclose(found[: len(last)], corner, atol=1e-4)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 7), min_size=3, max_size=3),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]),
    spacing=st.lists(st.floats(0.01, 20), min_size=3, max_size=3),
    origin=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
)
def test_what_simpleitk_writes_is_read_as_simpleitk_reads_it(tmp_path, shape, dtype, spacing, origin):
    image = sitk.GetImageFromArray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(tmp_path / "scan.vtk"))
    assert_simpleitk_agrees(tmp_path / "scan.vtk")


def test_colours_become_channels(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype("u1")
    sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(tmp_path / "scan.vtk"))
    assert_simpleitk_agrees(tmp_path / "scan.vtk")


ASCII_IMAGE = """# vtk DataFile Version 3.0
a title
ASCII
DATASET STRUCTURED_POINTS
DIMENSIONS 3 2 2
ORIGIN 1 2 3
SPACING 0.5 0.5 2
POINT_DATA 12
SCALARS values short 1
LOOKUP_TABLE default
0 1 2 3 4 5
6 7 8 9 10 -11
"""


def test_images_in_text_are_read_and_said_to_be_taken_as_lps(tmp_path):
    path = tmp_path / "scan.vtk"
    path.write_text(ASCII_IMAGE)
    assert_simpleitk_agrees(path)
    assert "LPS" in IMAGE_FORMAT.read_header([path], ANY).warnings[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DIMENSIONS 3 2 2", "DIMENSIONS 2147483647 2147483647 2147483647"),
        ("DIMENSIONS 3 2 2", "DIMENSIONS 3 2 -2"),
        ("DIMENSIONS 3 2 2", "DIMENSIONS 3 2 0"),
        ("DIMENSIONS 3 2 2\n", ""),
        ("SPACING 0.5 0.5 2", "SPACING 0.5 0.5"),
        ("ORIGIN 1 2 3", "ORIGIN 1 2 1e400"),
        ("short", "string"),
        ("-11", "eleven"),
        ("10 -11", ""),
        ("POINT_DATA", "CELL_DATA"),
    ],
)
def test_hostile_images_cost_an_error_and_no_memory(tmp_path, old, new):
    path = tmp_path / "scan.vtk"
    path.write_text(ASCII_IMAGE.replace(old, new))
    tracemalloc.start()
    try:
        refused(path, IMAGE_FORMAT)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def polydata(
    path: Path,
    *,
    cells: list[list[int]],
    keyword: str = "POLYGONS",
    binary: bool = True,
    version: str = "3.0",
    title: str = "vtk output",
    between: bytes = b"",
) -> Path:
    def block(numbers: np.ndarray) -> bytes:
        return numbers.tobytes() if binary else " ".join(str(n) for n in numbers.ravel()).encode()

    lines = f"# vtk DataFile Version {version}\n{title}\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\n"
    content = lines.encode() + f"POINTS {len(POINTS)} float\n".encode() + block(POINTS) + b"\n" + between
    if float(version) < 5:
        stored = np.array([n for cell in cells for n in (len(cell), *cell)], ">i4")
        content += f"{keyword} {len(cells)} {len(stored)}\n".encode() + block(stored) + b"\n"
    else:
        offsets = np.cumsum([0, *map(len, cells)]).astype(">i8")
        corners = np.array([n for cell in cells for n in cell], ">i8")
        content += f"{keyword} {len(offsets)} {len(corners)}\nOFFSETS vtktypeint64\n".encode() + block(offsets)
        content += b"\nCONNECTIVITY vtktypeint64\n" + block(corners) + b"\n"
    content += b"POINT_DATA 5\nSCALARS s float\nLOOKUP_TABLE default\n" + block(np.arange(1, 6).astype(">f4")) + b"\n"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", ["3.0", "4.2", "5.1"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_surface_keeps_its_vertices_and_faces(tmp_path, version, binary):
    mesh = surface(polydata(tmp_path / "a.vtk", cells=TRIANGLES, version=version, binary=binary))
    np.testing.assert_array_equal(mesh.vertices, POINTS)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)
    assert mesh.unit == "unknown"


def test_numbers_of_points_and_cells_become_labels(tmp_path):
    path = polydata(tmp_path / "a.vtk", cells=[[0, 1, 2, 3], [0, 1, 4]], binary=False, between=b"VERTICES 1 2\n1 0\n")
    more = "CELL_DATA 3\nFIELD FieldData 2\nPart 1 3 int\n7 8 9\nflow 2 3 float\n1 2 3 4 5 6\nSCALARS n string 1\n"
    path.write_bytes(path.read_bytes() + more.encode())
    mesh = surface(path)
    label, scalar = mesh.labels["Part"], mesh.labels["s"]
    # The point is the first cell, and the square two triangles.
    assert (label.per, label.kind, label.array.tolist()) == ("face", "semantic", [8, 8, 9])
    assert (scalar.per, scalar.kind, scalar.array.tolist()) == ("vertex", "scalar", [1, 2, 3, 4, 5])
    assert set(mesh.labels) == {"Part", "s"}
    warnings = MESH_FORMAT.read_header([path], ANY).warnings
    assert [any(word in said for said in warnings) for word in ("fans", "several", "behind")] == [True] * 3


@pytest.mark.parametrize("old", ["CELL_DATA 3", "1.0 2.0 3.0 4.0 5.0\n"])
def test_data_that_do_not_fit_the_surface_are_refused(tmp_path, old):
    path = polydata(tmp_path / "a.vtk", cells=TRIANGLES, binary=False)
    content = path.read_bytes() + b"CELL_DATA 3\nSCALARS n int 1\nLOOKUP_TABLE default\n7 8 9\n"
    path.write_bytes(content.replace(old.encode(), {"CELL_DATA 3": b"CELL_DATA 4"}.get(old, b"1 2\n")))
    assert refused(path, MESH_FORMAT).code == "read.unreadable"


@pytest.mark.parametrize("version", ["3.0", "5.1"])
def test_polygons_become_fans_and_what_has_no_area_nothing(tmp_path, version):
    mesh = surface(polydata(tmp_path / "a.vtk", cells=[[0, 1, 2, 3], [1, 2], [0, 1, 4]], version=version))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])


def test_strips_become_triangles_that_all_face_one_way(tmp_path):
    mesh = surface(polydata(tmp_path / "a.vtk", cells=[[0, 1, 3, 2, 4]], keyword="TRIANGLE_STRIPS"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [3, 1, 2], [3, 2, 4]])


@pytest.mark.parametrize(("space", "signs"), [("RAS", (1, 1, 1)), ("LPS", (-1, -1, 1))])
def test_a_title_of_3d_slicer_says_where_the_surface_lies(tmp_path, space, signs):
    mesh = surface(polydata(tmp_path / "a.vtk", cells=TRIANGLES, title=f"3D Slicer output. SPACE={space}"))
    np.testing.assert_array_equal(mesh.vertices, POINTS * signs)
    assert mesh.unit == "mm"


@pytest.mark.parametrize(
    "between",
    [
        b"METADATA\nINFORMATION 1\nNAME a LOCATION b\nDATA 1 2\n\n",
        b"LINES 1 3\n" + np.array([2, 0, 1], ">i4").tobytes() + b"\n",
        b"FIELD FieldData 1\ntime 1 1 double\n" + np.array([1.5], ">f8").tobytes() + b"\n",
    ],
)
def test_what_is_no_surface_is_passed_over(tmp_path, between):
    np.testing.assert_array_equal(
        surface(polydata(tmp_path / "a.vtk", cells=TRIANGLES, between=between)).faces, TRIANGLES
    )


@pytest.mark.parametrize("version", ["3.0", "5.1"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POINTS 5", b"POINTS 99999999999"),
        (b"POINTS 5", b"POINTS -5"),
        (b"POINTS 5", b"POINTS 4"),
        (b"POLYGONS 3 12", b"POLYGONS 3 99999999999"),
        (b"POLYGONS 4 9", b"POLYGONS 99999999999 9"),
        (b"POLYGONS 3 12", b"POLYGONS 2 12"),
        (b"POLYGONS", b"POLYGANS"),
        (b"float", b"floot"),
    ],
)
def test_hostile_surfaces_cost_an_error_and_no_memory(tmp_path, version, binary, old, new):
    path = polydata(tmp_path / "a.vtk", cells=TRIANGLES, version=version, binary=binary)
    content = path.read_bytes()
    if old not in content:
        old, new = b"DATASET POLYDATA\nPOINTS", b"DATASET POLYDATA\nPAINTS"
    path.write_bytes(content.replace(old, new, 1))
    tracemalloc.start()
    try:
        refused(path, MESH_FORMAT)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4), binary=st.booleans()
)
def test_flipped_bytes_give_a_surface_or_an_error_of_the_case(tmp_path, changes, binary):
    path = polydata(tmp_path / "a.vtk", cells=TRIANGLES, binary=binary)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(bytes(content))
    if not MESH_FORMAT.sniff([path]):
        return
    try:
        surface = read(path, MESH_FORMAT)
    except CaseError:
        return
    assert surface.vertices.shape[1:] == surface.faces.shape[1:] == (3,)
