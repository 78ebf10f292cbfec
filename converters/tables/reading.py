"""Reading tables and texts: the format is found by content, and every bad file becomes a `CaseError` of its case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from medshard.converters.formats.faults import bad_file, bad_file_errors, errors_of_case, refuse_no_files
from medshard.converters.table import Table
from medshard.converters.tables import (
    array_rows,
    cells,
    columnar,
    delimited,
    genome_text,
    json_records,
    matrix_market,
    refused,
    texts,
    variants,
    workbooks,
)
from medshard.converters.tables.declared import with_declared
from medshard.converters.tables.parquet_writer import ParquetFacts, write_parquet
from medshard.converters.tables.sparse_rows import is_matrix, variables_of
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest
from medshard.errors import CaseError

__all__ = [
    "ParquetFacts",
    "TableRequest",
    "is_matrix",
    "is_table",
    "read_table",
    "read_texts",
    "table_decoders",
    "variables_of",
    "write_parquet",
]

# Those with a signature first; delimited text, which has none, last.
TABLE_FORMATS: tuple[TableFormat, ...] = (
    refused.FORMAT,
    columnar.PARQUET,
    columnar.ARROW,
    workbooks.XLSX,
    workbooks.XLS,
    cells.FORMAT,
    array_rows.FORMAT,
    variants.FORMAT,
    variants.BCF,
    matrix_market.FORMAT,
    genome_text.FASTA,
    genome_text.FASTQ,
    genome_text.GFF,
    genome_text.BED,
    json_records.FORMAT,
    delimited.FORMAT,
)

TEXT_FORMATS: tuple[TableFormat, ...] = (
    refused.FORMAT,
    columnar.PARQUET,
    columnar.ARROW,
    workbooks.XLSX,
    workbooks.XLS,
    texts.XML,
    json_records.FORMAT,
    delimited.NAMED_FORMAT,
    texts.FORMAT,
)

READ = ", ".join(dict.fromkeys(suffix for one in (*TABLE_FORMATS, *TEXT_FORMATS) for suffix in one.suffixes))
UNKNOWN_ACTION = "The case is excluded. Correct the entry's layout, or convert the file."


def is_table(files: Files) -> bool:
    """Whether the files look like a table of any format, those that are refused by name among them."""
    if not files or any(path.stat().st_size == 0 for path in files):
        return False
    try:
        with bad_file_errors(files[0], "tables"):
            return _identified(files, TABLE_FORMATS) is not None
    except CaseError:
        return False


def read_table(files: Files, *, where: str, request: TableRequest) -> Table:
    """A table, as the entry declares it. where: `entry/case`, for messages.

    Its batches read the file again, and raise as this does: CaseError[read.no_files | read.truncated |
    read.unreadable | read.unsupported | read.unknown_format | read.missing_part | read.no_such_array | table.*],
    MissingExtraError.
    """
    return _read(files, where, request, (*TABLE_FORMATS, delimited.ANY_FORMAT))


def read_texts(files: Files, *, where: str, request: TableRequest) -> Table:
    """Texts: prose is one row with the column `text`, XML rows of `path` and `text`, others are records.

    The name decides between prose and a table, where content cannot: `.csv` and `.tsv` are tables. Errors as of
    `read_table`.
    """
    return _read(files, where, request, TEXT_FORMATS)


def table_decoders(files: Files) -> dict[str, str]:
    """Library -> version, of everything that decodes the files."""
    with bad_file_errors(files[0], "tables"):
        found = _identified(files, TABLE_FORMATS) or _identified(files, TEXT_FORMATS)
    return found.decoders() if found else {}


def _read(files: Files, where: str, request: TableRequest, formats: tuple[TableFormat, ...]) -> Table:
    refuse_no_files(files, where)
    with errors_of_case(files, "tables", where):
        found = _identified(files, formats)
        if found is None:
            raise bad_file(
                "read.unknown_format",
                files[0],
                "the content of the file is of no table or text that medshard reads",
                details={"files": len(files), "read": READ},
                action=UNKNOWN_ACTION,
            )
    with errors_of_case(files, found.name, where):
        table = with_declared(files[0], found.read(files, request), request.dtypes)
    return replace(table, batches=lambda: _of_case(files, found.name, where, table.batches))


def _of_case(
    files: Files, reader: str, where: str, batches: Callable[[], Iterator[pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    with errors_of_case(files, reader, where):
        yield from batches()


def _identified(files: Files, formats: tuple[TableFormat, ...]) -> TableFormat | None:
    return next((one for one in formats if one.sniff(files)), None)
