"""litdata: chunks of whole volumes, and of windows cut before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import litdata
import numpy as np
import torch
from peers.task import Delivered, Peer, Task, cut_windows, name_of, place_of, random_crop


def write_volumes(task: Task, folder: Path, _size: int) -> None:
    litdata.optimize(
        fn=partial(_volume, task), inputs=list(task.cases), output_dir=str(folder), chunk_size=1, **_IN_THIS_PROCESS
    )


def write_windows(task: Task, folder: Path, size: int) -> None:
    ready = [
        {"place": name_of(place), "image": torch.from_numpy(image), "label": torch.from_numpy(label)}
        for place, image, label in cut_windows(task, size)
    ]
    litdata.optimize(
        fn=partial(_ready, ready),
        inputs=list(range(len(ready))),
        output_dir=str(folder),
        chunk_bytes="64MB",
        **_IN_THIS_PROCESS,
    )


def _volume(task: Task, case: str) -> dict[str, Any]:
    return {"image": np.array(task.image(case)), "label": np.array(task.label(case))}


def _ready(windows: list[dict[str, Any]], number: int) -> dict[str, Any]:
    return windows[number]


_IN_THIS_PROCESS: dict[str, Any] = {"num_workers": 1, "reorder_files": False, "start_method": "fork", "verbose": False}


def volume_windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    rng = np.random.default_rng(seed)
    dataset = litdata.StreamingDataset(str(folder), max_cache_size="100GB")
    while True:
        number = int(rng.integers(len(task.cases)))
        sample = dataset[number]
        yield random_crop(task, rng, task.cases[number], (sample["image"], sample["label"]), size)


def slab_windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    rng = np.random.default_rng(seed)
    dataset = litdata.StreamingDataset(str(folder), max_cache_size="100GB")
    while True:
        number = int(rng.integers(len(task.cases)))
        case = task.cases[number]
        first = int(rng.integers(task.image(case).shape[0] - size + 1))
        slab = dataset.read_window(number, first, size, fields=["image", "label"])
        found = random_crop(task, rng, case, (slab["image"], slab["label"]), size)
        _, _, y, x = found.place()
        yield found._replace(place=lambda place=(case, first, y, x): place)


def ready_windows(_task: Task, folder: Path, _size: int, seed: int) -> Iterator[Delivered]:
    dataset = litdata.StreamingDataset(str(folder), shuffle=True, seed=seed, max_cache_size="100GB")
    while True:
        for sample in dataset:
            # What it gives may be a file that is mapped, of which nothing has been read yet.
            image, label = sample["image"].clone(), sample["label"].clone()
            yield Delivered(image, label, lambda sample=sample: place_of(sample["place"]))


PEERS = (
    Peer(
        name="litdata volumes",
        distribution="litdata",
        task="random",
        how="whole int16 volumes, not compressed; StreamingDataset[n], one crop of each sample, then normalised",
        write=write_volumes,
        windows=volume_windows,
    ),
    Peer(
        name="litdata slabs",
        distribution="litdata",
        task="random",
        how="the same files; read_window along z only (all of y and x), cropped, then normalised",
        write=write_volumes,
        windows=slab_windows,
    ),
    Peer(
        name="litdata cut windows",
        distribution="litdata",
        task="cut",
        how="normalised float32 windows as tensors, chunks of 64 MB; StreamingDataset, shuffled; copied out of the "
        "mapped file, as any collation does",
        write=write_windows,
        windows=ready_windows,
        per_size=True,
    ),
)
