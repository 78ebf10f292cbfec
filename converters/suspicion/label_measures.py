"""What one class of a label layer looks like: how large, where, on what."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.fingerprint import concept_values
from medshard.converters.label_resampling import Box, class_boxes, resample_labels, voxel_counts
from medshard.converters.suspicion.views import View
from medshard.converters.suspicion.windows import highest_in_window
from medshard.converters.volume import LabelLayer

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Voxels of a class's box that are looked at; larger boxes are thinned evenly.
MOST_VOXELS = 1 << 20
PADDING = 4


def class_measures(layer: LabelLayer, view: View | None, *, where: str) -> dict[str, dict[str, Any]]:
    """Concept -> measures of what is marked with it; `{"voxels": 0}` of an examined one that is not there.

    view: of the image on the layer's grid. Places are shares of the image along (z, y, x), values physical.
    voxels, ml; centre (3,), extent (3,) of the box; x_mm: of the centre, to the right; border: share of the marked
    voxels in the outermost planes along y and x; parts. With a view: in_body (3,): centre in shares of the body's box;
    inside, spread: median and quartile range; rank: share of the image's voxels below the median; off_body: share of
    the marked voxels that are no body; ring: median inside less that of the ring around it; drawn: mean step of the
    image across the rim over that beside it, turned: the same with the image run backwards along z, y and x.
    """
    labels = resample_labels(layer, layer.shape, layer.affine, where=where).array[0]
    counts, boxes = voxel_counts(labels), class_boxes(labels)
    voxel_ml = abs(float(np.linalg.det(layer.affine[:3, :3]))) / 1000
    ignored = set(layer.ignore)
    found: dict[str, dict[str, Any]] = {}
    for concept, values in sorted(concept_values(layer).items()):
        named = [value for value in (counts if values is None else values) if value in counts and value not in ignored]
        if named:
            box = _common_box([boxes[value] for value in named])
            voxels = sum(counts[value] for value in named)
            found[concept] = {
                "voxels": voxels,
                "ml": voxels * voxel_ml,
                "share": voxels / labels.size,
                **_of_class(labels, named, box, layer, view),
            }
        elif concept in layer.examined or not layer.examined:
            found[concept] = {"voxels": 0}
    return found


def _of_class(labels: NDArray[Any], named: list[int], box: Box, layer: LabelLayer, view: View | None) -> dict[str, Any]:
    wide, step = _padded(box, layer.shape), _step(box)
    part = tuple(slice(side.start, side.stop, step[axis]) for axis, side in enumerate(wide))
    values = labels[part]
    mask = values == named[0] if len(named) == 1 else np.isin(values, named)
    if not mask.any():  # thinned away: too sparse for its box
        return {"centre": [(side.start + side.stop) / 2 / n for side, n in zip(box, layer.shape, strict=True)]}
    index = np.array([float(np.mean(axis)) for axis in np.nonzero(mask)]) * step + [side.start for side in wide]
    centre = (index + 0.5) / layer.shape
    found: dict[str, Any] = {
        "centre": centre.tolist(),
        "extent": [(side.stop - side.start) / n for side, n in zip(box, layer.shape, strict=True)],
        "x_mm": float(layer.affine[0, :3] @ index + layer.affine[0, 3]),
        "border": _border_share(mask, wide, layer.shape),
        "parts": int(ndimage.label(mask, structure=np.ones((3, 3, 3)))[1]),
    }
    if view is not None:
        found |= _on_image(mask, part, centre, view)
    return found


def _on_image(mask: Mask, part: tuple[slice, ...], centre: NDArray[np.float64], view: View) -> dict[str, Any]:
    values = view.read(*part)
    inside = values[mask]
    inside = inside[np.isfinite(inside)]
    if not inside.size:
        return {}
    low, middle, high = (float(q) for q in np.percentile(inside, (25, 50, 75)))
    ring = values[_ring(mask)]
    ring = ring[np.isfinite(ring)]
    box = view.box
    size = np.maximum(box[:, 1] - box[:, 0], 1e-3)
    return {
        "in_body": ((centre - box[:, 0]) / size).tolist(),
        "inside": middle,
        "spread": high - low,
        "rank": view.rank(middle),
        "off_body": float((inside <= view.threshold).mean()),
        "ring": middle - float(np.median(ring)) if ring.size else None,
        "drawn": _contrast(mask, values),
        "turned": [_turned_contrast(mask, part, view, axis) for axis in range(3)],
    }


def _contrast(mask: Mask, values: Values) -> float:
    """Mean step of the image across the rim, in the planes, over the mean step beside it; about 1 at random."""
    across: list[Values] = []
    beside: list[Values] = []
    for axis in (1, 2):
        steps = np.abs(np.diff(values, axis=axis))
        rim = np.diff(mask, axis=axis)
        across.append(steps[rim])
        beside.append(steps[~rim])
    rims, others = np.concatenate(across), np.concatenate(beside)
    rims, others = rims[np.isfinite(rims)], others[np.isfinite(others)]
    if not rims.size or not others.size:
        return 1.0
    largest = float(np.percentile(rims, 95))
    if largest == 0:
        return 1.0
    mean = float(np.minimum(others, largest).mean())
    # Beside a rim that was drawn by a threshold nothing may change at all.
    return float(np.minimum(rims, largest).mean()) / max(mean, largest / 1000)


def _turned_contrast(mask: Mask, part: tuple[slice, ...], view: View, axis: int) -> float | None:
    n = view.stored.shape[1 + axis]
    if n == 1:
        return None
    turned = list(part)
    side = part[axis]
    count = mask.shape[axis]
    last = n - 1 - (side.start + (count - 1) * side.step)
    turned[axis] = slice(last, n - side.start, side.step)
    return _contrast(mask, np.flip(view.read(*turned), axis))


def _ring(mask: Mask) -> Mask:
    """What lies within three voxels of the mask in its plane, the nearest left out: rims are blurred."""
    near, wide = (highest_in_window(highest_in_window(mask, 2 * reach + 1, 1), 2 * reach + 1, 2) for reach in (1, 3))
    return np.asarray(wide & ~near)


def _common_box(boxes: list[Box]) -> Box:
    z, y, x = (slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3))
    return z, y, x


def _padded(box: Box, shape: tuple[int, int, int]) -> Box:
    z, y, x = (
        slice(max(0, side.start - PADDING), min(n, side.stop + PADDING)) for side, n in zip(box, shape, strict=True)
    )
    return z, y, x


def _step(box: Box) -> tuple[int, int, int]:
    sizes = [side.stop - side.start for side in box]
    steps = [1, 1, 1]
    while np.prod([-(-n // step) for n, step in zip(sizes, steps, strict=True)], dtype=np.int64) > MOST_VOXELS:
        longest = max(range(3), key=lambda axis: sizes[axis] / steps[axis])
        steps[longest] += 1
    return steps[0], steps[1], steps[2]


def _border_share(mask: Mask, box: Box, shape: tuple[int, int, int]) -> float:
    marked = 0
    for axis in (1, 2):
        if box[axis].start == 0:
            marked += int(np.count_nonzero(np.take(mask, 0, axis=axis)))
        if box[axis].stop == shape[axis]:
            marked += int(np.count_nonzero(np.take(mask, -1, axis=axis)))
    return marked / int(np.count_nonzero(mask))
