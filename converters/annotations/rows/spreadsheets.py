"""Spreadsheets: xlsx through openpyxl, xls through xlrd. Formulas count by the value that was saved with them."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medshard.converters.annotations.rows.rows import Cell, Row, Rows, RowShape
from medshard.converters.annotations.rows.text_tables import named_columns
from medshard.converters.formats.faults import bad_file
from medshard.errors import MissingExtraError

LARGEST_SHEET = 1 << 30
MOST_CELLS = 30_000_000


def read_xlsx(path: Path, shape: RowShape) -> Rows:
    """Raises CaseError[read.too_large | annotation.no_sheet]; MissingExtraError[tables.not_installed]."""
    try:
        import openpyxl  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path, "openpyxl") from error
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_SHEET:
            raise bad_file("read.too_large", path, f"a spreadsheet of more than {LARGEST_SHEET >> 20} MiB")
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        name = _sheet(path, book.sheetnames, shape)
        return _rows(path, book[name].iter_rows(values_only=True), shape, "xlsx")
    finally:
        book.close()


def read_xls(path: Path, shape: RowShape) -> Rows:
    """Raises CaseError[read.unreadable | annotation.no_sheet]; MissingExtraError[tables.not_installed]."""
    try:
        import xlrd  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path, "xlrd") from error
    try:
        book = xlrd.open_workbook(str(path), on_demand=True)
        sheet = book.sheet_by_name(_sheet(path, book.sheet_names(), shape))
        dates = (xlrd.xldate_as_datetime, book.datemode)
    except (xlrd.XLRDError, AssertionError) as error:
        raise bad_file("read.unreadable", path, "the file is no spreadsheet that xlrd reads") from error
    records = ([_xls_cell(cell, *dates) for cell in sheet.row(number)] for number in range(sheet.nrows))
    return _rows(path, records, shape, "xls")


def _sheet(path: Path, names: Sequence[str], shape: RowShape) -> str:
    if shape.sheet is None:
        return names[0]
    if shape.sheet not in names:
        raise bad_file(
            "annotation.no_sheet",
            path,
            "the spreadsheet has no sheet of that name",
            details={"expected": shape.sheet, "sheets": len(names)},
            action="Correct `sheet` of the entry's annotation.",
        )
    return shape.sheet


def _rows(path: Path, records: Iterator[Sequence[Any]], shape: RowShape, name: str) -> Rows:
    names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
    rows: list[Row] = []
    cells = 0
    for record in records:
        cells += len(record)
        if cells > MOST_CELLS:
            raise bad_file("read.too_large", path, f"a spreadsheet of more than {MOST_CELLS} cells")
        if all(cell is None or cell == "" for cell in record):
            continue
        if names is None and shape.header:
            names, warnings = named_columns(_without_tail(record))
            continue
        wide = range(len(record)) if names is None else range(min(len(names), len(record)))
        rows.append({names[place] if names else str(place): _cell(record[place]) for place in wide})
    columns = names if names is not None else tuple(str(n) for n in range(max((len(row) for row in rows), default=0)))
    return Rows(columns=columns, rows=rows, format=name, warnings=warnings)


def _without_tail(record: Sequence[Any]) -> Sequence[Any]:
    """A header without the empty cells that formatting leaves behind it."""
    length = max((place for place, cell in enumerate(record, start=1) if cell not in (None, "")), default=0)
    return record[:length]


def _cell(cell: Any) -> Cell:
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    return cell if isinstance(cell, str | int | float | bool) else None if cell is None else str(cell)


def _xls_cell(cell: Any, as_date: Any, datemode: int) -> Cell:
    """xlrd's kinds of cells: 1 text, 2 number, 3 date, 4 boolean, 5 error."""
    if cell.ctype == 3:
        return as_date(cell.value, datemode).isoformat()
    if cell.ctype == 4:
        return bool(cell.value)
    return cell.value if cell.ctype in (1, 2) else None


def _not_installed(path: Path, library: str) -> MissingExtraError:
    return MissingExtraError(
        "tables.not_installed",
        where=path.name,
        problem=f"spreadsheets are read with {library}, which is not installed",
        action="Install medshard with the extra `tables`.",
    )
