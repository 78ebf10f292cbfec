"""Cohorts of patients varied from real scans, and the faults that are planted in them.

A patient is a real scan and its real mask, turned, scaled, bent smoothly, cropped elsewhere, with other noise and other
brightness. What the patients of one scan have in common is more than what real patients have; docs/suspects.md says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont
from pydicom.data import get_testdata_file
from scipy import ndimage

from medshard.converters.suspicion import Facts, suspicion_facts
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume
from medshard.pipelines.reporting.suspects import rank

Array = NDArray[np.float32]
Random = np.random.Generator

LAYER = "structures"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A real scan. image: (c, z, y, x); labels: (z, y, x), or all 0 without classes; noise: over the range."""

    name: str
    image: Array
    labels: NDArray[np.uint8]
    classes: Mapping[int, str]
    modality: str
    unit: str = "arbitrary"
    trusted: bool = True
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dtype: str = "int16"
    noise: float = 0.02
    gain: float = 0.15


Fault = Callable[[Volume, Random], Volume]


def patient(scan: Scan, case: str, random: Random) -> Volume:
    """One varied patient; the same for the same state of `random`."""
    image, labels = _bent(scan, random)
    low, high = (float(q) for q in np.percentile(scan.image, (1, 99)))
    if scan.unit == "HU":
        image = image + random.normal(0, 4) + random.normal(0, 12, image.shape)
    else:
        gain, gamma = np.exp(random.normal(0, scan.gain)), np.exp(random.normal(0, 0.08))
        shown = np.clip((image - low) / (high - low), 0, None) ** gamma
        image = (shown + random.normal(0, scan.noise, image.shape)) * (high - low) * gain + low
    if scan.dtype == "uint8":
        image = np.clip(image, 0, 255)
    elif scan.unit != "HU":
        image = np.clip(image, 0, None)
    affine = np.zeros((4, 4))
    steps = np.array(scan.spacing_mm) * (np.exp(random.normal(0, 0.03)) if scan.trusted else 1)
    affine[2, 0], affine[1, 1], affine[0, 2] = steps
    affine[:3, 3], affine[3, 3] = random.normal(0, 30, 3), 1
    stored = np.rint(image).astype(scan.dtype)
    layers = {}
    if scan.classes:
        layers[LAYER] = LabelLayer(
            array=labels[None], affine=affine, classes=dict(scan.classes), examined=tuple(scan.classes.values())
        )
    return Volume(
        entry="cohort",
        case=case,
        patient=case,
        images={
            "scan": Image(
                array=stored,
                affine=affine,
                rescale=Rescale(unit=scan.unit),
                modality=scan.modality,
                trusted_geometry=scan.trusted,
            )
        },
        labels=layers,
    )


def _bent(scan: Scan, random: Random) -> tuple[Array, NDArray[np.uint8]]:
    shape = np.array(scan.labels.shape)
    flat = shape[0] == 1
    angles = np.deg2rad(random.normal(0, 4, 3)) * (np.array([1, 0, 0]) if flat else 1)
    turn = _turned(angles) @ np.diag(1 / np.exp(random.normal(0, 0.05, 3)))
    middle = (shape - 1) / 2
    shift = random.normal(0, 0.02, 3) * shape
    coarse = random.normal(0, 0.02, (3, *(1 if n == 1 else 4 for n in shape)))
    bend = [
        ndimage.zoom(part, shape / part.shape, order=min(3, 1 if flat else 2), mode="nearest") * n
        for part, n in zip(coarse, shape, strict=True)
    ]
    grid = np.indices(scan.labels.shape, np.float32)
    places = np.tensordot(turn, grid - middle[:, None, None, None], axes=1)
    places += (middle + shift)[:, None, None, None] + np.stack(bend)
    if flat:
        places[0] = 0
    image = np.stack([ndimage.map_coordinates(channel, places, order=1, mode="nearest") for channel in scan.image])
    labels = ndimage.map_coordinates(scan.labels, places, order=0, mode="constant")
    return image, np.asarray(labels, np.uint8)


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn


def _with_labels(volume: Volume, labels: NDArray[np.generic]) -> Volume:
    layer = volume.labels[LAYER]
    return replace(volume, labels={LAYER: replace(layer, array=np.asarray(labels, np.uint8)[None])})


def _with_image(volume: Volume, array: NDArray[np.generic]) -> Volume:
    image = volume.images["scan"]
    return replace(volume, images={"scan": replace(image, array=array)})


def _labels(volume: Volume) -> NDArray[np.uint8]:
    return np.asarray(volume.labels[LAYER].array[0], np.uint8)


def empty(volume: Volume, random: Random) -> Volume:
    return _with_labels(volume, np.zeros_like(_labels(volume)))


def class_lost(volume: Volume, random: Random) -> Volume:
    labels = _labels(volume)
    return _with_labels(volume, np.where(labels == random.choice(np.unique(labels[labels > 0])), 0, labels))


def blank(volume: Volume, random: Random) -> Volume:
    array = volume.images["scan"].array
    return _with_image(volume, np.full_like(array, random.choice([0, int(np.asarray(array).min())])))


def noise_only(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array)
    return _with_image(volume, random.permutation(array.ravel()).reshape(array.shape))


def nearly_blank(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array)
    return _with_image(volume, np.rint(array.min() + random.random(array.shape) * 2).astype(array.dtype))


def moved(volume: Volume, random: Random) -> Volume:
    """The mask moved by a sixth to a third of the image along one axis of the plane, or z."""
    labels = _labels(volume)
    axis = int(random.choice([n for n in range(3) if labels.shape[n] > 4]))
    way = int(labels.shape[axis] * random.uniform(1 / 6, 1 / 3)) * int(random.choice([-1, 1]))
    shifts = [0, 0, 0]
    shifts[axis] = way
    found = ndimage.shift(labels, shifts, order=0, mode="constant")
    return _with_labels(volume, found) if found.any() else moved(volume, random)


def flipped_mask(volume: Volume, random: Random) -> Volume:
    """The mask run backwards along z or y."""
    labels = _labels(volume)
    axis = int(random.choice([n for n in range(2) if labels.shape[n] > 4]))
    return _with_labels(volume, np.flip(labels, axis))


def sides_exchanged(volume: Volume, random: Random) -> Volume:
    """Left named right, and right left."""
    classes = volume.labels[LAYER].classes
    values = {concept: value for value, concept in classes.items()}
    table = np.arange(256, dtype=np.uint8)
    for value, concept in classes.items():
        for one, other in (("left", "right"), ("right", "left")):
            partner = concept.replace(one, other)
            if one in concept.split() and partner in values:
                table[value] = values[partner]
    return _with_labels(volume, table[_labels(volume)])


def mirrored_mask(volume: Volume, random: Random) -> Volume:
    return _with_labels(volume, _labels(volume)[..., ::-1])


def mirrored_case(volume: Volume, random: Random) -> Volume:
    """Image and mask run backwards from left to right, under the same header."""
    whole = _with_image(volume, np.asarray(volume.images["scan"].array)[..., ::-1])
    return _with_labels(whole, _labels(volume)[..., ::-1]) if volume.labels else whole


def offset(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array)
    top = np.iinfo(array.dtype).max
    step = 1024 if volume.images["scan"].rescale.unit == "HU" else int(np.percentile(array, 99))
    return _with_image(volume, np.minimum(array.astype(np.int64) + step, top).astype(array.dtype))


def scaled(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array)
    limits = np.iinfo(array.dtype)
    factor = float(random.choice([0.1, 10.0]))
    return _with_image(volume, np.clip(array * factor, limits.min, limits.max).astype(array.dtype))


def inverted(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array)
    return _with_image(volume, (int(array.max()) + int(array.min()) - array.astype(np.int64)).astype(array.dtype))


def spiked(volume: Volume, random: Random) -> Volume:
    """A few voxels at the end of the type's range."""
    array = np.asarray(volume.images["scan"].array).copy()
    array.ravel()[random.integers(0, array.size, 5)] = np.iinfo(array.dtype).max
    return _with_image(volume, array)


def not_numbers(volume: Volume, random: Random) -> Volume:
    array = np.asarray(volume.images["scan"].array).astype(np.float32)
    array.ravel()[random.integers(0, array.size, 20)] = np.nan
    return _with_image(volume, array)


def swollen(volume: Volume, random: Random) -> Volume:
    """Every class grown until it has at least twice the voxels, or nothing is left to grow into."""
    labels = _labels(volume)
    values, found = np.unique(labels[labels > 0]), labels
    ball = ndimage.generate_binary_structure(3, 3 if labels.shape[0] > 1 else 2)
    for _ in range(24):
        grown = ndimage.grey_dilation(found, footprint=ball)
        found = np.where(found > 0, found, grown)
        if np.count_nonzero(found) >= 2 * np.count_nonzero(labels) or len(values) == 0:
            break
    return _with_labels(volume, found)


def shrunk(volume: Volume, random: Random) -> Volume:
    """Every class worn away to a third of its voxels."""
    labels, kept = _labels(volume), np.zeros_like(_labels(volume))
    for value in np.unique(labels[labels > 0]):
        mask = labels == value
        depth = ndimage.distance_transform_edt(mask) + random.random(mask.shape) / 1000  # thin parts are equally deep
        kept[mask & (depth >= np.quantile(depth[mask], 0.68))] = value
    return _with_labels(volume, kept)


def cut_short(volume: Volume, random: Random) -> Volume:
    """Half of the mask lost: the upper or the lower, as where drawing stopped."""
    labels = _labels(volume).copy()
    axis = 0 if labels.shape[0] > 1 else 1
    places = np.flatnonzero(labels.any(axis=tuple(n for n in range(3) if n != axis)))
    middle = int(np.median(places))
    lost = slice(middle, None) if random.random() < 0.5 else slice(None, middle)
    labels[(slice(None),) * axis + (lost,)] = 0
    return _with_labels(volume, labels)


def written(volume: Volume, random: Random, *, share: float = 1.0) -> Volume:
    """Made words drawn near a corner of the planes, in white, or in black on bright ground."""
    array = np.asarray(volume.images["scan"].array).copy()
    planes, height, width = array.shape[1:]
    size = int(max(10, min(height, width) / 22))
    words = "".join(random.choice(list("ABCDEFGHKLMNPRSTUVX0123456789"), 7))
    picture = Pictures.new("L", (width, height))
    top = int(random.choice([2, height - 2 * size]))
    ImageDraw.Draw(picture).text((3, top), words, fill=255, font=ImageFont.load_default(size=size))
    ink = np.asarray(picture, np.float64) / 255
    ends = (0, 255) if array.dtype == np.uint8 else (float(array.min()), float(array.max()))
    chosen = range(planes) if share == 1 else random.choice(planes, max(1, int(share * planes)), replace=False)
    for z in chosen:
        # White on dark and black on bright, as people write.
        there = float(np.median(array[:, z][:, ink > 0]))
        colour = max(ends, key=lambda end: abs(end - there))
        array[:, z] = np.rint(array[:, z] * (1 - ink) + colour * ink).astype(array.dtype)
    return _with_image(volume, array)


def written_once(volume: Volume, random: Random) -> Volume:
    """The same in one plane."""
    return written(volume, random, share=0.0)


IMAGE_FAULTS: Mapping[str, tuple[str, Fault]] = {
    "one value": ("blank", blank),
    "two values of noise": ("blank", nearly_blank),
    "voxels shuffled": ("blank", noise_only),
    "an offset": ("values", offset),
    "ten times or a tenth": ("values", scaled),
    "inverted": ("values", inverted),
    "five voxels of 32767": ("values", spiked),
    "NaN": ("values", not_numbers),
    "words": ("text", written),
    "words in one plane": ("text", written_once),
}
MASK_FAULTS: Mapping[str, tuple[str, Fault]] = {
    "nothing marked": ("empty", empty),
    "one class lost": ("empty", class_lost),
    "mask moved": ("misplaced", moved),
    "mask turned z or y": ("misplaced", flipped_mask),
    "mask mirrored": ("swapped", mirrored_mask),
    "case mirrored": ("swapped", mirrored_case),
    "twice the volume": ("volume", swollen),
    "a third of the volume": ("volume", shrunk),
    "half lost": ("volume", cut_short),
}
SIDE_FAULTS: Mapping[str, tuple[str, Fault]] = {"left named right": ("swapped", sides_exchanged)}


def faults_for(scan: Scan) -> dict[str, tuple[str, Fault]]:
    """What can be planted in patients of a scan: no mirrors where nothing would show it, no NaN in integers."""
    faults = dict(IMAGE_FAULTS)
    if scan.dtype == "uint8":
        faults.pop("five voxels of 32767")
    if scan.image.shape[1] == 1:
        faults.pop("words in one plane")
    if scan.classes:
        faults |= MASK_FAULTS
        if len(scan.classes) == 1:
            faults.pop("one class lost")
        if any("left" in concept.split() for concept in scan.classes.values()):
            faults |= SIDE_FAULTS
    return faults


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Patients of one entry and their measures. scans: taken in turn."""

    scans: Sequence[Scan]
    size: int = 200
    seed: int = 0
    facts: dict[str, Facts] = field(default_factory=dict)

    def volume(self, number: int) -> Volume:
        scan = self.scans[number % len(self.scans)]
        return patient(scan, f"p{number:04}", np.random.default_rng([self.seed, number]))

    def measured(self) -> dict[str, Facts]:
        if not self.facts:
            self.facts.update({f"p{n:04}": suspicion_facts(self.volume(n)) for n in range(self.size)})
        return self.facts

    def found(self, faults: Sequence[Fault], seed: int) -> tuple[int, dict[str, int]]:
        """Plant one fault in each of so many patients. How many are among the worst 20th; patient -> rank from 0."""
        random = np.random.default_rng([self.seed, seed, 1])
        chosen = [int(n) for n in random.choice(self.size, len(faults), replace=False)]
        planted = {
            f"p{n:04}": suspicion_facts(fault(self.volume(n), random)) for n, fault in zip(chosen, faults, strict=True)
        }
        order = [suspect.case for suspect in rank({**self.measured(), **planted})]
        ranks = {case: order.index(case) for case in planted}
        return sum(place < self.size // 20 for place in ranks.values()), ranks


@lru_cache
def brain(step: int = 3) -> Scan:
    """The ICBM 152 average brain with its tissue maps, cut into sides: nilearn ships both."""
    t1, grey, white = (_template(name)[::step, ::step, ::step] for name in ("t1", "gm", "wm"))
    labels = np.zeros(t1.shape, np.uint8)
    right = np.zeros(t1.shape, bool)
    right[..., t1.shape[2] // 2 :] = True
    tissue = np.where(grey > np.maximum(white, 100), 1, np.where(white > 100, 2, 0))
    labels[tissue == 1] = 1
    labels[tissue == 2] = 3
    labels[(labels > 0) & right] += 1
    classes = {
        1: "left cerebral cortex",
        2: "right cerebral cortex",
        3: "left cerebral white matter",
        4: "right cerebral white matter",
    }
    return Scan(
        name="brain", image=t1[None], labels=labels, classes=classes, modality="MR", spacing_mm=(float(step),) * 3
    )


@lru_cache
def brain_slice() -> Scan:
    """One axial plane of it as a picture without geometry."""
    whole = brain(1)
    plane = slice(95, 96)
    return replace(
        whole,
        name="brain slice",
        image=whole.image[:, plane] * 0.6,  # room for brighter patients in 8 bits
        labels=whole.labels[plane],
        trusted=False,
        dtype="uint8",
        modality="MR",
    )


def _template(name: str) -> Array:
    found = find_spec("nilearn")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "datasets" / "data"
    image = nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return np.ascontiguousarray(np.asarray(image.dataobj, np.float32).transpose(2, 1, 0))


@lru_cache
def fundus() -> Scan:
    """A colour photograph of a retina (registry/examples)."""
    import medshard

    place = Path(medshard.__file__).parent / "registry" / "examples" / "format-families" / "microaneurysms.png"
    array = np.asarray(Pictures.open(place).convert("RGB"), np.float32).transpose(2, 0, 1)
    return _picture("fundus", array, "fundus")


@lru_cache
def chest_x_ray() -> Scan:
    """A chest radiograph of pydicom-data, every eighth pixel, as it is shown."""
    path = get_testdata_file("RG1_UNCR.dcm")
    assert path is not None
    array = pydicom.dcmread(path).pixel_array[::6, ::6].astype(np.float32)
    low, high = np.percentile(array, (0.5, 99.5))
    return _picture("chest x-ray", 160 * (1 - np.clip((array - low) / (high - low), 0, 1))[None], "XR")


def _picture(name: str, array: Array, modality: str) -> Scan:
    return Scan(
        name=name,
        image=np.asarray(array, np.float32)[:, None],
        labels=np.zeros((1, *array.shape[1:]), np.uint8),
        classes={},
        modality=modality,
        trusted=False,
        dtype="uint8",
    )


def chests(folder: Path, step: tuple[int, int, int] = (1, 4, 4)) -> list[Scan]:
    """The two CTs of pyradiomics 3.0.1 (its folder `data`) with the lungs that a threshold finds: left and right."""
    return [_chest(folder, name, step) for name in ("lung1", "lung2")]


def _chest(folder: Path, name: str, step: tuple[int, int, int]) -> Scan:
    z, y, x = step
    image, spacing = _nrrd(folder / f"{name}_image.nrrd")
    image = image[::z, ::y, ::x]
    air = ndimage.binary_opening(image < -400, iterations=1)
    parts, _ = ndimage.label(air)
    sizes = np.bincount(parts.ravel())
    sizes[np.unique(np.concatenate([parts[:, 0].ravel(), parts[:, -1].ravel(), parts[:, :, 0].ravel()]))] = 0
    lungs = np.isin(parts, np.flatnonzero(sizes > 2000)) & (parts > 0)
    # Indices run to the left of the patient in these files; canonical ones run to the right.
    image, lungs = image[..., ::-1], lungs[..., ::-1]
    middle = int(np.median(np.nonzero(lungs)[2]))
    right = np.zeros(lungs.shape, bool)
    right[..., middle:] = True
    labels = np.where(lungs, np.where(right, 2, 1), 0).astype(np.uint8)
    return Scan(
        name=name,
        image=np.ascontiguousarray(image[None, :, ::-1]),
        labels=np.ascontiguousarray(labels[:, ::-1]),
        classes={1: "left lung", 2: "right lung"},
        modality="CT",
        unit="HU",
        spacing_mm=(spacing[2] * z, spacing[1] * y, spacing[0] * x),
    )


def lesions(folder: Path, names: Sequence[str], step: tuple[int, int, int]) -> list[Scan]:
    """Scans of pyradiomics with the lesion that somebody drew: one class, of any size, anywhere."""
    scans = []
    for name in names:
        image, spacing = _nrrd(folder / f"{name}_image.nrrd")
        mask, _ = _nrrd(folder / f"{name}_label.nrrd")
        part = tuple(slice(None, None, n) for n in step)
        scans.append(
            Scan(
                name=name,
                image=image[part][None],
                labels=(mask[part] > 0).astype(np.uint8),
                classes={1: "tumour"},
                modality="CT" if "lung" in name else "MR",
                unit="HU" if "lung" in name else "arbitrary",
                spacing_mm=(spacing[2] * step[0], spacing[1] * step[1], spacing[0] * step[2]),
            )
        )
    return scans


def atlas(folder: Path, step: int = 3, regions: int = 0) -> Scan:
    """The head of the Debian package mricron-data (its folder templates) with the AAL regions; the first so many."""
    head, labels = (
        np.asarray(nib.as_closest_canonical(nib.load(folder / name)).dataobj).transpose(2, 1, 0)
        for name in ("ch2.nii.gz", "aal.nii.gz")
    )
    names = {}
    for line in (folder / "aal.nii.txt").read_text().splitlines():
        if not line.strip():
            continue
        number, name = line.split()[:2]
        words = name.replace("_", " ").lower()
        side = {"l": "left ", "r": "right "}.get(words.split()[-1], "")
        names[int(number)] = side + (words[:-2] if side else words)
    kept = dict(list(names.items())[: regions or len(names)])
    part = (slice(None, None, step),) * 3
    labels = np.where(np.isin(labels, list(kept)), labels, 0).astype(np.uint8)
    return Scan(
        name="atlas",
        image=head[part][None].astype(np.float32),
        labels=labels[part],
        classes=kept,
        modality="MR",
        spacing_mm=(float(step),) * 3,
    )


def _nrrd(path: Path) -> tuple[Array, tuple[float, float, float]]:
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    x, y, z = image.GetSpacing()
    return SimpleITK.GetArrayFromImage(image).astype(np.float32), (x, y, z)
