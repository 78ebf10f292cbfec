"""Chest films as DICOM: the challenges of RSNA and SIIM, and VinDr-CXR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from trees.phantom import Phantom
from trees.radiograph_files import write_radiograph
from trees.table_files import write_lines, write_table
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)


@tree(
    "rsna-pneumonia",
    evidence=(
        "find_string 'stage_2_detailed_class_info.csv' (file ids 58532379442, 55963012687: files, columns)",
        "find_string 'stage_2_detailed_class_info.csv' (file id 60277065173: no rescaling, a row for each box)",
        "github:mlmed/torchxrayvision torchxrayvision/datasets.py (empty cells where there is no box)",
    ),
)
def rsna_pneumonia(root: Tree) -> Expected:
    """JPEG in DICOM; a film with two boxes has two equal rows in the other table; films without a box, and a test."""
    pack = root.archive("rsna-pneumonia-detection-challenge.zip")
    films = {
        "0004cfab-14fd-4e49-80ba-63a80b6bddd6": ("No Lung Opacity / Not Normal", 0),
        "003d8fa0-6bf1-40ed-b54c-ac657f8495c5": ("Normal", 0),
        "00436515-870c-4b36-a041-de91049b9ab4": ("Lung Opacity", 2),
    }
    test = "0000a175-0e68-4ca4-b1af-167204a7e0bc"
    boxes, details, places = [], [], []
    for name, (word, count) in films.items():
        body = Phantom(name, SIDE, values=(1, 2))
        write_radiograph(pack / f"stage_2_train_images/{name}.dcm", body.grey(), jpeg=True, PatientID=name)
        for value in range(1, count + 1):
            (top, bottom), (left, right) = body.box(value)
            size = {"x": f"{left}.0", "y": f"{top}.0", "width": f"{right - left}.0", "height": f"{bottom - top}.0"}
            boxes.append({"patientId": name, **size, "Target": 1})
            places.append(("lung opacity", body.box(value)))
        if not count:
            boxes.append({"patientId": name, "x": "", "y": "", "width": "", "height": "", "Target": 0})
        details += [{"patientId": name, "class": word}] * max(count, 1)
    write_radiograph(pack / f"stage_2_test_images/{test}.dcm", Phantom(test, SIDE).grey(), jpeg=True, PatientID=test)
    write_table(pack / "stage_2_train_labels.csv", boxes)
    write_table(pack / "stage_2_detailed_class_info.csv", details)
    write_table(pack / "stage_2_sample_submission.csv", [{"patientId": test, "PredictionString": "0.5 0 0 100 100"}])
    write_lines(pack / "GCP Credits Request Link - RSNA.txt", "a link")
    other, normal, opaque = films
    return Expected(
        cases={name: name for name in (*films, test)},
        annotations={
            other: {"classes": ["No Lung Opacity / Not Normal"], "boxes": []},
            normal: {"classes": {"normal": "present", "lung opacity": "absent"}, "boxes": []},
            opaque: {"classes": "lung opacity", "boxes": places},
        },
        modality=dict.fromkeys(films, "X-ray"),
        split={**dict.fromkeys(films, "train"), test: "test"},
        left=("stage_2_sample_submission.csv", "GCP Credits*"),
    )


def relative_runs(mask: NDArray[np.bool_]) -> str:
    """Run lengths down the columns, each start counted from the end of the run before."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    gaps = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(f"{gap} {end - start}" for gap, start, end in zip(gaps, starts, ends, strict=True))


@tree(
    "siim-pneumothorax",
    evidence=(
        "find_string 'dicom-images-train' (file ids 71147059169, 28540423589, 2741716679: tree, names)",
        "find_string ' EncodedPixels' (file ids 2619098032, 17873629988: blanks before the column and its cells)",
        "github:mlmed/torchxrayvision torchxrayvision/datasets.py (runs relative, down the columns)",
    ),
)
def siim_pneumothorax(root: Tree) -> Expected:
    """A blank before the name of a column; two rows of runs for one film, -1 for none; a film that has no row."""
    pack = root.archive("siim-acr-pneumothorax-segmentation.zip")
    stem = "1.2.276.0.7230010.3.1"
    rows, labels, cases = ["ImageId, EncodedPixels"], {}, []
    for number, stamp in enumerate(("300.1517875162.258081", "1000.1517875165.878027", "10000.1517875220.939397", "9")):
        name, study = f"{stem}.4.8323329.{stamp}", f"{stem}.2.8323329.{stamp}/{stem}.3.8323329.{stamp}"
        body = Phantom(name, SIDE, values=(1, 2))
        part = "test" if number == 3 else "train"
        path = pack / f"siim/dicom-images-{part}/{study}/{name}.dcm"
        write_radiograph(path, body.grey(), jpeg=number != 0, PatientID=f"made-{number}")
        cases.append(name)
        if number == 0:
            upper = np.arange(SIDE[0])[:, None] < body.centre(1)[0]
            rows += [f"{name}, {relative_runs(body.of(1) & half)}" for half in (upper, ~upper)]
            labels[name] = {"masks": {"pneumothorax": body.count(1)}}
        elif number == 1:
            rows.append(f"{name}, -1")
            labels[name] = {"masks": {}}
    write_lines(pack / "siim/train-rle.csv", *rows)
    return Expected(
        cases={name: name for name in cases},
        labels=labels,
        excluded={cases[1]: "annotation.empty", cases[2]: "annotation.no_row"},
        split={name: "test" if number == 3 else "train" for number, name in enumerate(cases)},
    )


VINDR = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis",
)  # fmt: skip
"""Columns of the labels of an image, before the two whose names follow."""


@tree(
    "vindr-cxr",
    evidence=(
        "find_string 'image_labels_train.csv' (file ids 30274788716, 18943438438, 71467706864: tree, columns, readers)",
        "find_string 'image_id,rad_id,class_name,x_min' (file id 32402223716: columns, rows without a place)",
    ),
)
def vindr_cxr(root: Tree) -> Expected:
    """Readers who disagree; `No finding` as a row of boxes without numbers; films whose bright is dark."""
    nodule, healthy = "0005e8e3701dfb1dd93d53e2ff537b6e", "0007d316f756b3fa0baea2ff514ce945"
    test = "002a34c58c5b758217ed1f584ccbcfe9"
    bodies = {name: Phantom(name, SIDE, values=(1, 2)) for name in (nodule, healthy, test)}
    for name, body in bodies.items():
        dark = name == healthy
        pixels = body.grey().astype(np.uint16) + 1000
        write_radiograph(
            root / f"{'test' if name == test else 'train'}/{name}.dicom",
            4000 - pixels if dark else pixels,
            sop_class="DX",
            PhotometricInterpretation="MONOCHROME1" if dark else "MONOCHROME2",
            PatientID=None,
            PatientName=None,
            SeriesInstanceUID=None,
            StudyInstanceUID=None,
        )
    empty = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), "")
    first, second = place(bodies[nodule], 1), place(bodies[nodule], 2)
    rows = [
        {"image_id": nodule, "rad_id": "R10", "class_name": "Nodule/Mass", **first},
        {"image_id": nodule, "rad_id": "R9", "class_name": "Nodule/Mass", **first},
        {"image_id": nodule, "rad_id": "R9", "class_name": "Aortic enlargement", **second},
        {"image_id": nodule, "rad_id": "R17", "class_name": "No finding", **empty},
        *(
            {"image_id": healthy, "rad_id": reader, "class_name": "No finding", **empty}
            for reader in ("R1", "R2", "R3")
        ),
    ]
    write_table(root / "annotations/annotations_train.csv", rows)
    tested = [{"image_id": test, "class_name": "Pleural effusion", **place(bodies[test], 1)}]
    write_table(root / "annotations/annotations_test.csv", tested)
    found = {
        (nodule, "R10"): ("Nodule/Mass",), (nodule, "R9"): ("Nodule/Mass", "Aortic enlargement"),
        (nodule, "R17"): ("No finding",),
        **{(healthy, reader): ("No finding",) for reader in ("R1", "R2", "R3")},
    }  # fmt: skip
    labels = [
        {"image_id": name, "rad_id": reader, **columns("Other diseases", words)}
        for (name, reader), words in found.items()
    ]
    write_table(root / "annotations/image_labels_train.csv", labels)
    rows = [{"image_id": test, **columns("Other disease", ("Pleural effusion", "Other disease"))}]
    write_table(root / "annotations/image_labels_test.csv", rows)
    return Expected(
        cases={name: name for name in bodies},
        annotations={
            nodule: {
                "boxes": [
                    *[("lung nodule or mass", bodies[nodule].box(1))] * 2,
                    ("aortic enlargement", bodies[nodule].box(2)),
                ],
                "labels": ["lung nodule or mass", "aortic enlargement", "no finding"],
            },
            healthy: {"boxes": [], "labels": "no finding"},
            test: {
                "boxes": [("pleural effusion", bodies[test].box(1))],
                "labels": ["pleural effusion", "other thoracic disease"],
            },
        },
        split={nodule: "train", healthy: "train", test: "test"},
    )


def place(body: Phantom, value: int) -> dict[str, str]:
    (top, bottom), (left, right) = body.box(value)
    return {"x_min": f"{left}.0", "y_min": f"{top}.0", "x_max": f"{right}.0", "y_max": f"{bottom}.0"}


def columns(other: str, words: tuple[str, ...]) -> dict[str, int]:
    """0 or 1 for each class; `other` is the column for other diseases."""
    return {column: int(column in words) for column in (*VINDR, other, "No finding")}
