"""What rows say: classes and their states, scores, reports, questions."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_rows import ECGEN, MINI_MIAS, annotation, write_text

from medshard.converters.annotations.rows.reading import class_folder, read_annotation_rows, read_rows, row_shape
from medshard.errors import CaseError

STATES = {"1": "present", "0": "absent", "-1": "uncertain", "": "not-judged"}


def states(fields: dict, rows: list[dict]) -> dict[str | None, str]:
    found = read_annotation_rows(annotation(kind="class-table", **fields), rows, where="demo/1")
    return {row["concept"]: row["state"] for row in found.table.table.to_pylist()}


def test_one_class_of_a_column_makes_the_others_absent() -> None:
    values = {"B": "benign", "M": "malignant"}
    assert states({"column": "l", "values": values}, [{"l": "M"}]) == {"malignant": "present", "benign": "absent"}


def test_what_was_not_examined_is_not_absent() -> None:
    values = {"B": "benign", "M": "malignant"}
    assert states({"column": "l", "values": values, "examined": []}, [{"l": "M"}]) == {"malignant": "present"}


def test_several_classes_of_a_cell_are_divided_as_the_entry_says() -> None:
    values = {"Effusion": "pleural effusion", "Mass": "lung mass", "Nodule": "lung nodule"}
    found = states({"column": "l", "values": values, "separator": "|"}, [{"l": "Effusion|Mass"}])
    assert found == {"pleural effusion": "present", "lung mass": "present", "lung nodule": "absent"}
    python_list = [{"l": "['Effusion', 'Mass']"}]
    assert states({"column": "l", "values": values, "separator": ","}, python_list) == found


def test_an_empty_cell_judges_nothing_unless_the_entry_says_so() -> None:
    fields = {"column": "l", "values": {"M": "malignant"}}
    assert states(fields, [{"l": ""}]) == {}
    assert states({**fields, "states": {"": "absent"}}, [{"l": ""}]) == {"malignant": "absent"}
    assert states({**fields, "states": {"NO": "absent"}}, [{"l": "NO"}]) == {"malignant": "absent"}
    assert states({**fields, "states": {"-1": "not-judged"}}, [{"l": -1}]) == {}


def test_an_unknown_word_is_reported_and_nothing_else_is_called_absent() -> None:
    table = annotation(kind="class-table", column="l", values={"B": "benign", "M": "malignant"})
    found = read_annotation_rows(table, [{"l": "malign."}], where="demo/1")
    assert found.unknown_words == ("malign.",)
    assert found.table.table.num_rows == 0


def test_free_text_in_place_of_a_word_is_not_repeated() -> None:
    table = annotation(kind="class-table", column="l", values={"B": "benign"})
    rows = [{"l": "seen by Dr. Smith on the ward of the hospital"}, {"l": "1950-01-02"}, {"l": "12345678"}]
    assert read_annotation_rows(table, rows, where="demo/1").unknown_words == ("(not repeated)",)


def test_words_that_stand_for_no_concept_are_known() -> None:
    table = annotation(kind="class-table", column="l", values={"m": "metastasis"}, unmapped={"negative": "none found"})
    found = read_annotation_rows(table, [{"l": "negative"}], where="demo/1")
    assert found.unknown_words == ()
    assert {(row["concept"], row["word"], row["state"]) for row in found.table.table.to_pylist()} == {
        (None, "negative", "present"),
        ("metastasis", None, "absent"),
    }


def test_a_word_may_mean_several_concepts() -> None:
    fields = {"column": "l", "values": {"a": "liver"}, "also": {"a": ["liver tumour"]}}
    assert states(fields, [{"l": "a"}]) == {"liver": "present", "liver tumour": "present"}


def test_columns_of_classes_hold_states_and_a_blank_is_not_judged() -> None:
    values = {"Edema": "pulmonary oedema", "Mass": "lung mass", "Fracture": "fracture", "Other": "lung nodule"}
    row = {"Path": "x", "Edema": "1.0", "Mass": "0.0", "Fracture": "-1.0", "Other": ""}
    assert states({"values": values, "states": STATES}, [row]) == {
        "pulmonary oedema": "present",
        "lung mass": "absent",
        "fracture": "uncertain",
    }


@pytest.mark.parametrize("cell", [1, 1.0, True, "1", "TRUE", "Yes"])
def test_the_usual_words_for_yes_need_no_declaration(cell: object) -> None:
    assert states({"values": {"DR": "diabetic retinopathy"}}, [{"DR": cell}]) == {"diabetic retinopathy": "present"}


def test_raters_who_disagree_are_told_and_present_counts() -> None:
    table = annotation(kind="class-table", values={"DR": "diabetic retinopathy"})
    found = read_annotation_rows(table, [{"DR": 0}, {"DR": 1}, {"DR": 0}], where="demo/1")
    assert found.table.table["state"].to_pylist() == ["present"]
    assert len(found.table.warnings) == 1


def test_a_missing_column_is_refused_with_the_names_that_are_like_it() -> None:
    with pytest.raises(CaseError, match="annotation.no_column") as raised:
        states({"values": {"Edema": "pulmonary oedema"}}, [{"Edemma": 1, "Jane Doe": 2}])
    assert "Edemma" in str(raised.value)
    assert "Jane" not in str(raised.value)


def test_one_hot_lists_are_in_the_order_of_the_entry() -> None:
    fields = {"column": "d", "one_hot": True, "values": {"A": "pneumonia", "B": "fracture", "C": "lung mass"}}
    assert states(fields, [{"d": [0, 1, 0]}]) == {"fracture": "present", "pneumonia": "absent", "lung mass": "absent"}
    with pytest.raises(CaseError, match="annotation.not_one_hot"):
        states(fields, [{"d": [0, 1]}])


def test_words_are_found_within_the_terms_of_a_report(tmp_path: Path) -> None:
    values = {"Cardiomegaly": "cardiomegaly", "Scar": "scar", "Car": "fracture"}
    table = annotation(kind="class-table", rows=".//MeSH", within=True, examined=[], values=values)
    rows = read_rows([write_text(tmp_path / "1.xml", ECGEN)], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1").table.table["concept"].to_pylist()
    assert sorted(found) == ["cardiomegaly", "scar"]


def test_rows_of_info_txt(tmp_path: Path) -> None:
    table = annotation(
        kind="class-table", column="2", header=False, delimiter="blank", lines="mdb", key_column="0", examined=[],
        values={"NORM": "normal", "CIRC": "circumscribed breast mass"},
    )  # fmt: skip
    rows = read_rows([write_text(tmp_path / "Info.txt", MINI_MIAS)], where="d", shape=row_shape(table)).rows
    assert read_annotation_rows(table, rows[1:2], where="d/1").table.table["concept"].to_pylist() == ["normal"]


def test_the_class_of_a_folder() -> None:
    folder = annotation(kind="class-folder", field="kind", values={"N": "normal", "P": "COVID-19"})
    found = class_folder(folder, {"kind": "P"}, where="demo/1").table
    assert {(row["concept"], row["state"]) for row in found.table.to_pylist()} == {
        ("COVID-19", "present"),
        ("normal", "absent"),
    }
    assert class_folder(folder, {"kind": "Q"}, where="demo/1").unknown_words == ("Q",)


def test_scores_are_numbers_with_their_names() -> None:
    table = annotation(kind="score-table", scores=["Modic", "Grade"], columns={"part": "IVD label"}, unit="grade")
    rows = [{"IVD label": 1, "Modic": 0, "Grade": "3"}, {"IVD label": 2, "Modic": "", "Grade": "unclear"}]
    found = read_annotation_rows(table, rows, where="demo/1")
    assert [(row["name"], row["value"], row["unit"]) for row in found.table.table.to_pylist()] == [
        ("Modic 1", 0.0, "grade"),
        ("Grade 1", 3.0, "grade"),
    ]
    assert found.unknown_words == ("unclear",)


def test_scores_without_a_declared_column_are_not_guessed() -> None:
    found = read_annotation_rows(annotation(kind="score-table"), [{"PatientID": 4711, "x": 1}], where="demo/1")
    assert found.table.table.num_rows == 0
    assert found.table.warnings


def test_a_report_whole_by_columns_or_by_headings(tmp_path: Path) -> None:
    text = "CLINICAL\nFINDINGS: Clear lungs.\nNo effusion.\nImpression : Normal.\n"
    sections = ["Findings", "Impression"]
    whole = annotation(kind="report")
    rows = read_rows([write_text(tmp_path / "r.txt", text)], where="d", shape=row_shape(whole)).rows
    assert read_annotation_rows(whole, rows, where="d/1").table.table.to_pylist() == [
        {"section": "", "text": text.strip()}
    ]
    cut = read_annotation_rows(annotation(kind="report", sections=sections), rows, where="d/1").table.table.to_pylist()
    assert [(row["section"], row["text"]) for row in cut] == [
        ("", "CLINICAL"),
        ("Findings", "Clear lungs.\nNo effusion."),
        ("Impression", "Normal."),
    ]
    by_column = [{"FINDINGS": "Clear.", "impression": "", "id": "7"}]
    found = read_annotation_rows(annotation(kind="report", sections=sections), by_column, where="d/1")
    assert found.table.table.to_pylist() == [{"section": "Findings", "text": "Clear."}]


def test_a_caption_is_its_column_and_no_other_is_kept() -> None:
    found = read_annotation_rows(annotation(kind="report", column="c"), [{"c": "A CT.", "PatientID": "7"}], where="d/1")
    assert found.table.table.to_pylist() == [{"section": "", "text": "A CT."}]
    with pytest.raises(CaseError, match="annotation.no_column"):
        read_annotation_rows(annotation(kind="report"), [{"c": "A CT.", "d": "x"}], where="d/1")


OPTIONS = {"opa": "Vitamin A", "opb": "Vitamin B", "opc": "Vitamin C", "opd": "Vitamin D"}


def questions(fields: dict, row: dict) -> dict:
    table = annotation(kind="question-answers", question="question", answer="answer", **fields)
    return read_annotation_rows(table, [{"question": "Which?", **row}], where="d/1").table.table.to_pylist()[0]


def test_the_number_of_a_choice_becomes_its_words() -> None:
    columns = {"options": list(OPTIONS)}
    assert questions({**columns, "first": 0}, {**OPTIONS, "answer": 2})["answer"] == "Vitamin C"
    assert questions({**columns, "first": 1}, {**OPTIONS, "answer": "2"})["answer"] == "Vitamin B"
    assert questions({**columns, "first": 0}, {**OPTIONS, "answer": -1})["answer"] is None
    assert questions({**columns, "first": 0}, {**OPTIONS, "answer": 0})["options"] == list(OPTIONS.values())
    with pytest.raises(CaseError, match="annotation.no_such_option"):
        questions({**columns, "first": 0}, {**OPTIONS, "answer": 4})


@pytest.mark.parametrize(
    "options",
    [
        {"A": "yes", "B": "no"},
        ["yes", "no"],
        [{"letter": "A", "content": "yes"}, {"letter": "B", "content": "no"}],
    ],
)
def test_the_letter_of_a_choice_becomes_its_words(options: object) -> None:
    fields = {"columns": {"options": "options", "topic": "t", "language": "l"}}
    found = questions(fields, {"options": options, "answer": "B", "t": "Organ", "l": "zh"})
    assert found == {"question": "Which?", "answer": "no", "options": ["yes", "no"], "topic": "Organ", "language": "zh"}


@pytest.mark.parametrize("answer", ["B", "Focal"])
def test_choices_that_repeat_their_letters_lose_them(answer: str) -> None:
    row = {"Choice A": " A:Diffuse ", "Choice B": " B: Focal ", "answer": answer}
    found = questions({"options": ["Choice A", "Choice B"]}, row)
    assert (found["answer"], found["options"]) == ("Focal", ["Diffuse", "Focal"])


def test_a_colon_in_one_choice_is_no_letter() -> None:
    row = {"Choice A": "A: wave", "Choice B": "C: wave", "answer": "A"}
    found = questions({"options": ["Choice A", "Choice B"]}, row)
    assert (found["answer"], found["options"]) == ("A: wave", ["A: wave", "C: wave"])


def test_an_answer_in_words_stays_as_it_is() -> None:
    assert questions({}, {"answer": "1 cm"})["answer"] == "1 cm"
    assert questions({}, {"answer": 3})["answer"] == "3"
