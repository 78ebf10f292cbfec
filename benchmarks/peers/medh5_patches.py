"""medh5: one HDF5 file per case, patches by its own data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import medh5
import numpy as np
from medh5.sampling import PatchSampler
from medh5.torch import PatchDataset
from peers.task import Delivered, Peer, Task


def write(task: Task, folder: Path, _size: int) -> None:
    labels = medh5.LabelSet(
        "lesions", version="1.0.0", classes=[medh5.LabelClass(1, "lesion", "Lesion", category="lesion")]
    )
    for case in task.cases:
        voxels = np.array(task.image(case))
        with medh5.create(folder / f"{case}.medh5", sample_id=case, subject_id=case) as file:
            file.label_set(labels)
            file.add_timepoint("tp0", label="baseline", days_from_baseline=0)
            file.add_grid("ct", shape=voxels.shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), timepoint="tp0")
            file.add_image("CT", voxels, grid="ct", modality="CT", value_type="quantitative", value_units="HU")
            file.add_segmentation(
                "lesions", grid="ct", masks={"lesion": task.label(case) == 1}, annotated_classes=["lesion"]
            )


def windows(task: Task, folder: Path, size: int, seed: int) -> Iterator[Delivered]:
    dataset = PatchDataset(
        [folder / f"{case}.medh5" for case in task.cases],
        PatchSampler((size, size, size), strategy="uniform"),
        images=["CT"],
        annotations={"lesions": ["lesion"]},
        label_format="labelmap",
        samples_per_volume=1_000_000,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    while True:
        item = dataset[int(rng.integers(len(dataset)))]
        yield Delivered(
            task.normalise_tensor(item["images"]["CT"])[None],
            item["label"]["lesions"][None],
            lambda item=item: (
                Path(item["meta"]["path"]).stem,
                *item["meta"]["patch"]["start"],
            ),
        )


PEERS = (
    Peer(
        name="medh5",
        distribution="medh5",
        task="random",
        how="int16 in its default profile, the file stays open; PatchDataset, then clipped and normalised in place. It "
        "also delivers masks of valid and of ignored voxels, which cannot be left out",
        write=write,
        windows=windows,
    ),
)
