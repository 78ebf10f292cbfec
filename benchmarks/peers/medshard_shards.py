"""medshard itself: `ShardDataset` over one shard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from made_store import ENTRY, publish
from peers.task import Delivered, Peer, Task

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.quantisation import quantise
from medshard.converters.samples import Sample, SampleLabel
from medshard.converters.volume import Image, Rescale
from medshard.loaders import ShardDataset
from medshard.registry.store import Store


def write(task: Task, folder: Path, _size: int) -> None:
    rule = IntensityRule(scheme="dataset", clip=(task.low, task.high), mean=task.mean, std=task.std)
    plan = Plan(
        name="default",
        entry=ENTRY,
        recipe_digest="0",
        channels=("image",),
        spacing_mm=None,
        intensity={"CT": rule},
    )
    samples = []
    for case in task.cases:
        voxels = np.array(task.image(case))[None]
        source = Image(array=voxels, affine=np.eye(4), rescale=Rescale(unit="HU"), modality="CT")
        stored = quantise(voxels.astype(np.float32), sources=[source], resampled=False).array
        label = SampleLabel(
            array=np.array(task.label(case))[None],
            kind="semantic",
            classes={1: "lesion"},
            examined=("lesion",),
        )
        samples.append(
            Sample(
                entry=ENTRY,
                case=case,
                patient=case,
                modality="CT",
                unit="HU",
                image=stored,
                affine=np.eye(4),
                labels={"lesion": label},
            )
        )
    publish(Store.open(folder), samples, plan=plan)


def windows(_task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    dataset = ShardDataset(
        folder, [ENTRY], patch_size=(size, size, size), foreground=0.0, label_type="int16", seed=seed
    )
    number = 0
    while True:
        item = dataset[number]
        number += 1
        yield Delivered(
            item["image"],
            item["label"],
            lambda item=item: (item["case_id"].split("/")[1], *(int(shift) for shift in item["affine"][:3, 3])),
        )


PEERS = (
    Peer(
        name="medshard",
        distribution="medshard",
        task="random",
        how="one shard, int16 as quantised, the same for every window; ShardDataset[n], normalised as it is decoded",
        write=write,
        windows=windows,
    ),
)
