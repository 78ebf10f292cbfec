"""WebDataset: tar files of whole volumes, and of windows cut before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from peers.task import CUT_WINDOWS, Delivered, Peer, Task, cut_windows, name_of, place_of, random_crop


def write_volumes(task: Task, folder: Path, _size: int) -> None:
    for case in task.cases:
        with webdataset.TarWriter(str(folder / f"{case}.tar")) as writer:
            writer.write(
                {"__key__": case, "image.npy": np.array(task.image(case)), "label.npy": np.array(task.label(case))}
            )


def write_windows(task: Task, folder: Path, size: int) -> None:
    with webdataset.ShardWriter(str(folder / "windows-%03d.tar"), maxcount=8, verbose=0) as writer:
        for place, image, label in cut_windows(task, size):
            writer.write({"__key__": name_of(place), "image.npy": image, "label.npy": label})


def volume_windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    rng = np.random.default_rng(seed)
    for sample in _samples(folder, seed, buffer=0):
        yield random_crop(task, rng, sample["__key__"], (sample["image.npy"], sample["label.npy"]), size)


def ready_windows(_task: Task, folder: Path, _size: int, seed: int) -> Iterator[Delivered]:
    for sample in _samples(folder, seed, buffer=CUT_WINDOWS // 2):
        yield Delivered(
            torch.from_numpy(sample["image.npy"]),
            torch.from_numpy(sample["label.npy"]),
            lambda sample=sample: place_of(sample["__key__"]),
        )


def _samples(folder: Path, seed: int, buffer: int) -> Iterator[dict[str, Any]]:
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    dataset = webdataset.WebDataset(shards, resampled=True, seed=seed, empty_check=False)
    if buffer:
        dataset = dataset.shuffle(buffer, initial=buffer)
    return iter(dataset.decode())


PEERS = (
    Peer(
        name="WebDataset volumes",
        distribution="webdataset",
        task="random",
        how="whole int16 volumes as npy, one tar a case; shards drawn at random, one crop of each sample, then "
        "normalised",
        write=write_volumes,
        windows=volume_windows,
    ),
    Peer(
        name="WebDataset cut windows",
        distribution="webdataset",
        task="cut",
        how="normalised float32 windows as npy, 8 in a tar; shards drawn at random, shuffle buffer of 16",
        write=write_windows,
        windows=ready_windows,
        per_size=True,
    ),
)
