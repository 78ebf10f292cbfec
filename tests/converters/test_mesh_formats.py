"""PLY, STL and OFF, against trimesh and what they were written of; damaged files of every kind."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_meshes import CORNERS, SQUARES, TRIANGLES, cube, ply, save, vtp

from medshard.converters.reading import read_header, read_mesh
from medshard.errors import CaseError

ORDERS = ["ascii", "little", "big"]
PACKINGS = ["ascii", "binary", "appended-raw", "appended-base64"]


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_mesh(files, where="entry/case")
    assert error.value.where == "entry/case"
    return error.value


@pytest.mark.parametrize("places", ["float", "double"])
@pytest.mark.parametrize("order", ORDERS)
def test_ply_keeps_vertices_faces_and_labels(tmp_path, order, places):
    content = ply(order, faces=TRIANGLES.tolist(), places=places)
    mesh = read_mesh(save(tmp_path / "a.ply", content), where="e/c")
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)
    oracle = trimesh.load_mesh(io.BytesIO(content), file_type="ply", process=False)
    np.testing.assert_array_equal(oracle.vertices, mesh.vertices)
    np.testing.assert_array_equal(oracle.faces, mesh.faces)
    vertex, face = mesh.labels["label"], mesh.labels["part"]
    assert (vertex.per, vertex.array.dtype, vertex.array.tolist()) == ("vertex", np.int16, list(range(-3, 5)))
    assert (face.per, face.array.dtype, face.array.tolist()) == ("face", np.uint8, list(range(12)))


@pytest.mark.parametrize("count", ["uchar", "int"])
@pytest.mark.parametrize("order", ORDERS)
def test_polygons_become_fans_that_take_their_label_along(tmp_path, order, count):
    faces = [[0, 3, 2, 1], [4, 5, 6], [6, 7, 4], [0, 1, 5, 4, 7], [1, 2]]
    files = save(tmp_path / "a.ply", ply(order, faces=faces, count=count))
    mesh = read_mesh(files, where="e/c")
    fans = [[0, 3, 2], [0, 2, 1], [4, 5, 6], [6, 7, 4], [0, 1, 5], [0, 5, 4], [0, 4, 7]]
    np.testing.assert_array_equal(mesh.faces, fans)
    assert mesh.labels["part"].array.tolist() == [0, 0, 1, 2, 3, 3, 3]
    said = read_header(files, where="e/c").warnings
    assert [warning.rsplit(": ", 1)[-1] for warning in said] == ["2", "1"]


def test_colours_are_said_to_be_lost_and_comments_are_not_kept(tmp_path):
    content = ply("ascii", faces=TRIANGLES.tolist()).replace(b"short label", b"short red")
    files = save(tmp_path / "a.ply", content)
    header, mesh = read_header(files, where="e/c"), read_mesh(files, where="e/c")
    assert "colours" in header.warnings[0]
    assert set(mesh.labels) == {"part"}
    assert "somebody" not in repr((header, mesh))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"element vertex 8", b"element vertex 4294967296", "read.truncated"),
        (b"element face 12", b"element face 2147483648", "read.truncated"),
        (b"element vertex 8", b"element vertex -8", "read.unreadable"),
        (b"element vertex 8", b"element vertex 8\nelement none 99999999999", "read.unreadable"),
        (b"property float x", b"property quad x", "read.unreadable"),
        (b"property float y", b"property float x", "read.unreadable"),
        (b"list uchar", b"list float", "read.unreadable"),
        (b"vertex_indices", b"others", "read.unreadable"),
        (b"end_header", b"end", "read.unreadable"),
        (b"element face", b"element tristrips", "read.unreadable"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_hostile_ply_costs_an_error_and_no_memory(tmp_path, order, old, new, code):
    content = ply(order, faces=TRIANGLES.tolist())
    assert old in content
    files = save(tmp_path / "a.ply", content.replace(old, new, 1))
    tracemalloc.start()
    try:
        if b"tristrips" in new:
            code = "read.unsupported"
        assert refused(files).code == code
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_stl_keeps_a_vertex_for_each_corner(tmp_path, kind):
    made = trimesh.Trimesh(CORNERS, TRIANGLES, process=False)
    mesh = read_mesh(save(tmp_path / "a.stl", made.export(file_type=kind)), where="e/c")
    assert len(mesh.vertices) == 36
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], CORNERS[TRIANGLES])


def test_solids_of_a_text_stl_are_numbered_and_not_named(tmp_path):
    text = trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(file_type="stl_ascii")
    mesh = read_mesh(save(tmp_path / "a.stl", f"{text}\n{text}".replace("solid", "solid Doe_Jane")), where="e/c")
    label = mesh.labels["solid"]
    assert (label.kind, label.per, label.array.tolist()) == ("instance", "face", [1] * 12 + [2] * 12)
    assert "Doe" not in repr(mesh)


@pytest.mark.parametrize("kept", [50, 83, 84, 400])
def test_a_cut_stl_is_refused_as_cut(tmp_path, kept):
    content = trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(file_type="stl")
    assert refused(save(tmp_path / "a.stl", content[:kept])).code == "read.truncated"
    text = trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(file_type="stl_ascii")
    assert refused(save(tmp_path / "a.stl", text[: len(text) // 2])).code == "read.truncated"


def test_a_binary_stl_that_counts_two_thousand_million_triangles_costs_nothing(tmp_path):
    content = bytes(80) + struct.pack("<I", 2**31) + bytes(116)
    error = refused(save(tmp_path / "a.stl", content))
    assert (error.code, error.details["found"]) == ("read.truncated", "200 bytes")


OFF = "OFF\n# a comment\n8 6 0\n" + "".join(f"{x} {y} {z}\n" for x, y, z in CORNERS.tolist())
OFF += "".join("4 " + " ".join(map(str, face)) + "\n" for face in SQUARES.tolist())


@pytest.mark.parametrize(
    ("old", "new"), [("", ""), ("OFF\n# a comment\n8", "OFF 8"), ("OFF", "NOFF"), ("OFF", "COFF"), ("OFF", "STCNOFF")]
)
def test_off_and_its_variants_hold_the_same_surface(tmp_path, old, new):
    text = OFF.replace(old, new, 1)
    if new.endswith("OFF") and new != "OFF":
        more = " 0 0 1" if "N" in new else ""
        lines = text.splitlines()
        text = "\n".join([*lines[:3], *(f"{line}{more} 9 9 9" for line in lines[3:11]), *lines[11:]])
    mesh = read_mesh(save(tmp_path / "a.off", text), where="e/c")
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("8 6 0", "2147483648 6 0", "read.truncated"),
        ("8 6 0", "8 -6 0", "read.unreadable"),
        ("OFF", "4OFF", "read.unsupported"),
        ("OFF", "nOFF", "read.unsupported"),
        ("OFF", "OFF BINARY", "read.unsupported"),
        ("4 0 3 2 1", "9 0 3 2 1", "read.unreadable"),
        ("4 0 3 2 1", "4 0 3 2 8", "read.unreadable"),
        ("0.0 0.0 0.0", "0.0 0.0 nan", "read.unreadable"),
        ("0.0 0.0 0.0", "0.0 0.0 1_0", "read.unreadable"),
    ],
)
def test_bad_off_files_are_refused(tmp_path, old, new, code):
    assert old in OFF
    assert refused(save(tmp_path / "a.off", OFF.replace(old, new, 1))).code == code


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.glb", b"glTF\x02\0\0\0", "glTF binary"),
        ("a.gltf", b'{"asset": {}, "meshes": []}', "glTF"),
        ("a.3mf", b"PK\x03\x04rest", "3MF"),
        ("a.dae", b"<?xml version='1.0'?><COLLADA/>", "COLLADA"),
    ],
)
def test_other_surfaces_are_refused_by_name(tmp_path, name, content, kind):
    error = refused(save(tmp_path / name, content))
    assert (error.code, error.details["format"]) == ("read.unsupported", kind)


SEEDS = {
    "obj": b"v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nv 0 0 1 1 0 0\nf 1 3 2\nf -4 -3 -1\ng a\nf 1/1 2/2 4/3\n",
    "stl": trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(file_type="stl"),
    "off": OFF.encode(),
    **{f"ply {order}": ply(order, faces=SQUARES.tolist()) for order in ORDERS},
    **{f"vtp {packing}": vtp(packing=packing, packed=True) for packing in PACKINGS},
}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4),
    kept=st.integers(30, 8000),
)
def test_damaged_files_give_a_surface_or_an_error_of_the_case(tmp_path, name, changes, kept):
    content = bytearray(SEEDS[name][:kept])
    for place, byte in changes:
        content[place % len(content)] = byte
    files = save(tmp_path / f"a.{name[:3]}", bytes(content))
    try:
        mesh = read_mesh(files, where="e/c")
    except CaseError:
        return
    assert np.isfinite(mesh.vertices).all()
    assert mesh.faces.min() >= 0
    assert mesh.faces.max() < len(mesh.vertices)
    for label in mesh.labels.values():
        assert len(label.array) == len(mesh.vertices if label.per == "vertex" else mesh.faces)


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_each_seed_is_known_by_its_content(tmp_path, name):
    files = save(tmp_path / "a.bin", SEEDS[name])
    assert read_header(files, where="e/c").format == name.split()[0]
    assert len(read_mesh(files, where="e/c").faces) == (3 if name == "obj" else len(cube().faces))
