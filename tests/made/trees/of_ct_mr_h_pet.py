"""PET and CT of one patient on grids of their own: `hecktor-2022`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.scans import write_scan
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree

CONCEPTS = {1: "primary gross tumour volume", 2: "nodal gross tumour volume"}


@tree(
    "hecktor-2022",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS processor.py preprocess_Hecktor2022",
        "github:openmedlab/Awesome-Medical-Dataset resources/HECKTOR_2022.md",
    ),
)
def hecktor(root: Tree) -> Expected:
    """Two underscores before CT and PT; the mask lies on the grid of the CT."""
    pack = root.archive("hecktor2022_training_corrected_v3.zip")
    top = "hecktor2022_training_corrected_v3/hecktor2022_training"
    labels = {}
    for case in ("CHUM-001", "CHUM-002", "MDA-201"):
        body = Phantom(case, (12, 40, 40), values=CONCEPTS)
        write_scan(pack / f"{top}/hecktor2022/imagesTr/{case}__CT.nii.gz", body.ct(), (3.0, 1.0, 1.0))
        pet = Phantom(f"{case} pet", (10, 16, 16)).pet()
        write_scan(pack / f"{top}/hecktor2022/imagesTr/{case}__PT.nii.gz", pet, (3.6, 2.5, 2.5))
        write_scan(pack / f"{top}/hecktor2022/labelsTr/{case}.nii.gz", body.labels, (3.0, 1.0, 1.0))
        labels[case] = {"tumours": body.counts(CONCEPTS)}
    write_lines(pack / f"{top}/hecktor2022_clinical_info_training.csv", "PatientID,Gender,Age")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"ct": (12, 40, 40), "pet": (10, 16, 16)} for case in labels},
        split=dict.fromkeys(labels, "train"),
        left=("*_clinical_info_training.csv",),
    )
