"""Data sets that take every branch of nnU-Net's planner and preprocessor, and what nnU-Net makes of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medshard.converters.plan import Plan
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume

PEER = Path(__file__).parent / "nnunet_peer.py"
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PeerCase:
    """Axes (z, y, x) of the case, as ours: what nnU-Net transposed is turned back. seg: without its -1."""

    data: np.ndarray
    seg: np.ndarray
    crop: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PeerResult:
    """spacing: (z, y, x) of the case."""

    spacing: Triple
    transpose: tuple[int, ...]
    schemes: tuple[str, ...]
    mask: tuple[bool, ...]
    intensity: Mapping[str, Mapping[str, float]]
    cases: Mapping[str, PeerCase]


def made_data_sets() -> dict[str, list[Volume]]:
    """ct: HU, one spacing for all axes. masked: two MR channels in a body that fills a part of the image. thick: slices
    across x, so that axes are transposed, slices are resampled one by one, and their 10th percentile counts."""
    return {
        "ct": [
            _volume("a", [_noise(1, (20, 30, 28), 300.0)], (1.6, 1.3, 1.25), modality="CT"),
            _volume("b", [_noise(2, (24, 26, 32), 250.0)], (1.25, 1.3, 1.5), modality="CT"),
        ],
        "masked": [
            _volume("a", _in_body(3, (18, 40, 36)), (2.0, 1.0, 1.1)),
            _volume("b", _in_body(4, (16, 36, 44)), (1.5, 1.0, 0.9)),
        ],
        "thick": [
            _volume("a", [_noise(5, (40, 44, 9), 900.0)], (0.8, 0.75, 5.0)),
            _volume("b", [_noise(6, (36, 40, 8), 900.0)], (0.8, 0.8, 6.0)),
            _volume("c", [_noise(7, (44, 36, 11), 900.0)], (0.7, 0.75, 3.5)),
        ],
    }


def ask_nnunet(
    python: str, root: Path, data_sets: Mapping[str, tuple[Sequence[Volume], Plan]]
) -> dict[str, PeerResult]:
    """What nnU-Net makes of data sets, with the intensity statistics of the plans in the place of its own."""
    for name, (volumes, plan) in data_sets.items():
        (root / name).mkdir(parents=True)
        stated: dict[str, Any] = {"channels": _channel_names(volumes[0]), "cases": {}, "intensity": {}}
        for volume in volumes:
            images = [volume.images[channel] for channel in plan.channels]
            values = np.concatenate([image.rescale.apply(image.array) for image in images])
            (label,) = volume.labels.values()
            np.savez(root / name / f"{volume.case}.npz", image=values, label=label.array[0])
            stated["cases"][volume.case] = list(images[0].spacing_mm)
        for number, channel in enumerate(plan.channels):
            rule = plan.intensity[channel]
            if rule.clip is not None:
                low, high = rule.clip
                numbers = {"mean": rule.mean, "std": rule.std, "percentile_00_5": low, "percentile_99_5": high}
                stated["intensity"][str(number)] = numbers
        (root / name / "cases.json").write_text(json.dumps(stated))
    done = subprocess.run([python, str(PEER), str(root)], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: _result(root / name) for name in data_sets}


def _result(folder: Path) -> PeerResult:
    facts = json.loads((folder / "facts.json").read_text())
    back = np.argsort(facts["transpose"])
    spacing = [facts["spacing"][axis] for axis in back]
    cases = {}
    for case, found in facts["cases"].items():
        with np.load(folder / f"{case}.out.npz") as arrays:
            data, seg = (arrays[name].transpose(0, *(1 + back)) for name in ("data", "seg"))
        crop = tuple((found["crop"][axis][0], found["crop"][axis][1]) for axis in back)
        cases[case] = PeerCase(data=data, seg=np.maximum(seg, 0), crop=crop)
    return PeerResult(
        spacing=(spacing[0], spacing[1], spacing[2]),
        transpose=tuple(facts["transpose"]),
        schemes=tuple(facts["schemes"]),
        mask=tuple(facts["mask"]),
        intensity=facts["intensity"],
        cases=cases,
    )


def _channel_names(volume: Volume) -> list[str]:
    """nnU-Net knows a CT by this name of its channel."""
    return ["CT" if image.rescale.unit == "HU" else name for name, image in volume.images.items()]


def _noise(seed: int, shape: tuple[int, int, int], scale: float) -> np.ndarray:
    """Smooth noise with sharp edges, so that splines overshoot and clipping matters; never 0."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.7, 1.2, 1.2))
    array = np.rint(smooth / smooth.std() * scale).astype(np.int16)
    array[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] += np.int16(2 * scale)
    array[array == 0] = 1
    return array


def _in_body(seed: int, shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Two channels that are 0 outside of an ellipsoid, and 0 in a hole inside of it."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    body = sum(((axis - size / 2) / (size * 0.35)) ** 2 for axis, size in zip((z, y, x), shape, strict=True)) < 1.0
    hole = sum(((axis - size / 2) / (size * 0.08)) ** 2 for axis, size in zip((z, y, x), shape, strict=True)) < 1.0
    inside = body & ~hole
    return [np.where(inside, np.abs(_noise(seed + step, shape, 400.0)) + 20, 0).astype(np.int16) for step in (0, 50)]


def _volume(case: str, arrays: Sequence[np.ndarray], spacing: Triple, *, modality: str = "MR") -> Volume:
    affine = np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([*spacing, 1.0])
    shape = arrays[0].shape
    label = np.zeros(shape, np.uint8)
    middle = tuple(slice(size * 2 // 5, size * 3 // 5 + 1) for size in shape)
    label[middle] = 1
    label[middle[0].start, middle[1], middle[2]] = 2
    unit = "HU" if modality == "CT" else "arbitrary"
    images = {
        f"channel{number}": Image(array=array[None], affine=affine, rescale=Rescale(unit=unit), modality=modality)
        for number, array in enumerate(arrays)
    }
    classes = {1: "liver", 2: "spleen"}
    layer = LabelLayer(array=label[None], affine=affine, classes=classes, examined=tuple(classes.values()))
    return Volume(entry="made", case=case, patient=case, images=images, labels={"organs": layer})
