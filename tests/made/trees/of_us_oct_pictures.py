"""Ultrasound of the breast and the thyroid, and OCT of the retina: pictures with masks and classes."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_json, write_lines, write_sheet, write_table
from trees.tree import Expected, Tree, tree

SIDE = (40, 48)


@tree(
    "breast-ultrasound-dataset-b",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/Breast_Ultrasound_DatasetB.md",
        "find_string 'DatasetB.xlsx' (file ids 58285542893, 68967152213, 23465870778: columns, words, numbers)",
    ),
)
def breast_ultrasound_dataset_b(root: Tree) -> Expected:
    """The sheet has whole numbers where the files have six digits; diagnoses in a third column."""
    pack = root.archive("BUS.zip")
    words = {1: ("Benign", "CYST"), 3: ("Malignant", "IDC"), 163: ("Benign", "FA")}
    labels, said, rows = {}, {}, []
    for number, (kind, diagnosis) in words.items():
        case = f"{number:06d}"
        body = Phantom(f"bus-b {case}", SIDE, values=(1,))
        write_picture(pack / f"Dataset_B/original/{case}.png", body.grey())
        write_picture(pack / f"Dataset_B/GT/{case}.png", body.of(1))
        labels[case] = {"lesion": body.counts({1: "breast lesion"})}
        said[case] = {"dignity": kind.lower()}
        rows.append({"Image": number, "Type": kind, "Diagnosis": diagnosis})
    write_sheet(pack / "Dataset_B/DatasetB.xlsx", rows)
    return Expected(cases={case: case for case in labels}, labels=labels, annotations=said)


@tree(
    "busi",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/BUSI.md",
        "listing c-thorax: github:constantinpape/torch-em torch_em/data/datasets/medical/busi.py (the folder above)",
        "find_string '_mask_1.png' (file id 71213132005: further masks of one picture)",
    ),
)
def busi(root: Tree) -> Expected:
    """A second mask for a second lesion; a mask in RGB; the empty mask of a normal breast."""
    pack = root.archive("Dataset_BUSI.zip")
    concept = {1: "breast lesion", 2: "breast lesion"}
    labels = {}
    for kind, number in (("benign", 1), ("benign", 100), ("malignant", 1), ("normal", 1)):
        case, values = f"{kind}_{number}", () if kind == "normal" else (1, 2) if number == 100 else (1,)
        body = Phantom(f"busi {case}", SIDE, values=values)
        stem = f"Dataset_BUSI_with_GT/{kind}/{kind} ({number})"
        write_picture(pack / f"{stem}.png", np.stack([body.grey()] * 3, axis=-1))
        mask = body.of(1).astype(np.uint8) * 255
        write_picture(pack / f"{stem}_mask.png", np.stack([mask] * 3, axis=-1) if kind == "malignant" else mask)
        labels[case] = {"lesion": body.counts({1: concept[1]}) if values else {}}
        if 2 in values:
            write_picture(pack / f"{stem}_mask_1.png", body.of(2))
            labels[case]["further_lesions"] = body.counts({2: concept[2]})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        annotations={case: {"finding": case.partition("_")[0]} for case in labels},
        excluded={"normal_1": "annotation.empty"},
    )


@tree(
    "tdsc-abus2023",
    evidence=(
        "listing c-thorax: find_string 'DATA_000.nrrd' (file ids 8713673908, 71266157113, 56286941315: folders)",
        "github:mralinp/tdsc-abus2023-pytorch tdsc_abus2023_pytorch/tdsc.py (tables, columns, half a length each way)",
        "find_string 'bbx_labels.csv' (file ids 55192772880, 56599045245: c_x runs along the slices; spacing of 1)",
    ),
)
def tdsc_abus2023(root: Tree) -> Expected:
    """The tables name the axes the other way round and count from the first voxel's middle; backslashes in paths."""
    cases = {"Train": ("000", "050"), "Validation": ("100",), "Test": ("130",)}
    shards = {"000": "DATA00_49/", "050": "DATA50_99/"}
    labels, said = {}, {}
    for source, (part, numbers) in enumerate(cases.items()):
        pack = root.archive(f"{part}.zip", source=source)
        rows, boxes = [], []
        for number in numbers:
            case = f"{part}_{number}"
            body = Phantom(f"abus {case}", (14, 28, 40), values=(1,))
            write_placeless_nrrd(pack / f"{part}/DATA/{shards.get(number, '')}DATA_{number}.nrrd", body.grey())
            write_placeless_nrrd(pack / f"{part}/MASK/MASK_{number}.nrrd", body.of(1).astype(np.uint8))
            kind = "M" if number in ("000", "130") else "B"
            paths = {"Data_path": f"DATA\\DATA_{number}.nrrd", "Mask_path": f"MASK\\MASK_{number}.nrrd"}
            rows.append({"case_id": int(number), "Label": kind, **paths})
            centre, box = body.centre(1), body.box(1)
            middles = {f"c_{axis}": place for axis, place in zip("xyz", centre, strict=True)}
            lengths = {f"len_{axis}": end - 1.0 - start for axis, (start, end) in zip("xyz", box, strict=True)}
            boxes.append({"id": int(number), **middles, **lengths})
            labels[case] = {"tumour": body.counts({1: "breast tumour"})}
            said[case] = {
                "dignity": "malignant" if kind == "M" else "benign",
                "box": [("breast tumour", in_ras(box, body.shape))],
            }
        write_table(pack / f"{part}/labels.csv", rows)
        write_table(pack / f"{part}/bbx_labels.csv", boxes)
    parts = {"Train": "train", "Validation": "validation", "Test": "test"}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        annotations=said,
        split={case: parts[case.partition("_")[0]] for case in labels},
        spacing=dict.fromkeys(labels, (1.0, 1.0, 1.0)),
    )


def in_ras(box: Sequence[Sequence[int]], shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The place of a box after the volume, taken as LPS, was turned: x and y run the other way."""
    (z, y, x), (_, rows, columns) = box, shape
    return ((z[0], z[1]), (rows - y[1], rows - y[0]), (columns - x[1], columns - x[0]))


def write_placeless_nrrd(path: Path, voxels: NDArray[np.uint8]) -> None:
    """(z, y, x) with a header that says neither millimetres nor which way the patient lies."""
    lines = (
        "NRRD0004",
        "type: unsigned char",
        "dimension: 3",
        "space: 3D-right-handed",
        f"sizes: {' '.join(str(size) for size in reversed(voxels.shape))}",
        "space directions: (1,0,0) (0,1,0) (0,0,1)",
        "kinds: space space space",
        "encoding: gzip",
        "space origin: (0,0,0)",
    )
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + gzip.compress(voxels.tobytes(), 1, mtime=0))


@tree(
    "tn-scui-2020",
    evidence=(
        "listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/TN-SCUI2020.md",
        "find_string 'TNSCUI2020_train/train.csv' (file ids 8807756149, 37030371035, 48530832700: names, columns)",
        "find_string 'tnscui2020_testset' (file ids 7217818470, 36649132880: the test set flat and in a folder)",
    ),
)
def tn_scui_2020(root: Tree) -> Expected:
    """Capital suffixes; the table has them too; a test set without masks. Nothing free writes RAR: zips instead."""
    train = root.archive("TNSCUI2020_train.rar", kind="zip")
    test = root.archive("tnscui2020_testset.rar", kind="zip")
    labels, said, rows = {}, {}, []
    for number, kind in ((1, 0), (12, 1), (1273, 1)):
        body = Phantom(f"scui {number}", SIDE, values=(1,))
        write_picture(train / f"TNSCUI2020_train/image/{number}.PNG", body.grey())
        write_picture(train / f"TNSCUI2020_train/mask/{number}.PNG", body.of(1))
        rows.append({"ID": f"{number}.PNG", "CATE": kind})
        labels[f"train_{number}"] = {"nodule": body.counts({1: "thyroid nodule"})}
        said[f"train_{number}"] = {"diagnosis": "malignant" if kind else "benign"}
    write_table(train / "TNSCUI2020_train/train.csv", rows)
    write_picture(test / "tnscui2020_testset/image/1.PNG", Phantom("scui test", SIDE).grey())
    return Expected(
        cases={case: case for case in (*labels, "test_1")},
        labels=labels,
        annotations=said,
        split={**dict.fromkeys(labels, "train"), "test_1": "test"},
    )


@tree(
    "tn3k",
    evidence=(
        "listing a-wholebody: github:constantinpape/torch-em torch_em/data/datasets/medical/tn3k.py",
        "listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/TN3K.md",
        "find_string 'label4trainval.csv' (file ids 27920955949, 41467048148, 55830513385: lines, no header, counts)",
    ),
)
def tn3k(root: Tree) -> Expected:
    """JPEG masks; tables without a header; numbers that start anew in the test part."""
    pack = root.archive("tn3k.zip")
    labels, said, lines = {}, {}, {"trainval": [], "test": []}
    for part, number, kind in (("trainval", "0000", 0), ("trainval", "2871", 1), ("test", "0000", 1)):
        case = f"{part}_{number}"
        body = Phantom(f"tn3k {case}", SIDE, values=(1,))
        write_picture(pack / f"Thyroid Dataset/tn3k/{part}-image/{number}.jpg", body.grey(), quality=100)
        write_picture(pack / f"Thyroid Dataset/tn3k/{part}-mask/{number}.jpg", body.of(1), quality=95)
        lines[part].append(f"{number}.jpg,{kind}")
        labels[case] = {"nodule": body.counts({1: "thyroid nodule"})}
        said[case] = {"diagnosis": "malignant" if kind else "benign"}
    for part, rows in lines.items():
        write_lines(pack / f"Thyroid Dataset/tn3k/label4{part}.csv", *rows)
    write_json(pack / "Thyroid Dataset/tn3k/tn3k-trainval-fold0.json", {"train": [0], "val": [2871]})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        annotations=said,
        split={case: "test" if case.startswith("test") else "train" for case in labels},
        left=("*-fold0.json",),
        aligned=False,
    )


@tree(
    "oct2017",
    evidence=(
        "listing e-extras: find_string 'OCT2017/train/CNV' (file ids 10458467062, 2690839265, 56293152072)",
        "the doubled names of macOS and the shared patients: a stored report, see the entry",
    ),
)
def oct2017(root: Tree) -> Expected:
    """A patient with two classes, on both sides of the shipped split; leftovers of macOS."""
    pack = root.archive("OCT2017.tar.gz")
    words = {"CNV": "choroidal neovascularisation", "DME": "diabetic macular oedema", "DRUSEN": "drusen",
             "NORMAL": "normal"}  # fmt: skip
    said = {}
    for part, name in (
        ("train", "CNV-1016042-1"), ("train", "DME-1072015-1"), ("train", "NORMAL-154835-2"),
        ("test", "DRUSEN-154835-1"), ("test", "NORMAL-154835-1"),
    ):  # fmt: skip
        kind = name.partition("-")[0]
        scan = Phantom(f"oct2017 {name}", SIDE, values=(1,)).grey()
        write_picture(pack / f"OCT2017/{part}/{kind}/{name}.jpeg", scan, quality=100)
        said[f"{part}_{name}"] = {"disease": words[kind]}
    write_lines(pack / "OCT2017/train/CNV/._CNV-1016042-1.jpeg", "macOS")
    return Expected(
        cases={case: case.split("-")[1] for case in said},
        annotations=said,
        split={case: case.partition("_")[0] for case in said},
    )


@tree(
    "retinal-oct-c8",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/Retinal_OCT-C8.md",
        "find_string 'RetinalOCT_Dataset' (file ids 1428597312, 55194013566: all folders, the doubled one above them)",
    ),
)
def retinal_oct_c8(root: Tree) -> Expected:
    """Eight folders in three parts, a folder in a folder of its own name above them."""
    pack = root.archive("retinal-oct-c8.zip")
    words = {
        "AMD": "age-related macular degeneration", "CNV": "choroidal neovascularisation",
        "CSR": "central serous retinopathy", "DME": "diabetic macular oedema", "DR": "diabetic retinopathy",
        "DRUSEN": "drusen", "MH": "macular hole", "NORMAL": "normal",
    }  # fmt: skip
    said = {}
    for number, (kind, concept) in enumerate(words.items()):
        part = ("train", "val", "test")[number % 3]
        name = f"{kind.lower()}_{part}_1001"
        path = f"RetinalOCT_Dataset/RetinalOCT_Dataset/{part}/{kind}/{name}.jpg"
        write_picture(pack / path, Phantom(f"c8 {name}", SIDE, values=(1,)).grey(), quality=100)
        said[f"{part}_{kind}_{name}"] = {"disease": concept}
    parts = {"train": "train", "val": "validation", "test": "test"}
    return Expected(
        cases={case: case for case in said},
        annotations=said,
        split={case: parts[case.partition("_")[0]] for case in said},
    )
