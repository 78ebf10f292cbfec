"""PLY in text and in binary of either byte order.

Further properties of vertices and faces become labels: integers and floats alike, except normals, texture coordinates
and colours. trimesh is the oracle but does not read it: it has no place for labels of vertices and faces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_ply_header import broken, read_ply_header
from medshard.converters.formats.mesh_ply_rows import Columns, read_rows
from medshard.converters.formats.mesh_surface import COLOURS_LOST, Data, Per, Surface, fans, surface

PLACE = ("x", "y", "z")
CORNERS = ("vertex_indices", "vertex_index")
COLOURS = frozenset(
    {"red", "green", "blue", "alpha", "r", "g", "b", "a"}
    | {f"{kind}_{colour}" for kind in ("diffuse", "ambient", "specular") for colour in ("red", "green", "blue")}
)
# What can be had from the surface again, or belongs to a texture.
PASSED_OVER = frozenset(
    {"nx", "ny", "nz", "normal_x", "normal_y", "normal_z", "s", "t", "u", "v", "texture_u", "texture_v"}
)
STRIPS = "tristrips"


def read_ply(path: Path) -> Surface:
    """Raises CaseError[read.unreadable | read.truncated | read.unsupported], ValueError for what is no number."""
    header = read_ply_header(path)
    names = [element.name for element in header.elements]
    if len(set(names)) != len(names) or "vertex" not in names:
        raise broken(path, "the header has no vertices, or one element twice")
    if STRIPS in names:
        raise bad_file("read.unsupported", path, "triangle strips in PLY are not read")
    elements = read_rows(path, header)
    vertex, face = elements["vertex"], elements.get("face", {})
    if any(name not in vertex or vertex[name].lengths is not None for name in PLACE):
        raise broken(path, "the vertices have no x, y and z")
    corners = next((face[name] for name in CORNERS if name in face), None)
    if corners is None or corners.lengths is None or corners.values.dtype.kind == "f":
        raise broken(path, "the file holds no faces")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(corners.lengths)])
    return surface(
        path,
        np.stack([vertex[name].values.astype(np.float64) for name in PLACE], axis=1),
        fans(offsets, corners.values.astype(np.int64)),
        data=[*_data(vertex, "vertex"), *_data(face, "face")],
        warnings=[COLOURS_LOST] if COLOURS & (vertex.keys() | face.keys()) else [],
    )


def _data(columns: Columns, per: Per) -> list[Data]:
    known = {*PLACE, *CORNERS} | COLOURS | PASSED_OVER
    return [
        Data(name=name, per=per, array=column.values)
        for name, column in columns.items()
        if column.lengths is None and name not in known
    ]
