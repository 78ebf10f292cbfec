"""Row files of every kind, each read again by pandas, NumPy or the standard library."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rows import ACDC_INFO, ECGEN, FCSV, MINI_MIAS, VOC, WFDB_HEADER, annotation, write_csv, write_json, write_text

from medshard.converters.annotations.rows.reading import RowShape, read_rows, row_shape
from medshard.errors import CaseError

RECORDS = [
    {"id": "a", "label": "x, y", "n": "1"},
    {"id": "b", "label": "", "n": "2.5"},
    {"id": "c", "label": "q", "n": ""},
]


def rows_of(path: Path, **shape: object) -> list[dict]:
    return [dict(row) for row in read_rows([path], where="demo/1", shape=RowShape(**shape)).rows]


def rows_or_code(path: Path) -> str:
    """`rows`, or the code of the case error; any other error passes and fails the test."""
    try:
        rows_of(path)
    except CaseError as error:
        return error.code
    return "rows"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_table_is_what_pandas_reads_whatever_divides_and_encodes_it(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    records = [*RECORDS, {"id": "d", "label": "\u00d6dem", "n": "7"}]
    path = write_csv(tmp_path / "t.csv", records, delimiter=delimiter, encoding=encoding)
    known = pd.read_csv(path, sep=delimiter, encoding=encoding, dtype=str, keep_default_na=False)
    assert rows_of(path) == known.to_dict("records") == records


def test_text_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"id": "\u00e4"}], encoding="latin-1")
    assert any("Latin-1" in warning for warning in read_rows([path], where="d").warnings)


def test_packed_tables_names_with_odd_blanks_and_columns_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"ID, ON\xc2\xa0,,ID\n1,0,x,2\n"))
    assert rows_of(path) == [{"ID": "1", "ON": "0", "2": "x", "ID (2)": "2"}]


def test_cells_with_line_ends_and_quotes_are_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.csv", 'a,b\r\n"one\r\ntwo","say ""x"""\r\n')
    assert rows_of(path) == [{"a": "one\r\ntwo", "b": 'say "x"'}]


def test_a_row_with_more_cells_than_names_is_refused_without_saying_what_is_in_it(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.csv", "a,b\n1,2\n1,2,Jane Doe\n")
    with pytest.raises(CaseError) as raised:
        rows_of(path)
    assert raised.value.code == "annotation.ragged_row"
    assert raised.value.details["row"] == "2"
    assert "Jane" not in str(raised.value)


def test_words_between_blanks_are_read_where_lines_begin_as_the_entry_says(tmp_path: Path) -> None:
    path = write_text(tmp_path / "Info.txt", MINI_MIAS)
    found = rows_of(path, header=False, delimiter="blank", lines="mdb")
    assert [row["0"] for row in found] == ["mdb001", "mdb003", "mdb005", "mdb005", "mdb059"]
    assert found[0]["6"] == "197"
    assert found[1]["3"] is None


def test_spreadsheets_are_what_pandas_reads(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["ImgName", "Label", None], ["T0001.jpg", 1, None], [None, None, None], [17, 0.5, None]):
        book.active.append(row)
    second = book.create_sheet("other")
    second.append(["x"])
    second.append(["only here"])
    book.save(tmp_path / "t.xlsx")
    known = pd.read_excel(tmp_path / "t.xlsx").dropna(how="all")[["ImgName", "Label"]].to_dict("records")
    assert rows_of(tmp_path / "t.xlsx") == known
    assert rows_of(tmp_path / "t.xlsx", sheet="other") == [{"x": "only here"}]
    with pytest.raises(CaseError, match="annotation.no_sheet"):
        rows_of(tmp_path / "t.xlsx", sheet="third")


def test_parquet_is_what_pandas_wrote(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(5), "word": list("abcde"), "cells": [[1, 2]] * 5})
    frame.to_parquet(tmp_path / "t.parquet")
    assert rows_of(tmp_path / "t.parquet") == [{"id": i, "word": "abcde"[i], "cells": [1, 2]} for i in range(5)]


@pytest.mark.parametrize("orient", ["records", "columns", "index"])
def test_json_tables_as_pandas_writes_them(tmp_path: Path, orient: str) -> None:
    frame = pd.DataFrame(RECORDS)
    frame.to_json(tmp_path / "t.json", orient=orient)
    found = (
        [{name: row[name] for name in ("id", "label", "n")} for row in rows_of(tmp_path / "t.json")]
        if orient != "columns"
        else rows_of(tmp_path / "t.json")
    )
    if orient == "columns":
        # Three records under "id", "label" and "n", which no reader can tell from three records of their own.
        assert [row["key"] for row in found] == ["id", "label", "n"]
    else:
        assert found == RECORDS


def test_a_dict_of_lists_is_columns(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", {"id": ["a", "b"], "n": [1, 2]})
    assert rows_of(path) == [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


def test_json_lines_under_either_suffix(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(record) for record in RECORDS) + "\n"
    for name in ("t.jsonl", "t.json"):
        assert rows_of(write_text(tmp_path / name, text)) == RECORDS


def test_nested_json_is_found_by_its_place(tmp_path: Path) -> None:
    data = {"cju1": {"height": 5, "bbox": [{"label": "polyp", "xmin": 1}, {"label": "polyp", "xmin": 2}]}}
    path = write_json(tmp_path / "t.json", data)
    assert rows_of(path, rows="*.bbox") == [
        {"key": "cju1", "height": 5, "label": "polyp", "xmin": 1},
        {"key": "cju1", "height": 5, "label": "polyp", "xmin": 2},
    ]
    regions = write_json(tmp_path / "r.json", [{"Liver": [1, 2, 3, 4]}, {"Spleen": [5, 6, 7, 8]}])
    assert [(row["key"], row["value"]) for row in rows_of(regions, rows="*.*")] == [
        ("Liver", [1, 2, 3, 4]),
        ("Spleen", [5, 6, 7, 8]),
    ]
    with pytest.raises(CaseError, match="annotation.no_rows"):
        rows_of(path, rows="boxes.*")


def test_an_empty_list_of_rows_is_no_fault(tmp_path: Path) -> None:
    assert rows_of(write_json(tmp_path / "t.json", {"annotations": []}), rows="annotations") == []


def test_coco_rows_know_their_image_and_category(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "t.json",
        {
            "images": [{"id": 7, "file_name": "007.tiff"}],
            "categories": [{"id": 1, "name": "mitotic figure"}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        },
    )
    (row,) = rows_of(path, rows="annotations")
    assert (row["image"]["file_name"], row["category"]["name"]) == ("007.tiff", "mitotic figure")


def test_lists_that_belong_together_are_stepped_through_together(tmp_path: Path) -> None:
    data = [{"file_name": "1.png", "syms": ["A", "B"], "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]},
            {"file_name": "2.png", "syms": [], "boxes": []}]  # fmt: skip
    path = write_json(tmp_path / "t.json", data)
    found = [(row["file_name"], row["syms"], row["boxes"]) for row in rows_of(path, each=("syms", "boxes"))]
    assert found == [("1.png", "A", [1, 2, 3, 4]), ("1.png", "B", [5, 6, 7, 8]), ("2.png", None, None)]
    uneven = write_json(tmp_path / "u.json", [{"syms": ["A"], "boxes": []}])
    with pytest.raises(CaseError, match="annotation.uneven_lists"):
        rows_of(uneven, each=("syms", "boxes"))


def test_pairs_of_names_and_values(tmp_path: Path) -> None:
    (info,) = rows_of(write_text(tmp_path / "Info.cfg", ACDC_INFO))
    assert (info["Group"], info["ED"]) == ("DCM", "1")
    (header,) = rows_of(write_text(tmp_path / "JS00001.hea", WFDB_HEADER))
    assert header["Dx"] == "164889003,59118001,164934002"


def test_xml_by_its_elements(tmp_path: Path) -> None:
    voc = annotation(kind="boxes", format="voc")
    found = read_rows([write_text(tmp_path / "a.xml", VOC)], where="d", shape=row_shape(voc)).rows
    assert [(row["name"], row["bndbox.xmin"]) for row in found] == [("polyp", "1"), ("tool", "2")]
    path = write_text(tmp_path / "1.xml", ECGEN)
    (report,) = rows_of(path, rows=".//Abstract")
    assert report["FINDINGS"] == "The heart is enlarged."
    (terms,) = rows_of(path, rows=".//MeSH")
    assert terms == {"major": ["Cardiomegaly/mild", "Calcified Granuloma/lung"], "automatic": "scar"}


def test_fiducials_keep_the_frame_that_their_file_states(tmp_path: Path) -> None:
    for stated, meant in (("0", "RAS"), ("1", "LPS"), ("LPS", "LPS")):
        (row,) = rows_of(write_text(tmp_path / "p.fcsv", FCSV.format(frame=stated)))
        assert (row["x"], row["label"], row["space"]) == ("10", "chin", meant)


def test_arrays_beside_images_are_rows(tmp_path: Path) -> None:
    labels = np.array([[3], [0], [1]], np.uint8)
    np.savez(tmp_path / "t.npz", train_images=np.zeros((3, 4, 4)), train_labels=labels)
    assert rows_of(tmp_path / "t.npz", rows="train_labels") == [{"train_labels": n} for n in (3, 0, 1)]
    with pytest.raises(CaseError, match="annotation.no_rows"):
        rows_of(tmp_path / "t.npz")
    scipy.io.savemat(tmp_path / "t.mat", {"a": np.arange(6.0).reshape(2, 3), "b": np.array([5.0, 6.0])})
    assert rows_of(tmp_path / "t.mat", rows="a, b") == [{"a": [0, 1, 2], "b": 5}, {"a": [3, 4, 5], "b": 6}]
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["y"] = np.array([1, 0])
    assert rows_of(tmp_path / "t.h5", rows="y") == [{"y": 1}, {"y": 0}]


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_plain_pickles_are_read(tmp_path: Path, protocol: int) -> None:
    records = [{"image": "train_0001", "question": "why?", "answer": None, "n": 2**70, "raw": b"\x00\xff"}]
    path = tmp_path / "t.pkl"
    path.write_bytes(pickle.dumps(records, protocol))
    assert rows_of(path) == records
    path.write_bytes(pickle.dumps({"labels": np.arange(4.0).reshape(2, 2), "data": np.zeros(9, ">i2")}, protocol))
    assert rows_of(path, rows="labels") == [{"labels": [0.0, 1.0]}, {"labels": [2.0, 3.0]}]


class _Bomb:
    def __reduce__(self) -> tuple:
        return print, ("run",)


@pytest.mark.parametrize(
    "payload",
    [
        pickle.dumps(_Bomb()),
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps(np.array([{}], object)),
        b"\x80\x04cbuiltins\neval\n.",
        pickle.dumps(pd.DataFrame({"a": [1]})),
        pickle.dumps(RECORDS)[:-9],
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00.",
        b"\x80\x02]r\xff\xff\xff\x7f.",
    ],
)
def test_pickles_that_are_more_than_data_are_refused(
    tmp_path: Path, payload: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.pkl").write_bytes(payload)
    with pytest.raises(CaseError) as raised:
        rows_of(tmp_path / "t.pkl")
    assert raised.value.code in ("read.unsafe_pickle", "read.unreadable")
    assert capsys.readouterr().out == ""


def test_a_pickle_cannot_change_what_it_calls(tmp_path: Path) -> None:
    state = b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb."
    (tmp_path / "t.pkl").write_bytes(state)
    with pytest.raises(CaseError):
        rows_of(tmp_path / "t.pkl")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("t.csv", b"", "read.truncated"),
        ("t.json", b"{", "read.unreadable"),
        ("t.json", b"[" * 200_000, "read.unreadable"),
        ("t.xlsx", b"PK\x03\x04 not a zip", "read.unreadable"),
        ("t.parquet", b"PAR1 broken", "read.unreadable"),
        ("t.xml", b"<a><b></a>", "read.unreadable"),
        ("t.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "read.unsupported"),
        ("t.bin", b"\x00\x01\x02\x03" * 8, "read.unknown_format"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaseError) as raised:
        rows_of(tmp_path / name)
    assert raised.value.code == code
    assert raised.value.where == "demo/1"


def test_archives_that_swell_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medshard.converters.annotations.rows.text_tables.LARGEST_TEXT", 1 << 20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n" * (1 << 20)))
    with pytest.raises(CaseError, match="read.too_large"):
        rows_of(tmp_path / "t.csv.gz")
    monkeypatch.setattr("medshard.converters.annotations.rows.spreadsheets.LARGEST_SHEET", 1 << 10)
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (1 << 20))
    with pytest.raises(CaseError, match="read.too_large"):
        rows_of(tmp_path / "t.xlsx")


def test_an_empty_file_of_boxes_says_that_there_are_none(tmp_path: Path) -> None:
    assert rows_of(write_text(tmp_path / "t.txt", ""), header=False, delimiter="blank") == []


def test_several_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    paths = [write_text(tmp_path / f"{name}.txt", f"{name} 1\n") for name in ("b", "a", "c")]
    found = read_rows(paths, where="d", shape=RowShape(header=False, delimiter="blank")).rows
    assert [(row["0"], row["file"]) for row in found] == [("a", "a"), ("b", "b"), ("c", "c")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), name=st.sampled_from(["t.csv", "t.json", "t.pkl", "t.xml", "t.xlsx", "t.npz"]))
def test_any_bytes_are_rows_or_a_case_error(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert rows_or_code(tmp_path / name).startswith(("rows", "read.", "annotation."))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_pickle_with_a_changed_byte_is_data_or_a_case_error(tmp_path: Path, place: int, byte: int) -> None:
    content = bytearray(pickle.dumps([{"a": np.arange(3), "b": "x"}] * 3, 2))
    content[place % len(content)] = byte
    (tmp_path / "t.pkl").write_bytes(bytes(content))
    assert rows_or_code(tmp_path / "t.pkl").startswith(("rows", "read.", "annotation."))


def test_two_hundred_thousand_rows_are_read_and_kept_small(tmp_path: Path) -> None:
    words = random.Random(1)
    lines = [f"id{number},{words.random()},a,b,c,d,e,f,g,h" for number in range(200_000)]
    path = write_text(tmp_path / "t.csv", "id,x,a,b,c,d,e,f,g,h\n" + "\n".join(lines))
    start = time.monotonic()
    found = read_rows([path], where="d").rows
    assert len(found) == 200_000
    assert found[123_456]["id"] == "id123456"
    assert time.monotonic() - start < 20
