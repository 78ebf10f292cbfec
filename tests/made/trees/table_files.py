"""Tables and texts as their sources write them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl

Rows = Sequence[Mapping[str, Any]]


def write_table(path: Path, rows: Rows, *, separator: str = ",") -> Path:
    """csv (tsv by its name); the columns are the keys of the first row."""
    with path.open("w", newline="", encoding="utf8") as file:
        dialect = "\t" if path.suffix == ".tsv" else separator
        writer = csv.DictWriter(file, list(rows[0]), delimiter=dialect, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
    return path


def write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf8")
    return path


def write_json_lines(path: Path, rows: Rows) -> Path:
    return write_lines(path, *(json.dumps(row) for row in rows))


def write_sheet(path: Path, rows: Rows, *, sheet: str = "Sheet1", header: bool = True) -> Path:
    """xlsx of one sheet."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    if header:
        page.append(list(rows[0]))
    for row in rows:
        page.append(list(row.values()))
    book.save(path)
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path
