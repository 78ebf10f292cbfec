"""Which reader a row file has: by its content, and only among texts by its suffix."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.annotations.rows import array_rows, spreadsheets
from medshard.converters.annotations.rows.json_rows import read_json
from medshard.converters.annotations.rows.key_values import SUFFIXES, read_fcsv, read_pairs
from medshard.converters.annotations.rows.plain_pickle import is_pickle
from medshard.converters.annotations.rows.rows import FILE, PLAIN, BatchRows, Row, Rows, RowShape, cell_of, columns_of
from medshard.converters.annotations.rows.text_tables import encoding_of, open_text, read_text_table
from medshard.converters.annotations.rows.xml_rows import read_xml
from medshard.converters.formats.faults import bad_file, errors_of_case
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.errors import CaseError

LARGEST_REPORT = 64 << 20

TABLE_SUFFIXES = (".csv", ".tsv", ".tab")


def read_rows(files: Sequence[Path], *, where: str, shape: RowShape = PLAIN) -> Rows:
    """The rows of one file, or of several of one kind in the order of their paths.

    where: `entry/case` or `entry`, for messages.
    Raises CaseError[read.no_files | read.truncated | read.unreadable | read.too_large | read.unsupported |
    read.unknown_format | read.unsafe_pickle | annotation.no_rows | annotation.no_sheet | annotation.ragged_row |
    annotation.uneven_lists]; MissingExtraError for spreadsheets without their library.
    """
    if not files:
        raise CaseError(
            "read.no_files", where=where, problem="no file is given for the rows", action="Correct the entry's layout."
        )
    parts: list[Rows] = []
    for path in sorted(files):
        with errors_of_case([path], "rows", where):
            parts.append(_exploded(_read_file(path, shape), shape, path))
    if len(parts) == 1 and not shape.file:
        return parts[0]
    return _together(sorted(files), parts)


def row_decoders(files: Sequence[Path]) -> dict[str, str]:
    """Library -> version, of everything that has a say in the rows."""
    suffixes = {path.suffix.lower() for path in files}
    sheets = [name for name, suffix in (("openpyxl", ".xlsx"), ("xlrd", ".xls")) if suffix in suffixes]
    return installed_versions("numpy", "pyarrow", *sheets)


def _read_file(path: Path, shape: RowShape) -> Rows:
    start = first_bytes(path, 16)
    if not start.strip():
        return _empty(path, shape)
    for signatures, read in _BINARY:
        if start.startswith(signatures):
            return read(path, shape)
    if is_pickle(path):
        return array_rows.read_pickle(path, shape)
    return _read_text(path, shape)


def _read_text(path: Path, shape: RowShape) -> Rows:
    encoding, warnings = encoding_of(path)
    with open_text(path, encoding) as stream:
        start = stream.read(4096)
    if "\0" in start:
        raise bad_file("read.unknown_format", path, "the file is no table of any kind that medshard reads")
    rows = _read_decoded(path, shape, start.lstrip(), encoding)
    return Rows(columns=rows.columns, rows=rows.rows, format=rows.format, warnings=(*warnings, *rows.warnings))


def _read_decoded(path: Path, shape: RowShape, start: str, encoding: str) -> Rows:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_table = any(suffix in TABLE_SUFFIXES for suffix in suffixes)
    if ".fcsv" in suffixes or start.startswith("# Markups fiducial file"):
        return read_fcsv(path, encoding=encoding)
    if start.startswith("<") and not is_table:
        return read_xml(path, shape)
    if (start.startswith(("{", "[")) and not is_table) or {".json", ".jsonl"} & set(suffixes):
        return read_json(path, shape, encoding=encoding)
    if suffixes and suffixes[-1] in SUFFIXES:
        return read_pairs(path, encoding=encoding)
    if shape.text and not is_table:
        return _read_whole(path, encoding)
    return read_text_table(path, shape, encoding=encoding)


def _read_whole(path: Path, encoding: str) -> Rows:
    if path.stat().st_size > LARGEST_REPORT:
        raise bad_file("read.too_large", path, f"a text of more than {LARGEST_REPORT >> 20} MiB")
    with open_text(path, encoding) as stream:
        text = stream.read(LARGEST_REPORT + 1)
    if len(text) > LARGEST_REPORT:
        raise bad_file("read.too_large", path, f"a text of more than {LARGEST_REPORT >> 20} MiB")
    return Rows(columns=("text",), rows=[{"text": text.replace("\r\n", "\n")}], format="text")


def _empty(path: Path, shape: RowShape) -> Rows:
    """An empty file of lines without a header says that there are none; any other is cut off."""
    if path.stat().st_size == 0 and (shape.header or shape.text):
        raise bad_file("read.truncated", path, "the file is empty", details={"file": path.name})
    if shape.header:
        raise bad_file("read.unreadable", path, "the file holds nothing but blanks")
    return Rows(columns=(), rows=[], format="text table")


def _read_zip(path: Path, shape: RowShape) -> Rows:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "xl/workbook.xml" in names:
        return spreadsheets.read_xlsx(path, shape)
    if any(name.endswith(".npy") for name in names):
        return array_rows.read_npz(path, shape)
    raise bad_file("read.unknown_format", path, "the file is no spreadsheet and holds no arrays")


def _read_parquet(path: Path, _shape: RowShape) -> Rows:
    table = pq.read_table(path)
    batches: list[pa.RecordBatch] = table.to_batches()
    return Rows(columns=tuple(table.schema.names), rows=BatchRows(batches), format="parquet")


_BINARY: tuple[tuple[bytes | tuple[bytes, ...], Callable[[Path, RowShape], Rows]], ...] = (
    (b"PK\x03\x04", _read_zip),
    (b"\xd0\xcf\x11\xe0", spreadsheets.read_xls),
    (b"PAR1", _read_parquet),
    (b"\x93NUMPY", array_rows.read_npy),
    ((b"\x89HDF\r\n", b"MATLAB "), array_rows.read_matlab),
)


def _exploded(rows: Rows, shape: RowShape, path: Path) -> Rows:
    """A row for each step through the lists of the columns `each`. Raises CaseError[annotation.uneven_lists]."""
    if not shape.each:
        return rows
    found: list[Row] = []
    for number, row in enumerate(rows.rows, start=1):
        lists = {name: cell if isinstance(cell := cell_of(row, name), list) else [] for name in shape.each}
        if len({len(cells) for cells in lists.values()}) != 1:
            raise bad_file(
                "annotation.uneven_lists",
                path,
                "the lists of a row have different lengths",
                details={"row": number, **{name: len(cells) for name, cells in lists.items()}},
                action="Correct `each` of the entry's annotation, or repair the file at the source.",
            )
        steps = list(zip(*lists.values(), strict=True))
        found += [{**row, **dict(zip(lists, step, strict=True))} for step in steps]
        # What says that there is nothing is a row as well.
        found += [{**row, **dict.fromkeys(lists)}] if not steps else []
    return Rows(columns=columns_of(found), rows=found, format=rows.format, warnings=rows.warnings)


def _together(files: Sequence[Path], parts: Sequence[Rows]) -> Rows:
    columns = dict.fromkeys(name for part in parts for name in part.columns)
    rows = [
        {**row, FILE: row.get(FILE, path.name.partition(".")[0])}
        for path, part in zip(files, parts, strict=True)
        for row in part.rows
    ]
    warnings = dict.fromkeys(warning for part in parts for warning in part.warnings)
    return Rows(columns=(*columns, FILE), rows=rows, format=parts[0].format, warnings=tuple(warnings))
