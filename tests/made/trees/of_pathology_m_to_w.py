"""Tiles, fields of view and slides of pathology, m to w."""

from __future__ import annotations

import pickle

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import write_palette_picture, write_picture, write_slide
from trees.table_files import write_json, write_lines, write_table
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)
SLIDE = (512, 640)


@tree(
    "midogpp",
    evidence=(
        "github:DeepMicroscopy/MIDOGpp databases/MIDOG++.json, datasets_xvalidation.csv, Setup.ipynb",
        "github:DeepMicroscopy/MIDOGpp slide/data_loader.py (read with openslide)",
    ),
)
def midogpp(root: Tree) -> Expected:
    """Boxes of two corners, some not whole and some beyond the edge; images that have neither boxes nor a file."""
    names = {1: "mitotic figure", 2: "not mitotic figure"}
    concepts = {1: "mitotic figure", 2: "non-mitotic figure"}
    images, boxes, annotations = [], [], {}
    for number in (1, 151, 245, 405, 553):
        case = f"{number:03d}"
        images.append({"license": 1, "file_name": f"{case}.tiff", "id": number, "width": SLIDE[1], "height": SLIDE[0]})
        if number == 151:
            continue
        body = Phantom(case, SLIDE, values=(1, 2))
        if number == 405:
            write_picture(root / f"{case}.tiff", body.rgb())
        else:
            write_slide(root / f"{case}.tiff", body.rgb(), mpp=0.23)
        for category in names:
            (top, bottom), (left, right) = body.box(category)
            corners = [left, top, right, bottom] if number != 553 else [left + 0.5, top, right + 0.5, bottom]
            boxes.append({"bbox": corners, "category_id": category, "image_id": number, "labels": [category] * 2})
        annotations[case] = {"figures": list(concepts.values())}
    boxes.append({"bbox": [-27, 100, 23, 150], "category_id": 2, "image_id": 1, "labels": [2, 1, 2]})
    annotations["001"] = {"figures": [*concepts.values(), concepts[2]]}
    document = {
        "info": {"description": "MIDOG++", "version": "1.0", "year": 2023},
        "licenses": [{"id": 1, "name": "CC0"}],
        "images": images,
        "categories": [{"id": category, "name": name} for category, name in names.items()],
        "annotations": [{**box, "id": number} for number, box in enumerate(boxes, start=1)],
    }
    write_json(root / "MIDOGpp.json", document)
    write_lines(
        root.files(source=1) / "datasets_xvalidation.csv",
        "Slide;Dataset;Tumor;Scanner;Origin;Species",
        "1;train;human breast cancer;Hamammatsu XR;UMC Utrecht;Human",
        "245;train;canine lymphoma;3D Histech;VMU Vienna;Canine",
        "405;test;canine soft tissue sarcoma;3D Histech;AMC New York;Canine",
        "553;train;human melanoma;Hamamatsu XR;UMC Utrecht;Human",
    )
    return Expected(
        cases={case: case for case in annotations},
        contents={case: [] if case == "405" else ["image"] for case in annotations},
        annotations=annotations,
        left=("*datasets_xvalidation.csv",),
    )


@tree(
    "nafld",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/NAFLD.md",
        "find_string 'he_mouse_brain' (file ids 3492401094, 3761227639: png); no name of a tile was seen",
    ),
)
def nafld(root: Tree) -> Expected:
    """One zip for each class, with a folder in it or without; tiles of two classes may have one name."""
    told = {
        (0, "train", "he_mouse_brain", "1001"): "brain",
        (15, "train", "mt_rat_liver", "1001"): "liver",
        (16, "test", "normal_he_mouse_liver", "22"): "normal",
        (19, "test", "NAFLD_anomaly_mt_mouse_liver", "22"): "non-alcoholic fatty liver disease",
    }
    annotations = {}
    for (source, part, folder, tile), concept in told.items():
        pack = root.archive(f"data/{part}/{folder}.zip", source=source)
        inner = f"{folder}/" if part == "train" else ""
        write_picture(pack / f"{inner}{tile}.png", Phantom(f"{folder} {tile}", SIDE, values=(1,)).rgb())
        annotations[f"{folder}_{tile}"] = {"tissue": concept}
    return Expected(
        cases={case: case for case in annotations},
        annotations=annotations,
        split={case: "test" if case.startswith(("normal", "NAFLD")) else "train" for case in annotations},
    )


@tree(
    "nucls",
    evidence=(
        "page sites.google.com/view/nucls/data-format (columns; first channel of a mask is the class)",
        "github:PathologyDataScience/NuCLS configs/nucleus_GTcodes.csv (253 is the area of the field of view)",
        "find_string 'raw_classification,main_classification' (file id 59135923282)",
        "listing e-extras: find_string 'DX1_id-5ea4' (file ids 11368139677, 10938555735)",
    ),
)
def nucls(root: Tree) -> Expected:
    """A mask's other channels number the nuclei; nuclei without a class; what lies outside the field of view."""
    codes = {
        1: ("tumor", "tumour cell"), 2: ("fibroblast", "fibroblast"), 3: ("lymphocyte", "lymphocyte"),
        4: ("plasma_cell", "plasma cell"), 5: ("macrophage", "macrophage"), 6: ("mitotic_figure", "mitotic figure"),
        7: ("vascular_endothelium", "vascular endothelial cell"), 8: ("myoepithelium", "myoepithelial cell"),
        9: ("apoptotic_body", "apoptotic body"), 10: ("neutrophil", "neutrophil"),
        11: ("ductal_epithelium", "ductal epithelial cell"), 12: ("eosinophil", "eosinophil"),
    }  # fmt: skip
    pack = root.archive("NuCLS.zip")
    labels, patients, annotations = {}, {}, {}
    for case in (
        "TCGA-A2-A0SX-DX1_id-5ea40b05ddda5f839899743b_left-54812_top-58969_bottom-59272_right-55081",
        "TCGA-A2-A3XS-DX1_id-5ea4096dddda5f839897afad_left-26262_top-39256_bottom-39559_right-26541",
        "TCGA-A2-A3XS-DX1_id-5ea40a6addda5f839898f24a_left-57268_top-29680_bottom-29958_right-57547",
    ):
        body = Phantom(case, (72, 80), values=(*codes, 99))
        write_picture(pack / f"rgb/{case}.png", body.rgb())
        write_picture(pack / f"mask/{case}.png", _nucls_mask(body))
        write_picture(pack / f"visualization/{case}.png", body.rgb())
        rows = []
        for value in (*codes, 99):
            (top, bottom), (left, right) = body.box(value)
            name = codes[value][0] if value in codes else "unlabeled"
            rows.append(
                {
                    "": str(value),
                    "raw_classification": name,
                    "main_classification": "AMBIGUOUS",
                    "super_classification": "AMBIGUOUS",
                    "type": "polyline" if value % 2 else "rectangle",
                    "xmin": left,
                    "ymin": top,
                    "xmax": right,
                    "ymax": bottom,
                    "coords_x": f"{left},{right},{right},{left},{left}",
                    "coords_y": f"{top},{top},{bottom},{bottom},{top}",
                }
            )
        write_table(pack / f"csv/{case}.csv", rows)
        labels[case] = {"nuclei": body.counts({value: concept for value, (_, concept) in codes.items()})}
        patients[case] = case[:12]
        annotations[case] = {"boxes": [*(concept for _, concept in codes.values()), "unlabeled"]}
    write_lines(pack / "csv/all_fov_locations.csv", ",fovname,xmin,ymin,xmax,ymax")
    return Expected(
        cases=patients,
        labels=labels,
        annotations=annotations,
        left=("*visualization/*", "*all_fov_locations.csv"),
    )


def _nucls_mask(body: Phantom) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Class, and two numbers whose product tells the nucleus; the field of view does not reach the left edge."""
    mask = np.zeros((*body.shape, 3), np.uint8)
    mask[:, 1:, 0] = 253
    for value in body.values:
        mask[body.of(value)] = (value, 1, value)
    return mask


@tree(
    "oscc",
    evidence=("listing a-wholebody: github:openmedlab/Awesome-Medical-Dataset resources/OSCC.md",),
)
def oscc(root: Tree) -> Expected:
    """Two magnifications, whose numbers start over."""
    told = {
        "Normal_100x_1": "First Set/100x Normal Oral Cavity Histopathological Images",
        "OSCC_100x_1": "First Set/100x OSCC Histopathological Images",
        "Normal_400x_2": "Second Set/400x Normal Oral Cavity Histopathological Images",
        "OSCC_400x_1": "Second Set/400x OSCC Histopathological Images",
    }
    for case, folder in told.items():
        write_picture(root / f"{folder}/{case}.jpg", Phantom(case, SIDE, values=(1,)).rgb())
    return Expected(
        cases={case: case for case in told},
        annotations={
            case: {"diagnosis": "normal" if case.startswith("Normal") else "oral squamous cell carcinoma"}
            for case in told
        },
    )


@tree(
    "panda",
    evidence=(
        "listing b-brain-eyes: github:kaiko-ai/eva docs/datasets/panda.md",
        "facts d-abdomen: panda (columns of train.csv)",
    ),
)
def panda(root: Tree) -> Expected:
    """The words of the two centres differ in one column; a slide without a mask."""
    pack = root.archive("prostate-cancer-grade-assessment.zip")
    told = {
        "0005f7aaab2800f6170c399693a96917": ("karolinska", 0, "0+0"),
        "0214df71ae527e2144021178c453d204": ("radboud", 0, "negative"),
        "fb8886059879eaac70139336cb525838": ("radboud", 5, "4+5"),
    }
    rows = []
    for case, (provider, grade, score) in told.items():
        body = Phantom(case, SLIDE, values=(1, 2))
        write_slide(pack / f"train_images/{case}.tiff", body.rgb(), mpp=0.48)
        if score != "4+5":
            mask = np.dstack([body.labels, np.zeros(SLIDE), np.zeros(SLIDE)]).astype(np.uint8)
            write_slide(pack / f"train_label_masks/{case}_mask.tiff", mask, mpp=0.48)
        rows.append({"image_id": case, "data_provider": provider, "isup_grade": grade, "gleason_score": score})
    write_table(pack / "train.csv", rows)
    write_lines(pack / "test.csv", "image_id,data_provider", "005700be7e06878e6605e7a5a39de1b3,radboud")
    write_lines(pack / "sample_submission.csv", "image_id,isup_grade", "005700be7e06878e6605e7a5a39de1b3,0")
    return Expected(
        cases={case: case for case in told},
        contents={case: ["slide"] for case in told},
        annotations={case: {"isup_grade": f"ISUP grade {grade}"} for case, (_, grade, _) in told.items()},
        split=dict.fromkeys(told, "train"),
        left=("*test.csv", "*sample_submission.csv", "*train_label_masks/*"),
    )


@tree(
    "pathvqa",
    evidence=(
        "find_string 'pvqa/qas/train/train_qa.pkl' (file ids 24522288079, 31745168180)",
        "find_string 'train_qa.pkl' (file id 11685338004: it reads qas/train_vqa.pkl and qas/train/train_qa.pkl)",
        "search code 'PathVQA' (a loader with a row of val_qa.pkl: image, question, answer)",
    ),
)
def pathvqa(root: Tree) -> Expected:
    """Pickles; the same questions once more in another form; a question that occurs twice; a picture without any."""
    pack = root.archive("pvqa.zip")
    told = {
        ("train", "train_0422"): [("Where are liver stem cells (oval cells) located?", "in the canals of hering"),
                                  ("Is this a case of lymphoma?", "no")],
        ("train", "train_0423"): [("What is present?", "gastrointestinal")],
        ("val", "val_0261"): [("What have lost their nuclei?", "neutrophils")],
        ("test", "test_0001"): [("What is the picture of?", "heart"), ("What is the picture of?", "heart")],
    }  # fmt: skip
    for part in ("train", "val", "test"):
        rows = [
            {"image": image, "question": question, "answer": answer}
            for (of, image), pairs in told.items()
            if of == part
            for question, answer in pairs
        ]
        (pack / f"pvqa/qas/{part}/{part}_qa.pkl").write_bytes(pickle.dumps(rows))
        again = [{"img_id": row["image"], "sent": row["question"], "label": {row["answer"]: 1}} for row in rows]
        (pack / f"pvqa/qas/{part}_vqa.pkl").write_bytes(pickle.dumps(again))
        (pack / f"pvqa/{part}_img_id2idx.pkl").write_bytes(pickle.dumps({row["image"]: 0 for row in rows}))
    for part, image in (*told, ("train", "train_0424")):
        write_picture(pack / f"pvqa/images/{part}/{image}.jpg", Phantom(image, SIDE, values=(1,)).rgb())
    write_json(pack / "QA-pairs.json", {})
    return Expected(
        cases={f"{part}_{image}": f"{part}_{image}" for part, image in (*told, ("train", "train_0424"))},
        annotations={f"{part}_{image}": {"questions": pairs} for (part, image), pairs in told.items()},
        split={
            f"{part}_{image}": {"train": "train", "val": "validation", "test": "test"}[part]
            for part, image in (*told, ("train", "train_0424"))
        },
        excluded={"train_train_0424": "annotation.no_row"},
        left=("*QA-pairs.json", "*_vqa.pkl", "*_img_id2idx.pkl"),
    )


@tree(
    "renalcell",
    evidence=("listing e-extras: github:vahvero/RCC_textures_and_lymphocytes_publication_image_analysis file list",),
)
def renalcell(root: Tree) -> Expected:
    """Tiles of one slide in several classes; the rest class; the second task, which is another one."""
    pack, second = root.archive("tissue_classification.zip"), root.archive("binary_lymphocytes.zip")
    told = {
        ("blood", "TCGA-EU-5906_18024_35798_blood_189.png"): ["blood"],
        ("cancer", "TCGA-EU-5906_40707_15820_cancer_5163.png"): ["renal cell carcinoma"],
        ("empty", "TCGA-T7-A92I_96632_38130_empty_6164.png"): ["no tissue"],
        ("normal", "TCGA-CZ-5470_27932_55351_normal_126.png"): ["normal tissue"],
        ("other", "TCGA-G6-A8L7_88357_21706_other_534.png"): ["other"],
        ("stroma", "TCGA-CJ-4637_16744_16635_stroma_5.png"): ["stroma"],
    }
    cases, annotations = {}, {}
    for (texture, name), words in told.items():
        case = f"{texture}_{name}"
        write_picture(pack / f"tissue_classification/{texture}/{name}", Phantom(case, SIDE, values=(1,)).rgb())
        cases[case], annotations[case] = name[:12], {"texture": words}
    tile = "TCGA-G6-A8L6.svs_Immune cellsTile 37.png"
    write_picture(second / f"binary_lymphocytes/tumor/{tile}", Phantom(tile, SIDE, values=(1,)).rgb())
    return Expected(cases=cases, annotations=annotations, left=("*binary_lymphocytes/*",))


@tree(
    "wsss4luad",
    evidence=(
        "listing c-thorax: find_string '-[1, 0, 0].png' (file ids 39877768651, 28904970267, 55509716095)",
        "listing c-thorax: find_string '2.validation/background-mask' (file ids 14188930763, 13995661359)",
    ),
)
def wsss4luad(root: Tree) -> Expected:
    """Class 0 is the tumour and 3 is glass; the classes of a training tile stand in its name, several at once."""
    training = root.archive("1.training.zip")
    words = {"[1, 0, 0]": ["tumour epithelium"],
             "[0, 0, 1]": ["normal tissue"],
             "[1, 1, 0]": ["tumour epithelium", "tumour-associated stroma"]}  # fmt: skip
    annotations, labels, parts = {}, {}, {}
    for number, (vector, concepts) in enumerate(words.items()):
        tile = f"436219-{7159 + number}-48057"
        picture = Phantom(tile, SIDE, values=(1,)).rgb()
        write_picture(training / f"1.training/{tile}-{vector}.png", picture)
        annotations[f"train_{tile}"], parts[f"train_{tile}"] = {"tissues": concepts}, "train"
    validation, testing = root.archive("2.validation.zip"), root.archive("3.testing.zip")
    masks = root.archive("mask.zip", source=1)
    concepts = {1: "tumour epithelium", 2: "tumour-associated stroma", 3: "normal tissue"}
    colours = {0: (0, 64, 128), 1: (64, 128, 0), 2: (243, 152, 0), 3: (255, 255, 255)}
    for part, name in (("validation", "00"), ("validation", "39"), ("test", "01")):
        body = Phantom(f"{part} {name}", SIDE, values=concepts)
        mask = np.where(body.labels == 0, 3, body.labels - 1).astype(np.uint8)
        if part == "validation":
            write_picture(validation / f"2.validation/img/{name}.png", body.rgb())
            write_palette_picture(validation / f"2.validation/mask/{name}.png", mask, colours)
            write_picture(validation / f"2.validation/background-mask/{name}.png", mask == 3)
        else:
            write_picture(testing / f"3.testing/img/{name}.png", body.rgb())
            write_picture(testing / f"3.testing/background-mask/{name}.png", mask == 3)
            write_palette_picture(masks / f"mask/{name}.png", mask, colours)
        labels[f"{part}_{name}"], parts[f"{part}_{name}"] = {"tissue": body.counts(concepts)}, part
    return Expected(
        cases={case: case for case in parts},
        labels=labels,
        annotations=annotations,
        split=parts,
        left=("*/background-mask/*",),
    )
