"""Questions with answers, of which a case is a whole file."""

from __future__ import annotations

from trees.table_files import write_json, write_json_lines, write_lines, write_parquet, write_table
from trees.tree import Expected, Tree, tree


@tree(
    "medmcqa",
    evidence=(
        "corpus docs: huggingface openlifescienceai/medmcqa README, augtoma/medmcqa tree (names of the parquet files)",
        "corpus docs: tensorflow.org community catalog medmcqa (fields; the test part has the answer -1)",
    ),
)
def medmcqa(root: Tree) -> Expected:
    """Answers count from 0; those of the test part are held back as -1; an explanation may be missing."""

    def row(number: int, question: str, options: tuple[str, ...], cop: int, exp: str | None) -> dict[str, object]:
        choices = dict(zip(("opa", "opb", "opc", "opd"), options, strict=True))
        return {"id": f"id-{number}", "question": question, **choices, "cop": cop, "choice_type": "single",
                "exp": exp, "subject_name": "Anatomy", "topic_name": None}  # fmt: skip

    lobes = ("One", "Two", "Three", "Four")
    valves = ("Mitral", "Tricuspid", "Aortic", "Pulmonary")
    shard = "00000-of-00001.parquet"
    write_parquet(
        root / f"data/train-{shard}",
        [
            row(1, "How many lobes has the right lung?", lobes, 2, "Upper, middle and lower."),
            row(2, "Which valve has two cusps?", valves, 0, None),
        ],
    )
    write_parquet(root / f"data/validation-{shard}", [row(3, "How many lobes has the left lung?", lobes, 1, None)])
    write_parquet(root / f"data/test-{shard}", [row(4, "Which valve lies on the right?", valves, -1, None)])
    write_lines(root / "README.md", "# MedMCQA")
    return Expected(
        cases={case: case for case in (f"{part}_00000-of-00001" for part in ("train", "validation", "test"))},
        split={f"{part}_00000-of-00001": part for part in ("train", "validation", "test")},
        contents={"train_00000-of-00001": ["questions"]},
        annotations={
            "train_00000-of-00001": {
                "answers": [
                    ("How many lobes has the right lung?", "Three"),
                    ("Which valve has two cusps?", "Mitral"),
                ]
            },
            "validation_00000-of-00001": {"answers": [("How many lobes has the left lung?", "Two")]},
            "test_00000-of-00001": {"answers": 1},
        },
        columns={
            "train_00000-of-00001": {"questions": {"exp": ["Upper, middle and lower.", None], "cop": [2, 0]}},
            "test_00000-of-00001": {"questions": {"cop": [-1]}},
        },
        left=("README.md",),
    )


def medqa_row(question: str, options: tuple[str, ...], right: int) -> dict[str, object]:
    choices = dict(zip("ABCDE", options, strict=False))
    letter = "ABCDE"[right]
    return {"question": question, "answer": choices[letter], "options": choices, "meta_info": "step1",
            "answer_idx": letter}  # fmt: skip


@tree(
    "medqa",
    evidence=(
        "github:jind11/MedQA README.md",
        "find_string 'data_clean/questions/US' (paths in public loaders)",
        'find_string \'"answer_idx": "\' (file ids 54744490947, 59156587227, 34797369342: the fields of a line)',
    ),
)
def medqa(root: Tree) -> Expected:
    """Three countries; choices as a dictionary by letter; a second form with four choices, and textbooks."""
    pack = root.archive("data_clean.zip")
    asked = {
        "US": ("Which nerve lifts the shoulder?", ("Accessory", "Vagus", "Facial", "Phrenic", "Ulnar")),
        "Mainland": ("骨骼肌的神经递质是", ("乙酰胆碱", "多巴胺", "去甲肾上腺素", "组胺", "5-羟色胺")),
        "Taiwan": ("下列何者為維生素C缺乏", ("壞血病", "佝僂病", "腳氣病", "夜盲症")),
    }
    cases, split, answers = {}, {}, {}
    for folder, (question, options) in asked.items():
        for number, (part, shipped) in enumerate((("train", "train"), ("dev", "validation"), ("test", "test"))):
            lines = [medqa_row(f"{question} {number}", options, number), medqa_row(f"{question} again", options, 3)]
            write_json_lines(pack / f"data_clean/questions/{folder}/{part}.jsonl", lines)
            case = f"{folder.lower()}_{part}"
            cases[case], split[case] = case, shipped
            answers[case] = {"answers": [(f"{question} {number}", options[number]), (f"{question} again", options[3])]}
    us = [medqa_row("Which nerve lifts the shoulder?", asked["US"][1], 0)]
    write_json_lines(pack / "data_clean/questions/US/US_qbank.jsonl", us)
    write_json_lines(pack / "data_clean/questions/US/4_options/phrases_no_exclude_train.jsonl", us)
    write_lines(pack / "data_clean/textbooks/en/Anatomy_Gray.txt", "The accessory nerve.")
    return Expected(
        cases=cases,
        split=split,
        contents={"us_train": ["questions"]},
        annotations=answers,
        left=("*/US_qbank.jsonl", "*/4_options/*", "*/textbooks/*"),
    )


@tree(
    "medxpertqa",
    evidence=(
        "corpus docs: huggingface TsinghuaC3I/MedXpertQA README and tree (files, fields)",
        "find_string 'MedXpertQA' (file id 504622746: options by letter, label, choices in the question)",
    ),
)
def medxpertqa(root: Tree) -> Expected:
    """The choices stand in the question as well; ten of them in texts, five with pictures."""
    annotations, cases, split = {}, {}, {}
    for subset, letters in (("Text", "ABCDEFGHIJ"), ("MM", "ABCDE")):
        for part, shipped in (("dev", "validation"), ("test", "test")):
            options = {letter: f"{subset} {part} choice {letter}" for letter in letters}
            shown = " ".join(f"({letter}) {words}" for letter, words in options.items())
            question = f"What is the next step?\nAnswer Choices: {shown}"
            row = {"id": f"{subset}-26", "question": question, "options": options, "label": letters[-1]}
            row |= {"images": ["MM-26-a.jpeg"]} if subset == "MM" else {}
            row |= {"medical_task": "Treatment", "body_system": "Nervous", "question_type": "Reasoning"}
            write_json_lines(root / f"{subset}/{part}.jsonl", [row])
            case = f"{subset}_{part}"
            cases[case], split[case] = case, shipped
            annotations[case] = {"answers": [(question, options[letters[-1]])]}
    images = root.archive("images.zip")
    (images / "images/MM-26-a.jpeg").write_bytes(b"")
    return Expected(
        cases=cases, split=split, contents={"MM_test": ["questions"]}, annotations=annotations, left=("*.jpeg",)
    )


@tree(
    "pubmedqa",
    evidence=(
        "github:pubmedqa/pubmedqa README.md, data/, preprocess/",
        "find_string 'ori_pqal.json' (file ids 51806288777: keys in capitals; 71462459011: test_ground_truth.json)",
    ),
)
def pubmedqa(root: Tree) -> Expected:
    """A dictionary by PubMed id; keys in capitals beside one that is not; the unlabelled part has no decision."""

    def asked(question: str, *decision: str) -> dict[str, object]:
        found = {"QUESTION": question, "CONTEXTS": ["Methods.", "Results."], "LABELS": ["METHODS", "RESULTS"],
                 "MESHES": ["Humans"], "LONG_ANSWER": "It may."}  # fmt: skip
        return found | ({"final_decision": decision[0]} if decision else {})

    labelled = {
        "21645374": asked("Do mitochondria play a role?", "yes") | {"YEAR": "2011", "reasoning_required_pred": "yes"},
        "16418930": asked("Landolt C and Snellen E acuity: differences?", "no") | {"YEAR": None},
        "9488747": asked("Syncope during bathing in infants?", "maybe") | {"YEAR": "1997"},
    }
    write_json(root / "data/ori_pqal.json", labelled)
    write_json(root / "data/test_ground_truth.json", {"16418930": "no"})
    write_lines(root / "preprocess/split_dataset.py", "import json")
    write_json(root.files(source=1) / "ori_pqau.json", {"14499029": asked("Is naturopathy as effective?")})
    write_json(root.files(source=2) / "ori_pqaa.json", {"25429730": asked("Are cells increased?", "yes")})
    return Expected(
        cases={case: case for case in ("pqal", "pqaa", "pqau")},
        split={"pqau": "unlabelled"},
        contents={"pqal": ["questions"]},
        annotations={
            "pqal": {
                "answers": [
                    ("Do mitochondria play a role?", "yes"),
                    ("Landolt C and Snellen E acuity: differences?", "no"),
                    ("Syncope during bathing in infants?", "maybe"),
                ]
            },
            "pqaa": {"answers": [("Are cells increased?", "yes")]},
        },
        columns={"pqau": {"questions": {"QUESTION": ["Is naturopathy as effective?"]}}},
        left=("data/test_ground_truth.json", "preprocess/split_dataset.py"),
    )


@tree(
    "gemex",
    evidence=(
        "listing e-extras: find_string 'open_ended_question.jsonl' (file ids 71316175560, 70953829045)",
        "file id 70953829045: keys, choices as 'A: ...', answers as a letter, a list of letters or words, boxes",
    ),
)
def gemex(root: Tree) -> Expected:
    """An answer is words, a letter, or a list of letters; choices begin with their letter."""

    def asked(number: int, question: str, answer: object, choices: list[str] | None = None) -> dict[str, object]:
        row = {"q_id": number, "type": "disease", "question": question, "answer": answer, "reason": "It is dense.",
               "visual_regions": ["left lung"], "visual_locations": [[1400, 300, 900, 1500]],
               "image_path": f"p10/p10046166/s50051329/abea5eb9-b7c32823-3a14c5ca-77868030-69c83{number:03d}.jpg",
               "ori_report": "FINDINGS: a left effusion."}  # fmt: skip
        return row | ({"choices": choices} if choices else {})

    choices = ["A: effusion", "B: oedema", "C: pneumothorax"]
    write_json_lines(root / "open_ended_question.jsonl", [asked(1, "What is seen?", "An effusion.")])
    write_json_lines(
        root / "closed_ended_question.jsonl", [asked(2, "Is it clear?", "No."), asked(3, "Is it large?", "Yes.")]
    )
    write_json_lines(root / "single_choice_question.jsonl", [asked(4, "Which?", "C", choices)])
    write_json_lines(root / "multi_choice_question.jsonl", [asked(5, "Which ones?", ["A", "B"], choices)])
    forms = ("open_ended", "closed_ended", "single_choice", "multi_choice")
    return Expected(
        cases={case: case for case in (f"{form}_question" for form in forms)},
        contents={"open_ended_question": ["questions"]},
        columns={"multi_choice_question": {"questions": {"choices": [choices], "answer": [["A", "B"]]}}},
        annotations={
            "open_ended_question": {"questions": [("What is seen?", "An effusion.")]},
            "closed_ended_question": {"questions": [("Is it clear?", "No."), ("Is it large?", "Yes.")]},
            "single_choice_question": {"questions": [("Which?", "pneumothorax")]},
            "multi_choice_question": {"questions": [("Which ones?", "effusion; oedema")]},
        },
    )


@tree(
    "mimic-diff-vqa",
    evidence=(
        "listing e-extras: find_string 'mimic_pair_questions.csv' (file ids 14213449451, 59410574923)",
        "find_string 'mimic_pair_questions.csv' (file ids 59410574923: columns; 68805996732: the parts of the split)",
    ),
)
def mimic_diff_vqa(root: Tree) -> Expected:
    """One table of two patients; commas and line breaks in answers; the split is a column."""
    rows = [
        {"study_id": study, "subject_id": subject, "ref_id": ref, "question_type": kind, "question": question,
         "answer": answer, "split": split}
        for study, subject, ref, kind, question, answer, split in (
            (59710497, 16345504, 51266740, "difference", "what has changed compared to the reference image?",
             "the main image has an additional finding of lung opacity than the reference image. ", "train"),
            (59710497, 16345504, 51266740, "abnormality", "what abnormalities are seen in this image?",
             "lung opacity, \"mild\" cardiomegaly", "train"),
            (54936379, 18936629, 54246662, "presence", "is there any evidence of edema?", "no", "val"),
            (54936379, 18936629, 54246662, "view", "which view is this image taken?", "AP view", "test"),
        )
    ]  # fmt: skip
    write_table(root / "mimic_pair_questions.csv", rows)
    return Expected(
        cases={"mimic_pair_questions": "mimic_pair_questions"},
        contents={"mimic_pair_questions": ["questions"]},
        columns={
            "mimic_pair_questions": {
                "questions": {
                    "subject_id": [row["subject_id"] for row in rows],
                    "split": ["train", "train", "val", "test"],
                }
            }
        },
        annotations={
            "mimic_pair_questions": {"questions": [(str(row["question"]), str(row["answer"]).strip()) for row in rows]}
        },
    )
