"""Workbooks: xlsx by openpyxl, xls by xlrd. Cells have types of their own, and formulas give their stored results.

The first row that is not empty is the header. A sheet is read where it is the only one with cells, or `request.key`
names it. Merged cells hold their value in the first one only, as the file has it; that is warned of, and so is a
header that merged cells lie in. Numbers without a fraction are integers; cells that show an error are null, warned of.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.json_records import table_of_records
from medshard.converters.tables.record_columns import Record
from medshard.converters.tables.table_format import (
    MOST_COLUMNS,
    Files,
    TableFormat,
    TableRequest,
    one_file,
    too_many_columns,
    usable_names,
)
from medshard.converters.tables.workbook_xml import SheetFacts, is_workbook, require_harmless, sheet_facts
from medshard.errors import CaseError, MissingExtraError

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LARGEST_XLS = 128 << 20
WHOLE = 1 << 53
ERRORS = frozenset({"#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "#GETTING_DATA"})

Row = Sequence[Any]
Rows = Callable[[], Iterator[Row]]


@dataclass(frozen=True, kw_only=True)
class Header:
    """names: of the columns. row: number of the header's row, from 1."""

    names: tuple[str, ...]
    row: int
    warnings: tuple[str, ...]


def sniff(files: Files) -> bool:
    return is_workbook(files[0])


def sniff_xls(files: Files) -> bool:
    return first_bytes(files[0], 8) == OLE_MAGIC


def read(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[table.*], MissingExtraError[tables.not_installed] without openpyxl."""
    path = one_file(files)
    require_harmless(path)
    with _opened(path) as book:
        sheet = _sheet(path, {sheet.title: sheet for sheet in book.worksheets}, request.key, _has_cells)
        title, part = sheet.title, sheet._worksheet_path
        header = _header(path, _rows(sheet))
    facts = sheet_facts(path, part)
    rows = partial(_xlsx_rows, path, title)
    return table_of_records(
        path, partial(_records, path, rows, header), request, XLSX.name, *_warnings(rows, header, facts)
    )


def read_xls(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[table.*], MissingExtraError[tables.not_installed] without xlrd."""
    path = one_file(files)
    if path.stat().st_size > LARGEST_XLS:
        raise bad_file("read.unsupported", path, "the file is too large for a workbook of 65,536 rows")
    book = _xls_book(path)
    sheet = _sheet(path, {sheet.name: sheet for sheet in book.sheets()}, request.key, lambda one: one.nrows > 0)
    merged = tuple((first + 1, last) for first, last, _, _ in sheet.merged_cells)
    rows = [[_xls_value(book, cell) for cell in row] for row in sheet.get_rows()]
    header = _header(path, iter(rows))
    warnings = _warnings(lambda: iter(rows), header, SheetFacts(merged=merged, unvalued=0))
    return table_of_records(path, partial(_records, path, lambda: iter(rows), header), request, XLS.name, *warnings)


def _warnings(rows: Rows, header: Header, facts: SheetFacts) -> list[str]:
    errors = sum(value in ERRORS for row in rows() for value in row if isinstance(value, str))
    warnings = [*header.warnings, *_merged_warnings(header, facts)]
    if facts.unvalued:
        warnings.append(f"{facts.unvalued} formulas have no stored result and are null")
    if errors:
        warnings.append(f"{errors} cells show an error of the spreadsheet and are null")
    return warnings


def _merged_warnings(header: Header, facts: SheetFacts) -> Iterator[str]:
    above = sum(first <= header.row <= last for first, last in facts.merged)
    if above:
        yield f"the header has {above} merged ranges of cells: names may belong to several columns, or to several rows"
    if below := sum(first > header.row for first, _ in facts.merged):
        yield f"{below} merged ranges of cells have their value in the first cell only"


def _records(path: Path, rows: Rows, header: Header) -> Iterator[Record]:
    """The rows below the header, without those that are empty."""
    for number, row in enumerate(rows(), start=1):
        if number <= header.row or all(value is None for value in row):
            continue
        extra = [value for value in row[len(header.names) :] if value is not None]
        if extra:
            raise bad_file(
                "table.ragged",
                path,
                "a row has cells beyond the last column of the header",
                details={"row": number, "expected": len(header.names), "found": len(row)},
                action="The case is excluded. Name the columns at the source, or move notes out of the sheet.",
            )
        values = [*map(_value, row), *[None] * (len(header.names) - len(row))]
        yield dict(zip(header.names, values, strict=False))


def _header(path: Path, rows: Iterator[Row]) -> Header:
    for number, row in enumerate(rows, start=1):
        filled = [place for place, value in enumerate(row, start=1) if value is not None]
        if not filled:
            continue
        if filled[-1] > MOST_COLUMNS:
            raise too_many_columns(path, filled[-1])
        names, unnamed = usable_names(path, ["" if value is None else str(value) for value in row[: filled[-1]]])
        below = (f"the header is in row {number}: the rows above it are empty",) if number > 1 else ()
        return Header(names=tuple(names), row=number, warnings=(*below, *unnamed))
    raise bad_file("read.truncated", path, "the sheet is empty")


def _value(value: Any) -> Any:
    """A cell as one of the kinds of `record_columns`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE:
        return int(value)
    if isinstance(value, str):
        return None if value in ERRORS or not value else value
    return value


def _sheet(path: Path, sheets: dict[str, Any], key: str | None, is_filled: Any) -> Any:
    """Raises CaseError[table.several_sheets | table.no_such_key | read.truncated]."""
    if key is not None:
        if key in sheets:
            return sheets[key]
        raise bad_file(
            "table.no_such_key",
            path,
            "the workbook has no sheet of that name",
            details={"expected": key, "sheets": len(sheets)},
            action="Correct `key` in the entry's layout.",
        )
    filled = [sheet for sheet in sheets.values() if is_filled(sheet)]
    if not filled:
        raise bad_file("read.truncated", path, "the workbook has no cells")
    if len(filled) > 1:
        raise bad_file(
            "table.several_sheets",
            path,
            "the workbook has several sheets with cells",
            details={"expected": "one, or `key`", "found": len(filled)},
            action="Name the sheet as `key` in the entry's layout.",
        )
    return filled[0]


def _has_cells(sheet: Any) -> bool:
    return any(value is not None for row in _rows(sheet) for value in row)


def _rows(sheet: Any) -> Iterator[Row]:
    """Rows by number. What a sheet states about its size is not believed: cells decide."""
    sheet.reset_dimensions()
    return sheet.iter_rows(values_only=True)


def _xlsx_rows(path: Path, title: str) -> Iterator[Row]:
    with _opened(path) as book:
        yield from _rows(book[title])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import openpyxl  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path.name, "openpyxl") from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except (openpyxl.utils.exceptions.InvalidFileException, KeyError, AttributeError) as error:
        raise _broken(path) from error
    try:
        yield book
    finally:
        book.close()


def _xls_book(path: Path) -> Any:
    try:
        import xlrd  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path.name, "xlrd") from error
    try:
        return xlrd.open_workbook(path, formatting_info=True, logfile=io.StringIO())
    except (xlrd.XLRDError, xlrd.compdoc.CompDocError, AssertionError) as error:
        raise _broken(path) from error


def _xls_value(book: Any, cell: Any) -> Any:
    import xlrd  # noqa: PLC0415

    if cell.ctype == xlrd.XL_CELL_DATE:
        return xlrd.xldate_as_datetime(cell.value, book.datemode)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return "#VALUE!"
    return None if cell.ctype in {xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK} or cell.value == "" else cell.value


def _broken(path: Path) -> CaseError:
    return bad_file("read.unreadable", path, "the workbook cannot be opened")


def _not_installed(where: str, library: str) -> MissingExtraError:
    return MissingExtraError(
        "tables.not_installed",
        where=where,
        problem=f"workbooks are read by {library}, which is not installed",
        action="pip install 'medshard[tables]'",
    )


def _decoders(*libraries: str) -> dict[str, str]:
    try:
        return installed_versions(*libraries)
    except PackageNotFoundError as error:
        raise _not_installed("workbook", libraries[0]) from error


XLSX = TableFormat(
    name="xlsx", suffixes=(".xlsx", ".xlsm"), sniff=sniff, read=read, decoders=partial(_decoders, "openpyxl", "pyarrow")
)
XLS = TableFormat(
    name="xls", suffixes=(".xls",), sniff=sniff_xls, read=read_xls, decoders=partial(_decoders, "xlrd", "pyarrow")
)
