"""Tiles of pathology with masks."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)


@tree(
    "crag",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/CRAG.md",
        "find_string 'CRAG/train/Annotation' (CRAG_v2/CRAG/ before it)",
    ),
)
def crag(root: Tree) -> Expected:
    """The value of a pixel is the number of its gland."""
    pack = root.archive("CRAG_v2.zip")
    labels = {}
    for part, case in (("train", "train_1"), ("train", "train_37"), ("valid", "test_1")):
        body = Phantom(case, SIDE, values=(1, 2, 3))
        write_picture(pack / f"CRAG_v2/CRAG/{part}/Images/{case}.png", body.rgb())
        write_picture(pack / f"CRAG_v2/CRAG/{part}/Annotation/{case}.png", body.labels.astype(np.uint8))
        write_picture(pack / f"CRAG_v2/CRAG/{part}/Overlay/{case}.png", body.rgb())
        labels[case] = {"gland": {"gland": body.count(1, 2, 3)}}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if "train" in case else "test" for case in labels},
        left=("*/Overlay/*",),
    )


@tree(
    "gleason-2019",
    evidence=("listing b-brain-eyes: find_string '_classimg_nonconvex' (file ids 19774948719, 223005818)",),
)
def gleason(root: Tree) -> Expected:
    """Six pathologists, not all of whom saw each core; 0 was judged by nobody."""
    images, test = root.archive("Train Imgs.zip"), root.archive("Test.zip")
    concepts = {1: "benign", 3: "Gleason pattern 3", 4: "Gleason pattern 4", 5: "Gleason pattern 5"}
    maps = {rater: root.archive(f"Maps{rater}_T.zip") for rater in range(1, 7)}
    labels = {}
    for number, (slide, core) in enumerate((("001", "037"), ("001", "041"), ("002", "033"))):
        case = f"slide{slide}_core{core}"
        body = Phantom(case, SIDE, values=concepts)
        write_picture(images / f"Train Imgs/{case}.jpg", body.rgb())
        labels[case] = {}
        for rater in range(1, 7 - number):
            path = maps[rater] / f"Maps{rater}_T/{case}_classimg_nonconvex.png"
            write_picture(path, body.labels.astype(np.uint8))
            labels[case][f"gleason-{rater}"] = body.counts(concepts)
    write_picture(test / "Test/Test_imgs/slide005_core063.jpg", Phantom("test core", SIDE).rgb())
    return Expected(
        cases={**{case: case.partition("_")[0] for case in labels}, "slide005_core063": "slide005"},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "slide005_core063": "test"},
        aligned=False,
    )


@tree("segpanda200", evidence=("listing e-extras: find_string 'segPANDA200' (file id 58594809303)",))
def segpanda200(root: Tree) -> Expected:
    words = ("stroma", "healthy epithelium", "Gleason pattern 3", "Gleason pattern 4", "Gleason pattern 5")
    concepts = dict(enumerate(words, start=1))
    labels, patients, parts = {}, {}, {}
    pack = root.archive("segPANDA200.zip")
    for part, grade, slide, x in (
        ("train", 0, "0ac7f7d", 3288),
        ("train", 0, "0ac7f7d", 6576),
        ("val", 4, "1b2c3d4", 0),
    ):
        case = f"{slide}_x{x}_y9864"
        start = f"segPANDA200/{part}/{grade}/{slide}/{slide}_level0_x{x}_y9864"
        body = Phantom(case, SIDE, values=concepts)
        write_picture(pack / f"{start}.jpg", body.rgb())
        write_picture(pack / f"{start}_mask.png", body.labels.astype(np.uint8))
        labels[case], patients[case] = {"tissue": body.counts(concepts)}, slide
        parts[case] = {"train": "train", "val": "validation"}[part]
    return Expected(cases=patients, labels=labels, split=parts, aligned=False)
