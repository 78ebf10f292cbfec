"""CT and MR volumes with masks: entries from `structseg2019-task3` to `word`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree
from trees.voxel_files import ras_affine, write_nifti, write_numpy


def structseg(root: Tree, folder: str, layer: str, concepts: dict[int, str]) -> Expected:
    pack = root.archive(f"{folder}.zip")
    labels = {}
    for case in ("1", "2", "50"):
        image, mask = pack / f"{folder}/{case}/data.nii.gz", pack / f"{folder}/{case}/label.nii.gz"
        labels[case] = {layer: scan_with_mask(image, mask, concepts, spacing=(5.0, 1.2, 1.2))}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree("structseg2019-task3", evidence=("listing c-thorax: find_string 'Lung_GTV' (file ids 14150420964, 223140023)",))
def structseg_task3(root: Tree) -> Expected:
    words = ("left lung", "right lung", "heart", "oesophagus", "trachea", "spinal cord")
    return structseg(root, "Thoracic_OAR", "organs", dict(enumerate(words, start=1)))


@tree("structseg2019-task4", evidence=("listing c-thorax: find_string 'Lung_GTV' (file ids 14150420964, 3746426227)",))
def structseg_task4(root: Tree) -> Expected:
    return structseg(root, "Lung_GTV", "target", {1: "lung tumour"})


@tree("toothfairy-2023", evidence=("listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/ToothFairy.jsonl",))
def toothfairy(root: Tree) -> Expected:
    """Bare arrays; the last case has the sparse annotation only, which is no mask."""
    pack = root.archive("ToothFairy_Dataset.zip")
    labels = {}
    for case in ("P1", "P32", "P548"):
        folder = f"ToothFairy_Dataset/Dataset/{case}"
        body = Phantom(case, SHAPE, values=(1,))
        write_numpy(pack / f"{folder}/data.npy", body.ct())
        write_numpy(pack / f"{folder}/gt_sparse.npy", body.labels.astype("uint8"))
        if case != "P548":
            write_numpy(pack / f"{folder}/gt_alpha.npy", body.labels.astype("uint8"))
            labels[case] = {"canal": body.counts({1: "inferior alveolar canal"})}
    write_json(pack / "ToothFairy_Dataset/splits.json", {"train": ["P1", "P32"], "val": [], "test": []})
    return Expected(
        cases={case: case for case in ("P1", "P32", "P548")},
        labels=labels,
        left=("*/gt_sparse.npy", "*/splits.json"),
    )


def totalsegmentator(pack: Tree, top: str, image: str, words: dict[str, str], kind: str) -> Expected:
    """words: name of a structure's file -> concept."""
    labels = {}
    values = dict(enumerate(words.values(), start=1))
    for case in ("s0001", "s0002", "s0297"):
        body = Phantom(f"{top} {case}", (24, 24, 24), values=values)
        affine = ras_affine((1.5, 1.5, 1.5))
        write_nifti(pack / f"{top}/{case}/{image}.nii.gz", body.ct() if kind == "ct" else body.mr(), affine=affine)
        for value, word in enumerate(words, start=1):
            write_nifti(pack / f"{top}/{case}/segmentations/{word}.nii.gz", body.of(value), affine=affine)
        labels[case] = {"structures": body.counts(values)}
    write_lines(pack / f"{top}/meta.csv", "image_id;age;gender;institute;split", "s0001;70;m;I;train")
    return Expected(cases={case: case for case in labels}, labels=labels, left=("*/meta.csv",))


@tree(
    "totalsegmentator-v1",
    evidence=("listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/TotalSegmentator_Cardiac.jsonl",),
)
def totalsegmentator_v1(root: Tree) -> Expected:
    words = {"aorta": "aorta", "heart_myocardium": "myocardium", "vertebrae_L5": "L5 vertebra", "face": "face"}
    pack = root.archive("Totalsegmentator_dataset.zip")
    return totalsegmentator(pack, "Totalsegmentator_dataset", "ct", words, "ct")


@tree(
    "totalsegmentator-mri",
    evidence=(
        "listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/TotalSegmentator_MRI.md",
        "github:MIC-DKFZ/nnUNet nnunetv2/dataset_conversion/Dataset227_TotalSegmentatorMRI.py",
    ),
)
def totalsegmentator_mri(root: Tree) -> Expected:
    words = {"aorta": "aorta", "vertebrae": "vertebra", "intervertebral_discs": "intervertebral disc",
             "quadriceps_femoris_left": "left quadriceps femoris muscle"}  # fmt: skip
    pack = root.archive("TotalsegmentatorMRI_dataset_v100.zip")
    return totalsegmentator(pack, "TotalsegmentatorMRI_dataset_v100", "mri", words, "mr")


@tree(
    "wmh",
    evidence=(
        "listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/WMH_Segmentation_Challenge.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/WMH.md",
    ),
)
def wmh(root: Tree) -> Expected:
    """Files one by one; two is another pathology, which counts neither way; two observers more in training."""
    labels = {}
    for place in ("training/Singapore/69", "training/Amsterdam/GE3T/100", "test/Singapore/79"):
        case = place.rpartition("/")[2]
        body = Phantom(case, SHAPE, values=(1, 2))
        for name in ("orig/FLAIR", "orig/T1", "orig/3DT1", "pre/FLAIR", "pre/T1"):
            write_scan(root / f"{place}/{name}.nii.gz", body.mr(), (3.0, 1.0, 1.0))
        write_scan(root / f"{place}/wmh.nii.gz", body.labels, (3.0, 1.0, 1.0))
        write_lines(root / f"{place}/orig/reg_3DT1_to_FLAIR.txt", "1 0 0 0")
        labels[case] = {"wmh": body.counts({1: "white matter hyperintensity"})}
        if place.startswith("training"):
            for rater in ("o3", "o4"):
                path = root / f"additional_annotations/observer_{rater}/{place}/result.nii.gz"
                write_scan(path, body.of(1), (3.0, 1.0, 1.0))
                labels[case][f"wmh_observers-{rater}"] = body.counts({1: "white matter hyperintensity"})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={"69": "train", "100": "train", "79": "test"},
        left=("*reg_3DT1_to_FLAIR.txt",),
    )


@tree(
    "word",
    evidence=(
        "listing d-abdomen: github:kaiko-ai/eva tests/eva/assets/vision/datasets/word/",
        "github:openmedlab/Awesome-Medical-Dataset resources/WORD.md (masks of the test part in a second zip)",
    ),
)
def word(root: Tree) -> Expected:
    """The zip without its encryption, which needs the published password."""
    pack, more = root.archive("WORD-V0.1.0.zip"), root.archive("WORD_V0.1.0_labelsTs.zip", source=1)
    words = (
        "liver", "spleen", "left kidney", "right kidney", "stomach", "gallbladder", "oesophagus", "pancreas",
        "duodenum", "colon", "intestine", "adrenal gland", "rectum", "urinary bladder", "left femoral head",
        "right femoral head",
    )  # fmt: skip
    concepts = dict(enumerate(words, start=1))
    labels = {}
    for case, part in (("word_0051", "Tr"), ("word_0001", "Val"), ("word_0014", "Ts")):
        image = pack / f"WORD-V0.1.0/images{part}/{case}.nii.gz"
        mask = pack / f"WORD-V0.1.0/labels{part}/{case}.nii.gz" if part != "Ts" else more / f"labelsTs/{case}.nii.gz"
        labels[case] = {"organs": scan_with_mask(image, mask, concepts)}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={"word_0051": "train", "word_0001": "validation", "word_0014": "test"},
    )
