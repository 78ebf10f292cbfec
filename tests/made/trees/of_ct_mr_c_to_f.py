"""CT and MR volumes with masks: entries from `ct-org` to `fumpe`."""

from __future__ import annotations

import numpy as np
from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_matlab

ABDOMEN_4 = {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"}
ABDOMEN_13 = {
    1: "liver", 2: "right kidney", 3: "spleen", 4: "pancreas", 5: "aorta", 6: "inferior vena cava",
    7: "right adrenal gland", 8: "left adrenal gland", 9: "gallbladder", 10: "oesophagus", 11: "stomach",
    12: "duodenum", 13: "left kidney",
}  # fmt: skip


@tree(
    "chaos-mri",
    evidence=(
        "listing d-abdomen: github:zhaoziheng/SAT-DS processor.py preprocess_CHAOS_MRI",
        "find_string 'T2SPIR/Ground/IMG-'",
    ),
)
def chaos_mri(root: Tree) -> Expected:
    """Grey values 63, 126, 189 and 252 are the classes; in and out of phase share one mask."""
    train, test = root.archive("CHAOS_Train_Sets.zip"), root.archive("CHAOS_Test_Sets.zip")
    concepts = {63: "liver", 126: "right kidney", 189: "left kidney", 252: "spleen"}
    labels, parts = {}, {}
    for patient in ("1", "10"):
        spir, dual = (Phantom(f"chaos {word} {patient}", SHAPE, values=concepts) for word in ("spir", "dual"))
        place = f"Train_Sets/MR/{patient}"
        write_series(train.folder / place / "T2SPIR/DICOM_anon", spir.mr(), modality="MR", name="IMG-0002-{n:05d}.dcm")
        for number, phase in ((2, "InPhase"), (1, "OutPhase")):
            folder = train.folder / place / "T1DUAL/DICOM_anon" / phase
            write_series(folder, dual.mr(), modality="MR", name=f"IMG-0004-{{n:04d}}{number}.dcm")
        for z in range(SHAPE[0]):
            write_picture(train / f"{place}/T2SPIR/Ground/IMG-0002-{z + 1:05d}.png", spir.labels[z].astype(np.uint8))
            write_picture(train / f"{place}/T1DUAL/Ground/IMG-0004-{z + 1:04d}2.png", dual.labels[z].astype(np.uint8))
        labels[f"train_{patient}_T2SPIR"] = {"organs": spir.counts(concepts)}
        labels[f"train_{patient}_T1DUAL"] = {"organs": dual.counts(concepts)}
        parts |= {f"train_{patient}_{word}": patient for word in ("T2SPIR", "T1DUAL")}
    body = Phantom("chaos mr 3", SHAPE)
    write_series(
        test.folder / "Test_Sets/MR/3/T2SPIR/DICOM_anon", body.mr(), modality="MR", name="IMG-0009-{n:05d}.dcm"
    )
    return Expected(
        cases={**parts, "test_3_T2SPIR": "3"},
        labels=labels,
        split={**dict.fromkeys(parts, "train"), "test_3_T2SPIR": "test"},
    )


@tree(
    "ct-org",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/CT_ORG.jsonl (folders volumes and labels)",
        "github:openmedlab/Awesome-Medical-Dataset resources/CT-ORG.md (numbers 0 to 139 without padding)",
    ),
)
def ct_org(root: Tree) -> Expected:
    """The copy of single files in two folders. 0 to 20 are the test part."""
    files = root.files(source=1)
    concepts = dict(enumerate(("liver", "urinary bladder", "lung", "kidney", "bone", "brain"), start=1))
    labels = {}
    for number in (0, 36, 139):
        image, mask = files / f"volumes/volume-{number}.nii.gz", files / f"labels/labels-{number}.nii.gz"
        labels[f"volume-{number}"] = {"organs": scan_with_mask(image, mask, concepts)}
    write_lines(files / "README.md", "a copy")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={"volume-0": "test", "volume-36": "train", "volume-139": "train"},
    )


@tree(
    "ctpelvic1k",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/CTPelvic1K.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/CTPelvic1K.md",
    ),
)
def ctpelvic1k(root: Tree) -> Expected:
    """Images and masks in archives of their own; the masks of data set 7 lack its prefix."""
    concepts = {1: "sacrum", 2: "left hip bone", 3: "right hip bone", 4: "lumbar vertebra"}
    labels = {}
    data = root.archive("CTPelvic1K_dataset6_data.tar.gz")
    masks = root.archive("CTPelvic1K_dataset6_Anonymized_mask.tar.gz")
    for scan in ("CLINIC_0001", "CLINIC_0059"):
        image = data / f"CTPelvic1K_dataset6_data/dataset6_{scan}_data.nii.gz"
        mask = masks / f"ipcai2021_dataset6_Anonymized/dataset6_{scan}_mask_4label.nii.gz"
        labels[f"dataset6_{scan}"] = {"bones": scan_with_mask(image, mask, concepts)}
    data = root.archive("CTPelvic1K_dataset7_data.tar.gz")
    masks = root.archive("CTPelvic1K_dataset7_mask.tar.gz")
    for scan in ("CLINIC_metal_0013", "CLINIC_metal_0050"):
        image = data / f"CTPelvic1K_dataset7_data/dataset7_{scan}_data.nii.gz"
        mask = masks / f"CTPelvic1K_dataset7_mask/{scan}_mask_4label.nii.gz" if scan.endswith("13") else None
        found = scan_with_mask(image, mask, concepts)
        labels[f"dataset7_{scan}"] = {"bones": found} if found else {}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree(
    "ctspine1k",
    evidence=("listing a-wholebody: github:constantinpape/torch-em torch_em/data/datasets/medical/ctspine1k.py",),
)
def ctspine1k(root: Tree) -> Expected:
    """Names of scans with dots in them."""
    concepts = {7: "C7 vertebra", 8: "T1 vertebra", 20: "L1 vertebra", 24: "L5 vertebra", 25: "L6 vertebra"}
    told = {"COLONOG": "1.3.6.1.4.1.9328.50.4.0001", "HNSCC-3DCT-RT": "HN_P001", "MSD-T10": "liver_0"}
    labels = {}
    for source, scan in told.items():
        image = root / f"raw_data/volumes/{source}/{scan}.nii.gz"
        mask = root / f"raw_data/labels/{source}/{scan}_seg.nii.gz"
        labels[f"{source}_{scan}"] = {"vertebrae": scan_with_mask(image, mask, concepts)}
    write_lines(root / "metadata/data_split.txt", "trainset:", "liver_0.nii.gz")
    write_lines(root / "README.md", "a copy")
    return Expected(
        cases={f"{source}_{scan}": scan for source, scan in told.items()},
        labels=labels,
        left=("metadata/*",),
    )


@tree(
    "feta-2022",
    evidence=("listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/FeTA2022.jsonl",),
)
def feta(root: Tree) -> Expected:
    """Two sites in two archives, three kinds of reconstruction."""
    words = (
        "external cerebrospinal fluid", "grey matter", "white matter", "brain ventricle", "cerebellum",
        "deep grey matter", "brainstem",
    )  # fmt: skip
    concepts = dict(enumerate(words, start=1))
    zurich, vienna = root.archive("feta_2.2.zip"), root.archive("feta22_Vienna.zip", source=1)
    labels = {}
    for pack, top, case, rec in (
        (zurich, "feta_2.2", "sub-001", "mial"),
        (zurich, "feta_2.2", "sub-041", "irtk"),
        (vienna, "feta22_Vienna", "sub-101", "nmic"),
    ):
        start = f"{top}/{case}/anat/{case}_rec-{rec}"
        image, mask = pack / f"{start}_T2w.nii.gz", pack / f"{start}_dseg.nii.gz"
        labels[case] = {"tissue": scan_with_mask(image, mask, concepts, kind="mr", spacing=(0.5, 0.5, 0.5))}
        write_json(pack / f"{start}_T2w.json", {"SkullStripped": False})
    write_lines(zurich / "feta_2.2/participants.tsv", "participant_id\tPathology\tGestational age")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split=dict.fromkeys(labels, "train"),
        spacing=dict.fromkeys(labels, (0.5, 0.5, 0.5)),
        left=("*_T2w.json", "*participants.tsv"),
    )


@tree("flare-2021", evidence=("listing d-abdomen: find_string 'train_000_0000.nii.gz' (file id 40314558037)",))
def flare_2021(root: Tree) -> Expected:
    pack = root.archive("FLARE21.zip")
    labels = {}
    for case in ("train_000", "train_360"):
        image, mask = pack / f"TrainingImg/{case}_0000.nii.gz", pack / f"TrainingMask/{case}.nii.gz"
        labels[case] = {"organs": scan_with_mask(image, mask, ABDOMEN_4)}
    scan_with_mask(pack / "ValidationImg/validation_001_0000.nii.gz", None, {})
    return Expected(
        cases={case: case for case in (*labels, "validation_001")},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "validation_001": "validation"},
    )


@tree(
    "flare-2022",
    evidence=("listing d-abdomen: github:kaiko-ai/eva tests/eva/assets/vision/datasets/flare22/",),
)
def flare_2022(root: Tree) -> Expected:
    pack = root.archive("FLARE22Train.zip")
    labels = {}
    for case in ("FLARE22_Tr_0001", "FLARE22_Tr_0014", "FLARE22_Tr_0044"):
        image = pack / f"FLARE22Train/images/{case}_0000.nii.gz"
        mask = pack / f"FLARE22Train/labels/{case}.nii.gz"
        labels[case] = {"organs": scan_with_mask(image, mask, ABDOMEN_13)}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "flare-2023",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/FLARE2023.md",
        "find_string 'labelsTr2200/' (file ids 29573488864, 9167462593)",
    ),
)
def flare_2023(root: Tree) -> Expected:
    """Some masks were corrected, in a folder inside that of the masks; nobody says which organs a case has."""
    pack = root.archive("MICCAI-FLARE23.zip")
    concepts = {**ABDOMEN_13, 14: "tumour"}
    labels = {}
    for case in ("FLARE23_0001", "FLARE23_0002"):
        body = Phantom(case, SHAPE, values=concepts)
        write_scan(pack / f"imagesTr2200/{case}_0000.nii.gz", body.ct())
        write_scan(pack / f"labelsTr2200/{case}.nii.gz", body.labels)
        labels[case] = {"organs_and_tumour": body.counts(concepts)}
    write_scan(pack / "labelsTr2200/20230507-fix/FLARE23_0002.nii.gz", body.labels)
    labels["FLARE23_0002"]["corrected"] = body.counts(concepts)
    write_scan(pack / "unlabeledTr1800/FLARE23_2201.nii.gz", Phantom("FLARE23_2201", SHAPE).ct())
    return Expected(
        cases={case: case for case in (*labels, "FLARE23_2201")},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "FLARE23_2201": "unlabelled"},
        excluded=dict.fromkeys(labels, "annotation.not_examined"),
    )


@tree(
    "fumpe",
    evidence=(
        "listing c-thorax: github:zhaoziheng/SAT-DS processor.py preprocess_FUMPE and data/jsonl/FUMPE.jsonl",
        "find_string 'PAT001/D0001.dcm'",
    ),
)
def fumpe(root: Tree) -> Expected:
    """Masks in MATLAB files, (row, column, slice), without geometry."""
    pack = root.archive("FUMPE.zip", source=1)
    labels = {}
    for case in ("PAT001", "PAT002", "PAT035"):
        body = Phantom(case, SHAPE, values=(1,))
        write_series(pack.folder / "CT_scans" / case, body.ct(), name="D{n:04d}.dcm")
        write_matlab(pack / f"GroundTruth/{case}.mat", Mask=body.labels.transpose(1, 2, 0).astype(np.uint8))
        labels[case] = {"embolism": body.counts({1: "pulmonary embolism"})}
    return Expected(cases={case: case for case in labels}, labels=labels)
