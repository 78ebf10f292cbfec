"""Tables as text: csv, tsv, and words between blanks, also compressed with gzip."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from medshard.converters.annotations.rows.rows import BatchRows, Rows, RowShape
from medshard.converters.formats.faults import bad_file

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}

LONGEST_LINE = 64 << 20
LARGEST_TEXT = 4 << 30
MOST_COLUMNS = 20_000
BATCH_ROWS = 20_000
SAMPLE = 1 << 16

# Nothing that a file of words has: a character of the private use area.
AFTER_THE_END = "\ue0ff"

# What files by Windows programs are in where they are no UTF-8; it has a meaning for every byte.
FALLBACK = "latin-1"


def read_text_table(path: Path, shape: RowShape, *, encoding: str) -> Rows:
    """Every cell is text. Unnamed columns are called by their number, a second one of a name gets `(2)`.

    Raises CaseError[read.too_large | read.truncated | annotation.ragged_row].
    """
    csv.field_size_limit(LONGEST_LINE)
    with open_text(path, encoding) as stream:
        lines = _lines_to_read(path, stream, shape)
        records = _records(path, lines, shape)
        first = next(records, None) if shape.header else None
        names, warnings = named_columns(first or [])
        batches = list(_batches(path, records, names, header=shape.header))
    if not shape.header:
        batches = _of_one_width(batches)
        names = tuple(batches[0].schema.names) if batches else ()
    return Rows(columns=names, rows=BatchRows(batches), format="text table", warnings=warnings)


def named_columns(cells: Sequence[object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of columns from the cells of a header, and what is to be said about them."""
    names: list[str] = []
    repeated = 0
    for number, cell in enumerate(cells):
        plain = " ".join(str("" if cell is None else cell).replace("\u00a0", " ").replace("\ufeff", "").split())
        name, count = plain or str(number), 2
        while name in names:
            name, count = f"{plain} ({count})", count + 1
        repeated += name != (plain or str(number))
        names.append(name)
    return tuple(names), (f"{repeated} columns have the name of another one",) if repeated else ()


def encoding_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """The encoding of a text file, and a warning where it had to be guessed.

    Raises CaseError[read.too_large].
    """
    with _open_bytes(path) as stream:
        head = stream.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16", ()
    total = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open_bytes(path) as stream:
        while block := stream.read(1 << 20):
            total += len(block)
            if total > LARGEST_TEXT:
                raise _too_large(path, "text", LARGEST_TEXT)
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return FALLBACK, ("the text is no UTF-8 and was read as Latin-1",)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return FALLBACK, ("the text is no UTF-8 and was read as Latin-1",)
    return "utf-8-sig", ()


def open_text(path: Path, encoding: str) -> IO[str]:
    return io.TextIOWrapper(_open_bytes(path), encoding=encoding, newline="")


def text_lines(path: Path, stream: IO[str]) -> Iterator[str]:
    """Line by line, none of them endless. Raises CaseError[read.too_large]."""
    total = 0
    while line := stream.readline(LONGEST_LINE + 1):
        total += len(line)
        if len(line) > LONGEST_LINE or total > LARGEST_TEXT:
            raise _too_large(path, "a line" if len(line) > LONGEST_LINE else "text", LONGEST_LINE)
        yield line


def _open_bytes(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        is_packed = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if is_packed else path.open("rb")


def _too_large(path: Path, what: str, limit: int) -> Exception:
    return bad_file("read.too_large", path, f"{what} of more than {limit >> 20} MiB", details={"file": path.name})


def _lines_to_read(path: Path, stream: IO[str], shape: RowShape) -> Iterator[str]:
    wanted = re.compile(shape.lines) if shape.lines else None
    for line in text_lines(path, stream):
        if shape.comment and line.lstrip().startswith(shape.comment):
            continue
        if wanted is not None and not wanted.match(line.lstrip()):
            continue
        yield line


def _records(path: Path, lines: Iterator[str], shape: RowShape) -> Iterator[list[str]]:
    """The cells of each line that has any. Raises CaseError[read.truncated | read.too_large]."""
    if shape.delimiter == "blank":
        yield from (cells for line in lines if (cells := line.split()))
        return
    first = next(lines, "")
    while first and not first.strip():
        first = next(lines, "")
    delimiter = DELIMITERS[shape.delimiter] if shape.delimiter else _delimiter_of(path, first)
    for cells in csv.reader(_chained(first, lines), delimiter=delimiter, skipinitialspace=True):
        if cells and cells[-1].endswith(AFTER_THE_END):
            if cells != [AFTER_THE_END]:
                raise bad_file("read.truncated", path, "the last cell begins with a quotation mark that nothing closes")
            return
        if len(cells) > MOST_COLUMNS:
            raise bad_file(
                "read.too_large", path, f"a row of more than {MOST_COLUMNS} cells", details={"cells": len(cells)}
            )
        if any(cell.strip() for cell in cells):
            yield cells


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    """All lines, and one that is a row of its own unless a quotation is still open there."""
    if first:
        yield first
    yield from rest
    yield AFTER_THE_END


def _delimiter_of(path: Path, line: str) -> str:
    """The sign that divides the first line most often, outside quotes; of several equal ones the first of the list."""
    if ".tsv" in path.suffixes:
        return "\t"
    bare = re.sub(r'"[^"]*"', "", line[:SAMPLE])
    return max(DELIMITERS.values(), key=bare.count)


def _batches(
    path: Path, records: Iterator[list[str]], names: tuple[str, ...], *, header: bool
) -> Iterator[pa.RecordBatch]:
    held: list[list[str]] = []
    for number, cells in enumerate(records, start=1):
        if header and any(cell.strip() for cell in cells[len(names) :]):
            raise bad_file(
                "annotation.ragged_row",
                path,
                "a row has more cells than the header has names",
                details={"row": number, "columns": len(names), "cells": len(cells)},
                action="Repair the table, or name the delimiter in the entry's annotation.",
            )
        held.append(cells[: len(names)] if header else cells)
        if len(held) == BATCH_ROWS:
            yield _batch(held, names)
            held = []
    if held:
        yield _batch(held, names)


def _batch(records: list[list[str]], names: Sequence[str]) -> pa.RecordBatch:
    width = max(map(len, records), default=0) if not names else len(names)
    found = names or [str(number) for number in range(width)]
    columns = [[cells[place] if place < len(cells) else None for cells in records] for place in range(width)]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], names=list(found))


def _of_one_width(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Rows without a header may be of several lengths; all batches get the columns of the longest."""
    width = max((batch.num_columns for batch in batches), default=0)
    names = [str(number) for number in range(width)]
    return [
        pa.RecordBatch.from_arrays(
            [*batch.columns, *(pa.nulls(batch.num_rows, pa.string()) for _ in range(width - batch.num_columns))],
            names=names,
        )
        for batch in batches
    ]
