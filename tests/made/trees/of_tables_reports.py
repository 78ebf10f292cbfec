"""Reports, phrases and captions, of which a case is a whole file."""

from __future__ import annotations

import numpy as np
from trees.phantom import Phantom
from trees.table_files import write_json, write_json_lines, write_lines, write_table
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_hdf5, write_nifti


@tree(
    "cxr-pro",
    evidence=(
        "listing e-extras: find_string 'mimic_train_impressions.csv' (file id 11342211369)",
        "find_string 'mimic_test_impressions.csv' (file id 61488156242: columns)",
        "find_string 'cxr.h5', 'r'' (file id 12609100943: the array cxr, films along its first axis)",
    ),
)
def cxr_pro(root: Tree) -> Expected:
    """Two films of one study have one text; line breaks and commas in texts; a film without any impression left."""
    texts = {
        "train": ["No acute process.", "No acute process.", "Left effusion,\nsmall."],
        "test": ["Low lung volumes."],
    }
    ids = {"train": [(50414267, 10000032), (50414267, 10000032), (53189527, 10000980)], "test": [(57861150, 11001469)]}
    for part, reports in texts.items():
        rows = [
            {"dicom_id": f"02aa804e-bde0afdd-112c0b34-7bc16630-4e38401{n}", "study_id": study, "subject_id": subject,
             "report": text}
            for n, (text, (study, subject)) in enumerate(zip(reports, ids[part], strict=True))
        ]  # fmt: skip
        write_table(root / f"mimic_{part}_impressions.csv", rows)
    films = np.stack([Phantom(f"film {number}", (40, 44)).grey() for number in range(3)])
    write_hdf5(root / "cxr.h5", cxr=films)
    cases = {f"mimic_{part}_impressions": f"mimic_{part}_impressions" for part in texts}
    return Expected(
        cases={**cases, **{f"cxr-{number}": f"cxr-{number}" for number in range(3)}},
        images={f"cxr-{number}": {"film": (1, 40, 44)} for number in range(3)},
        split={f"mimic_{part}_impressions": part for part in texts},
        contents={case: ["impressions"] for case in cases},
        columns={
            f"mimic_{part}_impressions": {
                "impressions": {"subject_id": [subject for _, subject in ids[part]], "report": texts[part]}
            }
            for part in texts
        },
        annotations={
            "mimic_train_impressions": {"impression": 3},
            "mimic_test_impressions": {"impression": "Low lung volumes."},
        },
    )


@tree(
    "mimic-nle",
    evidence=(
        "github:maximek3/MIMIC-NLE extract_mimic_nle.py (names of the files, lines of JSON)",
        "find_string '\"img_labels\": [[' (file ids 4093846988, 53558519167: an explanation)",
    ),
)
def mimic_nle(root: Tree) -> Expected:
    """Files called json that hold a record per line; the queries of the repository beside them."""
    said = {
        "train": ["Minimal blunting of the left costophrenic angle, which may be a tiny effusion.", "Dense left base."],
        "dev": ["Opacities that suggest oedema."],
        "test": ["Right basal opacity, likely atelectasis."],
    }
    for part, sentences in said.items():
        queries = [
            {"sentence_ID": f"s5005685{n}#4", "diagnosis_label": [0, 0, 0, 0, 0, 0, 0, 1, 0, n],
             "evidence_label": [0] * 10, "img_labels": [[0, 1, 0]] * 9 + [[1, 0, 0]]}
            for n in range(len(sentences))
        ]  # fmt: skip
        write_json_lines(root / f"mimic-nle/query/{part}-query.json", queries)
        rows = [
            {**query, "nle": sentence, "report_ID": f"s5005685{n}", "patient_ID": f"p1709656{n}"}
            for n, (query, sentence) in enumerate(zip(queries, sentences, strict=True))
        ]
        write_json_lines(root / f"mimic-nle/mimic-nle-{part}.json", rows)
    write_lines(root / "encodings.py", "class_to_index = {}")
    return Expected(
        cases={f"mimic-nle-{part}": f"mimic-nle-{part}" for part in said},
        split={"mimic-nle-train": "train", "mimic-nle-dev": "validation", "mimic-nle-test": "test"},
        contents={f"mimic-nle-{part}": ["explanations"] for part in said},
        columns={
            "mimic-nle-train": {
                "explanations": {
                    "nle": said["train"],
                    "diagnosis_label": [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0, 1]],
                }
            }
        },
        annotations={
            "mimic-nle-train": {"explanation": 2},
            "mimic-nle-dev": {"explanation": said["dev"][0]},
            "mimic-nle-test": {"explanation": said["test"][0]},
        },
        left=("mimic-nle/query/*", "encodings.py"),
    )


@tree(
    "ms-cxr",
    evidence=(
        "listing e-extras: find_string 'MS_CXR_Local_Alignment_v1' (file ids 28982483399, 55831362782, 28289207324)",
        "find_string 'MS_CXR_Local_Alignment_v1' (file ids 69459110309, 8996487245: columns)",
    ),
)
def ms_cxr(root: Tree) -> Expected:
    """Two boxes of one phrase are two rows; the same as COCO beside it."""
    stem = "files/p10/p10{}/s5{}"
    rows = [
        {"dicom_id": dicom, "category_name": name, "label_text": text, "path": f"{stem.format(n, n)}/{dicom}.jpg",
         "x": x, "y": y, "w": w, "h": h, "image_width": 2544, "image_height": 3056, "split": split}
        for dicom, name, text, n, (x, y, w, h), split in (
            ("aaaa-1", "Pneumothorax", "small left apical pneumothorax", "032994", (1496, 414, 704, 365), "val"),
            ("aaaa-2", "Edema", "moderate edema, stable", "046166", (440, 1020, 610, 820), "test"),
            ("aaaa-2", "Edema", "moderate edema, stable", "046166", (1500, 990, 590, 870), "test"),
            ("aaaa-3", "Lung Opacity", "right upper opacity", "268877", (300, 500, 420, 333), "test"),
        )
    ]  # fmt: skip
    write_table(root / "MS_CXR_Local_Alignment_v1.1.0.csv", rows)
    write_json(root / "MS_CXR_Local_Alignment_v1.1.0.json", {"images": [], "annotations": [], "categories": []})
    case = "MS_CXR_Local_Alignment_v1.1.0"
    return Expected(
        cases={case: case},
        contents={case: ["phrases"]},
        columns={
            case: {"phrases": {"category_name": [row["category_name"] for row in rows], "w": [704, 610, 590, 420]}}
        },
        annotations={case: {"phrase": 4}},
        left=("*.json",),
    )


@tree(
    "ms-cxr-t",
    evidence=(
        "find_string 'pleural_effusion_progression' (file ids 71368276928, 44455892900: columns, words)",
        "find_string 'MS_CXR_T_temporal_sentence_similarity' (file ids 44595775886, 44455892900: columns, words)",
    ),
)
def ms_cxr_t(root: Tree) -> Expected:
    """How a finding changed is a word, and empty where nobody judged it; a quality beside each."""
    findings = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
    rows: list[dict[str, object]] = []
    for number, words in enumerate((("improving", "", "stable", "", ""), ("", "worsening", "worsening", "", ""))):
        row: dict[str, object] = {
            "dicom_id": f"p10/p1002842{number}/s55758034/3bea0373-{number}",
            "previous_dicom_id": f"p10/p1002842{number}/s51234567/11aa0373-{number}",
            "study_id": 55758034 + number,
            "subject_id": 10002428 + number,
        }
        row |= {f"{finding}_progression": word for finding, word in zip(findings, words, strict=True)}
        row |= {
            f"{finding}_label_quality": "multiple_experts" if word else ""
            for finding, word in zip(findings, words, strict=True)
        }
        rows.append(row)
    pairs = [
        {"subset_name": "RadGraph", "sentence_1": "Effusion is larger.", "sentence_2": "Effusion, smaller than before.",
         "category": "contradiction"},
        {"subset_name": "Swaps", "sentence_1": "Unchanged oedema.", "sentence_2": "Oedema is stable.",
         "category": "paraphrase"},
    ]  # fmt: skip
    films = "MS_CXR_T_temporal_image_classification_v1.0.0"
    sentences = "MS_CXR_T_temporal_sentence_similarity_v1.0.0"
    write_table(root / f"{films}.csv", rows)
    write_table(root / f"{sentences}.csv", pairs)
    return Expected(
        cases={films: films, sentences: sentences},
        split={films: "test", sentences: "test"},
        contents={films: ["pairs"], sentences: ["sentences"]},
        columns={
            films: {
                "pairs": {
                    "consolidation_progression": ["improving", None],
                    "edema_progression": [None, "worsening"],
                    "pneumothorax_progression": [None, None],
                    "study_id": [55758034, 55758035],
                }
            },
            sentences: {"sentences": {"category": ["contradiction", "paraphrase"]}},
        },
    )


@tree(
    "rp3d-caption",
    evidence=(
        "listing e-extras: find_string 'radiology_article_npy_train' (file ids 2880217191, 32539081929)",
        "find_string 'class RadioCaption_Dataset' (file id 3067014352: the fields of a record)",
        "github:qiaoyu-zheng/RP3D-Diag RP3D_Demo/DataPath/demoData.json (texts of such records)",
    ),
)
def rp3d_caption(root: Tree) -> Expected:
    """Records with a finding and an impression, a list of questions, and texts that may be null."""

    def record(number: int, finding: str | None, impression: str) -> dict[str, object]:
        return {"npy_path": f"0/{number}.npy", "pre": "Pain.", "pat": "Age: 85 years", "finding": finding,
                "impression": impression, "image_modality": ["CT"], "articles": ["Aortic aneurysm"],
                "qa_list": [{"question": "What is seen?", "answer": impression}]}  # fmt: skip

    train = [record(3682, "A saccular aneurysm.", "Aneurysm."), record(3683, None, "Hip dislocation.")]
    write_json(root / "radiology_article_npy_train.json", train)
    write_json(root / "radiology_article_npy_test.json", [record(0, "A left effusion.", "Effusion.")])
    write_lines(root / "pcxr_balance_test.csv", "image_path,label")
    return Expected(
        cases={part: part for part in ("train", "test")},
        split={"train": "train", "test": "test"},
        contents={part: ["captions"] for part in ("train", "test")},
        columns={"train": {"captions": {"npy_path": ["0/3682.npy", "0/3683.npy"]}}},
        annotations={
            "train": {"caption": 3},
            "test": {"caption": {"finding": "A left effusion.", "impression": "Effusion."}},
        },
        left=("pcxr_balance_test.csv",),
    )


@tree(
    "rp3d-diagds",
    evidence=(
        "listing e-extras: github:qiaoyu-zheng/RP3D-Diag RP3D_Demo/DataPath/",
        "github:qiaoyu-zheng/RP3D-Diag RP3D_Demo/DataPath/demoData.json (a record), README.md (names of the files)",
    ),
)
def rp3d_diagds(root: Tree) -> Expected:
    """Two series of one patient; records by the address of their case; two maps of label numbers."""
    top = "processed_file/processed_images_wm/3"
    images = {}
    for case, series, kind, number in (("34268", 1, "CT", 0), ("34268", 2, "MRI", 0), ("35480", 2, "CT", 1)):
        body = Phantom(f"{case} {series}", (6, 30, 28))
        grey = body.ct() if kind == "CT" else body.mr()
        write_nifti(root / f"{top}/{case}/{series}/{kind}_{number}.nii.gz", grey, (5.0, 1.0, 1.0))
        images[f"{case}_{series}_{kind}_{number}"] = case
    for part, case, link in (("train", "34268", "saccular-aneurysm-1"), ("test", "35480", "hip-dislocation-1")):
        sample = {"image": [f"/mnt/{top}/{case}/1/CT_0.nii.gz"], "image_modality": ["CT"], "image_caption": "Seen."}
        record = {"Modalities": ["CT"], "Samples": [sample], "title": link, "Anatomy": "Abdomen and Pelvis"}
        write_json(root / f"{part}.json", {f"https://radiopaedia.org//cases/{link}?lang=us": record})
    write_json(root / "disorder_label_dict.json", {"Normal": 0, "Meningioma": 1, "Pneumothorax": 2})
    write_json(root / "icd10_label_dict.json", {"I71": 0, "S73": 1})
    return Expected(
        cases={**images, "train": "train", "test": "test"},
        images={case: {"volume": (6, 30, 28)} for case in images},
        split={"train": "train", "test": "test"},
        contents={part: ["cases", "disorders", "icd10"] for part in ("train", "test")},
    )
