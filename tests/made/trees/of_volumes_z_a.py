"""Volumes of CT and MR, from z backwards."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.table_files import write_json
from trees.tree import Expected, Tree, tree
from trees.voxel_files import SPACING, write_nifti

SHAPE = (10, 32, 36)


@tree(
    "segrap-2023",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/SegRap2023_Task1.jsonl, SegRap2023_Task2.jsonl",
        "listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/SegRap2023.md",
        "github:HiLab-git/SegRap2023 Eval/SegRap_Task001_DSC_NSD_Eval.py",
    ),
)
def segrap(root: Tree) -> Expected:
    """Parts of organs that belong to two; a file for each organ besides, which overlap; a patient without a node."""
    pack = root.archive("SegRap2023_Training_Set_120cases.zip")
    onehot = root.archive("SegRap2023_Training_Set_120cases_OneHot_Labels.zip")
    parts = {1: "brain", 6: "left hippocampus", 8: "left hippocampus", 34: "pituitary gland", 54: "trachea"}
    tumours = {101: "primary gross tumour volume", 102: "nodal gross tumour volume"}
    labels = {}
    for case in ("segrap_0000", "segrap_0001", "segrap_0119"):
        body = Phantom(case, SHAPE, values=(*parts, *tumours))
        folder = f"SegRap2023_Training_Set_120cases/{case}"
        write_nifti(pack / f"{folder}/image.nii.gz", body.ct(), SPACING)
        write_nifti(pack / f"{folder}/image_contrast.nii.gz", body.ct(), SPACING)
        write_nifti(pack / f"{folder}/Brain.nii.gz", body.of(1, 6, 8), SPACING)
        write_nifti(pack / f"{folder}/GTVp.nii.gz", body.of(101), SPACING)
        top = "SegRap2023_Training_Set_120cases_OneHot_Labels"
        write_nifti(onehot / f"{top}/Task001/{case}.nii.gz", body.labels * body.of(*parts), SPACING)
        there = (101, 102) if case != "segrap_0119" else (101,)
        drawn = sum(body.of(value) * (value - 100) for value in there)
        write_nifti(onehot / f"{top}/Task002/{case}.nii.gz", drawn, SPACING, dtype="uint8")
        labels[case] = {"organ_parts": body.counts(parts), "tumours": body.counts({v: tumours[v] for v in there})}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"ct": SHAPE, "ct_contrast": SHAPE} for case in labels},
        split=dict.fromkeys(labels, "train"),
        left=("*/Brain.nii.gz", "*/GTVp.nii.gz"),
    )


@tree(
    "ixi",
    evidence=(
        "find_string 'IXI002-Guys-0828-DTI' (file ids 3532369771, 13409752084: files 00 to 15)",
        "find_string '-MRA.nii.gz' (file ids 35135033505, 44338272681: IXI371-IOP-0970-MRA.nii.gz is not complete)",
    ),
)
def ixi(root: Tree) -> Expected:
    """An archive for each sequence, all without a folder; a file that ends too early; a subject without T1."""
    spacings = {"T1": (1.2, 0.94, 0.94), "T2": (1.25, 0.94, 0.94), "PD": (1.25, 0.94, 0.94), "MRA": (0.8, 0.47, 0.47)}
    there = {
        "IXI002-Guys-0828": ("T1", "T2", "PD", "MRA"),
        "IXI012-HH-1211": ("T1", "T2"),
        "IXI371-IOP-0970": ("T1", "MRA"),
        "IXI580-IOP-1157": ("T2",),
    }
    shapes = {"T1": (24, 32, 20), "T2": (18, 32, 32), "PD": (18, 32, 32), "MRA": (12, 40, 40)}
    for name, spacing in spacings.items():
        pack = root.archive(f"IXI-{name}.tar")
        for scan, sequences in there.items():
            if name in sequences:
                path = pack / f"{scan}-{name}.nii.gz"
                write_nifti(path, Phantom(f"{scan} {name}", shapes[name]).mr(), spacing)
                if scan == "IXI371-IOP-0970" and name == "MRA":
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    diffusion = root.archive("IXI-DTI.tar")
    for number in range(3):
        picture = Phantom(f"IXI002 DTI {number}", (8, 24, 24)).mr()
        write_nifti(diffusion / f"IXI002-Guys-0828-DTI-{number:02d}.nii.gz", picture, (2.0, 1.75, 1.75))
    cases = [scan for scan, sequences in there.items() if "T1" in sequences]
    return Expected(
        cases={scan: scan[:6] for scan in cases},
        excluded={"IXI371-IOP-0970": "defect.listed"},
        left=("*IXI580-IOP-1157-T2.nii.gz",),
    )


@tree(
    "cas2023",
    evidence=(
        "github:openmedlab/Awesome-Medical-Dataset resources/CAS2023.md (the folders of nnU-Net; no name of a file)",
        "facts b-brain-eyes: cas2023 (every header states 1 mm)",
    ),
)
def cas2023(root: Tree) -> Expected:
    """Headers that lost the spacing; the number of the channel is in the names of some images."""
    labels = {}
    for case, channel in (("001", "_0000"), ("002", "_0000"), ("100", "")):
        body = Phantom(f"cas2023 {case}", (12, 40, 40), values=(1,))
        write_nifti(root / f"Dataset/imagesTr/{case}{channel}.nii.gz", body.mr(), (1.0, 1.0, 1.0))
        write_nifti(root / f"Dataset/labelsTr/{case}.nii.gz", body.labels, (1.0, 1.0, 1.0))
        labels[case] = {"artery": body.counts({1: "cerebral artery"})}
    write_json(root / "Dataset/dataset.json", {"labels": {"0": "background", "1": "artery"}, "numTraining": 100})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split=dict.fromkeys(labels, "train"),
        left=("*dataset.json",),
    )
