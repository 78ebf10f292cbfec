"""mosaicml-streaming: MDS files of whole volumes, and of windows cut before."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers.feature_extraction_utils  # noqa: F401 (looks for torchvision: before a stand-in is there)
from peers.task import Delivered, Peer, Task, cut_windows, name_of, place_of, random_crop


def _stand_in_for_torchvision() -> None:
    """It imports two names of torchvision for its vision data sets; none of them is used here."""
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    modules: dict[str, Any] = {name: ModuleType(name) for name in names}
    modules["torchvision.datasets"].VisionDataset = object
    modules["torchvision.transforms.functional"].to_tensor = None
    sys.modules.update(modules)


_stand_in_for_torchvision()
from streaming import MDSWriter, StreamingDataset  # noqa: E402

LARGE = 2**31 - 1
EPOCH = 10_000


def write_volumes(task: Task, folder: Path, _size: int) -> None:
    columns = {"case": "str", "image": "ndarray:int16", "label": "ndarray:uint8"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=LARGE) as writer:
        for case in task.cases:
            writer.write({"case": case, "image": np.array(task.image(case)), "label": np.array(task.label(case))})


def write_windows(task: Task, folder: Path, size: int) -> None:
    columns = {"place": "str", "image": "ndarray:float32", "label": "ndarray:uint8"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for place, image, label in cut_windows(task, size):
            writer.write({"place": name_of(place), "image": image, "label": label})


def volume_windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    rng = np.random.default_rng(seed)
    for sample in _samples(folder, seed):
        yield random_crop(task, rng, sample["case"], (sample["image"], sample["label"]), size)


def ready_windows(_task: Task, folder: Path, _size: int, seed: int) -> Iterator[Delivered]:
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    for sample in _samples(folder, seed):
        yield Delivered(
            torch.from_numpy(sample["image"]),
            torch.from_numpy(sample["label"]),
            lambda sample=sample: place_of(sample["place"]),
        )


def _samples(folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Long epochs, so that what it does between two of them does not count."""
    dataset = StreamingDataset(local=str(folder), shuffle=True, shuffle_seed=seed, batch_size=1, epoch_size=EPOCH)
    while True:
        yield from dataset


PEERS = (
    Peer(
        name="MDS volumes",
        distribution="mosaicml-streaming",
        task="random",
        how="whole int16 volumes, not compressed; StreamingDataset, one crop of each sample, then normalised",
        write=write_volumes,
        windows=volume_windows,
    ),
    Peer(
        name="MDS cut windows",
        distribution="mosaicml-streaming",
        task="cut",
        how="normalised float32 windows, not compressed; StreamingDataset, shuffled",
        write=write_windows,
        windows=ready_windows,
        per_size=True,
    ),
)
