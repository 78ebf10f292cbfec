"""Masks as sparse matrices, a row for each class."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_json
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)
CLASSES = (
    "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta",
    "inferior vena cava", "portal vein and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland",
)  # fmt: skip


@tree(
    "imis-bench",
    evidence=(
        "listing e-extras: github:uni-medical/IMIS-Bench@f4519c0 dataset/BTCV/",
        "its sample itself: csr of (13, 262144), ones; row 0 is the spleen; RGB pictures of three equal channels",
    ),
)
def imis_bench(root: Tree) -> Expected:
    """The shape of the masks is in their name, with blanks and brackets; a second set, whose classes nobody told."""
    pack, other = root.archive("BTCV.zip"), root.archive("AMOS2022_MR.zip")
    labels: dict[str, dict[str, dict[str, int]]] = {}
    for name, values in (("ABD_001_100", (2, 3, 6)), ("ABD_001_110", range(1, 14)), ("ABD_003_91", (1, 8))):
        body = Phantom(name, SIDE, values=values)
        write_picture(pack / f"BTCV/image/{name}.png", np.repeat(body.grey()[..., None], 3, axis=-1))
        rows = np.stack([body.of(value).reshape(-1) for value in range(1, 14)]).astype(np.int32)
        place = f"BTCV/label/x___{name}.(13, {SIDE[0]}, {SIDE[1]}, 1).npz"
        sparse.save_npz(pack / place, sparse.csr_matrix(rows))
        np.save(pack / f"BTCV/imask/x___{name}.npy", body.labels)
        labels[f"BTCV_{name}"] = {"organs": body.counts({value: CLASSES[value - 1] for value in values})}
    write_json(pack / "BTCV/dataset.json", {"name": "BTCV", "labels": {"0": "background", "1": "spleen"}})
    write_picture(other / "AMOS2022_MR/image/amos_0507_12.png", Phantom("amos", SIDE).rgb())
    sparse.save_npz(other / "AMOS2022_MR/label/x___amos_0507_12.(2, 48, 56, 1).npz", sparse.csr_matrix((2, 48 * 56)))
    write_json(other / "AMOS2022_MR/dataset.json", {"name": "AMOS2022_MR"})
    unread = "AMOS2022_MR_amos_0507_12"
    patients = {case: case.rpartition("_")[0] for case in labels}
    return Expected(
        cases={**patients, unread: unread},
        labels=labels,
        left=("*/imask/*", "*/dataset.json", "AMOS2022_MR/label/*"),
    )
