"""Surfaces as a person sees them: three orthogonal projections, shaded, nearest in front, labels in their colours."""

from __future__ import annotations

from collections.abc import Iterator
from colorsys import hsv_to_rgb
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Mesh, MeshLabel, Volume
from medshard.pipelines.reporting.previews.colours import WHITE
from medshard.pipelines.reporting.previews.depth import Drawn, nearest_triangles
from medshard.pipelines.reporting.previews.marks import judged_words
from medshard.pipelines.reporting.previews.shown import Colour, Plane, Shown

LONGEST_PIXELS = 400
GOLDEN = (5**0.5 - 1) / 2
EDGE_ON = 0.03
DARKEST, BRIGHTEST = 0.25, 0.92
# Low, middle and high of a number on the surface: from blue over white to red.
LOW, MIDDLE, HIGH = (60.0, 90.0, 220.0), (235.0, 235.0, 235.0), (220.0, 60.0, 40.0)

# From below, from the front and from the left: what lies on the left, right, upper and lower edge; the axis (x, y, z in
# RAS) that is looked along and whether the viewer stands at its upper end; the axes that run to the left and up.
_VIEWS = (
    ("RLAP", 2, False, 0, 1),
    ("RLSI", 1, True, 0, 2),
    ("APSI", 0, False, 1, 2),
)


def shown_meshes(volume: Volume) -> Iterator[Shown]:
    """Every mesh of a case, from below, from the front and from the left; once plain, or once for each of its labels.

    A mesh in its scanner's own space is drawn along its own axes, unnamed.
    """
    for number, (name, mesh) in enumerate(volume.meshes.items()):
        title = volume.case if not volume.images and len(volume.meshes) == 1 else f"{volume.case} / {name}"
        in_patient = mesh.unit == "mm" and mesh.space == "ras"
        unit = f"in {mesh.unit}" if mesh.unit != "unknown" else "unit unknown"
        place = "in RAS mm" if in_patient else f"seen along z, y and x of the scanner's own space, {unit}"
        size = f"{len(mesh.vertices)} vertices, {len(mesh.faces)} triangles"
        words = judged_words(volume.annotations, name, of_case=number == 0 and not volume.images)
        labels: list[tuple[str, MeshLabel | None]] = list(mesh.labels.items()) or [("", None)]
        for label_name, label in labels:
            yield Shown(
                caption=(f"{title}   mesh {label_name}".rstrip(), size, f"{place}{_label_words(label)}"),
                words=words,
                planes=tuple(_views(mesh, label, named=in_patient)),
            )


def _label_words(label: MeshLabel | None) -> str:
    if label is None:
        return ""
    if label.kind != "scalar":
        count = np.count_nonzero(label.array)
        return f"; {count} of {len(label.array)} {label.per} labels are not background"
    low, high = _scalar_range(label)
    return f"; blue {low:.4g} to red {high:.4g}"


def _views(mesh: Mesh, label: MeshLabel | None, *, named: bool) -> Iterator[Plane]:
    finite = np.asarray(np.isfinite(mesh.vertices).all(axis=1), np.bool_)
    kept = finite[mesh.faces].all(axis=1)
    if not kept.any():
        return
    corners = mesh.vertices[mesh.faces[kept]]
    numbers = _of_faces(mesh, label)[kept] if label is not None else None
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    extent = np.maximum(high - low, 1e-9)
    scale = (LONGEST_PIXELS - 1) / float(extent.max())
    corners = corners - low
    for letters, depth, from_upper_end, across, up in _VIEWS:
        facing = _facing(corners, depth)
        # A triangle seen edge on covers nothing, but would be drawn as dots along the edges of its neighbours.
        seen = facing > EDGE_ON if (facing > EDGE_ON).any() else np.ones(len(facing), bool)
        owner = nearest_triangles(
            Drawn(
                columns=(extent[across] - corners[seen][..., across]) * scale,
                rows=(extent[up] - corners[seen][..., up]) * scale,
                nearness=corners[seen][..., depth] * scale * (1.0 if from_upper_end else -1.0),
                size=(max(1, round(extent[up] * scale) + 1), max(1, round(extent[across] * scale) + 1)),
            )
        )
        shades = DARKEST + (BRIGHTEST - DARKEST) * facing[seen]
        plane = _painted(owner, shades, label, numbers[seen] if numbers is not None else None)
        left, right, top, bottom = tuple(letters) if named else ("", "", "", "")
        size_mm, in_mm = (float(extent[up]), float(extent[across])), mesh.unit == "mm"
        yield replace(plane, size_mm=size_mm, in_mm=in_mm, left=left, right=right, top=top, bottom=bottom)


def _painted(
    owner: NDArray[np.int64], shades: NDArray[np.float64], label: MeshLabel | None, numbers: NDArray[np.generic] | None
) -> Plane:
    """owner: the face seen in each pixel. Concepts become tints, whose colours the sheet knows."""
    seen = owner >= 0
    light = np.where(seen, shades[owner], 0.0) * 255
    if label is None or numbers is None:
        return Plane(pixels=light.astype(np.uint8), size_mm=(0.0, 0.0))
    shown = numbers[owner]
    if label.kind == "scalar":
        colours = _scalar_colours(shown.astype(np.float64), *_scalar_range(label))
        return Plane(pixels=(light[..., None] * colours / 255).astype(np.uint8), size_mm=(0.0, 0.0))
    values, places = np.unique(shown, return_inverse=True)
    table = [WHITE if value == 0 or int(value) in label.classes else _instance_colour(int(value)) for value in values]
    pixels = light[..., None] * np.array(table, np.float64)[places.reshape(owner.shape)] / 255
    marked: dict[str, NDArray[np.bool_]] = {}
    for value, concept in sorted(label.classes.items()):
        mask = seen & (shown == value)
        if mask.any():
            marked[concept] = marked[concept] | mask if concept in marked else mask
    return Plane(pixels=pixels.astype(np.uint8), size_mm=(0.0, 0.0), marked=marked, marks="tints")


def _facing(corners: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """How squarely each triangle faces the viewer: 0 edge on, 1 fully."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-300)
    return np.asarray(np.abs(normals[:, depth]) / lengths)


def _of_faces(mesh: Mesh, label: MeshLabel) -> NDArray[np.generic]:
    """A number for each face; of numbers on vertices a face has the mean, or, where they are classes, the first's."""
    numbers = np.asarray(label.array)
    if label.per == "face":
        return numbers
    if label.kind == "scalar":
        return np.asarray(numbers[mesh.faces].astype(np.float64).mean(axis=1))
    return np.asarray(numbers[mesh.faces[:, 0]])


def _instance_colour(value: int) -> Colour:
    """A colour for a number that no concept names: neighbours in number lie far apart in hue."""
    red, green, blue = (round(255 * part) for part in hsv_to_rgb(value * GOLDEN % 1.0, 0.55, 1.0))
    return red, green, blue


def _scalar_range(label: MeshLabel) -> tuple[float, float]:
    values = np.asarray(label.array, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(high)


def _scalar_colours(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    share = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12), 0, 1)
    ends = zip(LOW, MIDDLE, HIGH, strict=True)
    return np.stack([np.interp(share, (0.0, 0.5, 1.0), channel) for channel in ends], axis=-1)
