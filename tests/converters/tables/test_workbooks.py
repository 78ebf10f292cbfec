"""Workbooks: cells with their types, one sheet, and what merged cells and formulas leave unsaid."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from made_tables import columns, table, types, with_part, workbook, written

from medshard.errors import CaseError

ROWS = [
    ("id", "age", "weight", "seen", "sex", "mixed"),
    ("p01", 61, 70.5, dt.datetime(2150, 2, 3, 4, 5), True, 1),
    ("p02", None, 80, dt.datetime(2151, 1, 1), False, "x"),
]


def test_cells_keep_their_types(tmp_path: Path) -> None:
    found = table(workbook(tmp_path / "a.xlsx", {"Sheet": ROWS}))
    assert types(found) == ["string", "int64", "double", "timestamp[us]", "bool", "string"]
    assert columns(found)["weight"] == [70.5, 80.0]
    assert columns(found)["seen"] == [dt.datetime(2150, 2, 3, 4, 5), dt.datetime(2151, 1, 1)]
    assert columns(found)["mixed"] == ["1", '"x"']
    assert "mixed" in found.warnings[0]


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"Sheet": ROWS})
    assert table(path).read().to_pandas()["weight"].tolist() == pd.read_excel(path)["weight"].tolist()


def test_several_sheets_need_a_key(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"one": [("a",), (1,)], "two": [("b",), (2,)], "empty": []})
    assert columns(table(path, key="two")) == {"b": [2]}
    with pytest.raises(CaseError, match=r"table\.several_sheets"):
        table(path)
    with pytest.raises(CaseError, match=r"table\.no_such_key"):
        table(path, key="three")


def test_an_empty_sheet_beside_a_full_one_does_not_count(tmp_path: Path) -> None:
    assert columns(table(workbook(tmp_path / "a.xlsx", {"x": [("a",), (1,)], "y": []}))) == {"a": [1]}


def test_merged_cells_are_warned_of(tmp_path: Path) -> None:
    rows = [("pressure", None, "id"), (1, 2, 3), (4, None, 5)]
    found = table(workbook(tmp_path / "a.xlsx", {"x": rows}, merged=["A1:B1", "A3:B3"]))
    assert found.schema.names == ["pressure", "column_2", "id"]
    assert any("header has 1 merged" in warning for warning in found.warnings)
    assert any("1 merged ranges" in warning for warning in found.warnings)


def test_formulas_give_what_is_stored_and_errors_are_null(tmp_path: Path) -> None:
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:XFD1048576"/>'
        b'<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c>'
        b'<c r="B1" t="inlineStr"><is><t>b</t></is></c></row>'
        b'<row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="B2"><f>1+2</f></c></row>'
        b'<row r="3"><c r="A3" t="e"><v>#N/A</v></c><c r="B3"><v>7</v></c></row></sheetData></worksheet>'
    )
    path = with_part(workbook(tmp_path / "a.xlsx", {"x": []}), "xl/worksheets/sheet1.xml", sheet)
    found = table(path)
    assert columns(found) == {"a": [2, None], "b": [None, 7]}
    assert any("1 formulas" in warning for warning in found.warnings)
    assert any("1 cells show an error" in warning for warning in found.warnings)


def test_cells_beyond_the_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"table\.ragged"):
        table(workbook(tmp_path / "a.xlsx", {"x": [("a", "b"), (1, 2, "note")]}))


def test_declared_columns(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"x": [("id", "day"), (7, dt.datetime(2150, 2, 3)), (8, None)]})
    found = table(path, dtypes={"id": "string", "day": "date"})
    assert columns(found) == {"id": ["7", "8"], "day": [dt.date(2150, 2, 3), None]}


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/sharedStrings.xml"])
def test_entities_are_refused(tmp_path: Path, part: str) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
    path = with_part(workbook(tmp_path / "a.xlsx", {"x": [("a",), (1,)]}), part, bomb)
    with pytest.raises(CaseError, match=r"read\.unsupported"):
        table(path)


def test_a_sheet_that_inflates_too_far_is_refused(tmp_path: Path) -> None:
    path = with_part(
        workbook(tmp_path / "a.xlsx", {"x": [("a",), (1,)]}), "xl/worksheets/sheet1.xml", b" " * (80 << 20)
    )
    with pytest.raises(CaseError, match=r"table\.inflates_too_far"):
        table(path)


def test_broken_workbooks_are_refused(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "a.xlsx", {"x": ROWS}).read_bytes()
    with pytest.raises(CaseError):
        table(written(tmp_path, "b.xlsx", whole[: len(whole) // 2]))
    with pytest.raises(CaseError, match=r"read\."):
        table(written(tmp_path, "c.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 4000))
