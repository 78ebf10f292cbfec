"""Chest films with findings in tables: CheXpert, ChestX-ray14, ChestX-Det10, MIMIC-CXR, PadChest."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import Rows, write_json, write_lines, write_table
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)

CHEXPERT = {
    "No Finding": "no finding",
    "Enlarged Cardiomediastinum": "enlarged cardiomediastinum",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung opacity",
    "Lung Lesion": "lung lesion",
    "Edema": "pulmonary oedema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural effusion",
    "Pleural Other": "other pleural finding",
    "Fracture": "fracture",
    "Support Devices": "support device",
}
"""Column of CheXpert's labellers -> concept."""

BATCH_1 = "CheXpert-v1.0 batch 1 (validate & csv)"

STATES = {"1.0": "present", "0.0": "absent", "-1.0": "uncertain"}


def film(path: Path, seed: str) -> Phantom:
    """A chest film with two findings on it, as 8 bit grey."""
    body = Phantom(seed, SIDE, values=(1, 2))
    write_picture(path, body.grey(), quality=100)
    return body


def corners(body: Phantom, value: int) -> list[int]:
    """x1, y1, x2, y2 of a finding."""
    (top, bottom), (left, right) = body.box(value)
    return [left, top, right, bottom]


def write_packed_table(path: Path, rows: Rows) -> None:
    """A csv compressed on its own."""
    plain = write_table(path.with_suffix(""), rows)
    path.write_bytes(gzip.compress(plain.read_bytes(), 1, mtime=0))
    plain.unlink()


def labelled(cells: dict[str, str]) -> dict[str, str]:
    """What cells of the columns of CheXpert say; a blank one says nothing."""
    return {CHEXPERT[column]: STATES[cell] for column, cell in cells.items()}


@tree(
    "chestx-det10",
    evidence=(
        "listing c-thorax: github:Deepwise-AILab/ChestX-Det10-Dataset train.json, test.json, README.md",
        "the folders in the zips are those of a public script; nobody printed them",
    ),
)
def chestx_det10(root: Tree) -> Expected:
    """One JSON list for each part: words and corners side by side, both empty where nothing was found."""
    said = {}
    names = {"Effusion": "pleural effusion", "Nodule": "lung nodule", "Fibrosis": "pulmonary fibrosis"}
    for part, images in {
        "train": {"36204": ("Effusion", "Nodule"), "36241": ()},
        "test": {"36302": ("Fibrosis",)},
    }.items():
        pack = root.archive(f"{part}_data.zip")
        records = []
        for image, words in images.items():
            body = film(pack / f"{part}_data/{image}.png", f"det10 {image}")
            boxes = [corners(body, value) for value, _ in enumerate(words, start=1)]
            records.append({"file_name": f"{image}.png", "syms": list(words), "boxes": boxes})
            found = [(names[word], body.box(value)) for value, word in enumerate(words, start=1)]
            said[f"{part}_{image}"] = {"findings": found}
        write_json(root / f"{part}.json", records)
    return Expected(
        cases={case: case for case in said},
        annotations=said,
        split={case: case.partition("_")[0] for case in said},
    )


@tree(
    "chestx-ray14",
    evidence=(
        "find_string 'Image Index,Finding Label,Bbox [x' (file ids 62788164700, 11877051264, 18072774406: head, cells)",
        "find_string 'OriginalImagePixelSpacing[x' (file ids 57043228960, 40935858850: head of Data_Entry_2017_v2020)",
        "find_string 'BBox_List_2017.csv' (file ids 34956796553: images_0NN.tar.gz, a folder images)",
    ),
)
def chestx_ray14(root: Tree) -> Expected:
    """Brackets around several columns in the heads of both tables; findings between bars; boxes of one film."""
    films = {
        "00000001_000": ("images_001.tar.gz", "Cardiomegaly", "train"),
        "00000001_001": ("images_001.tar.gz", "Cardiomegaly|Emphysema", "train"),
        "00000002_000": ("images_001.tar.gz", "No Finding", "train"),
        "00013118_008": ("images_006.tar.gz", "Infiltration|Atelectasis|Pleural_Thickening", "test"),
    }
    packs = {name: root.archive(name) for name in ("images_001.tar.gz", "images_006.tar.gz")}
    concepts = {
        "Cardiomegaly": "cardiomegaly", "Emphysema": "emphysema", "No Finding": "no finding",
        "Infiltration": "pulmonary infiltration", "Atelectasis": "atelectasis",
        "Pleural_Thickening": "pleural thickening",
    }  # fmt: skip
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    rows = [head]
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    said = {}
    for name, (archive, findings, _) in films.items():
        body = film(packs[archive] / f"images/{name}.png", f"chestx-ray14 {name}")
        patient, follow_up = (int(part) for part in name.split("_"))
        rows.append(f"{name}.png,{findings},{follow_up},{patient},58,M,PA,2682,2749,0.143,0.143")
        said[name] = {"findings": [concepts[word] for word in findings.split("|")], "boxes": []}
        if name == "00013118_008":
            for value, word in ((1, "Atelectasis"), (2, "Infiltrate")):
                left, top, right, bottom = corners(body, value)
                boxes.append(f"{name}.png,{word},{left}.0,{top}.0,{right - left}.0,{bottom - top}.0,,,")
            said[name]["boxes"] = [("atelectasis", body.box(1)), ("pulmonary infiltration", body.box(2))]
    write_lines(root / "Data_Entry_2017_v2020.csv", *rows)
    write_lines(root / "BBox_List_2017.csv", *boxes)
    for file, part in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
        write_lines(root / file, *(f"{name}.png" for name, (_, _, where) in films.items() if where == part))
    return Expected(
        cases={name: name.partition("_")[0] for name in films},
        annotations=said,
        split={name: part for name, (_, _, part) in films.items()},
    )


@tree(
    "chexpert",
    evidence=(
        "listing e-extras: find_string 'CheXpert-v1.0 batch 2 (train 1)/patient' (file ids 66436791751, 62791356329)",
        "find_string 'CheXpert-v1.0 batch 2 (train 1)' (file ids 31274956505: listing by azcopy; 62908968317: folders)",
        "find_string 'CheXpert-v1.0/valid/patient64541/study1' (file ids 38751150843, 66758906035: paths, columns)",
    ),
)
def chexpert(root: Tree) -> Expected:
    """Folders that the paths of the tables do not have; three labellers in training, one table for validation."""
    first = root.archive(f"{BATCH_1}.zip")
    batches = {
        "CheXpert-v1.0 batch 2 (train 1)": ("patient00001/study1/view1_frontal", "patient00001/study1/view2_lateral"),
        "CheXpert-v1.0 batch 3 (train 2)": ("patient21514/study1/view1_frontal",),
        "CheXpert-v1.0 batch 4 (train 3)": ("patient64540/study1/view1_frontal",),
    }
    said_by = {
        "train": ({"No Finding": "1.0", "Pneumothorax": "0.0"}, {"No Finding": "1.0", "Support Devices": "1.0"},
                  {"Cardiomegaly": "-1.0", "Edema": "1.0", "Fracture": "1.0"}, {"Lung Opacity": "1.0"}),
        "train_cheXbert": ({"No Finding": "1.0"}, {"Support Devices": "1.0"}, {"Edema": "1.0"}, {"Pneumonia": "-1.0"}),
        "train_visualCheXbert": tuple({column: f"{n % 2}.0" for n, column in enumerate(CHEXPERT)} for _ in range(4)),
    }  # fmt: skip
    films = [film_path for paths in batches.values() for film_path in paths]
    for folder, paths in batches.items():
        pack = root.archive(f"{folder}.zip")
        for path in paths:
            film(pack / f"{folder}/{path}.jpg", f"chexpert {path}")
    valid = "patient64541/study1/view1_frontal"
    film(first / f"{BATCH_1}/valid/{valid}.jpg", f"chexpert {valid}")
    for table, cells in said_by.items():
        rows = [chexpert_row(f"train/{path}", more) for path, more in zip(films, cells, strict=True)]
        inside = table == "train"
        write_table((first / f"{BATCH_1}/train.csv") if inside else (root / f"{table}.csv"), rows)
    every = dict.fromkeys(CHEXPERT, "0.0") | {"Cardiomegaly": "1.0"}
    write_table(first / f"{BATCH_1}/valid.csv", [chexpert_row(f"valid/{valid}", every)])
    names = {
        "train": "findings",
        "train_cheXbert": "findings_chexbert",
        "train_visualCheXbert": "findings_visualchexbert",
    }
    said = {
        path.replace("/", "_"): {names[table]: labelled(cells[number]) for table, cells in said_by.items()}
        for number, path in enumerate(films)
    }
    said[valid.replace("/", "_")] = {"findings": labelled(every)}
    return Expected(
        cases={case: case.partition("_")[0] for case in said},
        annotations=said,
        split=dict.fromkeys(said, "train") | {valid.replace("/", "_"): "validation"},
    )


def chexpert_row(path: str, cells: dict[str, str]) -> dict[str, str]:
    """A row of its tables; what is not judged is blank."""
    side = "Frontal" if path.endswith("frontal") else "Lateral"
    head = {"Path": f"CheXpert-v1.0/{path}.jpg", "Sex": "Female", "Age": "68", "Frontal/Lateral": side, "AP/PA": "AP"}
    return {**head, **{column: cells.get(column, "") for column in CHEXPERT}}


@tree(
    "mimic-cxr",
    evidence=(
        "listing e-extras: find_string 'files/p10/p10000032/s50414267/02aa804e'; github:maximek3/MIMIC-NLE README.md",
        "find_string 'files/p10/p10000032/s50414267.txt' (file ids 53778378765, 59452146710: names in the zip)",
        "find_string 'mimic-cxr-2.0.0-split.csv.gz' (file ids 70155384001, 57557067542: columns, words of the split)",
    ),
)
def mimic_cxr(root: Tree) -> Expected:
    """Two films of one study share report and labels; one labeller leaves out a study; a study without a report."""
    films = {
        "p10/p10000032/s50414267": ("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014",
                                    "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962"),
        "p10/p10000032/s53189527": ("2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab",),
        "p19/p19999987/s55368167": ("58766883-376a15ce-3b323a28-6af950a0-16b793bd",),
    }  # fmt: skip
    chexpert = {"s50414267": {"No Finding": "1.0"}, "s53189527": {"Edema": "-1.0", "Atelectasis": "1.0"},
                "s55368167": {"Pleural Effusion": "0.0", "Support Devices": "1.0"}}  # fmt: skip
    negbio = {"s50414267": {"No Finding": "1.0"}, "s53189527": {"Edema": "1.0"}}
    texts = {"s50414267": "FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n IMPRESSION: \n\n No acute process.",
             "s53189527": "FINAL REPORT\n IMPRESSION:  Mild oedema."}  # fmt: skip
    reports = root.archive("mimic-cxr-reports.zip", source=1)
    said: dict[str, dict[str, object]] = {}
    for study, names in films.items():
        number = study.rpartition("/")[2]
        if number in texts:
            write_lines(reports / f"files/{study}.txt", texts[number])
        for name in names:
            film(root / f"files/{study}/{name}.jpg", f"mimic {name}")
            told = said[f"{number}_{name}"] = {"findings_chexpert": labelled(chexpert[number])}
            if number in negbio:
                told["findings_negbio"] = labelled(negbio[number])
            if number in texts:
                told["report"] = texts[number]
    for table, cells in (("chexpert", chexpert), ("negbio", negbio)):
        rows = [
            {"subject_id": study.split("/")[1][1:], "study_id": number[1:]}
            | {column: cells[number].get(column, "") for column in sorted(CHEXPERT)}
            for study in films
            if (number := study.rpartition("/")[2]) in cells
        ]
        write_packed_table(root / f"mimic-cxr-2.0.0-{table}.csv.gz", rows)
    parts = {"s50414267": "train", "s53189527": "train", "s55368167": "validate"}
    rows = [
        {"dicom_id": name, "study_id": study.rpartition("/s")[2], "subject_id": study.split("/")[1][1:],
         "split": parts[study.rpartition("/")[2]]}
        for study, names in films.items()
        for name in names
    ]  # fmt: skip
    write_packed_table(root / "mimic-cxr-2.0.0-split.csv.gz", rows)
    write_packed_table(root / "mimic-cxr-2.0.0-metadata.csv.gz", [{"dicom_id": row["dicom_id"]} for row in rows])
    patients = {study.rpartition("/")[2]: study.split("/")[1] for study in films}
    return Expected(
        cases={case: patients[case.partition("_")[0]] for case in said},
        annotations=said,
        split={case: {"validate": "validation"}.get(part := parts[case.partition("_")[0]], part) for case in said},
        left=("*-metadata.csv.gz",),
    )


@tree(
    "padchest",
    evidence=(
        "find_string 'PatientSex_DICOM' (file ids 41942191575: columns, 50 zips by the makers; 43497452780: cells)",
        "find_string 'PADCHEST_chest_x_ray_images_labels_160K' (file ids 55182844769, 10222063351: folders, Report)",
        "github:mlmed/torchxrayvision torchxrayvision/datasets.py (films that are missing, empty Labels)",
    ),
)
def padchest(root: Tree) -> Expected:
    """Lists in the notation of Python as cells; a row without its film; a film without labels."""
    films = {
        "216840111366964012283393834152009033102258826_00-059-088": ("839860488694292331", "['normal']"),
        "216840111366964012283393834152009033140208626_00-059-118": (
            "839860488694292331",
            "['infiltrates', ' pneumonia']",
        ),
        "216840111366964012373310883942009117084022290_00-064-026": ("313572750430997347", ""),
    }
    packs = {"0": root.archive("0.zip"), "14": root.archive("14.zip")}
    rows = []
    for number, (name, (patient, labels)) in enumerate(films.items()):
        folder = "14" if number == 2 else "0"
        body = Phantom(f"padchest {name}", SIDE, values=(1,))
        write_picture(packs[folder] / f"{name}.png", body.grey().astype(np.uint16) * 16)
        rows.append(padchest_row(name, folder, patient, labels))
    missing = "216840111366964012819207061112010307142602253_04-014-084"
    rows.append(padchest_row(missing, "0", "1", "['chronic changes']"))
    rows = [{"": number, **row} for number, row in enumerate(rows)]
    write_packed_table(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", rows)
    words = (["normal"], ["infiltrates", "pneumonia"])
    said = {name: {"report": f"sin hallazg {name[-3:]} ."} for name in films}
    labelled_films = {name: {"labels": found} for name, found in zip(films, words, strict=False)}
    return Expected(
        cases={name: patient for name, (patient, _) in films.items()},
        annotations={name: {**told, **labelled_films.get(name, {})} for name, told in said.items()},
    )


def padchest_row(name: str, folder: str, patient: str, labels: str) -> dict[str, str]:
    return {
        "ImageID": f"{name}.png",
        "ImageDir": folder,
        "StudyDate_DICOM": "20140915",
        "StudyID": name[:30],
        "PatientID": patient,
        "PatientBirth": "1930.0",
        "PatientSex_DICOM": "F",
        "ViewPosition_DICOM": "POSTEROANTERIOR",
        "Projection": "PA",
        "Report": f"sin hallazg {name[-3:]} .",
        "MethodLabel": "Physician",
        "Labels": labels,
        "Localizations": "[]",
    }
