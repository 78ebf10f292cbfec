"""Pictures with texts: captions, reports, questions and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_json, write_json_lines, write_lines, write_sheet, write_table
from trees.tree import Expected, Tree, tree

SIDE = (40, 44)
Pairs = Sequence[tuple[str, str]]


def picture(path: Path, *, values: Sequence[int] = ()) -> Phantom:
    body = Phantom(path.name + path.parent.name, SIDE, values=values)
    write_picture(path, body.rgb())
    return body


@tree(
    "pmc-oa",
    evidence=(
        "listing e-extras: find_string 'pmc_oa.jsonl' (file ids 52283250732, 43220032675, 71376091614)",
        "find_string 'caption_T060_filtered_top4' (file ids 991737104, 30234649723: folder; image and caption)",
    ),
)
def pmc_oa(root: Tree) -> Expected:
    """A folder in the zip with a name of its own; two figures of one article; a caption without a picture."""
    pack = root.archive("images.zip")
    captions = {
        "PMC212319_Fig3_4": "A. Real time image of the translocation of ARF1-GFP.",
        "PMC212319_Fig3_5": "B. The same field, after 30 s \u2013 see \u00abMethods\u00bb.",
        "PMC8253756_Fig2_0": "Axial CT, \"soft tissue\" window",
    }  # fmt: skip
    for name in captions:
        picture(pack / f"caption_T060_filtered_top4_sep_v0_subfigures/{name}.jpg")
    rows = [{"image": f"{name}.jpg", "caption": caption} for name, caption in captions.items()]
    write_json_lines(root / "pmc_oa.jsonl", [*rows, {"image": "PMC1_Fig1_1.jpg", "caption": "lost"}])
    return Expected(
        cases={name: name.partition("_")[0] for name in captions},
        annotations={name: {"caption": caption} for name, caption in captions.items()},
    )


@tree(
    "pmc-vqa",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/PMC-VQA.md",
        "public scripts (file ids 4937183306, 44820839266): columns, choices with letters, answers of version 2",
    ),
)
def pmc_vqa(root: Tree) -> Expected:
    """Choices repeat their letter; the answer is the words in one version and the letter in the other."""
    pack, second = root.archive("images.zip", source=1), root.archive("images_2.zip", source=3)
    for name in ("PMC479042_pbio-0020244-g007_164", "PMC509297_pbio-0020225-g003_255"):
        picture(pack / f"images/{name}.jpg")
    picture(second / "figures/PMC1065321_F6.jpg")

    def row(name: str, question: str, choices: str, label: str) -> dict[str, str]:
        words = choices.split("|")
        told = {f"Choice {letter}": f" {letter}:{word} " for letter, word in zip("ABCD", words, strict=True)}
        answer = words["ABCD".index(label)]
        return {"Figure_path": f"{name}.jpg", "Question": question, "Answer": answer, **told, "Answer_label": label}

    asked = " What is the uptake pattern in the breast? "
    first = row("PMC479042_pbio-0020244-g007_164", asked, "Diffuse|Focal|Regional|None of these", "B")
    more = row("PMC479042_pbio-0020244-g007_164", "Which stain, if any?", "H&E|Gram|None|Oil, red", "D")
    tested = row("PMC509297_pbio-0020225-g003_255", "Which plane?", "axial|coronal|sagittal|oblique", "A")
    write_table(root / "train.csv", [first, more])
    write_table(root / "test.csv", [tested])
    write_table(root / "test_clean.csv", [tested])
    old = row("PMC1065321_F6", "Which organ?", "Liver|Lung|Heart|Spleen", "C")
    columns = ("Figure_path", "Question", "Choice A", "Choice B", "Choice C", "Choice D")
    two = root.files(source=2)
    write_table(
        two / "train_2.csv",
        [
            {"index": "0", "Caption": "A heart."}
            | {key: old[key] for key in columns}
            | {"Answer": "C", "split": "train"}
        ],
    )
    lost = {key: tested[key] for key in columns} | {"Answer": "A", "split": "test"}
    write_table(two / "test_2.csv", [{"index": "0", "Caption": ""} | lost])
    cases = {
        "PMC479042_pbio-0020244-g007_164": "PMC479042",
        "PMC509297_pbio-0020225-g003_255": "PMC509297",
        "version_2_PMC1065321_F6": "PMC1065321",
    }
    pairs = [("What is the uptake pattern in the breast?", "Focal"), ("Which stain, if any?", "Oil, red")]
    return Expected(
        cases=cases,
        annotations={
            "PMC479042_pbio-0020244-g007_164": {"questions_train": pairs},
            "PMC509297_pbio-0020225-g003_255": {
                "questions_test": [("Which plane?", "axial")],
                "questions_test_clean": [("Which plane?", "axial")],
            },
            "version_2_PMC1065321_F6": {"questions_train": [("Which organ?", "Heart")]},
        },
    )


@tree(
    "rocov2",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/ROCOV2.md",
        "public scripts (file ids 61707584751, 69545190647, 65928319895): ID, Caption, CUIs with semicolons, train/",
    ),
)
def rocov2(root: Tree) -> Expected:
    """Three zips and a table of each kind for each part; words of a vocabulary that is not listed."""
    told: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
        "train": (
            ("ROCOv2_2023_train_000001", "Chest CT, \"lung window\"; CC BY [Doe et al. (2021)]",
             "C0040405;C0817096", "C0040405"),
            ("ROCOv2_2023_train_000002", "Panoramic view", "C1306645", "C1306645;C0037303"),
        ),
        "valid": (("ROCOv2_2023_valid_000001", "Ultrasound of the left kidney", "C0041618", "C0041618"),),
        "test": (("ROCOv2_2023_test_000001", "MRI\u00a0of the knee", "C0024485;C0022742", "C0024485"),),
    }  # fmt: skip
    said, split = {}, {}
    for part, rows in told.items():
        pack = root.archive(f"{part}_images.zip")
        for name, caption, automatic, manual in rows:
            picture(pack / f"{part}/{name}.jpg")
            found = {"concepts": automatic, "concepts_manual": manual}
            listed = {key: [cui for cui in value.split(";") if cui] for key, value in found.items()}
            said[name] = {"caption": caption, **listed}
            split[name] = {"valid": "validation"}.get(part, part)
        write_table(root / f"{part}_captions.csv", [{"ID": name, "Caption": caption} for name, caption, *_ in rows])
        write_table(root / f"{part}_concepts.csv", [{"ID": name, "CUIs": cuis} for name, _, cuis, _ in rows])
        write_table(root / f"{part}_concepts_manual.csv", [{"ID": name, "CUIs": cuis} for name, *_, cuis in rows])
    write_table(root / "cui_mapping.csv", [{"CUI": "C0040405", "Canonical name": "X-Ray Computed Tomography"}])
    write_table(root / "license_information.csv", [{"ID": "ROCOv2_2023_train_000001", "License": "CC BY"}])
    return Expected(
        cases={name: name for name in said},
        annotations=said,
        split=split,
        left=("cui_mapping.csv", "license_information.csv"),
    )


@tree(
    "slake",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/SLAKE.md; 'imgs/xmlab102/source.jpg'",
        "file id 47059573153 prints the keys of a pair; boxes as organ: x, y, width, height from memory",
    ),
)
def slake(root: Tree) -> Expected:
    """Pairs in two languages; boxes as one record for each; masks whose values nobody told."""
    pack = root.archive("imgs.zip")
    told = {
        "xmlab102": ("train.json", ("Lung", "Heart"), "CT"),
        "xmlab1": ("train.json", (), "MRI"),
        "xmlab0": ("validation.json", ("Liver",), "CT"),
        "xmlab7": ("test.json", ("Brain",), "MRI"),
    }
    tables: dict[str, list[dict[str, object]]] = {"train.json": [], "validation.json": [], "test.json": []}
    said: dict[str, dict[str, object]] = {}
    for number, (name, (table, organs, modality)) in enumerate(told.items()):
        body = picture(pack / f"imgs/{name}/source.jpg", values=range(1, len(organs) + 1))
        boxes = []
        for value, organ in enumerate(organs, start=1):
            (top, bottom), (left, right) = body.box(value)
            boxes.append({organ: [float(left), float(top), float(right - left), float(bottom - top)]})
        write_json(pack / f"imgs/{name}/detection.json", boxes)
        write_picture(pack / f"imgs/{name}/mask.png", body.rgb())
        pairs = (
            ("en", "What modality is used to take this image?", modality),
            ("zh", "\u8fd9\u662f\u4ec0\u4e48?", modality),
        )
        rows = [
            {
                "img_id": int(name[5:]), "img_name": f"{name}/source.jpg", "question": question, "answer": answer,
                "q_lang": language, "location": "Lung", "modality": modality, "answer_type": "OPEN",
                "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": 11934 + number,
            }
            for language, question, answer in pairs
        ]  # fmt: skip
        write_json(pack / f"imgs/{name}/question.json", rows)
        tables[table].extend(rows)
        part = {"train.json": "train", "validation.json": "validation", "test.json": "test"}[table]
        said[name] = {"regions": list(organs), f"questions_{part}": [pair[1:] for pair in pairs]}
    for table, rows in tables.items():
        write_json(root / table, rows)
    write_lines(root / "mask.txt", "1:Liver")
    return Expected(
        cases={name: name for name in told},
        annotations=said,
        split={"xmlab102": "train", "xmlab1": "train", "xmlab0": "validation", "xmlab7": "test"},
        left=("*/mask.png", "*/question.json", "mask.txt"),
        aligned=False,
    )


@tree(
    "vqa-med-2019",
    evidence=(
        "listing e-extras: github:openmedlab/Awesome-Medical-Dataset resources/ImageClef-2019-VQA-Med.md",
        "public loaders (file ids 40977801624, 54756411429, 29545165200): lines with bars, a category in the test part",
    ),
)
def vqa_med_2019(root: Tree) -> Expected:
    """Lines with bars; quotes and commas in them mean nothing; pictures of the test part in a zip in the zip."""
    said: dict[str, dict[str, Pairs]] = {}
    parts = (
        ("Training", "Train", "train", "synpic41148", (("what kind of image is this?", "cta - ct angiography"),
                                                       ("is this a \"t1\" image?", "no"))),
        ("Training", "Train", "train", "synpic43984", (("what plane, if any?", "axial"),)),
        ("Validation", "Val", "val", "synpic52143", (("which organ is shown?", "heart and great vessels"),)),
    )  # fmt: skip
    packs = {part: root.archive(f"ImageClef-2019-VQA-Med-{part}.zip") for part in ("Training", "Validation")}
    lines: dict[tuple[str, str], list[str]] = {}
    for part, folder, word, name, pairs in parts:
        top = f"ImageClef-2019-VQA-Med-{part}"
        picture(packs[part] / f"{top}/{folder}_images/{name}.jpg")
        lines.setdefault((part, word), []).extend(f"{name}|{question}|{answer}" for question, answer in pairs)
        said[name] = {"questions": pairs}
    for (part, word), listed in lines.items():
        top = f"ImageClef-2019-VQA-Med-{part}"
        write_lines(packs[part] / f"{top}/All_QA_Pairs_{word}.txt", *listed)
        write_lines(packs[part] / f"{top}/{word}_ImageIDs.txt", *{line.partition("|")[0] for line in listed})
        write_lines(packs[part] / f"{top}/QAPairsByCategory/C1_Modality_{word}.txt", listed[0])
    test = root.archive("VQAMed2019Test.zip")
    inner = test.archive("VQAMed2019Test/VQAMed2019_Test_Images.zip")
    picture(inner / "VQAMed2019_Test_Images/synpic54082.jpg")
    write_lines(
        test / "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt",
        "synpic54082|modality|what imaging modality was used?|us - ultrasound",
    )
    write_lines(test / "VQAMed2019Test/VQAMed2019_Test_Questions.txt", "synpic54082|what imaging modality was used?")
    write_lines(test / "VQAMed2019Test/README-VQA-Med-2019-TestSet.txt", "read me")
    said["synpic54082"] = {"questions": [("what imaging modality was used?", "us - ultrasound")]}
    return Expected(
        cases={name: name for name in said},
        annotations=said,
        split={"synpic41148": "train", "synpic43984": "train", "synpic52143": "validation", "synpic54082": "test"},
        left=("*_ImageIDs.txt", "*/QAPairsByCategory/*", "*_Questions.txt", "*/README-*"),
    )


@tree(
    "vqa-rad",
    evidence=(
        "listing e-extras: find_string 'synpic100132.jpg', 'VQA_RAD Image Folder/synpic' (file id 47696484735)",
        "file ids 47059573153, 5864612969 print a record",
    ),
)
def vqa_rad(root: Tree) -> Expected:
    """A blank in names; answers with a blank at their end, and answers that are numbers."""
    told: Mapping[str, Sequence[tuple[str, str | int]]] = {
        "synpic54610": (("Are regions of the brain infarcted?", "Yes"), ("Is there an infarct?", "Yes ")),
        "synpic29265": (("How many lesions are in the spleen?", 1),),
        "synpic100132": (("What is the location of the lesion?", "Right, basal ganglia\t"),),
    }
    rows = []
    for name, pairs in told.items():
        picture(root / f"VQA_RAD Image Folder/{name}.jpg")
        for question, answer in pairs:
            rows.append(
                {
                    "qid": len(rows), "phrase_type": "freeform",
                    "qid_linked_id": "03f451ca-de62-4617-9679-e836026a7642",
                    "image_name": f"{name}.jpg", "image_organ": "HEAD", "evaluation": "not evaluated",
                    "question": question, "question_rephrase": "NULL", "question_type": "PRES", "answer": answer,
                    "answer_type": "CLOSED",
                }
            )  # fmt: skip
    write_json(root / "VQA_RAD Dataset Public.json", rows)
    write_sheet(root / "VQA_RAD Dataset Public.xlsx", rows)
    write_lines(root / "VQA_RAD Dataset Public.xml", "<data/>")
    (root / "Readme.docx").write_bytes(b"PK\5\6" + bytes(18))
    return Expected(
        cases={name: name for name in told},
        annotations={
            name: {"questions": [(question, str(answer).strip()) for question, answer in pairs]}
            for name, pairs in told.items()
        },
        left=("*.xlsx", "*.xml", "Readme.docx"),
    )
