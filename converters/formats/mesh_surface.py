"""A surface as its file states it, checked once for every format: what the mesh readers return.

Nothing is merged, reordered or repaired. Polygons become fans of triangles around their first corner, which is exact
for convex ones; data of a polygon go to each of its triangles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.vtk_cells import Integers, cells_of_triangles, polygons_as_triangles
from medshard.converters.volume import Array, Mesh, MeshLabel

Per = Literal["vertex", "face"]

# Names of data arrays are the writing program's words. What is no plain identifier may be anybody's.
PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")

# What VTK's own filters leave behind: where a vertex or a cell stood in the data that they were given.
BOOKKEEPING = ("vtkOriginalPointIds", "vtkOriginalCellIds", "vtkGhostType")

COLOURS_LOST = "colours of vertices or faces are not kept"
FANS = "faces of more than three corners became fans of triangles around their first corner: "
SMALL_CELLS = "faces of fewer than three corners have no area and were left out: "


@dataclass(frozen=True, kw_only=True)
class Surface:
    """warnings: one sentence each, without anything that the file names."""

    mesh: Mesh
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """faces: (m, 3) vertex numbers. cell: (m,) which face of the file each triangle is of."""

    faces: Integers
    cell: Integers
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Data:
    """A number for every vertex, or for every face as the file counts them, under the file's own name."""

    name: str
    per: Per
    array: Array
    kind: Literal["semantic", "instance", "scalar"] | None = None


def plain_triangles(faces: Integers) -> Triangles:
    return Triangles(faces=faces, cell=np.arange(len(faces)))


def fans(offsets: Integers, corners: Integers) -> Triangles:
    """Polygons, given as in `vtk_cells`, with a warning for what is no triangle."""
    sizes = np.diff(offsets)
    warnings = []
    if larger := int((sizes > 3).sum()):
        warnings.append(f"{FANS}{larger}")
    if smaller := int((sizes < 3).sum()):
        warnings.append(f"{SMALL_CELLS}{smaller}")
    return Triangles(
        faces=polygons_as_triangles(offsets, corners), cell=cells_of_triangles(offsets), warnings=tuple(warnings)
    )


def surface(
    path: Path,
    vertices: NDArray[np.float64],
    triangles: Triangles,
    *,
    data: Sequence[Data] = (),
    unit: str = "unknown",
    space: Literal["ras", "own"] = "own",
    warnings: Sequence[str] = (),
) -> Surface:
    """The surface with its data as labels. Raises CaseError[read.unreadable] for one that is empty, not finite, or
    names vertices that are not there.
    """
    vertices = np.ascontiguousarray(vertices, np.float64)
    faces = np.ascontiguousarray(triangles.faces, np.int64)
    counts: dict[str, object] = {"vertices": len(vertices), "faces": len(faces)}
    if not len(vertices) or not len(faces):
        raise bad_file("read.unreadable", path, "the file holds no surface", details=counts)
    if not np.isfinite(vertices).all():
        raise bad_file("read.unreadable", path, "a vertex is not finite", details=counts)
    if int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise bad_file("read.unreadable", path, "a face names a vertex that is not there", details=counts)
    labels, said = _labels(path, data, triangles.cell, len(vertices))
    mesh = Mesh(vertices=vertices, faces=faces, unit=unit, space=space, labels=labels)
    return Surface(mesh=mesh, warnings=tuple(dict.fromkeys((*triangles.warnings, *warnings, *said))))


def _labels(
    path: Path, data: Sequence[Data], cell: Integers, vertices: int
) -> tuple[dict[str, MeshLabel], tuple[str, ...]]:
    labels: dict[str, MeshLabel] = {}
    said = []
    for number, each in enumerate(data, start=1):
        name = each.name
        if name in BOOKKEEPING:
            continue
        if PLAIN_NAME.fullmatch(name) is None:
            name = f"{each.per}_data_{number}"
            said.append(f"data whose name is no plain word are kept as {name}")
        if name in labels:
            name = f"{name}_{each.per}" if f"{name}_{each.per}" not in labels else f"{each.per}_data_{number}"
        if each.per == "vertex":
            if len(each.array) != vertices:
                raise bad_file(
                    "read.unreadable",
                    path,
                    "data of the vertices are not as many as the vertices",
                    details={"vertices": vertices, "numbers": len(each.array)},
                )
            array = each.array
        else:
            array = each.array[cell]
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        kind = each.kind or ("scalar" if native.dtype.kind == "f" else "semantic")
        labels[name] = MeshLabel(array=native, per=each.per, kind=kind)
    return labels, tuple(said)
