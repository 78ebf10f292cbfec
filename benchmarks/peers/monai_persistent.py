"""MONAI: whole volumes kept as torch files, random crops of each one that is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import PersistentDataset
from monai.transforms import (
    CastToTyped,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandSpatialCropSamplesd,
    ScaleIntensityRanged,
)
from peers.task import Delivered, Peer, Task

PER_VOLUME = 4  # as in its tutorials


def write(task: Task, folder: Path, _size: int) -> None:
    """The files that it starts from, then its cache."""
    for case in task.cases:
        nibabel.save(nibabel.Nifti1Image(np.array(task.image(case)), np.eye(4)), folder / f"{case}_image.nii")
        nibabel.save(nibabel.Nifti1Image(np.array(task.label(case)), np.eye(4)), folder / f"{case}_label.nii")
    dataset = _dataset(task, folder, 64)
    for number in range(len(dataset)):
        dataset[number]
    for path in folder.glob("*.nii"):
        path.write_bytes(b"")  # only the cache is read from now on, and only it counts as stored


def windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    rng = np.random.default_rng(seed)
    dataset = _dataset(task, folder, size)
    dataset.transform.set_random_state(seed=seed)
    while True:
        number = int(rng.integers(len(dataset)))
        for item in dataset[number]:
            affine = item["image"].affine
            yield Delivered(
                item["image"].as_tensor(),
                item["label"].as_tensor(),
                lambda number=number, affine=affine: (task.cases[number], *(int(shift) for shift in affine[:3, 3])),
            )


def _dataset(task: Task, folder: Path, size: int) -> PersistentDataset:
    keys = ["image", "label"]
    low, high = ((limit - task.mean) / task.std for limit in (task.low, task.high))
    transform = Compose(
        [
            LoadImaged(keys=keys),
            EnsureChannelFirstd(keys=keys),
            ScaleIntensityRanged(keys=["image"], a_min=task.low, a_max=task.high, b_min=low, b_max=high, clip=True),
            CastToTyped(keys=["label"], dtype=torch.uint8),
            RandSpatialCropSamplesd(keys=keys, roi_size=(size, size, size), num_samples=PER_VOLUME, random_size=False),
        ]
    )
    files = [{key: str(folder / f"{case}_{key}.nii") for key in keys} for case in task.cases]
    return PersistentDataset(files, transform, cache_dir=folder / "cache")


PEERS = (
    Peer(
        name="MONAI PersistentDataset",
        distribution="monai",
        task="random",
        how="its cache of normalised float32 volumes; RandSpatialCropSamplesd: 4 windows from each volume that it "
        "loads, so windows are not independent",
        write=write,
        windows=windows,
        windows_per_volume=PER_VOLUME,
        period=PER_VOLUME,
    ),
)
