"""CT and MR volumes with masks: entries from `kipa22` to `l2r-oasis`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree


@tree(
    "kipa22",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/KiPA22.md",
        "github:zhaoziheng/SAT-DS processor.py preprocess_KiPA22",
    ),
)
def kipa22(root: Tree) -> Expected:
    train, test = root.archive("train.zip"), root.archive("open_test_data.zip")
    concepts = {1: "renal vein", 2: "kidney", 3: "renal artery", 4: "kidney tumour"}
    labels = {}
    for n in (0, 69):
        image, mask = train / f"train/image/{n}.nii.gz", train / f"train/label/{n}.nii.gz"
        labels[str(n)] = {"renal_structures": scan_with_mask(image, mask, concepts, spacing=(0.64, 0.64, 0.64))}
    scan_with_mask(test / "test/image/70.nii.gz", None, {}, spacing=(0.64, 0.64, 0.64))
    return Expected(
        cases={case: case for case in (*labels, "70")},
        labels=labels,
        split={"0": "train", "69": "train", "70": "test"},
    )


def kits_images(root: Tree, cases: dict[str, Phantom]) -> None:
    for case, body in cases.items():
        write_scan(root / f"images/{case}.nii.gz", body.ct(), (3.0, 0.8, 0.8))


@tree("kits19", evidence=("listing d-abdomen: github:neheller/kits19 file list and starter_code/get_imaging.py",))
def kits19(root: Tree) -> Expected:
    """Images of one host beside the tree of the repository, which comes as an archive; masks end at 209."""
    repository = root.archive("kits19-456b293435b25303bbc7995f094f83a0afdff0eb.zip", source=1)
    top = "kits19-456b293435b25303bbc7995f094f83a0afdff0eb"
    concepts = {1: "kidney", 2: "kidney tumour"}
    cases = {case: Phantom(case, SHAPE, values=concepts) for case in ("case_00032", "case_00180", "case_00210")}
    kits_images(root, cases)
    labels = {}
    for case, body in cases.items():
        if case < "case_00210":
            write_scan(repository / f"{top}/data/{case}/segmentation.nii.gz", body.labels, (3.0, 0.8, 0.8))
            labels[case] = {"kidney": body.counts(concepts)}
    write_json(repository / f"{top}/data/kits.json", [])
    write_lines(repository / f"{top}/starter_code/get_imaging.py", "# the script that fetches the images")
    return Expected(
        cases={case: case for case in cases},
        labels=labels,
        split={case: "train" if case in labels else "test" for case in cases},
        left=("*/data/kits.json", "*/starter_code/*"),
    )


@tree(
    "kits21",
    evidence=(
        "listing d-abdomen: github:neheller/kits21 file list of kits21/data/case_00000",
        "find_string 'aggregated_MAJ_seg.nii.gz' (file ids 13447717135, 36015290888)",
    ),
)
def kits21(root: Tree) -> Expected:
    """Three ways to merge the annotators; the majority is the reference."""
    repository = root.archive("kits21-main.zip", source=1)
    concepts = {1: "kidney", 2: "kidney tumour", 3: "kidney cyst"}
    cases = {case: Phantom(case, SHAPE, values=concepts) for case in ("case_00000", "case_00001", "case_00299")}
    kits_images(root, cases)
    labels = {}
    for case, body in cases.items():
        folder = f"kits21-main/kits21/data/{case}"
        for how in ("MAJ", "OR", "AND"):
            write_scan(repository / f"{folder}/aggregated_{how}_seg.nii.gz", body.labels, (3.0, 0.8, 0.8))
        write_json(repository / f"{folder}/raw/kidney/00/delineation1/1615399706_helle246.json", {})
        labels[case] = {"kidney": body.counts(concepts)}
    return Expected(
        cases={case: case for case in cases},
        labels=labels,
        split=dict.fromkeys(cases, "train"),
        left=("*/aggregated_OR_seg.nii.gz", "*/aggregated_AND_seg.nii.gz", "*/raw/*"),
    )


@tree("kits23", evidence=("listing d-abdomen: github:neheller/kits23 file list and kits23/download.py",))
def kits23(root: Tree) -> Expected:
    repository = root.archive("kits23-main.zip", source=1)
    concepts = {1: "kidney", 2: "kidney tumour", 3: "kidney cyst"}
    cases = {case: Phantom(case, SHAPE, values=concepts) for case in ("case_00000", "case_00244", "case_00588")}
    kits_images(root, cases)
    labels = {}
    for case, body in cases.items():
        folder = f"kits23-main/dataset/{case}"
        write_scan(repository / f"{folder}/segmentation.nii.gz", body.labels, (3.0, 0.8, 0.8))
        labels[case] = {"kidney": body.counts(concepts)}
    write_json(repository / "kits23-main/dataset/kits23.json", [])
    return Expected(
        cases={case: case for case in cases},
        labels=labels,
        split=dict.fromkeys(cases, "train"),
        left=("*/kits23.json",),
    )


@tree(
    "l2r-oasis",
    evidence=(
        "listing b-brain-eyes: github:adalca/medical-datasets neurite-oasis.md",
        "find_string 'OASIS_OAS1_0001_MR1' (file id 20101458802)",
    ),
)
def oasis(root: Tree) -> Expected:
    """Aligned and unaligned files of each person; the aligned ones count."""
    pack = root.archive("neurite-oasis.v1.0.tar")
    concepts = {1: "left cerebral white matter", 2: "left cerebral cortex", 14: "left hippocampus",
                30: "right hippocampus", 35: "right choroid plexus"}  # fmt: skip
    labels = {}
    for n in ("0001", "0002", "0445"):
        body = Phantom(n, SHAPE, values=concepts)
        folder = f"OASIS_OAS1_{n}_MR1"
        for start in ("", "aligned_"):
            for word, voxels in (("norm", body.mr() / 1000), ("orig", body.mr()), ("seg35", body.labels)):
                write_scan(pack / f"{folder}/{start}{word}.nii.gz", voxels, (1.0, 1.0, 1.0))
            write_scan(pack / f"{folder}/{start}seg4.nii.gz", body.labels % 5, (1.0, 1.0, 1.0))
        labels[f"OAS1_{n}"] = {"regions": body.counts(concepts)}
    write_lines(pack / "subjects.txt", *(f"OASIS_{case}_MR1" for case in labels))
    write_lines(pack / "seg35_labels.txt", "1 Left-Cerebral-White-Matter")
    left = ("*/norm.nii.gz", "*/orig.nii.gz", "*/seg35.nii.gz", "*seg4.nii.gz", "*/aligned_orig.nii.gz", "*.txt")
    return Expected(cases={case: case for case in labels}, labels=labels, left=left)
