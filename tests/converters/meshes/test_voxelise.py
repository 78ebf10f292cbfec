"""Masks of surfaces, against formulae, the masks that surfaces were made of, and trimesh."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from made_meshes import cube, grid_affine, joined, soup, turned, voxel_faces

from medshard.converters.meshes.voxelise import voxelise
from medshard.converters.volume import Mesh
from medshard.errors import CaseError

PLAIN = grid_affine((1, 1, 1))


def ball(radii: tuple[float, float, float], centre: tuple[float, float, float], subdivisions: int = 5) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Mesh(vertices=made.vertices * radii + centre, faces=np.asarray(made.faces), unit="mm")


def real_mask() -> tuple[np.ndarray, np.ndarray]:
    """Grey matter of the MNI152 template, every third voxel of it."""
    from importlib.resources import files

    path = files("nilearn.datasets.data").joinpath("mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz")
    image = nibabel.load(str(path))
    return np.asarray(image.dataobj)[::3, ::3, ::3].T > 100, image.affine


@pytest.mark.parametrize("affine", [PLAIN, grid_affine((2.5, 0.7, 0.9), (-90, 31.3, 7)), grid_affine((-3, 1, -1))])
def test_the_faces_of_a_real_masks_voxels_give_the_mask_back(affine):
    mask, _ = real_mask()
    assert 10_000 < mask.sum() < mask.size / 2
    np.testing.assert_array_equal(voxelise(voxel_faces(mask, affine), mask.shape, affine)[0], mask)


@settings(max_examples=60, deadline=None)
@given(
    mask=st.lists(st.booleans(), min_size=60, max_size=60),
    directions=st.permutations([0, 1, 2]),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
    spacing=st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
    shear=st.floats(-0.4, 0.4),
)
def test_the_faces_of_any_masks_voxels_give_it_back_on_any_affine(mask, directions, signs, spacing, shear):
    voxels = np.array(mask).reshape(3, 4, 5)
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(np.array(signs) * spacing) + shear * np.eye(3, k=1))[directions]
    affine[:3, 3] = (-40.3, 17.2, 5)
    if not voxels.any():
        return
    np.testing.assert_array_equal(voxelise(voxel_faces(voxels, affine), voxels.shape, affine)[0], voxels)


@pytest.mark.parametrize("radii", [(20, 20, 20), (24, 15, 9)])
def test_the_volume_of_a_ball_is_that_of_the_formula(radii):
    mask = voxelise(ball(radii, (30.2, 25.1, 26.7)), (104, 110, 120), grid_affine((0.5, 0.5, 0.5)))
    assert mask.shape == (1, 104, 110, 120)
    assert mask.dtype == np.uint8
    # The polyhedron of 20,480 faces is 0.1 % smaller than the ball.
    assert mask.sum() / 8 == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=3e-3)


def test_each_centre_is_where_trimesh_says_it_is():
    surface = ball((7.3, 5.1, 6.2), (8.1, 7.9, 8.3), subdivisions=2)
    mask = voxelise(surface, (17, 16, 18), PLAIN)[0]
    z, y, x = np.indices(mask.shape).reshape(3, -1)
    oracle = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    # The winding number by solid angles, which knows no rays.
    a, b, c = (oracle.triangles[:, n][None] - np.stack([x, y, z], 1)[:, None] for n in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    dot = lambda u, v: (u * v).sum(axis=2)  # noqa: E731
    angle = 2 * np.arctan2(dot(a, np.cross(b, c)), la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb)
    np.testing.assert_array_equal(mask.reshape(-1), np.rint(angle.sum(axis=1) / 4 / np.pi).astype(int))


def test_a_centre_on_the_surface_is_inside_on_the_low_side_only():
    mask = voxelise(cube(size=3, at=(1, 1, 1)), (6, 6, 6), PLAIN)[0]
    expected = np.zeros((6, 6, 6), int)
    expected[1:4, 1:4, 1:4] = 1
    np.testing.assert_array_equal(mask, expected)


def test_an_affine_that_cannot_be_written_exactly_decides_for_no_centre():
    affine = grid_affine((0.1, 0.7, 0.3), (-1.1, 2.3, 0.9))
    inside = cube(size=3, at=(1, 1, 1))
    # Indices (z, y, x) of the cube's corners as (x, y, z) mm.
    moved = replace(inside, vertices=inside.vertices[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])
    assert voxelise(moved, (6, 6, 6), affine).sum() == 27


@settings(max_examples=30, deadline=None)
@given(shift=st.lists(st.integers(-6, 6), min_size=3, max_size=3), where=st.floats(7, 9))
def test_moving_a_surface_by_whole_voxels_moves_its_mask(shift, where):
    surface = ball((4.4, 3.3, 5.5), (where, 8, 8.25), subdivisions=2)
    moved = replace(surface, vertices=surface.vertices + shift)
    still = voxelise(surface, (16, 16, 18), PLAIN)[0]
    grid = grid_affine((1, 1, 1), tuple(shift))
    np.testing.assert_array_equal(voxelise(moved, (16, 16, 18), grid)[0], still)


def test_overlapping_parts_make_a_union_and_a_cavity_stays_empty():
    two = joined(cube(size=4, at=(0.5, 0.5, 0.5)), cube(size=4, at=(2.5, 2.5, 2.5)))
    assert voxelise(two, (8, 8, 8), PLAIN).sum() == 64 + 64 - 8
    hollow = joined(cube(size=6, at=(0.5, 0.5, 0.5)), turned(cube(size=2, at=(2.5, 2.5, 2.5))))
    assert voxelise(hollow, (8, 8, 8), PLAIN).sum() == 216 - 8


def test_a_surface_that_faces_inwards_or_has_corners_of_its_own_has_the_same_mask():
    expected = voxelise(ball((5, 4, 3), (6, 6, 6), 3), (12, 12, 12), PLAIN)
    for changed in (turned, soup):
        np.testing.assert_array_equal(voxelise(changed(ball((5, 4, 3), (6, 6, 6), 3)), (12, 12, 12), PLAIN), expected)


def test_a_closed_surface_with_one_face_turned_goes_by_parity():
    surface = cube(size=4, at=(0.5, 0.5, 0.5))
    faces = surface.faces.copy()
    faces[3] = faces[3, ::-1]
    assert voxelise(replace(surface, faces=faces), (6, 6, 6), PLAIN).sum() == 64


def test_what_lies_outside_the_grid_is_cut_off():
    surface = cube(size=100, at=(-50, -50, -50))
    assert voxelise(surface, (3, 4, 5), PLAIN).all()
    assert not voxelise(replace(surface, vertices=surface.vertices + 300), (3, 4, 5), PLAIN).any()


def test_an_open_surface_is_refused_by_name():
    surface = cube()
    with pytest.raises(CaseError) as error:
        voxelise(replace(surface, faces=surface.faces[1:]), (5, 5, 5), PLAIN, where="e/c")
    assert (error.value.code, error.value.where) == ("mesh.open", "e/c")
    assert error.value.details["of an odd number of faces"] == "3"


def test_a_surface_that_is_crossed_without_end_is_refused():
    crossed = joined(*[cube(size=4, at=(0.5, 0.5, 0.5))] * 2000)
    faces = crossed.faces
    with pytest.raises(CaseError, match="mesh.too_dense"):
        voxelise(replace(crossed, faces=faces), (5, 5, 5), PLAIN)


@pytest.mark.parametrize("factor", [0.0, 1e-300, np.nan])
def test_a_grid_without_extent_is_refused(factor):
    with pytest.raises(CaseError, match="mesh.affine"):
        voxelise(cube(), (5, 5, 5), grid_affine((1, factor, 1)))
