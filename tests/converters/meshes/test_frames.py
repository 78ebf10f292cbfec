"""Surfaces into RAS mm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_meshes import cube

from medshard.converters.meshes.frames import in_frame
from medshard.converters.meshes.validity import mesh_report
from medshard.errors import CaseError


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("mm", 1), ("cm", 10), ("m", 1000)])
@pytest.mark.parametrize(("space", "signs"), [("ras", (1, 1, 1)), ("lps", (-1, -1, 1)), ("own", (1, 1, 1))])
def test_axes_and_unit_of_the_file_become_ras_mm(space, signs, unit, factor):
    mesh = cube(at=(1, 2, 3), unit="unknown")
    moved = in_frame(mesh, where="e/c", space=space, unit=unit)
    np.testing.assert_allclose(moved.vertices, mesh.vertices * signs * factor)
    assert (moved.unit, moved.space) == ("mm", "own" if space == "own" else "ras")
    assert mesh_report(moved).outward


def test_a_transform_is_applied_in_the_files_own_space_and_a_mirror_turns_the_faces():
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[:3, 3] = (5, 6, 7)
    mesh = cube(unit="unknown")
    moved = in_frame(mesh, where="e/c", space="lps", unit="mm", affine=mirror)
    np.testing.assert_allclose(moved.vertices, (mesh.vertices * (-1, 1, 1) + (5, 6, 7)) * (-1, -1, 1))
    assert mesh_report(moved).outward


@pytest.mark.parametrize(
    ("space", "unit", "affine", "changed", "code"),
    [
        ("ijk", "mm", None, {}, "mesh.voxel_space"),
        ("las", "mm", None, {}, "mesh.frame"),
        ("ras", "inch", None, {}, "mesh.frame"),
        ("ras", "m", None, {"unit": "mm"}, "mesh.frame"),
        ("lps", "mm", None, {"unit": "mm", "space": "ras"}, "mesh.frame"),
        ("ras", "mm", np.diag([1.0, 0, 1, 1]), {}, "mesh.affine"),
        ("ras", "mm", np.full((4, 4), np.nan), {}, "mesh.affine"),
        ("ras", "mm", np.ones((4, 4)), {}, "mesh.affine"),
    ],
)
def test_what_cannot_be_placed_is_refused(space, unit, affine, changed, code):
    mesh = replace(cube(unit="unknown"), **changed)
    with pytest.raises(CaseError) as error:
        in_frame(mesh, where="e/c", space=space, unit=unit, affine=affine)
    assert (error.value.code, error.value.where) == (code, "e/c")
