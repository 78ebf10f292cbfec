"""TorchIO: a queue of patches, several of them from each volume that is loaded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import torch
import torchio
from peers.task import Delivered, Peer, Task

PER_VOLUME = 10  # as in the example of its documentation


def write(task: Task, folder: Path, _size: int) -> None:
    for case in task.cases:
        nibabel.save(nibabel.Nifti1Image(task.normalised(task.image(case)), np.eye(4)), folder / f"{case}_image.nii")
        nibabel.save(nibabel.Nifti1Image(np.array(task.label(case)), np.eye(4)), folder / f"{case}_label.nii")


def windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    torch.manual_seed(seed)
    random.seed(seed)
    subjects = [
        torchio.Subject(
            image=torchio.ScalarImage(folder / f"{case}_image.nii"),
            label=torchio.LabelMap(folder / f"{case}_label.nii"),
            case=case,
        )
        for case in task.cases
    ]
    queue = torchio.Queue(
        torchio.SubjectsDataset(subjects),
        max_length=PER_VOLUME * len(subjects),
        samples_per_volume=PER_VOLUME,
        sampler=torchio.UniformSampler(size),
        num_workers=0,
    )
    while True:
        patch = queue[0]
        yield Delivered(
            patch["image"][torchio.DATA],
            patch["label"][torchio.DATA],
            lambda patch=patch: (patch["case"], *patch[torchio.LOCATION][:3].tolist()),
        )


PEERS = (
    Peer(
        name="TorchIO Queue",
        distribution="torchio",
        task="random",
        how="normalised float32 NIfTI, not compressed; Queue with UniformSampler, no workers: 10 windows from each "
        "volume that it loads, so windows are not independent",
        write=write,
        windows=windows,
        windows_per_volume=PER_VOLUME,
        period=2 * PER_VOLUME,
    ),
)
