"""What a person is shown of an image: slices that face the viewer, windowed, with classes and annotations marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.fingerprint import concept_values
from medshard.converters.label_resampling import resample_labels
from medshard.converters.volume import Array, Image, LabelLayer, Rescale, Volume
from medshard.pipelines.reporting.previews.marks import Window as MarkWindow
from medshard.pipelines.reporting.previews.marks import judged_words, middle_of, placed_on, strokes_on
from medshard.pipelines.reporting.previews.shown import Plane, Shown

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[int, int, int]

PERCENTILES = (1.0, 99.0)
# Level and width in HU, as radiologists use them.
CT_WINDOWS: Mapping[str, tuple[float, float]] = {"lung": (-600.0, 1500.0), "soft tissue": (40.0, 400.0)}
AERATED_HU = (-950.0, -600.0)
# Of the tissue in the slices shown; whole chests have a quarter to a third, a spine with the edges of both lungs 0.21.
LUNG_SHARE = 0.22
STACK_SHOWN, STACK_COLUMNS = 8, 4
NOT_JUDGED = "(not judged)"


@dataclass(frozen=True, kw_only=True)
class Greys:
    """The physical values shown as black and as white, and what that choice is called."""

    low: float
    high: float
    name: str


# Canonical arrays run to Superior, Anterior, Right along z, y, x. Turning both axes of a slice around puts superior or
# anterior on top, the patient's right on the left, and lets sagittal slices look to the left.
_COLUMNS_OF = {0: 2, 1: 2, 2: 1}
_ROWS_OF = {0: 1, 1: 0, 2: 0}
_TOWARDS = (("R", "L"), ("A", "P"), ("S", "I"))
# Direction cosine from which on a second letter names an oblique edge: 20 degrees off the main axis.
OBLIQUE = 0.35


def shown_images(volume: Volume, *, places: pa.Table | None = None) -> Iterator[Shown]:
    """Every image of a volume in canonical orientation, as three orthogonal slices (one for a flat image).

    The slices go through the middle of the labelled voxels, of the annotations where there is no label, or of the
    image. A flat image with labels is shown plain, with outlines, and as its mask. A colour image keeps its colours; of
    other channels the first is shown, and of a time series the middle frame. Images without trusted geometry are shown
    as they are stored, first row on top.
    places: what z counts in an image that is a stack of tiles or frames, one row for each; some of them are shown.
    """
    for number, (name, image) in enumerate(volume.images.items()):
        words = judged_words(volume.annotations, name, of_case=number == 0)
        if places is not None and image.shape[0] == places.num_rows:
            yield replace(_shown_stack(volume, name, image, places), words=words)
        else:
            yield replace(_shown_image(volume, name, image), words=words)


def _shown_image(volume: Volume, name: str, image: Image) -> Shown:
    frame, rescale, notes = _frame(image)
    labels = dict(_marked_voxels(volume, image))
    tables = placed_on(volume.annotations, name)
    middle = middle_of(tables, image.shape) if not labels else None
    centre = middle or _centre(labels.values(), image.shape)
    slices = [(axis, _across(frame, axis, centre[axis])) for axis in _axes_shown(image)]
    values = [values if _is_colour(image) else rescale.apply(values[0]) for _, values in slices]
    greys = _choose_greys(values, image)
    planes = []
    for (axis, _), part in zip(slices, values, strict=True):
        pixels = _to_pixels(part, greys)
        marked = {concept: _across(mask, axis, centre[axis]) for concept, mask in labels.items()}
        window = MarkWindow(
            size=(pixels.shape[0], pixels.shape[1]),
            across=axis,
            at=float(centre[axis]),
            turned=image.trusted_geometry,
            frame=len(image.array) // 2 if image.array.ndim == 5 else None,
        )
        planes.append(replace(_plane(axis, pixels, marked, image), strokes=strokes_on(tables, window)))
    if len(planes) == 1 and (labels or planes[0].strokes):
        planes = _compared(planes[0])
    if not image.trusted_geometry and image.shape[0] > 1:
        notes.append(f"slice {centre[0] + 1} of {image.shape[0]}")
    return Shown(caption=_caption(volume, name, image, greys, ", ".join(notes)), planes=tuple(planes))


def _compared(plane: Plane) -> list[Plane]:
    """The picture, the picture with what is marked, and the masks alone."""
    masks = [replace(plane, marks="areas", strokes=())] if plane.marked else []
    return [replace(plane, marked={}, strokes=()), plane, *masks]


def _shown_stack(volume: Volume, name: str, image: Image, places: pa.Table) -> Shown:
    """Tiles of a slide or frames of a video, each with its place."""
    count = image.shape[0]
    kept = min(count, STACK_SHOWN)
    numbers = [number * count // kept for number in range(kept)]
    parts = [image.array[:, number] for number in numbers]
    values: list[Any] = parts if _is_colour(image) else [image.rescale.apply(part[0]) for part in parts]
    greys = _choose_greys(values, image)
    rows = places.take(numbers).to_pylist()
    planes = tuple(
        Plane(pixels=pixels, size_mm=(float(pixels.shape[0]), float(pixels.shape[1])), foot=place_words(row))
        for pixels, row in ((_to_pixels(part, greys), row) for part, row in zip(values, rows, strict=True))
    )
    note = f"{kept} of {count} shown"
    return Shown(caption=_caption(volume, name, image, greys, note), planes=planes, columns=STACK_COLUMNS)


def place_words(row: Mapping[str, Any]) -> str:
    """Where a tile or a frame comes from, in words."""
    if "frame" in row:
        return f"frame {row['frame']}" + ("" if row["time_s"] is None else f", {row['time_s']:.3f} s")
    return f"y {row['y']}, x {row['x']}, tissue {row['tissue']:.0%}"


def _frame(image: Image) -> tuple[Array, Rescale, list[str]]:
    """(c, z, y, x) to be shown, the rescale that is left to be done, and notes on what is not shown."""
    notes: list[str] = []
    array = image.array
    if array.ndim == 5:
        middle = len(array) // 2
        notes.append(f"frame {middle + 1} of {len(array)}")
        array = array[middle]
    if not _is_colour(image) and len(array) > 1:
        notes.append(f"channel 1 of {len(array)}")
        array = array[:1]
    rescale = image.rescale
    if rescale.per_slice:
        array, rescale = rescale.apply(array), Rescale(unit=rescale.unit)
    return array, rescale, notes


def _is_colour(image: Image) -> bool:
    return image.array.dtype == np.uint8 and image.array.shape[-4] == 3


def _axes_shown(image: Image) -> tuple[int, ...]:
    """The axes that slices are taken across: the flat one of a flat image, otherwise all three."""
    if not image.trusted_geometry:
        return (0,)
    flat = [axis for axis, size in enumerate(image.shape) if size == 1]
    return tuple(flat[:1]) if flat else (0, 1, 2)


def _across(array: Array, axis: int, number: int) -> Array:
    """Slice `number` across a spatial axis of `(..., z, y, x)`."""
    return cast(Array, array.take(number, axis=array.ndim - 3 + axis))


def _marked_voxels(volume: Volume, image: Image) -> Iterator[tuple[str, Array]]:
    """(concept, (z, y, x) where it is), on the image's grid; a concept of several layers is their union.

    Where one concept names every instance, it is the instances. A layer says nothing of an image without geometry whose
    size it has not.
    """
    found: dict[str, Array] = {}
    for name, layer in sorted(volume.labels.items()):
        if not image.trusted_geometry and layer.shape != image.shape:
            continue
        placed = resample_labels(layer, image.shape, image.affine, where=f"{volume.entry}/{volume.case} {name}")
        for concept, mask in _masks(placed):
            found[concept] = (found[concept] != 0) | (mask != 0) if concept in found else mask
    yield from found.items()


def _masks(layer: LabelLayer) -> Iterator[tuple[str, Array]]:
    for concept, values in concept_values(layer).items():
        yield concept, layer.array[0] if values is None else np.isin(layer.array[0], values)
    if layer.ignore:
        yield NOT_JUDGED, np.isin(layer.array[0], layer.ignore)


def _centre(masks: Iterable[Array], shape: tuple[int, int, int]) -> Point:
    """Along each axis the slice that shows the most concepts; of several the one nearest the marked voxels' median."""
    profiles = [
        [np.count_nonzero(mask, axis=axes) for axes in ((1, 2), (0, 2), (0, 1))] for mask in masks if mask.any()
    ]
    if not profiles:
        return shape[0] // 2, shape[1] // 2, shape[2] // 2
    z, y, x = (_best_slice([profile[axis] for profile in profiles]) for axis in range(3))
    return z, y, x


def _best_slice(counts: Sequence[NDArray[np.int64]]) -> int:
    """counts: of each concept, marked voxels slice by slice."""
    whole = np.sum(counts, axis=0)
    median = int(np.searchsorted(np.cumsum(whole), whole.sum() / 2))
    concepts = np.sum([count > 0 for count in counts], axis=0)
    best = np.flatnonzero(concepts == concepts.max())
    return int(best[np.abs(best - median).argmin()])


def _choose_greys(parts: Sequence[Any], image: Image) -> Greys | None:
    """The window of all slices of an image; None where pixels are shown as they are."""
    if _is_colour(image):
        return None
    values = np.concatenate([part.ravel() for part in parts])
    values = values[np.isfinite(values)]
    if image.rescale.unit == "HU":
        return _ct_window(values)
    if not values.size:
        return Greys(low=0.0, high=1.0, name="no finite value")
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    low = 0.0 if abs(low) < (high - low) / 1000 else low
    return Greys(low=low, high=high, name=f"window {low:.4g} to {high:.4g}")


def _ct_window(values: Floats) -> Greys:
    """The lung window where much of what is not air is aerated tissue, else the one for soft tissue."""
    tissue = values[values > AERATED_HU[0]]
    aerated = np.count_nonzero(tissue < AERATED_HU[1]) / max(1, tissue.size)
    name = "lung" if aerated > LUNG_SHARE else "soft tissue"
    level, width = CT_WINDOWS[name]
    return Greys(
        low=level - width / 2, high=level + width / 2, name=f"{name} window, level {level:g} width {width:g} HU"
    )


def _to_pixels(values: Array, greys: Greys | None) -> Grey:
    if greys is None:
        return np.ascontiguousarray(np.moveaxis(values, 0, -1), np.uint8)
    span = max(greys.high - greys.low, 1e-6)
    share = (np.nan_to_num(values.astype(np.float32), nan=greys.low) - greys.low) / span
    return (np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)


def _plane(axis: int, pixels: Grey, marked: Mapping[str, Array], image: Image) -> Plane:
    steps_mm = [step for number, step in enumerate(image.spacing_mm) if number != axis]
    plane = Plane(
        pixels=pixels,
        marked=marked,
        size_mm=(pixels.shape[0] * steps_mm[0], pixels.shape[1] * steps_mm[1]),
    )
    if not image.trusted_geometry:
        return plane
    to_the_left = image.affine[:3, _COLUMNS_OF[axis]]
    upwards = image.affine[:3, _ROWS_OF[axis]]
    return replace(
        plane,
        in_mm=True,
        left=direction_letters(to_the_left),
        right=direction_letters(-to_the_left),
        top=direction_letters(upwards),
        bottom=direction_letters(-upwards),
        pixels=np.ascontiguousarray(pixels[::-1, ::-1]),
        marked={concept: np.ascontiguousarray(mask[::-1, ::-1]) for concept, mask in marked.items()},
    )


def direction_letters(direction: NDArray[np.float64]) -> str:
    """Where in the patient a RAS direction points, the main letter first, as DICOM writes Patient Orientation."""
    cosines = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(cosines), kind="stable")
    return "".join(_TOWARDS[n][int(cosines[n] < 0)] for n in order if n == order[0] or abs(cosines[n]) > OBLIQUE)


def _caption(volume: Volume, name: str, image: Image, greys: Greys | None, note: str) -> tuple[str, ...]:
    title = volume.case if len(volume.images) == 1 else f"{volume.case} / {name}"
    kind = " ".join(part for part in (image.modality, image.sequence or "") if part)
    size = " x ".join(str(size) for size in image.shape)
    spacing = (
        " x ".join(f"{step:.3g}" for step in image.spacing_mm) + " mm" if image.trusted_geometry else "no geometry"
    )
    shown = ", ".join(part for part in (greys.name if greys else "", note) if part)
    return f"{title}   {kind}", f"{size}, {spacing} (z, y, x)", shown
