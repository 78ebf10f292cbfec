"""CT pictures and volumes with classes, questions and outlines: entries from `3d-rad` to `hecktor-2022`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_lines, write_sheet, write_table
from trees.tree import Expected, Tree, tree
from trees.voxel_files import lps_affine, write_nifti, write_numpy

SIDE = (48, 56)


@tree(
    "3d-rad",
    evidence=(
        "github:Tang-xiaoxiao/3D-RAD 3DRAD/**/*.csv (columns, words, names of volumes; train_ and test_ count apart)",
        "github:Tang-xiaoxiao/3D-RAD M3D/Bench/dataset/multi_dataset.py (npy of channel, z, y, x between 0 and 1)",
        "github:Tang-xiaoxiao/3D-RAD README.md (the volumes are npy on the hub)",
    ),
)
def three_d_rad(root: Tree) -> Expected:
    """Two reconstructions of one patient; another patient has his number in the other part; volumes in many tables."""
    columns = ("Task", "Subtask", "VolumeName", "Question", "Answer", "QuestionType", "AnswerChoice", "Choice A",
               "Choice B", "Choice C", "Choice D")  # fmt: skip
    volumes = ("train_1004_a_1", "train_1004_a_2", "test_1004_a_1")
    tables = {
        "train/Task3_Medical_Computation/Size.csv": [
            (3, 2, f"{name}.nii.gz", "What is the size of the lesion in the left breast?", "24x16 mm", "Open",
             "-", "-", "-", "-", "-")
            for name in volumes[:2]
        ],
        "train/Task5_Static_Temporal_Diagnosis/h.csv": [
            (5, 6, "train_1004_a_1.nii.gz", "What is the condition of the cardiomegaly?",
             "Resolved Lesion (Previously present or recurrent, now absent)", "Close", "B",
             "Refractory Lesion (Persistent or recurrent, now present)",
             "Resolved Lesion (Previously present or recurrent, now absent)",
             "New Lesion (Absent previously, now present)", "No Abnormality (Always absent)"),
        ],
        "test/Task4_Existence_Detection/Lung nodule.csv": [
            (4, 10, "test_1004_a_1.nii.gz", "Does the CT scan reveal lung nodule?", "No", "Close", "B", "Yes", "No",
             "-", "-"),
        ],
    }  # fmt: skip
    for name in volumes:
        body = Phantom(name, (8, 32, 36)).ct().astype(np.float32)
        write_numpy(root / f"{name}.npy", ((body + 1000) / 2000)[np.newaxis])
    questions = root.files(source=1)
    answers: dict[str, list[tuple[str, str]]] = {name: [] for name in volumes}
    for path, rows in tables.items():
        write_table(questions / f"3DRAD/{path}", [dict(zip(columns, row, strict=True)) for row in rows])
        for row in rows:
            answers[str(row[2]).removesuffix(".nii.gz")].append((str(row[3]), str(row[4])))
    return Expected(
        cases={name: name.rpartition("_a_")[0] for name in volumes},
        images={name: {"ct": (8, 32, 36)} for name in volumes},
        annotations={name: {"questions": answers[name]} for name in volumes},
        split={name: name.partition("_")[0] for name in volumes},
    )


@tree(
    "chest-ctscan-images",
    evidence=(
        "listing c-thorax: find_string 'Data/train/adenocarcinoma_left.lower.lobe' (file ids 56719943961, 32329929843)",
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/ChestCT-Scan_images.md",
        "find_string, file id 62014304804 (Data/train, Data/test, Data/valid)",
    ),
)
def chest_ctscan_images(root: Tree) -> Expected:
    """The stage stands in the folders of train and valid and not in those of test; a JPEG; a copy in two parts."""
    pack = root.archive("chest-ctscan-images.zip")
    told = {
        "train/adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib/000005 (3).png": "lung adenocarcinoma",
        "train/large.cell.carcinoma_left.hilum_T2_N2_M0_IIIa/000002.png": "large cell lung carcinoma",
        "train/squamous.cell.carcinoma_left.hilum_T1_N2_M0_IIIa/000002 (4).png": "lung squamous cell carcinoma",
        "train/normal/2 - Copy - Copy.png": "normal",
        "valid/normal/4 (2).jpg": "normal",
        "test/adenocarcinoma/000108 (3).png": "lung adenocarcinoma",
        "test/normal/6 - Copy (2) - Copy.png": "normal",
    }
    for path in told:
        # The copies of normal slices lie in two parts of the split.
        seed = "a copy" if " - Copy.png" in path else path
        write_picture(pack / f"Data/{path}", Phantom(seed, SIDE).rgb())
    cases = {path.replace("/", "_"): (path.partition("/")[0], concept) for path, concept in told.items()}
    parts = {"train": "train", "valid": "validation", "test": "test"}
    return Expected(
        cases={case: case for case in cases},
        annotations={case: {"diagnosis": concept} for case, (_, concept) in cases.items()},
        split={case: parts[part] for case, (part, _) in cases.items()},
    )


@tree(
    "cmrxmotion",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/CMRxMotion.md",
        "find_string 'P001-1-ED', file ids 54602194059, 55122181008 (IQA.csv; last axis; 1 LV, 2 MYO, 3 RV)",
    ),
)
def cmrxmotion(root: Tree) -> Expected:
    """A last axis of length 1; an image that breathing spoiled has no mask; a mask with the affine of nothing."""
    train = root.archive("CMRxMotion Training Dataset.zip")
    validation = root.archive("CMRxMotion Validation Dataset.zip")
    concepts = {1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
    grades = {"P001-1-ED": 1, "P001-4-ES": 3, "P002-1-ED": 2}
    spacing = (10.0, 1.4, 1.4)
    labels, rows = {}, []
    for case, grade in grades.items():
        folder = f"CMRxMotion Training Dataset/data/{case.rpartition('-')[0]}"
        body = Phantom(case, (6, 40, 36), values=concepts)
        write_nifti(train / f"{folder}/{case}.nii.gz", body.mr()[np.newaxis], spacing)
        if grade < 3:
            affine = lps_affine(spacing, (0.0, 0.0, 0.0)) if case == "P002-1-ED" else None
            write_nifti(train / f"{folder}/{case}-label.nii.gz", body.labels, spacing, affine=affine)
            labels[case] = {"heart": body.counts(concepts)}
        rows.append({"Image": case, "Label": grade})
    write_table(train / "CMRxMotion Training Dataset/IQA.csv", rows)
    folder = "CMRxMotion_validation/P021-2"
    write_nifti(validation / f"{folder}/P021-2-ES.nii.gz", Phantom("P021", (6, 40, 36)).mr()[np.newaxis], spacing)
    return Expected(
        cases={case: case.partition("-")[0] for case in (*grades, "P021-2-ES")},
        labels=labels,
        images={case: {"image": (6, 40, 36)} for case in grades},
        annotations={case: {"quality": {"Label": float(grade)}} for case, grade in grades.items()},
        split={**dict.fromkeys(grades, "train"), "P021-2-ES": "validation"},
    )


STATUS = ("status_left", "status_right")
PLACES = {-1: (0, 0.0), 0: (2, 1.0), 1: (3, 1.0), 2: (3, 4.5), 999: (0, 0.0)}
"""Slices from the bifurcation, at slice 2, with their quality and status; the last one has the number 999."""
GRADES = {
    **{f"AHAStatus {index}": status for index, (_, status) in PLACES.items()},
    **{f"IQ {index}": float(quality) for index, (quality, _) in PLACES.items()},
}


@tree(
    "cosmos-2022",
    evidence=(
        "github:ShishuaiHu/Label-Propagation convertor/convert.py (QVJ and QVS, slices counted from the bifurcation)",
        "find_string 'QVAS_Loaded_Series_List', file id 34278761393 (a writer of both: elements, names of QVS files)",
        "listing a-wholebody: cosmos-2022",
    ),
)
def cosmos_2022(root: Tree) -> Expected:
    """Outlines in a grid of 512, on some slices of each side; one case has the left side alone."""
    pack = root.archive("COSMOS2022.zip")
    concepts = {1: "carotid artery lumen", 2: "carotid artery wall"}
    labels = {}
    for part, case, sides in (("Training", "3", "LR"), ("Training", "14", "L"), ("Validation", "27", "LR"),
                              ("Testing", "55", "")):  # fmt: skip
        folder = pack.folder / f"{part}_dataset/{case}"
        drawn = np.zeros((6, 64, 64), np.uint8)
        for number, side in enumerate(sides):
            write_side(folder, case, side, drawn, x=12 + 28 * number)
        voxels = (200 + 150 * drawn.astype(np.int16) + Phantom(f"cosmos {case}", drawn.shape).mr() % 3).astype(np.int16)
        name = "1.1310.12.146843." + "{n}" + f".42584.24983.{case}.dcm"
        write_series(folder, voxels, modality="MR", spacing=(0.6, 0.6, 0.6), name=name, first=3636, PatientID=case)
        if sides:
            labels[case] = {"walls": {concept: int((drawn == value).sum()) for value, concept in concepts.items()}}
    parts = {"3": "train", "14": "train", "27": "validation", "55": "test"}
    return Expected(
        cases={case: case for case in parts},
        labels=labels,
        annotations={case: dict.fromkeys(STATUS if case != "14" else STATUS[:1], GRADES) for case in labels},
        split=parts,
    )


def write_side(folder: Path, case: str, side: str, drawn: np.ndarray, *, x: int) -> None:  # type: ignore[type-arg]
    """The two files of one artery, and its square vessel into `drawn`, on the slices 1 and 4."""
    folder.mkdir(parents=True, exist_ok=True)
    series = f"E{case}S101_{side}.QVS"
    images = []
    for z in range(len(drawn)):
        contours = ""
        if z in (1, 4):
            drawn[z, 20:32, x : x + 12] = 2
            drawn[z, 23:29, x + 3 : x + 9] = 1
            contours = contour("Lumen", (x + 3, 23), 6) + contour("Outer Wall", (x, 20), 12)
        images.append(f'<QVAS_Image xmlns="" ImageName="E{case}S101I{z + 1}">{contours}</QVAS_Image>')
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    write_lines(folder / series, f'{head}<QVAS_Series xmlns="vil.rad.washington.edu">', *images, "</QVAS_Series>")
    places = [
        f'<Location Index="{index}"><IQ>{quality}</IQ><AHAStatus>{status}</AHAStatus></Location>'
        for index, (quality, status) in PLACES.items()
    ]
    write_lines(
        folder / f"{case}{side}.QVJ",
        f'{head}<QVAS_Project xmlns="vil.rad.washington.edu"><QVAS_System_Info xmlns=""><BifurcationLocation>'
        '<BifurcationImageIndex ImageIndex="2"/></BifurcationLocation></QVAS_System_Info>',
        f'<QVAS_Loaded_Series_List xmlns=""><QVASSeriesFileName>{series}</QVASSeriesFileName>'
        "</QVAS_Loaded_Series_List>",
        f'<Location_Property xmlns="">{"".join(places)}</Location_Property></QVAS_Project>',
    )


def contour(kind: str, corner: Sequence[int], side: int) -> str:
    """A square around `side` pixels of 64, in the grid of 512."""
    low_x, low_y = (start - 0.5 for start in corner)
    ends = ((low_x, low_y), (low_x + side, low_y), (low_x + side, low_y + side), (low_x, low_y + side))
    points = "".join(f'<Point x="{8 * x:.5f}" y="{8 * y:.5f}"/>' for x, y in ends)
    return (f"<QVAS_Contour><Contour_Point>{points}</Contour_Point><ContourType>{kind}</ContourType>"
            "<ContourOpenStatus>1</ContourOpenStatus></QVAS_Contour>")  # fmt: skip


@tree(
    "covid-ct",
    evidence=(
        "listing c-thorax: covid-ct (names of pictures, lists and tables; a per cent sign)",
        "find_string 'COVID-CT-MetaInfo.xlsx', file ids 49217893676, 6634306657 (File name, Age, Gender; patient ID)",
        "find_string 'trainCT_COVID.txt', file id 57844269200 (one file name per line)",
    ),
)
def covid_ct(root: Tree) -> Expected:
    """Two slices of one patient; the others, without COVID-19, tell none."""
    figure = "2019-novel-Coronavirus-severe-adult-respiratory-dist_2020_International-Jour-p3-89"
    positive = {
        f"{figure}%0.png": ("Patient 2", "train"),
        f"{figure}%1.png": ("Patient 2", "train"),
        "2020.01.24.919183-p27-132.png": ("Patient 1", "val"),
        "2020.02.11.20021493-p16-109.png": ("Patient 3", "test"),
    }
    negative = {"0.jpg": "train", "1%0.jpg": "val", "13.jpg": "test"}
    here, there = root.archive("CT_COVID.zip"), root.archive("CT_NonCOVID.zip")
    for name in positive:
        write_picture(here / f"CT_COVID/{name}", Phantom(name, SIDE).rgb())
    for name in negative:
        write_picture(there / f"CT_NonCOVID/{name}", Phantom(name, SIDE).grey())
    tables = root.files(source=1)
    for part in ("train", "val", "test"):
        listed = [name for name, (_, where) in positive.items() if where == part]
        write_lines(tables / f"Data-split/COVID/{part}CT_COVID.txt", *listed)
        listed = [name for name, where in negative.items() if where == part]
        write_lines(tables / f"Data-split/NonCOVID/{part}CT_NonCOVID.txt", *listed)
    rows = [{"Patient ID": patient, "File name": name, "Age": 41, "Gender": "M", "Captions": "Chest CT."}
            for name, (patient, _) in positive.items()]  # fmt: skip
    write_sheet(tables / "COVID-CT-MetaInfo.xlsx", rows, sheet="positive_captions")
    write_lines(tables / "NonCOVID-CT-MetaInfo.csv", "image name,caption", "0.jpg,Chest CT")
    parts = {"train": "train", "val": "validation", "test": "test"}
    found = {f"COVID_{name}": (who, part, "COVID-19") for name, (who, part) in positive.items()}
    found |= {f"NonCOVID_{name}": (f"NonCOVID_{name}", part, "COVID-19 negative") for name, part in negative.items()}
    return Expected(
        cases={case: who for case, (who, _, _) in found.items()},
        annotations={case: {"finding": concept} for case, (_, _, concept) in found.items()},
        split={case: parts[part] for case, (_, part, _) in found.items()},
        left=("NonCOVID-CT-MetaInfo.csv",),
    )
