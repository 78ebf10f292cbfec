"""Surfaces as a person sees them: three orthogonal projections, shaded, nearest triangle in front."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from medshard.converters.volume import Mesh, Volume
from medshard.pipelines.reporting.planes import Plane, Shown

LONGEST_PIXELS = 400
# Drawing is by triangle; of larger surfaces every n-th triangle gives the same picture at this size.
MOST_FACES = 60_000
DARKEST, BRIGHTEST = 60.0, 235.0

# From below, from the front and from the left: what lies on the left and right edge; the axis (x, y, z in RAS) that is
# looked along and whether the viewer stands at its upper end; the axis that runs to the left and the one that runs up.
_VIEWS = (
    ("R", "L", 2, False, 0, 1),
    ("R", "L", 1, True, 0, 2),
    ("A", "P", 0, False, 1, 2),
)


def shown_meshes(volume: Volume) -> Iterator[Shown]:
    """Every mesh of a case, from below, from the front and from the left.

    A mesh whose unit is not mm is not known to lie in the patient's space: it is drawn along its own axes, unnamed.
    """
    for name, mesh in volume.meshes.items():
        title = volume.case if not volume.images and len(volume.meshes) == 1 else f"{volume.case} / {name}"
        place = "in RAS mm" if mesh.unit == "mm" else "seen along z, y and x of the file; unit unknown"
        size = f"{len(mesh.vertices)} vertices, {len(mesh.faces)} triangles"
        yield Shown(caption=(f"{title}   mesh", size, place), planes=tuple(_views(mesh)))


def _views(mesh: Mesh) -> Iterator[Plane]:
    if not len(mesh.faces) or not len(mesh.vertices):
        return
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    extent = np.maximum(high - low, 1e-9)
    scale = LONGEST_PIXELS / float(extent.max())
    corners = (mesh.vertices - low)[mesh.faces[:: max(1, -(-len(mesh.faces) // MOST_FACES))]]
    in_patient = mesh.unit == "mm"
    for left, right, depth, from_upper_end, across, up in _VIEWS:
        pixels = _draw(
            np.stack([extent[across] - corners[..., across], extent[up] - corners[..., up]], axis=-1) * scale,
            corners[..., depth].mean(axis=1) * (1.0 if from_upper_end else -1.0),
            _shades(corners, depth),
            (max(1, round(extent[across] * scale)), max(1, round(extent[up] * scale))),
        )
        yield Plane(
            pixels=pixels,
            size_mm=(float(extent[up]), float(extent[across])),
            left=left if in_patient else "",
            right=right if in_patient else "",
        )


def _shades(corners: NDArray[np.float64], depth: int) -> NDArray[np.uint8]:
    """Brighter the more squarely a triangle faces the viewer."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    facing = np.abs(normals[:, depth]) / lengths
    return (DARKEST + (BRIGHTEST - DARKEST) * facing).astype(np.uint8)


def _draw(
    triangles: NDArray[np.float64], nearness: NDArray[np.float64], shades: NDArray[np.uint8], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Painter's algorithm: the farthest triangle first. triangles: (n, 3, 2) columns and rows in pixels."""
    picture = Picture.new("L", (size[0] + 1, size[1] + 1))
    draw = ImageDraw.Draw(picture)
    for number in np.argsort(nearness, kind="stable"):
        draw.polygon([tuple(corner) for corner in triangles[number].tolist()], fill=int(shades[number]))
    return np.asarray(picture)
