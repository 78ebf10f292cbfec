"""CT and MR volumes with masks: entries from `han-seg` to `ivdm3seg`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree
from trees.voxel_files import SPACING, write_slicer_segment


@tree(
    "han-seg",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS processor.py preprocess_HAN_Seg",
        "github:openmedlab/Awesome-Medical-Dataset resources/HaN-Seg.md",
    ),
)
def han_seg(root: Tree) -> Expected:
    """A 3D Slicer segmentation for each organ; the MR has a grid of its own and no mask."""
    pack = root.archive("HaN-Seg.zip")
    organs = {1: "Brainstem", 2: "OpticChiasm", 3: "Parotid_L", 4: "Parotid_R", 5: "Bone_Mandible"}
    concepts = {
        1: "brainstem", 2: "optic chiasm", 3: "left parotid gland", 4: "right parotid gland", 5: "mandible"
    }  # fmt: skip
    labels = {}
    for case in ("case_01", "case_28", "case_41"):
        folder = f"HaN-Seg/set_1/{case}/{case}"
        body = Phantom(case, SHAPE, values=organs)
        write_scan(pack / f"{folder}_IMG_CT.nrrd", body.ct())
        write_scan(pack / f"{folder}_IMG_MR_T1.nrrd", Phantom(f"{case} mr", (8, 40, 40)).mr(), (3.0, 0.6, 0.6))
        for value, organ in organs.items():
            write_slicer_segment(pack / f"{folder}_OAR_{organ}.seg.nrrd", body.of(value), organ, SPACING)
        labels[case] = {"organs": body.counts(concepts)}
    write_lines(pack / "HaN-Seg/OAR_data.csv", "case,organ")
    write_lines(pack / "HaN-Seg/patient_data.csv", "case,age")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"ct": SHAPE, "mr_t1": (8, 40, 40)} for case in labels},
        split=dict.fromkeys(labels, "train"),
        left=("*_data.csv",),
    )


@tree(
    "imagecas",
    evidence=("listing a-wholebody: github:constantinpape/torch-em torch_em/data/datasets/medical/imagecas.py",),
)
def imagecas(root: Tree) -> Expected:
    """As the groups unpack; the split zips that they come in are joined by hand first."""
    pack = root.archive("imagecas.zip")
    labels = {}
    for group, number in (("1-200", 1), ("1-200", 200), ("201-400", 201)):
        image, mask = pack / f"{group}/{number}.img.nii.gz", pack / f"{group}/{number}.label.nii.gz"
        labels[str(number)] = {"coronaries": scan_with_mask(image, mask, {1: "coronary artery"})}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree(
    "instance-2022",
    evidence=(
        "listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/Instance22.jsonl (train_2)",
        "github:openmedlab/Awesome-Medical-Dataset resources/INSTANCE_2022.md (evaluation)",
    ),
)
def instance_2022(root: Tree) -> Expected:
    train, evaluation = root.archive("train_2.zip"), root.archive("evaluation.zip")
    labels = {}
    for case in ("001", "100"):
        image, mask = train / f"train_2/data/{case}.nii.gz", train / f"train_2/label/{case}.nii.gz"
        found = scan_with_mask(image, mask, {1: "intracranial haemorrhage"}, spacing=(5.0, 0.42, 0.42))
        labels[case] = {"haemorrhage": found}
    scan_with_mask(evaluation / "evaluation/101.nii.gz", None, {}, spacing=(5.0, 0.42, 0.42))
    return Expected(
        cases={case: case for case in (*labels, "101")},
        labels=labels,
        split={"001": "train", "100": "train", "101": "validation"},
    )


@tree(
    "iseg",
    evidence=(
        "listing b-brain-eyes: find_string 'subject-1-label.hdr' (file ids 36981355249, 24337420622)",
        "find_string 'iSeg-2019-Training' (file id 38161081772)",
    ),
)
def iseg(root: Tree) -> Expected:
    """Analyze pairs; one edition labels with 10, 150 and 250, the other with 1, 2 and 3."""
    words = ("cerebrospinal fluid", "grey matter", "white matter")
    labels, patients, parts = {}, {}, {}
    for part, split, n, values in (
        ("iSeg-2017-Training", "train", 1, (10, 150, 250)),
        ("iSeg-2017-Testing", "test", 11, ()),
        ("iSeg-2019-Training", "train", 1, (1, 2, 3)),
        ("iSeg-2019-Validation", "validation", 12, ()),
    ):
        pack = root.archive(f"{part}.zip")
        concepts = dict(zip(values, words, strict=False))
        case = f"{part[:9]}_subject-{n}"
        body = Phantom(case, (12, 24, 20), values=values)
        for sequence in ("T1", "T2"):
            write_scan(pack / f"{part}/subject-{n}-{sequence}.hdr", body.mr(), (1.0, 1.0, 1.0))
        if values:
            write_scan(pack / f"{part}/subject-{n}-label.hdr", body.labels, (1.0, 1.0, 1.0))
        labels[case] = {"tissue": body.counts(concepts)} if values else {}
        patients[case], parts[case] = f"subject-{n}", split
    return Expected(
        cases=patients,
        labels=labels,
        split=parts,
        images={case: {"t1": (12, 24, 20), "t2": (12, 24, 20)} for case in labels},
    )


@tree(
    "isles22",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/ISLES22.md",
        "github:constantinpape/torch-em isles.py; file id 66659622786 (case 0001)",
    ),
)
def isles22(root: Tree) -> Expected:
    """BIDS; DWI and ADC share a grid with the mask, FLAIR has another."""
    pack = root.archive("ISLES-2022.zip")
    labels = {}
    for n in (1, 2, 250):
        case = f"sub-strokecase{n:04d}"
        body = Phantom(case, SHAPE, values=(1,))
        start = f"ISLES-2022/{case}/ses-0001"
        write_scan(pack / f"{start}/dwi/{case}_ses-0001_dwi.nii.gz", body.mr(), (2.0, 2.0, 2.0))
        write_scan(pack / f"{start}/dwi/{case}_ses-0001_adc.nii.gz", body.mr(), (2.0, 2.0, 2.0))
        flair = Phantom(f"{case} flair", (24, 28, 28)).mr()
        write_scan(pack / f"{start}/anat/{case}_ses-0001_FLAIR.nii.gz", flair, (1.0, 0.9, 0.9))
        derived = f"ISLES-2022/derivatives/{case}/ses-0001/{case}_ses-0001"
        write_scan(pack / f"{derived}_msk.nii.gz", body.labels, (2.0, 2.0, 2.0))
        write_picture(pack / f"{derived}_snp.png", body.grey()[4])
        labels[case] = {"lesion": body.counts({1: "ischaemic stroke lesion"})}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"dwi": SHAPE, "adc": SHAPE, "flair": (24, 28, 28)} for case in labels},
        split=dict.fromkeys(labels, "train"),
        left=("*_snp.png",),
    )


@tree(
    "ivdm3seg",
    evidence=("listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/IVDM3Seg.md",),
)
def ivdm3seg(root: Tree) -> Expected:
    pack = root.archive("IVDM3Seg.zip")
    labels = {}
    for number in ("01", "02", "16"):
        body = Phantom(number, SHAPE, values=(1,))
        for word in ("fat", "inn", "opp", "wat"):
            write_scan(pack / f"{number}/{number}_{word}.nii", body.mr(), (2.0, 1.25, 1.25))
        write_scan(pack / f"{number}/{number}_Labels.nii", body.labels, (2.0, 1.25, 1.25))
        labels[number] = {"discs": body.counts({1: "intervertebral disc"})}
    names = ("fat", "in_phase", "opposed_phase", "water")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: dict.fromkeys(names, SHAPE) for case in labels},
        split=dict.fromkeys(labels, "train"),
    )
