"""Putting a surface into RAS mm, by what the catalog says of its file."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from medshard.converters.meshes.validity import MM
from medshard.converters.volume import Affine, Mesh
from medshard.errors import CaseError

Frame = Literal["ras", "lps", "own"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def in_frame(mesh: Mesh, *, where: str, space: str, unit: str, affine: Affine | None = None) -> Mesh:
    """The surface in mm, and in RAS where `space` is `ras` or `lps`.

    space: what the axes of the file are: `ras`, `lps`, or `own`, which relates to no image.
    unit: of the file: `um`, `mm`, `cm` or `m`. affine: (4, 4), maps (x, y, z, 1) of the file, in mm and in that space,
    to mm of the same space; None for none. Where it mirrors, the faces are turned, so that they face as before.

    Raises CaseError[mesh.frame (no such space or unit, or the file itself says otherwise) | mesh.voxel_space |
    mesh.affine (singular, not finite, or not affine)].
    """
    _check(mesh, where, space, unit)
    vertices = mesh.vertices * MM[unit]
    faces = mesh.faces
    whole = np.eye(4) if affine is None else np.asarray(affine, np.float64)
    if whole.shape != (4, 4) or not np.isfinite(whole).all() or (whole[3] != (0, 0, 0, 1)).any():
        raise _refused(
            where, "mesh.affine", "the transform of a surface is no affine", {"rows": "(4, 4), last 0 0 0 1"}
        )
    if np.linalg.matrix_rank(whole[:3, :3]) < 3:
        raise _refused(where, "mesh.affine", "the transform of a surface is singular", {})
    # The file may have been LPS and read as RAS already, as 3D Slicer's title says.
    if space == "lps":
        whole = LPS_TO_RAS @ whole
    if (whole != np.eye(4)).any():
        vertices = vertices @ whole[:3, :3].T + whole[:3, 3]
    if np.linalg.det(whole[:3, :3]) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    return replace(mesh, vertices=vertices, faces=faces, unit="mm", space="own" if space == "own" else "ras")


def _check(mesh: Mesh, where: str, space: str, unit: str) -> None:
    if space in ("voxel", "index", "ijk"):
        raise _refused(where, "mesh.voxel_space", "surfaces in voxel indices are not read", {"space": space})
    if space not in ("ras", "lps", "own") or unit not in MM:
        details = {"space": space, "unit": unit, "known": f"ras, lps, own; {', '.join(MM)}"}
        raise _refused(where, "mesh.frame", "no such space or unit", details)
    if mesh.unit in MM and mesh.unit != unit:
        details = {"file": mesh.unit, "entry": unit}
        raise _refused(where, "mesh.frame", "the file states another unit than the entry", details)
    if mesh.space == "ras" and space != "ras":
        details = {"file": "placed in RAS by what the file itself says", "entry": space}
        raise _refused(where, "mesh.frame", "the file states another space than the entry", details)


def _refused(where: str, code: str, problem: str, details: dict[str, str]) -> CaseError:
    return CaseError(
        code,
        where=where,
        problem=problem,
        details=details,
        action="The case is excluded. Correct the entry's mesh.",
    )
