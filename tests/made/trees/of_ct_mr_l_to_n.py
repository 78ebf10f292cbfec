"""CT and MR volumes with masks: entries from `lascarqs2022` to `nasalseg`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_itk


@tree(
    "lascarqs2022",
    evidence=("listing c-thorax: github:zhaoziheng/SAT-DS processor.py preprocess_LAScarQS22_Task1",),
)
def lascarqs(root: Tree) -> Expected:
    """The numbers of the two tasks are not the same people; foreground is not 1."""
    pack = root.archive("LAScarQS2022_released_training_data.zip")
    top = "LAScarQS2022_released_training_data"
    labels = {}
    for task, n in ((1, 1), (1, 2), (2, 1)):
        case = f"task{task}_train_{n}"
        body = Phantom(case, SHAPE, values=(1, 2))
        folder = f"{top}/task{task}/train_data/train_{n}"
        write_scan(pack / f"{folder}/enhanced.nii.gz", body.mr(), (2.5, 1.25, 1.25))
        cavity = body.of(1).astype("int16") * 420
        write_scan(pack / f"{folder}/atriumSegImgMO.nii.gz", cavity, (2.5, 1.25, 1.25))
        labels[case] = {"cavity": body.counts({1: "left atrium cavity"})}
        if task == 1:
            scar = body.of(2).astype("int16") * 421
            write_scan(pack / f"{folder}/scarSegImgM.nii.gz", scar, (2.5, 1.25, 1.25))
            labels[case]["scar"] = body.counts({2: "left atrial scar"})
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "lits",
    evidence=(
        "listing d-abdomen: find_string 'Training Batch 1/volume-' (file ids 9395544488, 30233079772)",
        "file id 26017466071 (media/nas/01_Datasets/CT/LITS/ before it, as zipped by the organisers)",
    ),
)
def lits(root: Tree) -> Expected:
    concepts = {1: "liver", 2: "liver tumour"}
    labels = {}
    for batch, numbers in ((1, (0, 27)), (2, (28,))):
        pack = root.archive(f"Training_Batch{batch}.zip")
        folder = f"media/nas/01_Datasets/CT/LITS/Training Batch {batch}"
        for n in numbers:
            image, mask = pack / f"{folder}/volume-{n}.nii", pack / f"{folder}/segmentation-{n}.nii"
            labels[f"volume-{n}"] = {"liver": scan_with_mask(image, mask, concepts)}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "lnq2023",
    evidence=(
        "listing c-thorax: github:zhaoziheng/SAT-DS processor.py preprocess_LNQ2023",
        "github:openmedlab/Awesome-Medical-Dataset resources/LNQ2023.md",
    ),
)
def lnq2023(root: Tree) -> Expected:
    """Of a training scan some nodes are marked and others not: nobody looked for all of them."""
    train, validation = root.archive("train.zip"), root.archive("val.zip")
    labels = {}
    for pack, part, number in ((train, "train", "0005"), (train, "train", "0394"), (validation, "val", "0001")):
        case = f"lnq2023-{part}-{number}"
        body = Phantom(case, SHAPE, values=(1,))
        write_itk(pack / f"{part}/{case}-ct.nrrd", body.ct())
        write_itk(pack / f"{part}/{case}-seg.nrrd", body.of(1))
        write_picture(pack / f"{part}/{case}.png", body.grey()[4])
        labels[case] = {"nodes": body.counts({1: "mediastinal lymph node"})}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if "train" in case else "validation" for case in labels},
        excluded={case: "annotation.not_examined" for case in labels if "train" in case},
        left=("*.png",),
    )


@tree(
    "mm-whs",
    evidence=("listing c-thorax: github:zhaoziheng/SAT-DS data/jsonl/MM_WHS_CT.jsonl and MM_WHS_MRI.jsonl",),
)
def mm_whs(root: Tree) -> Expected:
    """Labels of three figures; CT and MR are other people though they have the same numbers."""
    pack = root.archive("MM-WHS.zip")
    concepts = {
        205: "left ventricle myocardium", 420: "left atrium cavity", 500: "left ventricle cavity",
        550: "right atrium cavity", 600: "right ventricle cavity", 820: "ascending aorta", 850: "pulmonary artery",
    }  # fmt: skip
    labels = {}
    for kind, number in (("ct", 1001), ("ct", 1020), ("mr", 1001)):
        start = f"MM-WHS/{kind}_train/{kind}_train_{number}"
        words = {**concepts, 421: "left atrium cavity"} if kind == "mr" else concepts
        image, mask = pack / f"{start}_image.nii.gz", pack / f"{start}_label.nii.gz"
        labels[f"{kind}_train_{number}"] = {"heart": scan_with_mask(image, mask, words, kind=kind)}
    scan_with_mask(pack / "MM-WHS/mr_test/mr_test_2001_image.nii.gz", None, {}, kind="mr")
    return Expected(
        cases={case: case.replace("train_", "").replace("test_", "") for case in (*labels, "mr_test_2001")},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "mr_test_2001": "test"},
    )


@tree(
    "mvseg2023",
    evidence=("listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/MVSeg-3DTEE.md",),
)
def mvseg(root: Tree) -> Expected:
    concepts = {1: "posterior mitral leaflet", 2: "anterior mitral leaflet"}
    pack = root.archive("MVSeg2023.zip", source=1)
    labels = {}
    for part, number in (("train", "001"), ("train", "005"), ("val", "001")):
        case = f"{part}_{number}"
        image, mask = pack / f"{part}/{case}-US.nii.gz", pack / f"{part}/{case}-label.nii.gz"
        labels[case] = {"leaflets": scan_with_mask(image, mask, concepts, kind="grey", spacing=(0.5, 0.5, 0.5))}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if "train" in case else "validation" for case in labels},
    )


@tree("myops2020", evidence=("listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/MyoPS_2020.md",))
def myops(root: Tree) -> Expected:
    """Three sequences on one grid, labels of four figures."""
    pack = root.archive("MyoPS2020.zip")
    concepts = {
        200: "normal left ventricle myocardium", 500: "left ventricle cavity", 600: "right ventricle cavity",
        1220: "myocardial oedema", 2221: "myocardial scar",
    }  # fmt: skip
    labels = {}
    for number in (101, 102, 201):
        part, folder = ("training", "train25") if number < 200 else ("test", "test20")
        case = f"{part}_{number}"
        body = Phantom(case, (5, 40, 40), values=concepts)
        for word in ("C0", "DE", "T2"):
            write_scan(pack / f"{folder}/myops_{case}_{word}.nii.gz", body.mr(), (12.0, 0.73, 0.73))
        if part == "training":
            mask = pack / f"train25_myops_gd/myops_{case}_gd.nii.gz"
            write_scan(mask, body.labels.astype("int16"), (12.0, 0.73, 0.73))
        labels[case] = {"heart": body.counts(concepts)} if part == "training" else {}
    return Expected(
        cases={case: case.rpartition("_")[2] for case in labels},
        labels=labels,
        split={case: "train" if found else "test" for case, found in labels.items()},
    )


@tree(
    "nasalseg",
    evidence=(
        "listing a-wholebody: github:constantinpape/torch-em torch_em/data/datasets/medical/nasalseg.py",
        "file id 71595125236 (members of the zip: no root folder)",
    ),
)
def nasalseg(root: Tree) -> Expected:
    """One mask has the header of another scan, as 12 of the 130 have: sizes agree, the header of the image holds."""
    pack = root.archive("NasalSeg.zip")
    concepts = {
        1: "right maxillary sinus", 2: "left maxillary sinus", 3: "right nasal cavity", 4: "left nasal cavity",
        5: "nasopharynx",
    }  # fmt: skip
    labels = {}
    for patient in ("P001", "P002", "P130"):
        body = Phantom(patient, SHAPE, values=concepts)
        write_itk(pack / f"images/{patient}_img.nrrd", body.ct(), (1.0, 0.5, 0.5))
        mask = body.labels.astype("uint8")
        write_itk(pack / f"labels/{patient}_seg.nrrd", mask, (1.0, 0.5, 0.5) if patient != "P130" else (1.25, 0.4, 0.4))
        labels[patient] = {"airways": body.counts(concepts)}
    return Expected(
        cases={case: case for case in labels}, labels=labels, spacing=dict.fromkeys(labels, (1.0, 0.5, 0.5))
    )
