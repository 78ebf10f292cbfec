"""Chest films whose class is the name of a folder or a part of the file's name, and CoronaHack with its table."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_lines, write_sheet, write_table
from trees.tree import Expected, Tree, tree

SIDE = (40, 48)


def film(root: Tree, path: str) -> None:
    """A chest film as 8 bit grey by the end of its name."""
    write_picture(root / path, Phantom(path, SIDE, values=(1, 2)).grey(), quality=100)


@tree(
    "chest-xray-pd",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/ChestX-rayPDDataset.md",
        "find_string 'covid19-pneumonia-normal-chest-xraypa-dataset' (file id 940645183: folder in the zip)",
        "find_string 'covid19-pneumonia-normal-chest-xraypa-dataset' (file id 7739411809: columns of metadata.csv)",
    ),
)
def chest_xray_pd(root: Tree) -> Expected:
    """Films of the NIH keep its names, a normal and an ill one of one person among them; the others have any name."""
    pack = root.archive("covid19-pneumonia-normal-chest-xraypa-dataset.zip")
    covid = "0C7E78DA-FAFC-480D-88B6-1459C51481AF-1068x817"
    films = {
        "normal/00000165_000.png": ("normal_00000165_000", "NIH-00000165"),
        "pneumonia/00000165_001.png": ("pneumonia_00000165_001", "NIH-00000165"),
        "normal/00000002_000.png": ("normal_00000002_000", "NIH-00000002"),
        f"covid/{covid}.jpeg": (f"covid_{covid}.jpeg", f"covid_{covid}.jpeg"),
        "pneumonia/person3_virus_15.jpeg": ("pneumonia_person3_virus_15.jpeg", "pneumonia_person3_virus_15.jpeg"),
    }
    top = "COVID19_Pneumonia_Normal_Chest_Xray_PA_Dataset"
    for path in films:
        film(pack, f"{top}/{path}")
    rows = [{"": number, "directory": path, "class": path.partition("/")[0]} for number, path in enumerate(films)]
    write_table(pack / f"{top}/metadata.csv", rows)
    words = {"normal": "normal", "pneumonia": "pneumonia", "covid": "COVID-19"}
    return Expected(
        cases=dict(films.values()),
        annotations={case: {"finding": words[path.partition("/")[0]]} for path, (case, _) in films.items()},
        modality={case: "X-ray" for case, _ in films.values()},
        left=("*/metadata.csv",),
    )


@tree(
    "coronahack",
    evidence=(
        "listing c-thorax: find_string 'Coronahack-Chest-XRay-Dataset/Coronahack-Chest' (folder doubled, table beside)",
        "find_string 'Label_2_Virus_category' (file ids 54271504984, 2955387913, 1626827: columns, words, order)",
        "find_string 'X_ray_image_name' (file id 2411950217: unnamed first column, files that have no row)",
    ),
)
def coronahack(root: Tree) -> Expected:
    """The table spells pneumonia in its own way; finer cells are empty; a film without a row."""
    pack = root.archive("coronahack-chest-xraydataset.zip")
    known = {
        "train/person1_bacteria_1.jpeg": ("Pnemonia", "", "bacteria"),
        "train/person1_bacteria_2.jpeg": ("Pnemonia", "Streptococcus", "bacteria"),
        "train/1-s2.0-S0140673620303706-fx1_lrg.jpg": ("Pnemonia", "COVID-19", "Virus"),
        "train/SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg": ("Pnemonia", "SARS", "Virus"),
        "train/ARDSSevere.png": ("Pnemonia", "ARDS", "Stress-Smoking"),
        "test/IM-0001-0001.jpeg": ("Normal", "", ""),
    }
    nobody = "train/1-s2.0-S0929664620300449-gr2_lrg-b.jpg"
    top = "Coronahack-Chest-XRay-Dataset/Coronahack-Chest-XRay-Dataset"
    for path in (*known, nobody):
        film(pack, f"{top}/{path}")
    rows = [
        {
            "": number,
            "X_ray_image_name": path.partition("/")[2],
            "Label": label,
            "Dataset_type": path.partition("/")[0].upper(),
            "Label_2_Virus_category": second,
            "Label_1_Virus_category": first,
        }
        for number, (path, (label, second, first)) in enumerate(known.items())
    ]
    write_table(pack / "Chest_xray_Corona_Metadata.csv", rows)
    write_lines(
        pack / "Chest_xray_Corona_dataset_Summary.csv",
        ",Label,Label_1_Virus_category,Label_2_Virus_category,Image_Count",
    )
    bacterial = {"finding": "pneumonia", "cause": "bacterial pneumonia"}
    viral = {"finding": "pneumonia", "cause": "viral pneumonia"}
    smoke = {"finding": "pneumonia", "cause": ["Stress-Smoking"], "agent": "acute respiratory distress syndrome"}
    said = {
        "train_person1_bacteria_1.jpeg": bacterial,
        "train_person1_bacteria_2.jpeg": {**bacterial, "agent": "streptococcal pneumonia"},
        "train_1-s2.0-S0140673620303706-fx1_lrg.jpg": {**viral, "agent": "COVID-19"},
        "train_SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg": {**viral, "agent": "SARS"},
        "train_ARDSSevere.png": smoke,
        "test_IM-0001-0001.jpeg": {"finding": "normal"},
    }
    cases = [path.replace("/", "_", 1) for path in (*known, nobody)]
    return Expected(
        cases={case: "person1" if "_person1_" in case else case for case in cases},
        annotations=said,
        split={case: case.partition("_")[0] for case in cases},
        left=("*_Summary.csv",),
    )


@tree(
    "covid19-ct-scan-images",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/COVID-19-CT_SCAN_IMAGES.md",
        "its archive was seen nowhere, so plain files",
    ),
)
def covid19_ct_scan_images(root: Tree) -> Expected:
    """A name of the collection of positives stands among the negatives too."""
    top = "COVID-19-CT SCAN IMAGES_COVID_datasets"
    films = {
        "Neg": ("F051E018-DAD1-4506-AD43-BE4CA29E960B.jpeg", "IM-0115-0001.jpeg"),
        "Pos": ("01E392EE-69F9-4E33-BFCE-E5C968654078.jpeg",),
    }
    said = {}
    for kind, names in films.items():
        for name in names:
            film(root, f"{top}/COVID-19-CT SCAN IMAGES_{kind}_Samples_datasets/{name}")
            said[f"{kind}_{name}"] = {"finding": "COVID-19" if kind == "Pos" else "COVID-19 negative"}
    write_lines(root / f"{top}/Train.xls", "a list of the names")
    return Expected(cases={case: case for case in said}, annotations=said, left=("*/Train.xls",))


@tree(
    "covid19-radiography-v3886",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/COVID-19_CHEST_X-RAY_DATABASE.md",
    ),
)
def covid19_radiography(root: Tree) -> Expected:
    """Blanks and brackets in the names; tables of where the films are from."""
    pack = root.archive("COVID-19 Radiography Database.zip")
    words = {"COVID": "COVID-19", "NORMAL": "normal", "Viral Pneumonia": "viral pneumonia"}
    said = {}
    for kind, number in (("COVID", 1), ("NORMAL", 2), ("Viral Pneumonia", 1), ("Viral Pneumonia", 1345)):
        film(pack, f"COVID-19 Radiography Database/{kind}/{kind} ({number}).png")
        said[f"{kind} ({number})"] = {"finding": words[kind]}
    for kind in ("COVID", "NORMAL", "Viral Pneumonia"):
        rows = [{"FILE NAME": f"{kind}-1", "FORMAT": "PNG", "SIZE": "1024*1024", "URL": "-"}]
        write_sheet(pack / f"COVID-19 Radiography Database/{kind}.metadata.xlsx", rows)
    return Expected(cases={case: case for case in said}, annotations=said, left=("*.metadata.xlsx",))


@tree(
    "covidgr",
    evidence=(
        "listing c-thorax: find_string 'COVIDGR_1.0' (file ids 46867264815, 32806843142)",
        "github:openmedlab/Awesome-Medical-Dataset resources/COVIDGR.md",
        "find_string 'image_labels_train.csv' (file id 66482690876: folders P and N)",
    ),
)
def covidgr(root: Tree) -> Expected:
    """Two folders; the names are digests."""
    pack = root.archive("COVIDGR_1.0.zip")
    names = {
        "N": ("0b54ce0c4f7f6ea5862f75c1d1d33311", "0b54ce0c4f7f6ea5862f75c1d1d33312"),
        "P": ("00b05aa3cb325265b9ded3f1a9f704c8",),
    }
    said = {}
    for kind, digests in names.items():
        for digest in digests:
            film(pack, f"COVIDGR_1.0/{kind}/{digest}.jpg")
            said[f"{kind}_{digest}"] = {"finding": "COVID-19" if kind == "P" else "COVID-19 negative"}
    return Expected(cases={case: case for case in said}, annotations=said)


@tree(
    "sz-cxr",
    evidence=(
        "listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/Shenzhen_chest_X-ray.md",
        "find_string 'mask/mask/CHNCXR' (file ids 71333481067, 71400471360: place, number and values of the masks)",
        "find_string 'shcxr-lung-mask' (file ids 38138589546, 5906695290: folder mask in a folder mask)",
        "find_string 'CHNCXR_0001_0.txt' (file ids 70939471125, 70391776387: form of a reading)",
    ),
)
def sz_cxr(root: Tree) -> Expected:
    """Films, some in RGB, with readings; masks of both lungs for some, from another source."""
    films, masks = root.archive("ChinaSet_AllFiles.zip"), root.archive("shcxr-lung-mask.zip", source=2)
    readings = {
        "CHNCXR_0001_0": "male 45yrs\nnormal",
        "CHNCXR_0003_0": "male 16month\nnormal",
        "CHNCXR_0327_1": "female 28yrs\nSTB",
    }
    labels = {}
    for case, text in readings.items():
        body = Phantom(case, SIDE, values=(1,))
        film_pixels = body.grey()
        if case == "CHNCXR_0327_1":
            film_pixels = np.stack([film_pixels] * 3, axis=-1)
        write_picture(films / f"ChinaSet_AllFiles/CXR_png/{case}.png", film_pixels)
        write_lines(films / f"ChinaSet_AllFiles/ClinicalReadings/{case}.txt", *text.split("\n"))
        if case != "CHNCXR_0003_0":
            write_picture(masks / f"mask/mask/{case}_mask.png", body.of(1))
            labels[case] = {"lung": body.counts({1: "lung"})}
    write_lines(films / "ChinaSet_AllFiles/NLM-ChinaCXRSet-ReadMe.docx", "read me")
    return Expected(
        cases={case: case.split("_")[1] for case in readings},
        labels=labels,
        annotations={
            case: {"finding": "tuberculosis" if case.endswith("_1") else "normal", "reading": text}
            for case, text in readings.items()
        },
        left=("*ReadMe.docx",),
    )
