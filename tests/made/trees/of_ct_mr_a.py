"""CT and MR volumes with masks: entries from `amos-2022` to `autopet-2024`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree
from trees.voxel_files import ras_affine, write_nifti

AMOS = {
    1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "oesophagus", 6: "liver", 7: "stomach",
    8: "aorta", 9: "inferior vena cava", 10: "pancreas", 11: "right adrenal gland", 12: "left adrenal gland",
    13: "duodenum", 14: "urinary bladder", 15: "prostate or uterus",
}  # fmt: skip


@tree(
    "amos-2022",
    evidence=(
        "listing d-abdomen: github:zhaoziheng/SAT-DS data/jsonl/AMOS22_CT.jsonl and AMOS22_MRI.jsonl",
        "github:constantinpape/torch-em amos.py (amos22/ and the companion folder __MACOSX)",
    ),
)
def amos(root: Tree) -> Expected:
    """Numbers up to 500 are CT, above MR; the litter of a Mac lies beside them."""
    pack = root.archive("amos22.zip")
    write_json(pack / "amos22/dataset.json", {"labels": {"0": "background", "1": "spleen"}})
    write_lines(pack / "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz", "litter")
    told = {"amos_0001": ("Tr", "ct"), "amos_0507": ("Tr", "mr"), "amos_0598": ("Va", "mr"), "amos_0002": ("Ts", "ct")}
    labels = {}
    for case, (part, kind) in told.items():
        mask = None if part == "Ts" else pack / f"amos22/labels{part}/{case}.nii.gz"
        found = scan_with_mask(pack / f"amos22/images{part}/{case}.nii.gz", mask, AMOS, kind=kind)
        labels[case] = {"organs": found} if found else {}
    return Expected(
        cases={case: case for case in told},
        labels=labels,
        modality={case: kind.upper() for case, (_, kind) in told.items()},
        split={case: {"Tr": "train", "Va": "validation", "Ts": "test"}[part] for case, (part, _) in told.items()},
        left=("*dataset.json",),
    )


@tree("atlas-liver", evidence=("listing d-abdomen: github:zhaoziheng/SAT-DS data/jsonl/ATLAS.jsonl",))
def atlas_liver(root: Tree) -> Expected:
    """Image and mask are called differently: im36, lb36."""
    pack = root.archive("atlas-train-dataset-1.0.1.zip")
    folder = "atlas-train-dataset-1.0.1/train"
    labels = {
        f"im{n}": {
            "liver": scan_with_mask(
                pack / f"{folder}/imagesTr/im{n}.nii.gz",
                pack / f"{folder}/labelsTr/lb{n}.nii.gz",
                {1: "liver", 2: "liver tumour"},
                kind="mr",
                spacing=(3.0, 1.2, 1.2),
            )
        }
        for n in (0, 7, 36)
    }
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        spacing=dict.fromkeys(labels, (3.0, 1.2, 1.2)),
        split=dict.fromkeys(labels, "train"),
    )


@tree(
    "atlas-v2-0",
    evidence=(
        "listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/ATLASR2.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/ATLASv2.0.md",
    ),
)
def atlas_stroke(root: Tree) -> Expected:
    """The archive as it is after its decryption, which is done by hand. On the template's grid, in RAS."""
    pack = root.archive("ATLAS_R2.0_encrypted.tar.gz")
    affine = ras_affine((1.0, 1.0, 1.0), (-98.0, -134.0, -72.0))
    end = "ses-1_space-MNI152NLin2009aSym"
    labels = {}
    for part, site, case in (("Training", 1, 1), ("Training", 52, 32), ("Testing", 9, 3)):
        name = f"sub-r{site:03d}s{case:03d}"
        body = Phantom(name, (20, 24, 22), values=(1,))
        place = f"ATLAS_2/{part}/R{site:03d}/{name}/ses-1/anat/{name}_{end}"
        write_nifti(pack / f"{place}_T1w.nii.gz", body.mr(), affine=affine, dtype="float32")
        if part == "Training":
            write_nifti(pack / f"{place}_label-L_desc-T1lesion_mask.nii.gz", body.labels, affine=affine)
        labels[name] = {"lesion": body.counts({1: "chronic stroke lesion"})} if part == "Training" else {}
    write_json(pack / "ATLAS_2/Training/dataset_description.json", {"Name": "ATLAS R2.0", "BIDSVersion": "1.6.0"})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"t1": (20, 24, 22)} for case in labels},
        split={case: "train" if found else "test" for case, found in labels.items()},
        left=("*dataset_description.json",),
    )


@tree(
    "atm22",
    evidence=(
        "listing c-thorax: github:zhaoziheng/SAT-DS processor.py preprocess_ATM22",
        "github:constantinpape/torch-em torch_em/data/datasets/medical/",
    ),
)
def atm22(root: Tree) -> Expected:
    """Two batches; masks keep the suffix _0000. Nothing free writes RAR: zips under its names."""
    labels = {}
    for batch, cases in ((1, ("ATM_001", "ATM_164")), (2, ("ATM_250",))):
        pack = root.archive(f"TrainBatch{batch}.rar", source=batch - 1, kind="zip")
        for case in cases:
            found = scan_with_mask(
                pack / f"TrainBatch{batch}/imagesTr/{case}_0000.nii.gz",
                pack / f"TrainBatch{batch}/labelsTr/{case}_0000.nii.gz",
                {1: "airway"},
            )
            labels[case] = {"airway": found}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split=dict.fromkeys(labels, "train"),
        excluded={"ATM_164": "defect.listed"},
    )


STUDIES = (
    ("PETCT_0011f3deaf", "03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-10445"),
    ("PETCT_0011f3deaf", "07-03-2004-NA-PET-CT Ganzkoerper  primaer mit KM-37591"),
    ("PETCT_fe705ea1cc", "12-29-2002-NA-Unspecified CT ABDOMEN-93772"),
)


def fdg_studies(pack: Tree, folder: str) -> Expected:
    """Two blanks in a row inside a study's name; the third study has an empty mask, as half of the studies have."""
    labels, patients = {}, {}
    for number, (patient, study) in enumerate(STUDIES):
        case = f"{patient}_{study}"
        body = Phantom(case, SHAPE, values=(1,) if number < 2 else ())
        place = f"{folder}{patient}/{study}"
        write_scan(pack / f"{place}/SUV.nii.gz", body.pet(), (3.0, 2.0, 2.0))
        write_scan(pack / f"{place}/CTres.nii.gz", body.ct(), (3.0, 2.0, 2.0))
        write_scan(pack / f"{place}/PET.nii.gz", body.pet() * 4000, (3.0, 2.0, 2.0))
        write_scan(pack / f"{place}/CT.nii.gz", Phantom(case, (12, 48, 48)).ct(), (2.5, 1.0, 1.0))
        write_scan(pack / f"{place}/SEG.nii.gz", body.labels, (3.0, 2.0, 2.0))
        labels[case], patients[case] = {"lesions": body.counts({1: "tumour"}) if number < 2 else {}}, patient
    return Expected(
        cases=patients,
        labels=labels,
        images={case: {"pet": SHAPE, "ct": SHAPE} for case in patients},
        split=dict.fromkeys(patients, "train"),
        excluded={"_".join(STUDIES[2]): "annotation.empty"},
        left=("*/PET.nii.gz", "*/CT.nii.gz"),
    )


@tree(
    "autopet-2022",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/autoPET.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/Auto-PET.md (the five files of a study)",
    ),
)
def autopet_2022(root: Tree) -> Expected:
    return fdg_studies(root.archive("nifti.zip", source=1), "")


@tree(
    "autopet-2023",
    evidence=(
        "listing a-wholebody: github:MIC-DKFZ/nnUNet nnunetv2/dataset_conversion/Dataset221_AutoPETII_2023.py",
        "github:constantinpape/torch-em torch_em/data/datasets/medical/autopet.py",
    ),
)
def autopet_2023(root: Tree) -> Expected:
    return fdg_studies(root.archive("nifti.zip", source=1), "nifti/FDG-PET-CT-Lesions/")


@tree(
    "autopet-2024",
    evidence=(
        "listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/AutoPETIII.md",
        "github:ClinicalDataScience/autoPETIII test folder (name of the case)",
    ),
)
def autopet_2024(root: Tree) -> Expected:
    pack = root.archive("psma-fdg-pet-ct-lesions.zip")
    told = {
        "psma_95b833d46f153cd2_2018-04-16": "psma_95b833d46f153cd2",
        "psma_95b833d46f153cd2_2017-11-18": "psma_95b833d46f153cd2",
        "fdg_0b98dbe00d_08-11-2002-NA-PET-CT Ganzkoerper  primaer mit KM-50870": "fdg_0b98dbe00d",
    }
    labels = {}
    for case in told:
        body = Phantom(case, SHAPE, values=(1,))
        write_scan(pack / f"imagesTr/{case}_0000.nii.gz", body.ct(), (3.0, 2.0, 2.0))
        write_scan(pack / f"imagesTr/{case}_0001.nii.gz", body.pet(), (3.0, 2.0, 2.0))
        write_scan(pack / f"labelsTr/{case}.nii.gz", body.labels, (3.0, 2.0, 2.0))
        labels[case] = {"lesions": body.counts({1: "tumour"})}
    for name in ("dataset.json", "splits_final.json"):
        write_json(pack / name, {})
    for name in ("psma_metadata.csv", "fdg_metadata.csv"):
        write_lines(pack / name, "Subject ID,Study Date")
    return Expected(cases=told, labels=labels, split=dict.fromkeys(told, "train"), left=("*.json", "*_metadata.csv"))
