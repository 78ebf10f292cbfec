"""Fundus pictures with classes: folders that are classes, and tables of many diseases at once."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_lines, write_sheet, write_table
from trees.tree import Expected, Tree, tree

SIDE = (40, 44)


def table_of_flags(codes: str, *rows: tuple[str, str], first: str = "ID") -> list[dict[str, str]]:
    """A row for each (name, codes that are 1), every other code 0."""
    columns = codes.split()
    return [{first: name, **{code: str(int(code in on.split())) for code in columns}} for name, on in rows]


@tree(
    "jsiec",
    evidence=(
        "listing b-brain-eyes: find_string '8d87-11e8-9daf-6045cb817f5b' (file ids 52577653408, 23862931143)",
        "github:pth1993/Ophthalmology-Data JSIEC.md prints all 39 folders",
    ),
)
def jsiec(root: Tree) -> Expected:
    """Two dots before the suffix, which is in upper or lower case."""
    pack = root.archive("fundusimage1000.zip", source=1)
    told = (
        ("0.0.Normal", "1ffa962d-8d87-11e8-9daf-6045cb817f5b..JPG", "normal"),
        ("29.1.Blur fundus with suspected PDR", "1ffa9632-8d87-11e8-9daf-6045cb817f5b..jpg",
         "blurred fundus with suspected proliferative diabetic retinopathy"),
        ("3.RAO", "1ffa963a-8d87-11e8-9daf-6045cb817f5b.JPG", "retinal artery occlusion"),
    )  # fmt: skip
    said = {}
    for folder, name, concept in told:
        write_picture(pack / f"1000images/{folder}/{name}", Phantom(name, SIDE).rgb())
        said[f"{folder}_{name.partition('.')[0]}"] = {"category": concept}
    return Expected(cases={case: case for case in said}, annotations=said)


MURED = "DR NORMAL MH ODC TSLN ARMD DN MYA BRVO ODP CRVO CNV RS ODE LS CSR HTR ASR CRS OTHER"


@tree(
    "mured",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/Multi-LabelRetinalDiseases.md",
        "find_string 'mured/train_data.csv' (file ids 67639743038, 70223375031: tables and names in ID)",
    ),
)
def mured(root: Tree) -> Expected:
    """Brackets in names, two formats, a table for each part; a row whose picture is missing."""
    pack = root.archive("pc4mb3h8hz-1.zip")
    top = "Multi-Label Retinal Diseases Dataset"
    for name in ("(0001)aria_d_26.tif", "aria_c_25_1.tif", "1004.png"):
        write_picture(pack / f"{top}/images/{name}", Phantom(name, SIDE).rgb())
    train = table_of_flags(MURED, ("(0001)aria_d_26", "DR DN"), ("aria_c_25_1", "NORMAL"), ("aria_d_9_3", "DR"))
    write_table(pack / f"{top}/train_data.csv", train)
    write_table(pack / f"{top}/val_data.csv", table_of_flags(MURED, ("1004", "CRS OTHER")))
    return Expected(
        cases={case: case for case in ("(0001)aria_d_26", "aria_c_25_1", "1004")},
        split={"(0001)aria_d_26": "train", "aria_c_25_1": "train", "1004": "validation"},
        annotations={
            "(0001)aria_d_26": {"diseases": ["diabetic retinopathy", "drusen"]},
            "aria_c_25_1": {"diseases": "normal"},
            "1004": {"diseases_validation": ["chorioretinitis", "OTHER"]},
        },
    )


@tree(
    "refuge",
    evidence=(
        "listing b-brain-eyes: find_string 'Training400/Glaucoma/g0001', 'REFUGE-Test-GT/'",
        "public loaders (file ids 13066112991, 66252480805, 14650281774): archives, sheets and their columns",
    ),
)
def refuge(root: Tree) -> Expected:
    """Black cup, grey rim and white background; every part has another layout and another word for the class."""
    archives = {
        name: root.archive(f"{name}.zip", source=1)
        for name in (
            "REFUGE-Training400", "Annotation-Training400", "REFUGE-Validation400", "REFUGE-Validation400-GT",
            "REFUGE-Test400", "REFUGE-Test-GT",
        )
    }  # fmt: skip
    told = (
        ("g0001", "REFUGE-Training400", "Training400/Glaucoma", "Annotation-Training400", "Glaucoma/"),
        ("n0001", "REFUGE-Training400", "Training400/Non-Glaucoma", "Annotation-Training400", "Non-Glaucoma/"),
        ("V0001", "REFUGE-Validation400", "REFUGE-Validation400", "REFUGE-Validation400-GT", ""),
        ("T0001", "REFUGE-Test400", "Test400", "REFUGE-Test-GT", "G/"),
        ("T0002", "REFUGE-Test400", "Test400", "REFUGE-Test-GT", "N/"),
    )
    labels = {}
    for case, pictures, folder, masks, below in told:
        body = Phantom(case, SIDE, values=(1, 2))
        write_picture(archives[pictures] / f"{folder}/{case}.jpg", body.rgb())
        grey = np.array([255, 0, 128], np.uint8)[body.labels]
        write_picture(archives[masks] / f"{masks}/Disc_Cup_Masks/{below}{case}.bmp", grey)
        labels[case] = {"disc": body.counts({1: "optic cup", 2: "neuroretinal rim"})}
    fovea = {"Fovea_X": 20.5, "Fovea_Y": 18.25}
    write_sheet(
        archives["Annotation-Training400"] / "Annotation-Training400/Fovea_location.xlsx",
        [{"ID": number, "ImgName": f"{case}.jpg", **fovea} for number, case in enumerate(("g0001", "n0001"), 1)],
    )
    write_sheet(
        archives["REFUGE-Validation400-GT"] / "REFUGE-Validation400-GT/Fovea_locations.xlsx",
        [{"ID": 1, "ImgName": "V0001.jpg", **fovea, "Glaucoma Label": 0}],
    )
    write_sheet(
        archives["REFUGE-Test-GT"] / "REFUGE-Test-GT/Glaucoma_label_and_Fovea_location.xlsx",
        [
            {"ID": 1, "ImgName": "T0001.jpg", "Label(Glaucoma=1)": 1, **fovea},
            {"ID": 2, "ImgName": "T0002.jpg", "Label(Glaucoma=1)": 0, **fovea},
        ],
    )
    glaucoma = {
        "g0001": {"glaucoma": "present"},
        "n0001": {"glaucoma": "absent", "Non-Glaucoma": "present"},
        "V0001": {"glaucoma": "absent"},
        "T0001": {"glaucoma": "present"},
        "T0002": {"glaucoma": "absent"},
    }
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={"g0001": "train", "n0001": "train", "V0001": "validation", "T0001": "test", "T0002": "test"},
        annotations={case: {"glaucoma": states} for case, states in glaucoma.items()},
        left=("*/Fovea_location.xlsx",),
        aligned=False,
    )


@tree(
    "retina",
    evidence=(
        "listing b-brain-eyes: github:yiweichen04/retina_dataset file list",
        "find_string 'retina_dataset-master/dataset' (file id 32707980492)",
    ),
)
def retina(root: Tree) -> Expected:
    """The archive of a GitHub repository, with its README."""
    pack = root.archive("retina_dataset-master.zip")
    told = {
        "NL_001": ("1_normal", "normal"),
        "cataract_001": ("2_cataract", "cataract"),
        "Glaucoma_001": ("3_glaucoma", "glaucoma"),
        "Retina_002": ("4_retina_disease", "retinal disease"),
    }
    write_lines(pack / "retina_dataset-master/README.md", "# retina_dataset")
    for name, (folder, _) in told.items():
        write_picture(pack / f"retina_dataset-master/dataset/{folder}/{name}.png", Phantom(name, SIDE).rgb())
    return Expected(
        cases={name: name for name in told},
        annotations={name: {"category": concept} for name, (_, concept) in told.items()},
        left=("*/README.md",),
    )


RFMID = (
    "Disease_Risk DR ARMD MH DN MYA BRVO TSLN ERM LS MS CSR ODC CRVO TV AH ODP ODE ST AION PT RT RS CRS EDN RPEC MHL "
    "RP CWS CB ODPM PRH MNF HR CRAO TD CME PTCR CF VH MCA VS BRAO PLQ HPED CL"
)


@tree(
    "rfmid-1-0",
    evidence=(
        "listing b-brain-eyes: find_string 'Evaluation_Set/Evaluation_Set'",
        "find_string 'Evaluation_Set/RFMiD_Validation_Labels.csv' (file ids 40156702347, 36061954882: tables, columns)",
    ),
)
def rfmid_1(root: Tree) -> Expected:
    """Pictures are numbered from 1 in every part; the table of the test part has another word in its name."""
    pack = root.archive("retinal-disease-classification.zip", source=1)
    told = (
        ("Training", "Training_Set", "Training", "Disease_Risk DR ODC"),
        ("Validation", "Evaluation_Set", "Validation", ""),
        ("Test", "Test_Set", "Testing", "Disease_Risk CL"),
    )
    for part, folder, word, on in told:
        write_picture(pack / f"{folder}/{folder}/{part}/1.png", Phantom(part, SIDE).rgb())
        rows = table_of_flags(RFMID, ("1", on), ("2", "Disease_Risk MH"))
        write_table(pack / f"{folder}/{folder}/RFMiD_{word}_Labels.csv", rows)
    return Expected(
        cases={f"{part}_1": f"{part}_1" for part, *_ in told},
        split={"Training_1": "train", "Validation_1": "validation", "Test_1": "test"},
        annotations={
            "Training_1": {"conditions": ["retinal disease", "diabetic retinopathy", "optic disc cupping"]},
            "Validation_1": {"conditions": []},
            "Test_1": {"conditions": ["retinal disease", "retinal collateral"]},
        },
    )


RFMID_2 = (
    "WNL AH AION ARMD BRVO CB CF CL CME CNV CRAO CRS CRVO CSR CWS CSC DN DR EDN ERM GRT HPED HR LS MCA ME MH MHL MS "
    "MYA ODC ODE ODP ON OPDM PRH RD RHL RTR RP RPEC RS RT SOFE ST TD TSLN TV VS HTN IIH"
)


@tree(
    "rfmid-2-0",
    evidence=(
        "listing b-brain-eyes: find_string 'RFMiD_2_Training' (file ids 27112383083, 21152655853, 53393952820)",
        "file ids 55610645933, 52962062185: 51 columns, blank in the name of ON, unnamed last column, Latin-1",
    ),
)
def rfmid_2(root: Tree) -> Expected:
    """A zip for each part in the zip; tables in Latin-1 with a blank that does not break in the name of a column."""
    pack = root.archive("RFMiD2_0.zip")
    told = (
        ("Training", "Training", "1.jpg", "DR ON"),
        ("Validation", "Validation", "510.JPG", "WNL"),
        ("Test", "Testing", "688.jpg", "MH RP"),
    )
    for part, word, name, on in told:
        inner = pack.archive(f"{part}_set.zip")
        write_picture(inner / f"{part}_set/{name}", Phantom(name, SIDE).rgb())
        rows = table_of_flags(RFMID_2, (name.partition(".")[0], on))
        header = ",".join(f"{column}\xa0" if column == "ON" else column for column in rows[0])
        lines = [f"{header},", *(",".join(row.values()) + "," for row in rows)]
        table = inner / f"{part}_set/RFMiD_2_{word}_labels.csv"
        table.write_bytes("\r\n".join([*lines, ""]).encode("latin-1"))
    return Expected(
        cases={f"{part}_{name.partition('.')[0]}": f"{part}_{name.partition('.')[0]}" for part, _, name, _ in told},
        split={"Training_1": "train", "Validation_510": "validation", "Test_688": "test"},
        annotations={
            "Training_1": {"conditions": ["diabetic retinopathy", "optic neuritis"]},
            "Validation_510": {"conditions": ["normal"]},
            "Test_688": {"conditions": ["MH", "retinitis pigmentosa"]},
        },
    )


@tree(
    "toxofundus",
    evidence=("listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/ToxoFundus.md",),
)
def toxofundus(root: Tree) -> Expected:
    """Folders in folders of the same name; a processed copy of most eyes; files of a file browser between them."""
    pack = root.archive("ocular-toxoplasmosis-fundus-images-dataset.zip")
    told = {
        "114": ("active", "Diseased", ["active ocular toxoplasmosis"]),
        "101": ("active_inactive", "Diseased", ["active ocular toxoplasmosis", "inactive ocular toxoplasmosis"]),
        "10": ("healthy", "Healthy", ["normal"]),
        "747": ("inactive_inactive", "", ["inactive ocular toxoplasmosis"]),
    }
    raw, processed = "Data_Raw_6class_All/Data_Raw_6class_All", "Data_Processed_Paper/Data_Processed_Paper"
    images = {}
    for name, (stage, group, _) in told.items():
        body = Phantom(name, SIDE)
        write_picture(pack / f"{raw}/{stage}/{name}.jpg", body.rgb())
        images[name] = {"raw": (1, *SIDE)}
        if group:
            write_picture(pack / f"{processed}/{group}/GG_{name}.jpg", body.rgb()[:32, :32])
            images[name] = {"raw": (1, *SIDE), "processed": (1, 32, 32)}
    for folder in (".", raw, processed):
        (pack / f"{folder}/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return Expected(
        cases={name: name for name in told},
        images=images,
        annotations={
            name: {"stage": stages, "disease": "normal" if name == "10" else "ocular toxoplasmosis"}
            for name, (_, _, stages) in told.items()
        },
    )
