"""The Medical Segmentation Decathlon: one tar for each task, with companions of macOS in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from trees.phantom import Phantom
from trees.scans import SHAPE, voxels_of, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree

LISTED = "github:zhaoziheng/SAT-DS data/jsonl/MSD_{}.jsonl"
PRINTED = "github:openmedlab/Awesome-Medical-Dataset resources/MSD_{}.md"


def decathlon(
    root: Tree,
    task: str,
    train: Sequence[str],
    test: Sequence[str],
    *,
    layer: str,
    concepts: Mapping[int, str],
    kind: str = "ct",
    channels: int = 1,
) -> Expected:
    """imagesTr, labelsTr and imagesTs below the task's folder, and dataset.json, which says what the layout says."""
    pack = root.archive(f"{task}.tar")
    labels = {}
    for case in (*train, *test):
        body = Phantom(case, SHAPE, values=concepts)
        voxels = voxels_of(body, kind)
        part = "Tr" if case in train else "Ts"
        # Several sequences lie on the last axis of the file.
        stacked = np.stack([voxels + 7 * channel for channel in range(channels)]) if channels > 1 else voxels
        write_scan(pack / f"{task}/images{part}/{case}.nii.gz", stacked)
        write_lines(pack / f"{task}/images{part}/._{case}.nii.gz", "litter")
        if part == "Tr":
            write_scan(pack / f"{task}/labels{part}/{case}.nii.gz", body.labels)
        labels[case] = {layer: body.counts(concepts)} if part == "Tr" else {}
    write_json(pack / f"{task}/dataset.json", {"name": task, "numTraining": len(train)})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if found else "test" for case, found in labels.items()},
        left=("*/dataset.json",),
    )


@tree("msd-task01-braintumour", evidence=(PRINTED.format("Brain"), "github:zhaoziheng/SAT-DS data/split_json"))
def brain_tumour(root: Tree) -> Expected:
    concepts = {1: "peritumoural oedema", 2: "non-enhancing tumour core", 3: "enhancing tumour"}
    return decathlon(
        root,
        "Task01_BrainTumour",
        ("BRATS_001", "BRATS_369"),
        ("BRATS_485",),
        layer="tumour",
        concepts=concepts,
        kind="mr",
        channels=4,
    )


@tree("msd-task02-heart", evidence=(LISTED.format("Cardiac"), PRINTED.format("Cardiac")))
def heart(root: Tree) -> Expected:
    return decathlon(
        root,
        "Task02_Heart",
        ("la_003", "la_024"),
        ("la_001",),
        layer="atrium",
        concepts={1: "left atrium"},
        kind="mr",
    )


@tree("msd-liver", evidence=(LISTED.format("Liver"),))
def liver(root: Tree) -> Expected:
    concepts = {1: "liver", 2: "liver tumour"}
    return decathlon(root, "Task03_Liver", ("liver_39", "liver_90"), ("liver_141",), layer="mask", concepts=concepts)


@tree("msd-task04-hippocampus", evidence=(LISTED.format("Hippocampus"), PRINTED.format("Hippocampus")))
def hippocampus(root: Tree) -> Expected:
    return decathlon(
        root,
        "Task04_Hippocampus",
        ("hippocampus_001", "hippocampus_210"),
        ("hippocampus_002",),
        layer="hippocampus",
        concepts={1: "anterior hippocampus", 2: "posterior hippocampus"},
        kind="mr",
    )


@tree("msd-prostate", evidence=(LISTED.format("Prostate"), PRINTED.format("Prostate")))
def prostate(root: Tree) -> Expected:
    return decathlon(
        root,
        "Task05_Prostate",
        ("prostate_00", "prostate_35"),
        ("prostate_03",),
        layer="mask",
        concepts={1: "prostate peripheral zone", 2: "prostate transition zone"},
        kind="mr",
        channels=2,
    )


@tree("msd-task06-lung", evidence=(LISTED.format("Lung"), PRINTED.format("Lung_Tumours")))
def lung(root: Tree) -> Expected:
    return decathlon(
        root, "Task06_Lung", ("lung_001", "lung_073"), ("lung_002",), layer="tumour", concepts={1: "lung cancer"}
    )


@tree("msd-pancreas", evidence=(LISTED.format("Pancreas"), PRINTED.format("Pancreas_Tumour")))
def pancreas(root: Tree) -> Expected:
    concepts = {1: "pancreas", 2: "pancreas tumour"}
    train, test = ("pancreas_001", "pancreas_391"), ("pancreas_002",)
    return decathlon(root, "Task07_Pancreas", train, test, layer="mask", concepts=concepts)


@tree("msd-task08-hepaticvessel", evidence=(LISTED.format("HepaticVessel"), PRINTED.format("Hepatic_Vessel")))
def hepatic_vessel(root: Tree) -> Expected:
    return decathlon(
        root,
        "Task08_HepaticVessel",
        ("hepaticvessel_001", "hepaticvessel_223"),
        ("hepaticvessel_003",),
        layer="vessels_and_tumours",
        concepts={1: "hepatic vessel", 2: "liver tumour"},
    )


@tree("msd-spleen", evidence=(LISTED.format("Spleen"), PRINTED.format("Spleen")))
def spleen(root: Tree) -> Expected:
    concepts = {1: "spleen"}
    return decathlon(root, "Task09_Spleen", ("spleen_2", "spleen_33"), ("spleen_1",), layer="mask", concepts=concepts)


@tree("msd-colon", evidence=(LISTED.format("Colon"), PRINTED.format("Colon_Cancer")))
def colon(root: Tree) -> Expected:
    concepts = {1: "colon cancer"}
    train, test = ("colon_001", "colon_141"), ("colon_003",)
    return decathlon(root, "Task10_Colon", train, test, layer="mask", concepts=concepts)
