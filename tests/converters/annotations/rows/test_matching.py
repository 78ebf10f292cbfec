"""Which rows are a case's, which part of the split it is in, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import annotation, write_csv, write_json, write_text

from medshard.converters.annotations.rows.reading import (
    Rows,
    index_rows,
    is_own_file,
    key_of,
    patients_of_table,
    read_rows,
    split_of_lists,
)
from medshard.errors import CaseError, SplitError
from medshard.registry.schema.cases import PatientColumn


def table(*rows: dict) -> Rows:
    return Rows(columns=tuple(rows[0]), rows=rows, format="made")


def found(rows: Rows, keys: set[str], column: str | None = None) -> dict[str, list[dict]]:
    return {key: list(of) for key, of in index_rows(rows, keys, key_column=column, where="demo").by_key.items()}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), min_size=1, max_size=30))
def test_a_case_gets_the_rows_that_pandas_groups_under_its_key(pairs: list[tuple[str, int]]) -> None:
    rows = table(*({"id": key, "n": number} for key, number in pairs))
    groups = pd.DataFrame(pairs, columns=["id", "n"]).groupby("id")["n"].apply(list).to_dict()
    indexed = found(rows, set("abc"), "id")
    assert {key: [row["n"] for row in of] for key, of in indexed.items()} == {
        k: groups[k] for k in groups if k in "abc"
    }


def test_whole_numbers_of_a_spreadsheet_are_their_text() -> None:
    assert found(table({"id": 12, "w": "x"}, {"id": 13.0, "w": "y"}), {"12", "13"}, "id").keys() == {"12", "13"}


def test_leading_zeros_mean_nothing_where_all_keys_are_numbers() -> None:
    rows = table({"case_id": "1"}, {"case_id": "100"})
    indexed = index_rows(rows, {"001", "100", "002"}, key_column="case_id", where="demo")
    assert set(indexed.by_key) == {"001", "100"}
    assert any("leading zeros" in warning for warning in indexed.warnings)


def test_leading_zeros_mean_something_beside_words() -> None:
    assert found(table({"id": "1"}, {"id": "b"}), {"001", "b"}, "id").keys() == {"b"}


def test_letter_case_and_suffix_are_left_out_only_where_nothing_else_is_found() -> None:
    rows = table({"id": "IMG1.PNG"}, {"id": "img2.png"})
    assert found(rows, {"img2.png", "img1.png"}, "id").keys() == {"img2.png"}
    loose = index_rows(rows, {"img1", "img2"}, key_column="id", where="demo")
    assert loose.by_key.keys() == {"img1", "img2"}
    assert any("suffix" in warning for warning in loose.warnings)


def test_keys_that_a_loose_comparison_makes_one_are_refused() -> None:
    with pytest.raises(CaseError, match="annotation.ambiguous_key"):
        found(table({"id": "a.png"}, {"id": "a.jpg"}), {"a"}, "id")


def test_without_a_key_column_it_is_the_one_that_has_most_of_the_keys() -> None:
    rows = table({"other": "a", "id": "a"}, {"other": "x", "id": "b"})
    assert index_rows(rows, {"a", "b"}, key_column=None, where="demo").column == "id"


def test_no_column_or_two_with_the_keys_are_refused_without_telling_what_is_in_them() -> None:
    with pytest.raises(CaseError, match="annotation.no_key_column") as raised:
        found(table({"name": "Jane Doe"}), {"a"})
    assert "Jane" not in str(raised.value)
    with pytest.raises(CaseError, match="annotation.ambiguous_key"):
        found(table({"x": "a", "y": "a"}), {"a"})
    with pytest.raises(CaseError, match="annotation.no_key_column"):
        found(table({"x": "a"}), {"a"}, "id")


def test_empty_cells_are_no_key() -> None:
    assert found(table({"id": ""}, {"id": "a"}), {"a", ""}, "id").keys() == {"a"}


def test_a_column_may_lie_deeper(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", [{"image": {"file_name": "1.png"}, "n": 1}])
    assert found(read_rows([path], where="d"), {"1.png"}, "image.file_name")["1.png"][0]["n"] == 1


@pytest.mark.parametrize(
    ("path", "key", "column", "own"),
    [
        ("{part}/{patient}/Info.cfg", "{patient}", None, True),
        ("labels/{scan}.json", "{case}", None, True),
        ("stages.csv", "{case}", None, False),
        ("stages.csv", "{case}", "image", False),
        ("{part}.csv", "{case}", None, False),
        ("{part}.csv", "{scan}.png", "image", False),
    ],
)
def test_a_file_with_every_field_of_the_key_in_its_path_is_the_cases_own(
    path: str, key: str, column: str | None, own: bool
) -> None:
    table = annotation(kind="class-table", path=path, key=key, key_column=column)
    assert is_own_file(table, case="{scan}", anchor="{part}/{patient}/{scan}.nii.gz") is own


def test_the_name_of_the_case_fills_a_key_unless_a_field_is_called_so() -> None:
    assert key_of("{case}.png", fields={"number": "7"}, case="A7") == "A7.png"
    assert key_of("{case}.png", fields={"case": "7"}, case="A7") == "7.png"


def test_lists_of_a_split(tmp_path: Path) -> None:
    lists = {
        "train": [write_text(tmp_path / "train.txt", "a.png\r\nb.png\r\n")],
        "test": [write_csv(tmp_path / "test.csv", [{"ID": "c.png", "DR": "1"}])],
    }
    found = split_of_lists(lists, {"A": "a.png", "C": "c.png", "D": "d.png"}, where="demo")
    assert found.parts == {"A": "train", "C": "test"}
    assert found.warnings == ("1 cases stand in none of the lists of the split",)


def test_cells_of_other_columns_are_no_names(tmp_path: Path) -> None:
    lists = {
        part: [write_csv(tmp_path / f"{part}.csv", [{"ID": names[0], "DR": "1"}, {"ID": names[1], "DR": "0"}])]
        for part, names in (("train", ("1", "2")), ("validation", ("3", "4")))
    }
    assert split_of_lists(lists, {"x": "1", "y": "3"}, where="demo").parts == {"x": "train", "y": "validation"}


def test_a_case_in_two_parts_and_lists_of_nobody_are_refused(tmp_path: Path) -> None:
    lists = {"train": [write_text(tmp_path / "a.txt", "a\nb\n")], "test": [write_text(tmp_path / "b.txt", "b\nc\n")]}
    with pytest.raises(SplitError, match="split.in_two_parts"):
        split_of_lists(lists, {"B": "b"}, where="demo")
    with pytest.raises(SplitError, match="split.no_name_found"):
        split_of_lists(lists, {"B": "z"}, where="demo")


def test_patients_of_a_table(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "p.csv",
        [{"file": "a", "who": "P1"}, {"file": "a", "who": "P1"}, {"file": "b", "who": ""},
         {"file": "c", "who": "P2"}, {"file": "c", "who": "P3"}],
    )  # fmt: skip
    column = PatientColumn(path="p.csv", key_column="file", column="who")
    found = patients_of_table([path], column, {"A": "a", "B": "b", "C": "c", "D": "d"}, where="demo")
    assert found.patients == {"A": "P1"}
    assert {case: error.code for case, error in found.missing.items()} == {
        "B": "patient.missing",
        "C": "patient.two",
        "D": "patient.missing",
    }
    assert not any("P2" in str(error) for error in found.missing.values())
