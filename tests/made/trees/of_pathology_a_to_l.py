"""Tiles, cores and slides of pathology, a to l."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.picture_files import write_picture, write_slide
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)
SLIDE = (512, 640)


@tree(
    "aggc",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/AGGC.md",
        "find_string 'Subset3_Train_image' (file ids 11006738794, 36368650918)",
        "find_string 'Stroma_Mask.tif' (file ids 11405490252, 32739316236)",
    ),
)
def aggc(root: Tree) -> Expected:
    """A class that does not occur has no file; one specimen of subset 3 by two scanners; a folder of another name."""
    words = {1: "G3", 2: "G4", 3: "G5", 4: "Normal", 5: "Stroma"}
    concepts = {1: "Gleason pattern 3", 2: "Gleason pattern 4", 3: "Gleason pattern 5", 4: "normal tissue", 5: "stroma"}
    labels = {}
    for case, image, masks in (
        ("Subset1_Train_16", "AGGC2022_train/Subset1_Train_image", "AGGC2022_train/Subset1_Train_annotation/Train"),
        ("Subset3_Train_12_Philips", "AGGC2022_train/Subset3_Train_image/Philips",
         "AGGC2022_train/Subset3_Train_annotation/Train/Philips"),
        ("Subset3_Train_12_Akoya", "AGGC2022_train/Subset3_Train_image/Akoya",
         "AGGC2022_train/Subset3_Train_annotation/Train/Akoya"),
        ("Subset3_Test_4_Zeiss", "AGGC2022_test/Subset3_Test_image/Zeiss",
         "AGGC2022_test/Subset3_Test_annotations_new/Zeiss"),
    ):  # fmt: skip
        body = Phantom(case, SLIDE, values=words)
        write_slide(root / f"{image}/{case}.tiff", body.rgb())
        there = [value for value in words if value != 3 or "Subset1" in case]
        for value in there:
            write_picture(root / f"{masks}/{case}/{words[value]}_Mask.tif", body.of(value))
        labels[case] = {"tissue": body.counts({value: concepts[value] for value in there})}
    return Expected(
        cases={
            "Subset1_Train_16": "Subset1_Train_16",
            "Subset3_Train_12_Philips": "Subset3_Train_12",
            "Subset3_Train_12_Akoya": "Subset3_Train_12",
            "Subset3_Test_4_Zeiss": "Subset3_Test_4",
        },
        labels=labels,
        contents={case: ["slide"] for case in labels},
        split={case: "test" if "Test" in case else "train" for case in labels},
    )


@tree(
    "anhir",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/ANHIR.md",
        "github:Borda/BIRL data-images/rat-kidney_/scale-5pc/Rat-Kidney_HE.csv, bm_ANHIR/zip_dataset_by_cover.py",
        "find_string '29-041-Izd2-w35-He-les1' (file ids 18288347488, 16125694370)",
    ),
)
def anhir(root: Tree) -> Expected:
    """Pictures and landmarks are two trees of the same names; the section to be warped has no landmarks."""
    pictures, landmarks = root.archive("dataset_medium.zip"), root.archive("landmarks.zip")
    told = {
        ("lung-lesion_1", 50, "29-041-Izd2-w35-He-les1.jpg"): 3,
        ("lung-lesion_1", 50, "29-041-Izd2-w35-Ki67-7-les1.jpg"): 2,
        ("mice-kidney_1", 25, "S1.jpg"): 3,
        ("COAD_05", 25, "S3.jpg"): 0,
        ("lung-lesion_3", 100, "29-041-Izd2-w35-CD31-3-les3.png"): 2,
    }
    cases, annotations = {}, {}
    for (tissue, percent, name), points in told.items():
        stem = name.rpartition(".")[0]
        case = f"{tissue}_{percent}pc_{stem}"
        body = Phantom(case, SIDE, values=(1, 2, 3))
        write_picture(pictures / f"dataset_medium/{tissue}/scale-{percent}pc/{name}", body.rgb())
        cases[case] = tissue
        if points:
            rows = (f"{n},{body.centre(n)[1]:g},{body.centre(n)[0]:g}" for n in range(1, points + 1))
            write_lines(landmarks / f"landmarks/{tissue}/scale-{percent}pc/{stem}.csv", ",X,Y", *rows)
            annotations[case] = {"landmarks": [str(n) for n in range(1, points + 1)]}
    write_lines(
        pictures / "dataset_medium/dataset_medium.csv",
        ",Target image,Source image,Target landmarks,Source landmarks,status,Image diagonal [pixels]",
        "0,lung-lesion_1/scale-50pc/29-041-Izd2-w35-He-les1.jpg,lung-lesion_1/scale-50pc/29-041-Izd2-w35-Ki67-7-les1.jpg,"
        "lung-lesion_1/scale-50pc/29-041-Izd2-w35-He-les1.csv,lung-lesion_1/scale-50pc/29-041-Izd2-w35-Ki67-7-les1.csv,"
        "training,73",
    )
    return Expected(cases=cases, annotations=annotations, left=("*/dataset_medium.csv",))


@tree(
    "breakhis",
    evidence=(
        "listing c-thorax: github:kaiko-ai/eva tests/eva/assets/vision/datasets/breakhis/",
        "facts c-thorax: breakhis (slides 22549AB and 22549CD; 13412 under two subtypes)",
    ),
)
def breakhis(root: Tree) -> Expected:
    """Slides of one patient differ in trailing capitals; one slide is filed under two subtypes."""
    pack = root.archive("BreaKHis_v1.tar.gz")
    told = {
        "SOB_B_F-14-9133-40-001": ("benign", "fibroadenoma"),
        "SOB_B_A-14-22549AB-40-001": ("benign", "adenosis"),
        "SOB_B_A-14-22549CD-200-013": ("benign", "adenosis"),
        "SOB_M_MC-14-19979-40-001": ("malignant", "mucinous_carcinoma"),
        "SOB_M_DC-14-13412-100-002": ("malignant", "ductal_carcinoma"),
        "SOB_M_LC-14-13412-100-002": ("malignant", "lobular_carcinoma"),
    }
    cases, annotations = {}, {}
    for case, (kind, subtype) in told.items():
        prefix, year, slide, zoom, _ = case.split("-")
        folder = f"BreaKHis_v1/histology_slides/breast/{kind}/SOB/{subtype}/{prefix}_{year}-{slide}/{zoom}X"
        write_picture(pack / f"{folder}/{case}.png", Phantom(case, SIDE, values=(1,)).rgb())
        cases[case], annotations[case] = slide.rstrip("ABCDG"), {"dignity": kind}
    write_lines(pack / "BreaKHis_v1/README.txt", "Breast cancer histopathological database.")
    return Expected(cases=cases, annotations=annotations, left=("*/README.txt",))


@tree(
    "camelyon17",
    evidence=(
        "find_string 'PartOfGroup=\"metastases\"' (file ids 67022089809, 25254374292)",
        "find_string 'patient_000_node_0.tif' (file ids 8397906837, 62624068760, 70959779144)",
    ),
)
def camelyon17(root: Tree) -> Expected:
    """Rows of patients and of slides in one table; an outline with a part cut out; test slides without anything."""
    words = {"patient_004_node_4": "macro", "patient_004_node_0": "negative", "patient_010_node_4": "itc"}
    for case in (*words, "patient_100_node_0"):
        body = Phantom(case, SLIDE, values=(1, 2))
        write_slide(root / f"CAMELYON17/images/{case}.tif", body.rgb(), mpp=0.5)
    (top, bottom), (left, right) = Phantom("patient_004_node_4", SLIDE, values=(1, 2)).box(1)
    write_lines(
        root / "CAMELYON17/annotations/patient_004_node_4.xml",
        '<?xml version="1.0"?>',
        "<ASAP_Annotations>",
        "\t<Annotations>",
        *_asap("Annotation 0", "metastases", (left, top, right, bottom)),
        *_asap("Annotation 1", "normal", (left + 9, top + 9, left + 40, top + 40)),
        "\t</Annotations>",
        '\t<AnnotationGroups><Group Name="metastases" PartOfGroup="None" Color="#ff0000"><Attributes /></Group>',
        '\t<Group Name="normal" PartOfGroup="None" Color="#000000"><Attributes /></Group></AnnotationGroups>',
        "</ASAP_Annotations>",
    )
    rows = ["patient_004.zip,pN1", *(f"{case}.tif,{word}" for case, word in words.items()), "patient_010.zip,pN0(i+)"]
    write_lines(root / "CAMELYON17/stages.csv", "patient,stage", *rows)
    return Expected(
        cases={case: case[8:11] for case in (*words, "patient_100_node_0")},
        contents={case: ["slide"] for case in (*words, "patient_100_node_0")},
        annotations={
            "patient_004_node_4": {
                "outlines": ["metastasis", "normal"],
                "stage": {"metastasis": "present", "isolated tumour cells": "absent"},
            },
            "patient_004_node_0": {
                "stage": {"metastasis": "absent", "isolated tumour cells": "absent", "negative": "present"}
            },
            "patient_010_node_4": {"stage": {"metastasis": "absent", "isolated tumour cells": "present"}},
        },
        split={case: "train" if case < "patient_100" else "test" for case in (*words, "patient_100_node_0")},
    )


def _asap(name: str, group: str, box: tuple[int, int, int, int]) -> list[str]:
    """A rectangle (left, top, right, bottom) as ASAP writes it."""
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [
        f'\t\t<Annotation Name="{name}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">',
        "\t\t\t<Coordinates>",
        *(f'\t\t\t\t<Coordinate Order="{n}" X="{x}.2998" Y="{y}.1016" />' for n, (x, y) in enumerate(corners)),
        "\t\t\t</Coordinates>",
        "\t\t</Annotation>",
    ]


@tree(
    "ebhi-seg",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/EBHI-Seg.md",
        "find_string 'EBHI-SEG/Adenocarcinoma' (file ids 29549065722, 68331235444)",
    ),
)
def ebhi_seg(root: Tree) -> Expected:
    """Blanks in the names of folders. Nothing free writes RAR: a zip under its name."""
    pack = root.archive("EBHI-SEG.rar", kind="zip")
    concepts = {
        "Normal": "normal tissue",
        "Polyp": "polyp",
        "Low-grade IN": "low-grade colorectal intraepithelial neoplasia",
        "High-grade IN": "high-grade colorectal intraepithelial neoplasia",
        "Serrated adenoma": "serrated adenoma",
        "Adenocarcinoma": "colorectal adenocarcinoma",
    }
    labels, patients, annotations = {}, {}, {}
    names = [(word, f"GT20{number:05d}-1-400-001") for number, word in enumerate(concepts)]
    for word, name in (*names, ("Adenocarcinoma", "GT2001837-1-400-001"), ("Adenocarcinoma", "GT2001837-1-400-003")):
        case = f"{word}_{name}"
        body = Phantom(case, SIDE, values=(1,))
        write_picture(pack / f"EBHI-SEG/{word}/image/{name}.png", body.rgb())
        write_picture(pack / f"EBHI-SEG/{word}/label/{name}.png", body.of(1))
        labels[case] = {"tissue": body.counts({1: concepts[word]})}
        patients[case], annotations[case] = name.partition("-")[0], {"category": concepts[word]}
    return Expected(cases=patients, labels=labels, annotations=annotations)


@tree(
    "lunghist700",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/LungHist700.md",
        "find_string 'aca_bd_20x' (file id 71284883723)",
        "facts c-thorax: lunghist700 (columns of data.csv)",
    ),
)
def lunghist700(root: Tree) -> Expected:
    """The table of patients names no file: four of its columns together are one. A zip under the name of a RAR."""
    pack = root.archive("LungHist700.rar", kind="zip")
    told = {
        ("nor", "20x", 904): "normal",
        ("aca_bd", "20x", 1): "well differentiated lung adenocarcinoma",
        ("aca_pd", "40x", 33): "poorly differentiated lung adenocarcinoma",
        ("scc_md", "40x", 7): "moderately differentiated lung squamous cell carcinoma",
    }
    annotations = {}
    rows = []
    for (kind, resolution, number), concept in told.items():
        case = f"{kind}_{resolution}_{number}"
        write_picture(pack / f"LungHist700/data/images/{kind}/{case}.jpg", Phantom(case, SIDE, values=(1,)).rgb())
        annotations[case] = {"diagnosis": concept}
        superclass, _, subclass = kind.partition("_")
        rows.append(f"{len(rows) + 1},{superclass},{subclass},{resolution},{number}")
    write_lines(pack / "LungHist700/data/data.csv", "patient_id,superclass,subclass,resolution,image_id", *rows)
    return Expected(cases={case: case for case in annotations}, annotations=annotations, left=("*/data.csv",))
