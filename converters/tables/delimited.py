"""Delimited text: csv, tsv and the like, read by Arrow in two passes with memory for a few blocks.

The first pass decides the types of columns and checks the text (encoding, quoting, number of columns in each row); the
second one gives the rows. Only an empty value is missing, quoted or not. Tables of more than `MOST_COLUMNS` columns
are matrices (`sparse_rows`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from medshard.converters.array_types import AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.column_types import Misfit, Survey, converted, null_words, survey_together
from medshard.converters.tables.dialect import LONGEST_ROW, Dialect, dialect_of, is_delimited, row_too_long
from medshard.converters.tables.encodings import SINGLE_BYTE, Utf8, encoding_of, is_text
from medshard.converters.tables.packed import unpacked_name, unpacked_start
from medshard.converters.tables.quoting import QuotingWatch
from medshard.converters.tables.sparse_rows import sparse_table
from medshard.converters.tables.table_format import (
    ARROW_TYPES,
    MOST_COLUMNS,
    Files,
    TableFormat,
    TableRequest,
    one_file,
    require_columns,
)
from medshard.errors import CaseError

SUFFIXES = (".csv", ".tsv", ".tab")
MANY_COLUMNS = 256
PARSED = {"integer", "number"}
# Finding the line of a bad value means reading the text again, slowly.
MOST_LINES_COUNTED = 20_000_000


def sniff(files: Files) -> bool:
    """By the suffix, or by columns that are the same in all of the first rows."""
    start = unpacked_start(files[0], 1 << 16)
    if not is_text(start):
        return False
    text = start.decode(encoding_of(files[0], start), "ignore")
    return unpacked_name(files[0]).endswith(SUFFIXES) or is_delimited(text)


def read(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[table.*], at once or while the rows are read (only where the file changes in between)."""
    path = one_file(files)
    with text_errors(path):
        try:
            return read_dialect(dialect_of(path), request)
        except UnicodeDecodeError:
            return read_dialect(dialect_of(path, encoding=SINGLE_BYTE), request)


def read_dialect(dialect: Dialect, request: TableRequest) -> Table:
    """The rows below a header that is known."""
    require_columns(dialect.path, dialect.names, request.dtypes)
    surveys, rows, missing = _survey(dialect, request)
    kinds = {name: request.dtypes.get(name, surveys[name].kind) for name in dialect.names}
    warnings = [*dialect.warnings, *_missing_words(missing), *_rounded(surveys, request)]
    attributes: dict[str, AttributeValue] = {"delimiter": dialect.delimiter, "encoding": dialect.encoding, "rows": rows}
    batches = partial(_batches, dialect, request, kinds)
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in kinds.items()])
    table = Table(schema=schema, batches=batches, format=FORMAT.name, attributes=attributes, warnings=tuple(warnings))
    return sparse_table(dialect.path, table) if len(dialect.names) > MOST_COLUMNS else table


@contextmanager
def text_errors(path: Path) -> Iterator[None]:
    """What the readers of delimited text raise, said without the text that they quote."""
    try:
        yield
    except (csv.Error, pa.ArrowInvalid) as error:
        if "straddling object" in str(error) or "field larger" in str(error):
            raise row_too_long(path) from error
        raise bad_file("read.unreadable", path, "the rows cannot be split into columns") from error


class _Survey:
    """The first pass."""

    def __init__(self, dialect: Dialect, request: TableRequest) -> None:
        self.columns = {name: Survey() for name in dialect.names if name not in request.dtypes}
        self.missing = dict.fromkeys(request.dtypes, 0)
        self.rows = 0
        self._dialect = dialect
        self._dtypes = request.dtypes

    def add(self, batch: pa.RecordBatch) -> None:
        undeclared = [batch.column(name) for name in self.columns]
        if len(undeclared) > MANY_COLUMNS:
            survey_together(list(self.columns.values()), undeclared)
        else:
            for survey, values in zip(self.columns.values(), undeclared, strict=True):
                survey.add(values)
        for name, kind in self._dtypes.items():
            if kind != "string":
                _convert(self._dialect, batch, name, kind, self.rows)
                self.missing[name] += null_words(batch.column(name))
        self.rows += len(batch)


def _survey(dialect: Dialect, request: TableRequest) -> tuple[dict[str, Survey], int, dict[str, int]]:
    seen = _Survey(dialect, request)
    watch = QuotingWatch(dialect.delimiter)
    with _Watched(dialect, watch) as stream:
        for batch in _parsed(dialect, stream, dict.fromkeys(dialect.names, pa.string())):
            seen.add(batch)
    watch.finish()
    if watch.suspect:
        _require_strict(dialect)
    return {**dict.fromkeys(request.dtypes, Survey()), **seen.columns}, seen.rows, seen.missing


def _batches(dialect: Dialect, request: TableRequest, kinds: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """The second pass."""
    parsed = {name: kind for name, kind in kinds.items() if name not in request.dtypes and kind in PARSED}
    types = {name: ARROW_TYPES[parsed.get(name, "string")] for name in kinds}
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in kinds.items()])
    rows = 0
    with text_errors(dialect.path), dialect.opened_at_rows() as stream:
        for batch in _parsed(dialect, stream, types):
            columns = [
                batch.column(name) if name not in request.dtypes else _convert(dialect, batch, name, kind, rows)
                for name, kind in kinds.items()
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            rows += len(batch)


def _parsed(dialect: Dialect, stream: io.RawIOBase, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Batches by blocks of the text. A row of another width is an error that names its line."""
    ragged: list[int] = []

    def stop(row: Any) -> str:
        ragged.append(row.actual_columns)
        return "error"

    read = arrow_csv.ReadOptions(column_names=list(types), block_size=LONGEST_ROW)
    parse = arrow_csv.ParseOptions(
        delimiter=dialect.delimiter,
        newlines_in_values=True,
        ignore_empty_lines=len(types) > 1,
        invalid_row_handler=stop,
    )
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    try:
        yield from arrow_csv.open_csv(stream, read, parse, convert)
    except pa.ArrowInvalid as error:
        if ragged:
            raise _ragged(dialect) from None
        if "Empty CSV file" not in str(error):
            raise


class _Watched(Utf8):
    """The rows' text, looked at on its way to Arrow."""

    def __init__(self, dialect: Dialect, watch: QuotingWatch) -> None:
        super().__init__(dialect.opened(), "utf-8")
        self._watch: QuotingWatch | None = None
        super().read(dialect.skip)
        self._watch = watch

    def read(self, count: int = -1, /) -> bytes:
        block = super().read(count)
        if self._watch is not None:
            self._watch.add(block)
        return block


def _convert(dialect: Dialect, batch: pa.RecordBatch, name: str, kind: str, before: int) -> pa.Array:
    try:
        return converted(batch.column(name), kind)
    except Misfit as misfit:
        raise bad_file(
            "table.bad_value",
            dialect.path,
            "a value is not of the type that the entry declares for its column",
            details={
                "column": name,
                "expected": kind,
                "row": before + misfit.row + 1,
                "line": _line_of(dialect, before + misfit.row),
            },
            action="The case is excluded. Declare the column as `string`, or repair the value at the source.",
        ) from None


def _records(dialect: Dialect) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows with the line that each ends on, counted from 1 at the top of the file; strict about quoting."""
    with dialect.opened() as stream:
        above = stream.read(dialect.skip).decode()
        first = len(above.splitlines())
        text = io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), "utf-8", newline="")
        reader = csv.reader(text, delimiter=dialect.delimiter, strict=True)
        try:
            for record in reader:
                if record or len(dialect.names) == 1:
                    yield first + reader.line_num, record
        except csv.Error as error:
            if "field larger" in str(error):
                raise row_too_long(dialect.path) from error
            raise bad_file(
                "table.bad_quoting",
                dialect.path,
                "a quotation mark stands where none belongs, or one is not closed",
                details={"line": first + reader.line_num, "expected": "quotes around the whole value, doubled inside"},
                action="The case is excluded. Repair the quoting at the source.",
            ) from error


def _require_strict(dialect: Dialect) -> None:
    for _ in _records(dialect):
        pass


def _line_of(dialect: Dialect, row: int) -> str:
    if row > MOST_LINES_COUNTED:
        return "not counted"
    return next((str(line) for number, (line, _) in enumerate(_records(dialect)) if number == row), "unknown")


def _ragged(dialect: Dialect) -> CaseError:
    width = len(dialect.names)
    line, found = next(((line, len(row)) for line, row in _records(dialect) if len(row) != width), (0, 0))
    return bad_file(
        "table.ragged",
        dialect.path,
        "a row has another number of values than the header has names",
        details={"line": line or "unknown", "expected": width, "found": found or "another number"},
        action="The case is excluded. Repair the row at the source (a delimiter inside a value needs quotes).",
    )


def _missing_words(missing: dict[str, int]) -> Iterator[str]:
    for name, count in missing.items():
        if count:
            yield f"column {name}: {count} words for a missing value (such as NA) are taken for none"


def _rounded(surveys: dict[str, Survey], request: TableRequest) -> Iterator[str]:
    names = [name for name, survey in surveys.items() if name not in request.dtypes and survey.looks_rounded]
    if names:
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        yield f"columns of decimals with zeros at their ends stay text unless they are declared as number: {listed}"


def sniff_name(files: Files) -> bool:
    """By the suffix alone: among texts, prose may look like columns."""
    return unpacked_name(files[0]).endswith(SUFFIXES) and sniff(files)


FORMAT = TableFormat(
    name="delimited text",
    suffixes=(*SUFFIXES, ".txt"),
    sniff=sniff,
    read=read,
    decoders=lambda: installed_versions("pyarrow", "isal"),
)
NAMED_FORMAT = replace(FORMAT, sniff=sniff_name)
# What an entry calls a table is one, if it is text at all: separated by spaces, or of one column.
ANY_FORMAT = replace(FORMAT, sniff=lambda files: is_text(unpacked_start(files[0], 1 << 16)))
