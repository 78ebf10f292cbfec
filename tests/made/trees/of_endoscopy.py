"""Endoscopy: frames with classes, boxes and masks; videos."""

from __future__ import annotations

import numpy as np
import tifffile
from numpy.typing import NDArray
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.recordings import write_video
from trees.table_files import write_json, write_lines, write_sheet
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)


def corners(body: Phantom, value: int) -> tuple[int, int, int, int]:
    """x_min, y_min, x_max, y_max of a structure, the greater ones beyond its last pixel."""
    (top, bottom), (left, right) = body.box(value)
    return left, top, right, bottom


def quiet(body: Phantom) -> NDArray[np.uint8]:
    """Its picture in grey without noise inside the structures, so that JPEG leaves them even."""
    grey = body.grey()
    for value in body.values:
        grey[body.of(value)] = np.median(grey[body.of(value)])
    return np.repeat(grey[..., None], 3, axis=-1)


@tree(
    "cp-child",
    evidence=(
        "listing b-brain-eyes: find_string 'CP-CHILD-A' (file ids 18213914067, 66720806369)",
        "find_string 'CP-CHILD/' (file id 5716829087)",
    ),
)
def cp_child(root: Tree) -> Expected:
    """Blanks and brackets in names, which are the same in every folder."""
    pack = root.archive("CP-CHILD.zip")
    said, split = {}, {}
    for camera, part, category, name in (
        ("CP-CHILD-A", "Train", "Polyp", "1 (1)"),
        ("CP-CHILD-A", "Train", "Non-Polyp", "0 (1)"),
        ("CP-CHILD-B", "Test", "Polyp", "1 (1)"),
        ("CP-CHILD-B", "Test", "Non-Polyp", "0 (1)"),
    ):
        case = f"{camera}_{part}_{category}_{name}"
        write_picture(pack / f"CP-CHILD/{camera}/{part}/{category}/{name}.jpg", Phantom(case, (32, 32)).rgb())
        said[case] = {"category": "polyp" if category == "Polyp" else "no polyp"}
        split[case] = {"Train": "train", "Test": "test"}[part]
    return Expected(cases={case: case for case in said}, annotations=said, split=split)


@tree(
    "ead-2019",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/EAD2019.md",
        "github:sharib-vision/EAD2019 class_list.txt, annotationImages_and_labels/, semanticEval_dice_Jaccard.py",
    ),
)
def ead_2019(root: Tree) -> Expected:
    """Boxes in fractions of the frame; five masks that overlap as pages of a TIFF; one frame is in both parts."""
    pack = root.archive("trainingData.zip")
    classes = ("specular reflection", "image saturation", "imaging artefact", "image blur", "contrast artefact",
               "bubble", "instrument")  # fmt: skip
    said, labels = {}, {}
    for name, numbers in (("00000", (0, 2, 5)), ("00001", (1, 3, 4, 6)), ("00002", ())):
        body = Phantom(f"ead {name}", SIDE, values=[number + 1 for number in numbers])
        write_picture(pack / f"trainingData_detection/{name}.jpg", quiet(body), quality=100)
        lines = []
        for number in numbers:
            left, top, right, bottom = corners(body, number + 1)
            placed = (left + right) / 2 / SIDE[1], (top + bottom) / 2 / SIDE[0]
            sizes = (right - left) / SIDE[1], (bottom - top) / SIDE[0]
            lines.append(" ".join([str(number), *(f"{part:.9f}" for part in (*placed, *sizes))]))
        write_lines(pack / f"trainingData_detection/{name}.txt", *lines)
        said[f"detection_{name}"] = {"artefacts": [classes[number] for number in numbers]}
    pages = {"instrument": "instrument", "specularity": "specular reflection", "artefact": "imaging artefact",
             "bubbles": "bubble", "saturation": "image saturation"}  # fmt: skip
    for name in ("00000", "00000_batch2"):
        body = Phantom(f"ead mask {name}", SIDE, values=range(1, 5))
        frame = pack / f"trainingData_semanticSegmentation/0_original_images/{name}.jpg"
        write_picture(frame, quiet(body), quality=100)
        saturated = body.of(2)
        saturated[::2] = False
        masks = [*(body.of(value) for value in range(1, 5)), saturated]
        stacked = np.stack(masks).astype(np.uint8) * 255
        tifffile.imwrite(pack / f"trainingData_semanticSegmentation/{name}.tif", stacked, photometric="minisblack")
        labels[f"segmentation_{name}"] = {
            layer: {concept: int(mask.sum())} for (layer, concept), mask in zip(pages.items(), masks, strict=True)
        }
    cases = (*said, *labels)
    return Expected(
        cases={case: case for case in cases},
        labels=labels,
        annotations={**said, **{case: {} for case in labels}},
        split=dict.fromkeys(cases, "train"),
    )


@tree(
    "kvasir-seg",
    evidence=(
        "listing d-abdomen: find_string 'Kvasir-SEG/images/cju'; torch-em kvasir.py",
        "find_string 'kavsir_bboxes.json' (file ids 42542398253, 49178663769: bbox, label, xmin of each stem)",
    ),
)
def kvasir_seg(root: Tree) -> Expected:
    """Masks as colour JPEG; boxes of all frames in one file, whose name is spelled so; a frame with two polyps."""
    pack = root.archive("kvasir-seg.zip")
    labels, boxes = {}, {}
    for name, values in (
        ("cju0qkwl35piu0993l0dewei2", (1,)),
        ("cju0roawvklrq0799vmjorwfv", (1, 2)),
        ("cju0qoxqj9q6s0835b43399p4", (1,)),
    ):
        body = Phantom(name, SIDE, values=values)
        frame = quiet(body)
        frame[body.of(*values)] = 200
        write_picture(pack / f"Kvasir-SEG/images/{name}.jpg", frame, quality=100)
        mask = np.repeat(body.of(*values)[..., None].astype(np.uint8) * 255, 3, axis=-1)
        write_picture(pack / f"Kvasir-SEG/masks/{name}.jpg", mask, quality=95)
        labels[name] = {"polyp": {"polyp": body.count(*values)}}
        placed = [dict(zip(("xmin", "ymin", "xmax", "ymax"), corners(body, value), strict=True)) for value in values]
        boxes[name] = {
            "height": SIDE[0],
            "width": SIDE[1],
            "bbox": [{"label": "polyp", **corner} for corner in placed],
        }
    write_json(pack / "Kvasir-SEG/kavsir_bboxes.json", boxes)
    return Expected(
        cases={name: name for name in labels},
        labels=labels,
        annotations={name: {"boxes": ["polyp"] * len(found["bbox"])} for name, found in boxes.items()},
    )


@tree(
    "limuc",
    evidence=("listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/LIMUC.md, file id 54502218744",),
)
def limuc(root: Tree) -> Expected:
    """A patient's number is in the name; the class is a folder with a blank."""
    packs = {part: root.archive(f"{part}.zip") for part in ("train_and_validation_sets", "test_set")}
    said, patients, split = {}, {}, {}
    for part, patient, number, score in (
        ("train_and_validation_sets", "100", "15", 0),
        ("train_and_validation_sets", "100", "16", 3),
        ("train_and_validation_sets", "7", "2", 1),
        ("test_set", "10", "16", 2),
    ):
        case = f"UC_patient_{patient}_{number}"
        write_picture(packs[part] / f"{part}/Mayo {score}/{case}.bmp", Phantom(case, SIDE).rgb())
        said[case] = {"mayo": f"Mayo endoscopic score {score}"}
        patients[case], split[case] = patient, "test" if part == "test_set" else "train"
    return Expected(cases=patients, annotations=said, split=split)


@tree(
    "nerthus",
    evidence=("listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/Nerthus.md",),
)
def nerthus(root: Tree) -> Expected:
    """The score in the name is not always that of the folder; frames of a video belong together."""
    pack = root.archive("nerthus.zip")
    said, patients = {}, {}
    for score, video, part, frame in (
        (0, 1, "0-0", "00000001"),
        (0, 1, "0-0", "00000002"),
        (1, 3, "1-0", "00000001"),
        (2, 8, "2-1", "00000025"),
        (3, 17, "0-0", "00000002"),
    ):
        case = f"bowel_{video}_{part}_{frame}"
        name = f"bowel_{video}_score_{part}_{frame}.jpg"
        write_picture(pack / f"nerthus-dataset-frames/{score}/{name}", Phantom(case, SIDE).rgb())
        said[case] = {"preparation": f"Boston bowel preparation score {score}"}
        patients[case] = f"bowel_{video}"
    return Expected(cases=patients, annotations=said)


@tree(
    "colonoscopic",
    evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/Colonoscopic.md",),
)
def colonoscopic(root: Tree) -> Expected:
    """Two videos of each lesion, under white and under narrow-band light; opinions of experts beside them."""
    told = {
        "hyperplasic_01": ("hyperplasic", "hyperplastic polyp", ("WL", "NBI")),
        "serrated_02": ("serrated", "serrated adenoma", ("WL",)),
        "adenoma_01": ("adenoma", "colorectal adenoma", ("NBI",)),
    }
    said, patients = {}, {}
    for lesion, (category, concept, lights) in told.items():
        for light in lights:
            case = f"{lesion}_{light}"
            frames = np.stack([Phantom(f"{case} {number}", SIDE).rgb() for number in range(6)])
            write_video(root / f"Dataset/{category}/{lesion}/{light}.mp4", frames)
            said[case], patients[case] = {"histology": concept}, lesion
    write_sheet(root / "Dataset/opinions.xlsx", [{"Lesion": "adenoma_01", "Expert 1": "Adenoma"}])
    return Expected(
        cases=patients,
        annotations=said,
        contents={case: ["video"] for case in said},
        left=("*/opinions.xlsx",),
    )


@tree(
    "ldpolypvideo",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/LDPolypVideo.md",
        "public scripts (file ids 19276693968, 28404042859: a number of boxes, then their corners)",
    ),
)
def ldpolypvideo(root: Tree) -> Expected:
    """Clips as folders of frames, a text of boxes for each; frames without a polyp say 0. Zip for RAR."""
    packs = {part: root.archive(f"{part}.rar", kind="zip") for part in ("TrainValid", "Test")}
    said, split = {}, {}
    for part, video, found in (("TrainValid", 1, (1, 0, 2)), ("TrainValid", 2, (1, 1)), ("Test", 101, (0, 1))):
        for number, count in enumerate(found, start=1):
            body = Phantom(f"{video} {number}", SIDE, values=range(1, count + 1))
            write_picture(packs[part] / f"{part}/Images/{video}/{number:04d}.jpg", body.rgb())
            boxes = [" ".join(map(str, corners(body, value))) for value in range(1, count + 1)]
            write_lines(packs[part] / f"{part}/Annotations/{video}/{number:04d}.txt", str(count), *boxes)
        said[f"video_{video}"] = {"polyps": ["polyp"] * sum(found)}
        split[f"video_{video}"] = {"TrainValid": "train", "Test": "test"}[part]
    return Expected(
        cases={case: case for case in said},
        annotations=said,
        contents={case: ["frames"] for case in said},
        split=split,
    )
