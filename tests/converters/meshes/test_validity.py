"""What is said of a surface, against trimesh and against surfaces whose faults were put there."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from made_meshes import cube, joined, soup, turned

from medshard.converters.meshes.validity import mesh_report, unit_doubts
from medshard.converters.reading import read_mesh
from medshard.converters.volume import Mesh

TUMOUR = Path(__file__).parents[3] / "registry/examples/format-families/lung2_tumour_surface.obj"


def torus() -> Mesh:
    made = trimesh.creation.torus(30, 8)
    return Mesh(vertices=np.asarray(made.vertices), faces=np.asarray(made.faces), unit="mm")


def tumour() -> Mesh:
    return replace(read_mesh([TUMOUR], where="e/c"), unit="mm")


@pytest.mark.parametrize("make", [cube, torus, tumour, lambda: joined(cube(), cube(at=(20, 0, 0)))])
def test_a_sound_surface_is_what_trimesh_says_it_is(make):
    mesh = make()
    found, oracle = mesh_report(mesh), trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert (found.watertight, found.consistently_wound) == (oracle.is_watertight, oracle.is_winding_consistent)
    assert (found.watertight, found.outward, found.doubts) == (True, True, ())
    assert (found.euler_number, found.components) == (oracle.euler_number, oracle.body_count)
    assert found.area == pytest.approx(oracle.area)
    assert found.volume == pytest.approx(oracle.volume)
    np.testing.assert_array_equal([found.low, found.high], oracle.bounds)


def test_three_vertices_for_each_face_do_not_open_a_surface():
    assert replace(mesh_report(soup(torus())), vertices=0) == pytest.approx(replace(mesh_report(torus()), vertices=0))


def test_the_volume_of_a_small_thing_far_away_keeps_its_digits():
    assert mesh_report(cube(size=3, at=(1e7, -1e7, 1e7))).volume == pytest.approx(27, rel=1e-6)


def test_each_fault_is_counted():
    mesh = cube()
    turned_faces = mesh.faces.copy()
    turned_faces[0] = turned_faces[0, ::-1]
    found = mesh_report(replace(mesh, faces=turned_faces))
    assert (found.watertight, found.consistently_wound, found.outward, found.volume) == (True, False, None, None)

    found = mesh_report(replace(mesh, faces=mesh.faces[1:]))
    assert (found.watertight, found.consistently_wound, found.open_edges) == (False, True, 3)

    found = mesh_report(turned(mesh))
    assert (found.outward, found.volume) == (False, pytest.approx(12.5**3))

    found = mesh_report(replace(mesh, faces=np.concatenate([mesh.faces, [[3, 3, 1]]])))
    assert (found.duplicate_faces, found.degenerate_faces) == (0, 1)
    found = mesh_report(replace(mesh, faces=np.concatenate([mesh.faces, mesh.faces[:1, ::-1]])))
    assert (found.duplicate_faces, found.non_manifold_edges, found.watertight) == (1, 3, False)

    found = mesh_report(replace(mesh, vertices=np.concatenate([mesh.vertices, [[1, 2, 3]]])))
    assert (found.unreferenced_vertices, found.vertices, found.welded_vertices) == (1, 9, 8)

    found = mesh_report(joined(mesh, cube(at=(12.5, 12.5, 0))))
    # Two cubes that touch along an edge: closed, but that edge has four faces.
    assert (found.watertight, found.consistently_wound, found.non_manifold_edges, found.components) == (
        True,
        True,
        1,
        1,
    )


@settings(max_examples=100, deadline=None)
@given(faces=st.lists(st.lists(st.integers(0, 7), min_size=3, max_size=3, unique=True), min_size=1, max_size=14))
def test_any_set_of_faces_counts_as_trimesh_counts_it(faces):
    mesh = replace(cube(), faces=np.array(faces, np.int64))
    found, oracle = mesh_report(mesh), trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert found.euler_number == oracle.euler_number
    if not found.non_manifold_edges:
        assert (found.watertight, found.consistently_wound) == (oracle.is_watertight, oracle.is_winding_consistent)
    labels = trimesh.graph.connected_component_labels(oracle.edges, node_count=8)
    assert found.components == len(set(labels[np.unique(mesh.faces)]))
    assert found.area == pytest.approx(oracle.area)


@pytest.mark.parametrize(
    ("extent", "unit", "says"),
    [
        (60.0, "mm", None),
        (0.06, "m", None),
        (0.06, "mm", "m would be"),
        (60.0, "m", "mm or cm would be"),
        (60.0, "unknown", "no unit is known"),
        (1e9, "mm", "no part of a body"),
    ],
)
def test_a_unit_that_cannot_be_is_a_doubt(extent, unit, says):
    doubts = unit_doubts(extent, unit)
    assert (says is None and not doubts) or (says in doubts[0])


def test_two_hundred_thousand_faces_take_about_a_second():
    made = trimesh.creation.icosphere(subdivisions=7, radius=40)
    mesh = Mesh(vertices=np.asarray(made.vertices), faces=np.asarray(made.faces)[:200_000], unit="mm")
    before = time.process_time()
    mesh_report(mesh)
    # About 0.5 s; generous, since other work may share the machine.
    assert time.process_time() - before < 3
