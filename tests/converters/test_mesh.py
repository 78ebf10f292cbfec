"""Surfaces, against the few lines of a parser written here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from medshard.converters.reading import read_header, read_mesh
from medshard.errors import CaseError

# A cube of which two sides are squares cut in two, its vertices in no particular order; one is there twice.
VERTICES = (
    np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]]) * 12.5
)
FACES = np.array([[1, 3, 5], [1, 5, 2], [4, 6, 0], [4, 0, 7], [8, 2, 6], [8, 6, 4]])


def obj(*, corners: str = "{v}", extra: str = "") -> str:
    lines = ["# cube", *(f"v {x!r} {y!r} {z!r}" for x, y, z in VERTICES.tolist()), extra]
    lines += ["f " + " ".join(corners.format(v=v + 1, n=v % 3 + 1) for v in face) for face in FACES.tolist()]
    return "\n".join(lines) + "\n"


def parsed(text: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split() for line in text.splitlines() if line]
    vertices = [[float(word) for word in row[1:4]] for row in rows if row[0] == "v"]
    faces = [[int(word.split("/")[0]) - 1 for word in row[1:]] for row in rows if row[0] == "f"]
    return np.array(vertices), np.array(faces)


def save(path: Path, content: str | bytes) -> list[Path]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [path]


@pytest.mark.parametrize(
    "text",
    [
        obj(),
        obj(corners="{v}//{n}", extra="vn 1 0 0\nvn 0 1 0\nvn 0 0 1"),
        obj(corners="{v}/{n}/{n}", extra="vt 0 0\nvt 1 0\nvt 1 1\nvn 1 0 0\nvn 0 1 0\nvn 0 0 1"),
        obj(extra="mtllib lost.mtl\no first\ng part\nusemtl skin\ns off"),
    ],
    ids=["plain", "normals", "textures", "groups and a lost material"],
)
def test_an_obj_keeps_its_vertices_and_faces_in_order(tmp_path, text):
    files = save(tmp_path / "surface.obj", text)
    mesh = read_mesh(files, where="e/c")
    vertices, faces = parsed(text)
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.faces, faces)
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float64, np.int64)
    header = read_header(files, where="e/c")
    assert (header.format, header.vertices, header.faces) == ("obj", len(vertices), len(faces))


def test_groups_and_materials_do_not_split_an_obj(tmp_path):
    lines = obj().splitlines()
    text = "\n".join([*lines[:-3], "g other", "usemtl bone", *lines[-3:]])
    mesh = read_mesh(save(tmp_path / "surface.obj", text), where="e/c")
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_faces_may_count_vertices_backwards_and_run_over_two_lines(tmp_path):
    text = "v 0 0 0\nv 2 0 0\nv 2 3 0\nf -3 -2 \\\n-1\nv 0 3 0\nf -4 -2 -1\n"
    mesh = read_mesh(save(tmp_path / "surface.obj", text), where="e/c")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])


def test_a_square_becomes_two_triangles_over_the_same_vertices(tmp_path):
    text = "v 0 0 0\nv 2 0 0\nv 2 3 0\nv 0 3 0\nf 1 2 3 4\n"
    mesh = read_mesh(save(tmp_path / "surface.obj", text), where="e/c")
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert (len(mesh.vertices), len(mesh.faces), area) == (4, 2, 6.0)


def test_no_unit_is_stated_by_the_format(tmp_path):
    assert read_mesh(save(tmp_path / "surface.obj", obj()), where="e/c").unit == "unknown"


def binary_stl() -> bytes:
    triangles = b"".join(
        struct.pack("<12fH", 0, 0, 0, *VERTICES[face].astype("<f4").ravel().tolist(), 0) for face in FACES
    )
    return b"solid in name only".ljust(80) + struct.pack("<I", len(FACES)) + triangles


def text_stl() -> bytes:
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join(f"vertex {x} {y} {z}\n" for x, y, z in VERTICES[face].tolist())
        + "endloop\nendfacet\n"
        for face in FACES
    )
    return f"solid cube\n{facets}endsolid cube\n".encode()


def text_ply() -> bytes:
    header = (
        f"ply\nformat ascii 1.0\nelement vertex {len(VERTICES)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    vertices = "".join(f"{x} {y} {z}\n" for x, y, z in VERTICES.tolist())
    return (header + vertices + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES.tolist())).encode()


@pytest.mark.parametrize("content", [binary_stl(), text_stl(), text_ply()], ids=["binary STL", "text STL", "PLY"])
def test_other_surface_formats_hold_the_same_triangles_whatever_they_are_called(tmp_path, content):
    mesh = read_mesh(save(tmp_path / "surface.dat", content), where="e/c")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], VERTICES[FACES])


@pytest.mark.parametrize(
    "text",
    ["v 0 0 0\nv 1 0 0\n", "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n", "v 0 0 nan\nv 1 0 0\nv 1 1 0\nf 1 2 3\n"],
    ids=["no faces", "a face beyond the vertices", "a vertex that is nowhere"],
)
def test_a_file_that_holds_no_surface_is_refused(tmp_path, text):
    with pytest.raises(CaseError) as error:
        read_mesh(save(tmp_path / "surface.obj", text), where="entry/case")
    assert (error.value.code, error.value.where) == ("read.unreadable", "entry/case")


def test_vertex_colours_are_passed_over_and_said_to_be_lost(tmp_path):
    text = "v 0 0 0 0.5 0.5 0.5\nv 2 0 0 1 0 0\nv 2 3 0 0 0 1\nf 1 2 3\n"
    files = save(tmp_path / "surface.obj", text)
    np.testing.assert_array_equal(read_mesh(files, where="e/c").vertices, [[0, 0, 0], [2, 0, 0], [2, 3, 0]])
    assert "colours" in read_header(files, where="e/c").warnings[0]


def test_groups_and_materials_are_numbered_and_not_named(tmp_path):
    text = "v 0 0 0\nv 2 0 0\nv 2 3 0\nv 0 3 0\ng Jane Doe\nusemtl Doe\nf 1 2 3 4\ng b\nf 1 2 3\ng Jane Doe\nf 1 2 4\n"
    mesh = read_mesh(save(tmp_path / "surface.obj", text), where="e/c")
    assert set(mesh.labels) == {"group"}
    assert (mesh.labels["group"].kind, mesh.labels["group"].per) == ("instance", "face")
    assert mesh.labels["group"].array.tolist() == [1, 1, 2, 1]
    assert "Doe" not in repr(mesh)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("f 1 2 3", "f 0 1 2", "read.unreadable"),
        ("f 1 2 3", "f -4 1 2", "read.unreadable"),
        ("f 1 2 3", "f 1 2 99999999999999999999", "read.unreadable"),
        ("f 1 2 3", "f 1 2 3_0", "read.unreadable"),
        ("v 2 3 0", "v 2 3", "read.unreadable"),
        ("v 2 3 0", "v 2 3 0 1 1", "read.unreadable"),
        ("v 2 3 0", "v 2 3 0 0.5", "read.unsupported"),
        ("v 2 3 0", "v 2 3 inf", "read.unreadable"),
        ("f 1 2 3", "call other.obj", "read.unsupported"),
        ("f 1 2 3", "cstype bezier", "read.unsupported"),
    ],
)
def test_what_an_obj_cannot_mean_is_refused(tmp_path, old, new, code):
    text = "v 0 0 0\nv 2 0 0\nv 2 3 0\nf 1 2 3\n".replace(old, new)
    with pytest.raises(CaseError, match=code):
        read_mesh(save(tmp_path / "surface.obj", text), where="e/c")
