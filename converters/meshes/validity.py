"""What a surface is like: closed or not, which way it faces, what is wrong with it, and whether its unit can be true.

Everything is counted after welding (`welding`), in vectorised passes over edges and faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from medshard.converters.meshes.welding import welded_faces
from medshard.converters.volume import Mesh

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Twice the area over the square of the longest side: what float64 leaves of a triangle that is a line.
LEAST_FLATNESS = 1e-12

# From a tooth's cusp to a body with its arms stretched out, in mm.
SMALLEST_MM, LARGEST_MM = 2.0, 2500.0
MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The sides of all faces, without those of one point.

    faces: how many faces each has. balanced: whether as many faces run along it in one direction as in the other.
    """

    ends: Integers
    faces: Integers
    balanced: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MeshReport:
    """vertices, faces: as stored. welded_vertices: different places among the vertices that faces use.

    watertight: every edge has an even number of faces, so that there is an inside. consistently_wound: neighbours run
    along their edge in opposite directions. outward: whether the corners run anticlockwise as seen from outside; None
    unless watertight and consistently wound. components: sets of faces that share vertices.
    euler_number: vertices - edges + faces, welded, 2 for each closed surface without handles.
    degenerate_faces: without area. duplicate_faces: of the same three places as an earlier one.
    open_edges: of one face. non_manifold_edges: of more than two.
    area, volume: in the unit of the mesh squared and cubed; volume None as for `outward`.
    low, high: corners of the bounding box, (x, y, z). doubts: one sentence each.
    """

    vertices: int
    faces: int
    welded_vertices: int
    unreferenced_vertices: int
    watertight: bool
    consistently_wound: bool
    outward: bool | None
    components: int
    euler_number: int
    degenerate_faces: int
    duplicate_faces: int
    open_edges: int
    non_manifold_edges: int
    area: float
    volume: float | None
    unit: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    doubts: tuple[str, ...]


def mesh_report(mesh: Mesh) -> MeshReport:
    """Of a surface with at least one face and finite vertices, as `read_mesh` gives it."""
    faces, _ = welded_faces(mesh)
    used = np.unique(faces)
    edges = edges_of(faces)
    closed, wound = bool((edges.faces % 2 == 0).all()), bool(edges.balanced.all())
    volume = signed_volume(mesh) if closed and wound else None
    twice_area, longest = _sizes(mesh)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return MeshReport(
        vertices=len(mesh.vertices),
        faces=len(faces),
        welded_vertices=len(used),
        unreferenced_vertices=len(mesh.vertices) - len(np.unique(mesh.faces)),
        watertight=closed,
        consistently_wound=wound,
        outward=None if volume is None else volume > 0,
        components=_components(faces, used),
        euler_number=len(used) - len(edges.faces) + len(faces),
        degenerate_faces=int((twice_area <= LEAST_FLATNESS * longest**2).sum()),
        duplicate_faces=_duplicates(faces),
        open_edges=int((edges.faces == 1).sum()),
        non_manifold_edges=int((edges.faces > 2).sum()),
        area=float(twice_area.sum()) / 2,
        volume=None if volume is None else abs(volume),
        unit=mesh.unit,
        low=_triple(low),
        high=_triple(high),
        doubts=unit_doubts(float((high - low).max()), mesh.unit),
    )


def edges_of(faces: Integers) -> Edges:
    """The edges of welded faces (m, 3)."""
    starts, ends = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    some = starts != ends
    starts, ends = starts[some], ends[some]
    forward = starts < ends
    low, high = np.where(forward, starts, ends), np.where(forward, ends, starts)
    count = int(faces.max(initial=0)) + 1
    found, place, faces_of_edge = np.unique(low * count + high, return_inverse=True, return_counts=True)
    balance = np.bincount(place, weights=np.where(forward, 1.0, -1.0), minlength=len(found))
    # An edge of one face runs one way and is no fault of the winding.
    return Edges(
        ends=np.stack([found // count, found % count], axis=1),
        faces=faces_of_edge.astype(np.int64),
        balanced=(balance == 0) | (faces_of_edge == 1),
    )


def signed_volume(mesh: Mesh) -> float:
    """Positive where the corners run anticlockwise as seen from outside; by the divergence theorem, about the centre
    of the vertices, so that a surface far from the origin loses no digits.
    """
    a, b, c = _corners(mesh)
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6


def unit_doubts(extent: float, unit: str) -> tuple[str, ...]:
    """What speaks against a unit, of the longest side of the bounding box."""
    fitting = [name for name, size in MM.items() if SMALLEST_MM <= extent * size <= LARGEST_MM]
    if unit in fitting:
        return ()
    what = f"the longest side is {extent:.4g}"
    likely = f" ({' or '.join(fitting)} would be of anatomical size)" if fitting else ""
    if unit not in MM:
        return (f"{what} and no unit is known{likely}",)
    return (f"{what} {unit}, which no part of a body is{likely}",)


def _corners(mesh: Mesh) -> tuple[Floats, Floats, Floats]:
    centred = mesh.vertices - (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    a, b, c = (centred[mesh.faces[:, place]] for place in range(3))
    return a, b, c


def _sizes(mesh: Mesh) -> tuple[Floats, Floats]:
    """Twice the area, and the longest side, of each face."""
    a, b, c = _corners(mesh)
    sides = np.stack([b - a, c - b, a - c])
    return np.linalg.norm(np.cross(sides[0], sides[2]), axis=1), np.linalg.norm(sides, axis=2).max(axis=0)


def _components(faces: Integers, used: Integers) -> int:
    count = len(used)
    place = np.searchsorted(used, faces)
    starts, ends = place[:, [0, 1]].reshape(-1), place[:, [1, 2]].reshape(-1)
    graph = sparse.coo_matrix((np.ones(len(starts), np.int8), (starts, ends)), (count, count))
    return int(connected_components(graph, directed=False, return_labels=False))


def _duplicates(faces: Integers) -> int:
    ordered = np.sort(faces, axis=1)
    rows = ordered[np.lexsort(ordered.T)]
    return int((rows[1:] == rows[:-1]).all(axis=1).sum())


def _triple(point: Floats) -> tuple[float, float, float]:
    x, y, z = point.tolist()
    return x, y, z
