"""Pictures with masks: frames, fundus and OCTA pictures, ultrasound."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import coloured, write_picture
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)


@tree(
    "cholecseg8k",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/CholecSeg8k.md",
        "github:constantinpape/torch-em cholecseg8k.py",
    ),
)
def cholecseg8k(root: Tree) -> Expected:
    """Grey triples are the classes; a mask with a fourth channel; two more pictures of each mask, for the eye."""
    pack = root.archive("cholecseg8k.zip")
    greys = {
        11: "abdominal wall", 21: "liver", 13: "gastrointestinal tract", 12: "fat", 31: "grasper",
        23: "connective tissue", 24: "blood", 25: "cystic duct", 32: "L-hook electrocautery", 22: "gallbladder",
        33: "hepatic vein", 5: "liver ligament",
    }  # fmt: skip
    labels = {}
    for video, start, n in ((1, "00080", 100), (1, "00080", 101), (55, "00508", 508)):
        case = f"video{video:02d}_{start}_{n}"
        body = Phantom(case, SIDE, values=greys)
        place = f"video{video:02d}/video{video:02d}_{start}/frame_{n}_endo"
        write_picture(pack / f"{place}.png", body.rgb())
        triples = coloured(body.labels, {value: (value, value, value) for value in greys})
        triples[body.labels == 0] = 50
        triples[:1] = 255
        drawn = np.where(triples[..., 0] == body.labels, body.labels, 0)
        if n == 101:
            triples = np.dstack([triples, np.full(SIDE, 255, np.uint8)])
        write_picture(pack / f"{place}_watershed_mask.png", triples)
        for word in ("color_mask", "mask"):
            write_picture(pack / f"{place}_{word}.png", body.rgb())
        labels[case] = {"scene": {concept: int((drawn == value).sum()) for value, concept in greys.items()}}
    return Expected(
        cases={case: case.partition("_")[0] for case in labels},
        labels=labels,
        left=("*_endo_color_mask.png", "*_endo_mask.png"),
    )


@tree(
    "cvc-clinicdb",
    evidence=("listing d-abdomen: find_string 'CVC-ClinicDB/Ground Truth/1.' (file ids 25009616734, 20192933369)",),
)
def cvc_clinicdb(root: Tree) -> Expected:
    """A blank in the name of a folder. Nothing free writes RAR: a zip under its name."""
    pack = root.archive("CVC-ClinicDB.rar", kind="zip")
    labels = {}
    for n in (1, 2, 612):
        body = Phantom(f"clinicdb {n}", SIDE, values=(1,))
        write_picture(pack / f"CVC-ClinicDB/Original/{n}.tif", body.rgb())
        write_picture(pack / f"CVC-ClinicDB/Ground Truth/{n}.tif", body.of(1).astype(np.uint8) * 255)
        labels[str(n)] = {"polyp": body.counts({1: "polyp"})}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree("ddti", evidence=("listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/DDTI.md",))
def ddti(root: Tree) -> Expected:
    """One archive for three data sets; a second, cropped copy of the pictures beside the first."""
    pack = root.archive("tn3k.zip")
    labels = {}
    for number in ("0000", "0003", "0636"):
        body = Phantom(f"ddti {number}", SIDE, values=(1,))
        write_picture(pack / f"Thyroid Dataset/DDTI/1_or_data/image/{number}.PNG", body.grey())
        write_picture(pack / f"Thyroid Dataset/DDTI/1_or_data/mask/{number}.PNG", body.of(1))
        labels[number] = {"nodule": body.counts({1: "thyroid nodule"})}
    write_lines(pack / "Thyroid Dataset/DDTI/1_or_data/category.csv", "ID,CATE")
    write_lines(pack / "Thyroid Dataset/DDTI/2_preprocessed_data/train.csv", "ID,CATE,size")
    return Expected(cases={case: case for case in labels}, labels=labels, left=("*.csv",))


@tree("tg3k", evidence=("listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/TG3K.md",))
def tg3k(root: Tree) -> Expected:
    """Masks as JPEG: grey values near 0 and 255. Large blobs, so that the edge counts the same after compression."""
    pack = root.archive("tn3k.zip")
    labels = {}
    for number in ("0000", "0003", "3584"):
        body = Phantom(f"tg3k {number}", SIDE, values=(1,))
        write_picture(pack / f"Thyroid Dataset/tg3k/thyroid-image/{number}.jpg", body.grey(), quality=100)
        write_picture(pack / f"Thyroid Dataset/tg3k/thyroid-mask/{number}.jpg", body.of(1), quality=95)
        labels[number] = {"gland": body.counts({1: "thyroid gland"})}
    write_json(pack / "Thyroid Dataset/tg3k/tg3k-trainval.json", {"train": [0], "val": [3]})
    return Expected(cases={case: case for case in labels}, labels=labels, left=("*/tg3k-trainval.json",), aligned=False)


@tree(
    "drive",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/DRIVE.md",
        "github:constantinpape/torch-em drive.py",
    ),
)
def drive(root: Tree) -> Expected:
    """TIFF pictures and GIF masks; a field of view that is no label."""
    train, test = root.archive("training.zip"), root.archive("test.zip")
    labels = {}
    for case in ("21", "22"):
        body = Phantom(f"drive {case}", SIDE, values=(255,))
        write_picture(train / f"training/images/{case}_training.tif", body.rgb())
        write_picture(train / f"training/1st_manual/{case}_manual1.gif", body.of(255))
        write_picture(train / f"training/mask/{case}_training_mask.gif", body.grey() > 40)
        labels[case] = {"vessel": body.counts({255: "retinal vessel"})}
    write_picture(test / "test/images/01_test.tif", Phantom("drive 01", SIDE).rgb())
    write_picture(test / "test/mask/01_test_mask.gif", Phantom("drive 01", SIDE).grey() > 40)
    return Expected(
        cases={case: case for case in (*labels, "01")},
        labels=labels,
        split={"21": "train", "22": "train", "01": "test"},
        left=("*_mask.gif",),
    )


@tree(
    "octa-500",
    evidence=(
        "listing b-brain-eyes: find_string 'OCTA_6mm/Projection Maps' (file ids 52178380686, 53291948560, 58646332802)",
    ),
)
def octa_500(root: Tree) -> Expected:
    """Two sizes of scans; the masks of both in one folder, beside masks of other structures."""
    masks = root.archive("Label.zip")
    six, three = root.archive("OCTA_6mm_part8.zip"), root.archive("OCTA_3mm_part3.zip")
    labels = {}
    for pack, size, case in ((six, "6mm", "10001"), (six, "6mm", "10300"), (three, "3mm", "10301")):
        body = Phantom(case, SIDE if size == "6mm" else (40, 44), values=(255,))
        write_picture(pack / f"OCTA_{size}/Projection Maps/OCTA(ILM_OPL)/{case}.bmp", body.grey())
        write_picture(masks / f"Label/GT_LargeVessel/{case}.bmp", body.of(255))
        write_picture(masks / f"Label/GT_Capillary/{case}.bmp", body.of(255))
        labels[case] = {"large_vessel": body.counts({255: "large retinal vessel"})}
    return Expected(cases={case: case for case in labels}, labels=labels, left=("Label/GT_Capillary/*",))


@tree(
    "palm19",
    evidence=(
        "listing b-brain-eyes: github:constantinpape/torch-em torch_em/data/datasets/medical/palm.py",
        "find_string 'PALM/Training/Images'",
    ),
)
def palm19(root: Tree) -> Expected:
    """Black is the structure and white the background; a mask exists only where the structure does."""
    pack = root.archive("PALM.zip")
    labels = {}
    for part, case, structures in (
        ("Training", "H0001", (1,)),
        ("Training", "P0001", (1, 2, 3)),
        ("Validation", "V0001", (1, 2)),
    ):
        body = Phantom(case, SIDE, values=(1, 2, 3))
        write_picture(pack / f"PALM/{part}/Images/{case}.jpg", body.rgb())
        folders = {1: "Disc Masks", 2: "Lesion Masks/Atrophy", 3: "Lesion Masks/Detachment"}
        names = {1: ("disc", "optic disc"), 2: ("atrophy", "retinal atrophy"), 3: ("detachment", "retinal detachment")}
        for value in structures:
            write_picture(pack / f"PALM/{part}/{folders[value]}/{case}.bmp", ~body.of(value))
        labels[f"{part}_{case}"] = {names[value][0]: {names[value][1]: body.count(value)} for value in structures}
    write_lines(pack / "__MACOSX/PALM/._Training", "litter")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if "Training" in case else "validation" for case in labels},
        aligned=False,
    )


@tree(
    "psvfm",
    evidence=("listing d-abdomen: find_string 'anon001_02785_mask' (file id 67602260226)", "root from torch-em"),
)
def psvfm(root: Tree) -> Expected:
    """Masks in colour: any channel above 0 is vessel. Frames of another size in each video; predictions beside them."""
    pack = root.archive("fetoscopy-placenta-dataset.zip")
    top = "Fetoscopy Placenta Dataset/Vessel_segmentation_annotations"
    labels = {}
    for video, frame, side in ((1, "anon001_02785", 48), (1, "anon001_02807", 48), (2, "anon002_00001", 56)):
        body = Phantom(frame, (side, side), values=(1,))
        write_picture(pack / f"{top}/video{video:02d}/images/{frame}.png", body.rgb())
        mask = coloured(body.labels, {1: (255, 0, 0)})
        write_picture(pack / f"{top}/video{video:02d}/masks_gt/{frame}_mask.png", mask)
        labels[f"video{video:02d}_{frame}"] = {"vessel": body.counts({1: "placental vessel"})}
    clip = "Fetoscopy Placenta Dataset/Vessel_registration_unannotated_clips/video01"
    write_picture(pack / f"{clip}/images/anon001_00901.png", Phantom("clip", (48, 48)).rgb())
    return Expected(
        cases={case: case.partition("_")[0] for case in labels}, labels=labels, left=("*_unannotated_clips/*",)
    )


@tree(
    "rose",
    evidence=(
        "listing b-brain-eyes: find_string 'SVC/train/gt' (file ids 16843236689, 48297278949)",
        "find_string 'ROSE-1/SVC' (file ids 47476025724, 27941332920)",
    ),
)
def rose(root: Tree) -> Expected:
    """Layers of one eye are cases of one patient; PNG in the composite layer, TIFF in the others."""
    pack = root.archive("ROSE.zip")
    labels, patients = {}, {}
    for layer, part, number, end in (
        ("SVC", "train", "01", "tif"),
        ("SVC_DVC", "train", "01", "png"),
        ("SVC", "test", "01", "tif"),
    ):
        case = f"ROSE-1_{layer}_{part}_{number}"
        body = Phantom(case, SIDE, values=(255,))
        folder = f"data/ROSE-1/{layer}/{part}"
        write_picture(pack / f"{folder}/img/{number}.{end}", body.grey())
        write_picture(pack / f"{folder}/gt/{number}.tif", body.of(255))
        labels[case], patients[case] = {"vessel": body.counts({255: "retinal vessel"})}, f"ROSE-1_{part}_{number}"
    return Expected(
        cases=patients,
        labels=labels,
        split={case: "train" if "train" in case else "test" for case in labels},
    )
