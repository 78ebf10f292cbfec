"""Pictures that lie in one file, and each is a case: `octmnist`."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_numpy

# Of MedMNIST's info.py, in its order: choroidal neovascularization, diabetic macular edema, drusen, normal.
CLASSES = ("choroidal neovascularisation", "diabetic macular oedema", "drusen", "normal")
PARTS = {"train": (0, 3, 1), "val": (2, 0), "test": (3, 1)}
SIDE = (40, 48)


@tree(
    "octmnist",
    evidence=("listing a-wholebody: github:MedMNIST/MedMNIST medmnist/dataset.py and info.py (name, keys, classes)",),
)
def octmnist(root: Tree) -> Expected:
    """Six arrays in one file; labels are a column of numbers of their own, (n, 1)."""
    members, said = {}, {}
    for part, numbers in PARTS.items():
        pictures = [Phantom(f"octmnist {part} {index}", SIDE, values=(1,)).grey() for index in range(len(numbers))]
        members[f"{part}_images"] = np.stack(pictures)
        members[f"{part}_labels"] = np.array(numbers, np.uint8)[:, None]
        said |= {f"{part}-{index}": {"diagnosis": CLASSES[number]} for index, number in enumerate(numbers)}
    write_numpy(root / "octmnist_224.npz", **members)
    words = {"train": "train", "val": "validation", "test": "test"}
    return Expected(
        cases={case: case for case in said},
        images={case: {"image": (1, *SIDE)} for case in said},
        annotations=said,
        split={case: words[case.partition("-")[0]] for case in said},
    )
