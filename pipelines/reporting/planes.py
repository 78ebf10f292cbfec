"""What a person is shown of a case: single slices that face the viewer, windowed, with the classes marked in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medshard.converters.fingerprint import concept_values
from medshard.converters.label_resampling import resample_labels
from medshard.converters.volume import Array, Image, Rescale, Volume

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Point = tuple[int, int, int]

PERCENTILES = (1.0, 99.0)
# Level and width in HU, as radiologists use them.
CT_WINDOWS: Mapping[str, tuple[float, float]] = {"lung": (-600.0, 1500.0), "soft tissue": (40.0, 400.0)}
AERATED_HU = (-950.0, -600.0)
# Of the tissue in the slices shown; whole chests have a quarter to a third, a spine with the edges of both lungs 0.21.
LUNG_SHARE = 0.22


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One slice as it faces the viewer.

    pixels: (rows, columns) or (rows, columns, 3) uint8.
    marked: concept -> (rows, columns), where the concept is.
    size_mm: height and width.
    left, right: where in the patient the left and right edges lie ("R", "L", "A", "P", or "AR" for an oblique slice);
        empty when nobody knows.
    """

    pixels: Grey
    size_mm: tuple[float, float]
    marked: Mapping[str, Mask] = field(default_factory=dict)
    left: str = ""
    right: str = ""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The physical values shown as black and as white, and what that choice is called."""

    low: float
    high: float
    name: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One image of a case, ready to be drawn. caption: lines of text."""

    caption: tuple[str, ...]
    planes: tuple[Plane, ...]

    @property
    def concepts(self) -> set[str]:
        return {concept for plane in self.planes for concept in plane.marked}


# Canonical arrays run to Superior, Anterior, Right along z, y, x. Turning both axes of a slice around puts superior or
# anterior on top, the patient's right on the left, and lets sagittal slices look to the left.
_COLUMNS_OF = {0: 2, 1: 2, 2: 1}
_TOWARDS = (("R", "L"), ("A", "P"), ("S", "I"))
# Direction cosine from which on a second letter names an oblique edge: 20 degrees off the main axis.
OBLIQUE = 0.35


def shown_images(volume: Volume) -> Iterator[Shown]:
    """Every image of a volume in canonical orientation, as three orthogonal slices (one for a flat image).

    The slices go through the middle of the labelled voxels, or of the image where there is none. A colour image keeps
    its colours; of other channels the first is shown, and of a time series the middle frame. Images without trusted
    geometry are shown as they are stored, one slice, first row on top.
    """
    for name, image in volume.images.items():
        frame, rescale, note = _frame(image)
        labels = dict(_marked_voxels(volume, image))
        centre = _centre(labels.values(), image.shape)
        slices = [(axis, _across(frame, axis, centre[axis])) for axis in _axes_shown(image)]
        values = [values if _is_colour(image) else rescale.apply(values[0]) for _, values in slices]
        window = _choose_window(values, image)
        planes = tuple(
            _plane(
                axis,
                _to_pixels(part, window),
                {concept: cast(Mask, _across(mask, axis, centre[axis])) for concept, mask in labels.items()},
                image,
            )
            for (axis, _), part in zip(slices, values, strict=True)
        )
        yield Shown(caption=_caption(volume, name, image, window, note), planes=planes)


def _frame(image: Image) -> tuple[Array, Rescale, str]:
    """(c, z, y, x) to be shown, the rescale that is left to be done, and a note on what is not shown."""
    array, notes = image.array, []
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
    return array, rescale, ", ".join(notes)


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


def _marked_voxels(volume: Volume, image: Image) -> Iterator[tuple[str, Mask]]:
    """(concept, (z, y, x) where it is), on the image's grid; a concept of several layers is their union."""
    found: dict[str, Mask] = {}
    for name, layer in sorted(volume.labels.items()):
        placed = resample_labels(layer, image.shape, image.affine, where=f"{volume.entry}/{volume.case} {name}")
        for concept, values in concept_values(placed).items():
            mask = placed.array[0] != 0 if values is None else np.isin(placed.array[0], values)
            found[concept] = found[concept] | mask if concept in found else mask
    yield from found.items()


def _centre(masks: Iterable[Mask], shape: tuple[int, int, int]) -> Point:
    """Along each axis the median of the marked voxels: unlike their mean, a slice that certainly shows some."""
    marked = np.zeros(shape, bool)
    for mask in masks:
        marked |= mask
    if not marked.any():
        return shape[0] // 2, shape[1] // 2, shape[2] // 2
    z, y, x = (
        int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
        for counts in (np.count_nonzero(marked, axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    )
    return z, y, x


def _choose_window(parts: list[Any], image: Image) -> Window | None:
    """The window of all slices of an image; None where pixels are shown as they are."""
    if _is_colour(image):
        return None
    values = np.concatenate([part.ravel() for part in parts])
    values = values[np.isfinite(values)]
    if image.rescale.unit == "HU":
        return _ct_window(values)
    if not values.size:
        return Window(low=0.0, high=1.0, name="no finite value")
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    low = 0.0 if abs(low) < (high - low) / 1000 else low
    return Window(low=low, high=high, name=f"window {low:.4g} to {high:.4g}")


def _ct_window(values: Floats) -> Window:
    """The lung window where much of what is not air is aerated tissue, else the one for soft tissue."""
    tissue = values[values > AERATED_HU[0]]
    aerated = np.count_nonzero(tissue < AERATED_HU[1]) / max(1, tissue.size)
    name = "lung" if aerated > LUNG_SHARE else "soft tissue"
    level, width = CT_WINDOWS[name]
    return Window(
        low=level - width / 2, high=level + width / 2, name=f"{name} window, level {level:g} width {width:g} HU"
    )


def _to_pixels(values: Array, window: Window | None) -> Grey:
    if window is None:
        return cast(Grey, np.moveaxis(values, 0, -1))
    span = max(window.high - window.low, 1e-6)
    share = (np.nan_to_num(values.astype(np.float32), nan=window.low) - window.low) / span
    return (np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)


def _plane(axis: int, pixels: Grey, marked: dict[str, Mask], image: Image) -> Plane:
    steps_mm = [step for number, step in enumerate(image.spacing_mm) if number != axis]
    plane = Plane(
        pixels=pixels,
        marked=marked,
        size_mm=(pixels.shape[0] * steps_mm[0], pixels.shape[1] * steps_mm[1]),
    )
    if not image.trusted_geometry:
        return plane
    to_the_left = image.affine[:3, _COLUMNS_OF[axis]]
    return replace(
        plane,
        left=_letters(to_the_left),
        right=_letters(-to_the_left),
        pixels=np.ascontiguousarray(pixels[::-1, ::-1]),
        marked={concept: np.ascontiguousarray(mask[::-1, ::-1]) for concept, mask in marked.items()},
    )


def _letters(direction: NDArray[np.float64]) -> str:
    """Where in the patient a RAS direction points, the main letter first, as DICOM writes Patient Orientation."""
    cosines = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(cosines), kind="stable")
    return "".join(_TOWARDS[n][int(cosines[n] < 0)] for n in order if n == order[0] or abs(cosines[n]) > OBLIQUE)


def _caption(volume: Volume, name: str, image: Image, window: Window | None, note: str) -> tuple[str, ...]:
    title = volume.case if len(volume.images) == 1 else f"{volume.case} / {name}"
    kind = " ".join(part for part in (image.modality, image.sequence or "") if part)
    size = " x ".join(str(size) for size in image.shape)
    spacing = (
        " x ".join(f"{step:.3g}" for step in image.spacing_mm) + " mm" if image.trusted_geometry else "no geometry"
    )
    shown = ", ".join(part for part in (window.name if window else "", note) if part)
    return f"{title}   {kind}", f"{size}, {spacing} (z, y, x)", shown
