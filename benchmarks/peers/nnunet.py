"""nnU-Net: cases in blosc2 files whose blocks suit the size of the windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from peers.task import Delivered, Peer, Place, Task, box, random_place


def write(task: Task, folder: Path, size: int) -> None:
    """As its preprocessor saves a case under a plan with this patch size."""
    patch = (size, size, size)
    for case in task.cases:
        values = task.normalised(task.image(case))[None]
        label = task.label(case).astype(np.int8)[None]
        blocks, chunks = comp_blosc2_params(values.shape, patch, values.itemsize)
        label_blocks, label_chunks = comp_blosc2_params(label.shape, patch, label.itemsize)
        nnUNetDatasetBlosc2.save_case(
            values,
            label,
            {"spacing": [1.0, 1.0, 1.0], "class_locations": {}},
            str(folder / case),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=label_chunks,
            blocks_seg=label_blocks,
        )


class _RememberingLoader(nnUNetDataLoader):  # type: ignore[misc]
    """Its loader, which does not say where a window lies."""

    corner: tuple[int, ...] = ()

    def get_bbox(self, *arguments: Any, **options: Any) -> Any:
        found = super().get_bbox(*arguments, **options)
        self.corner = tuple(int(begin) for begin in found[0])
        return found


def loader_windows(_task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    np.random.seed(seed)
    patch = (size, size, size)
    labels = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)
    loader = _RememberingLoader(nnUNetDatasetBlosc2(str(folder)), 1, patch, patch, labels)
    while True:
        batch = next(loader)
        place = (batch["keys"][0], *loader.corner)
        yield Delivered(batch["data"][0], batch["target"][0], lambda place=place: place)


def dataset_windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    """Only what cannot be left out: the case is opened for every window, as its loader does."""
    rng = np.random.default_rng(seed)
    dataset = nnUNetDatasetBlosc2(str(folder))
    while True:
        place: Place = random_place(task, rng, size)
        data, seg, _, _ = dataset.load_case(place[0])
        bounds = [[part.start, part.stop] for part in box(place, size)]
        image = torch.from_numpy(crop_and_pad_nd(data, bounds, 0))
        label = torch.from_numpy(crop_and_pad_nd(seg, bounds, -1))
        yield Delivered(image, label, lambda place=place: place)


_STORED = "float32, normalised, LZ4HC with its own choice of a filter, blocks for exactly this size of window"
PEERS = (
    Peer(
        name="nnU-Net loader",
        distribution="nnunetv2",
        task="random",
        how=f"{_STORED}; nnUNetDataLoader with a batch of one",
        write=write,
        windows=loader_windows,
        per_size=True,
    ),
    Peer(
        name="nnU-Net data set",
        distribution="nnunetv2",
        task="random",
        how=f"{_STORED}; load_case and its crop only",
        write=write,
        windows=dataset_windows,
        per_size=True,
    ),
)
