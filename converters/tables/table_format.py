"""What a table's format module provides, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from medshard.converters.formats.faults import bad_file
from medshard.converters.table import Table
from medshard.errors import CaseError

Files = Sequence[Path]

ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp", "category"]

# The words of `dtypes` in a layout.
ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "category": pa.dictionary(pa.int32(), pa.string()),
}

# Wider ones of numbers are read as sparse rows (`sparse_rows`), others are refused.
MOST_COLUMNS = 4096
LONGEST_NAME = 1000


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Which table of the files is meant, and what its columns hold.

    key: a sheet of a workbook, a list inside a JSON file, an array of a MATLAB or HDF5 file, a layer of an h5ad file.
    dtypes: column -> word of `ColumnType`.
    """

    key: str | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """One format, as plain functions.

    sniff: whether the files look like this format, by their content.
    read: raises CaseError, or what the library that reads the format raises on a bad file; so do the batches.
    decoders: library -> version.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Files], bool]
    read: Callable[[Files, TableRequest], Table]
    decoders: Callable[[], dict[str, str]]


def require_columns(path: Path, names: Sequence[str], dtypes: Mapping[str, str]) -> None:
    """Every declared column is there, under a type that exists; no name comes twice.

    Raises CaseError[table.no_such_column | table.unknown_type | table.duplicate_column].
    """
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise bad_file(
            "table.duplicate_column",
            path,
            "columns have the same name",
            details={"columns": ", ".join(twice[:5]), "expected": "one name for each column"},
            action="The case is excluded. Name the columns apart at the source.",
        )
    if missing := sorted(set(dtypes) - set(names)):
        raise bad_file(
            "table.no_such_column",
            path,
            "the entry declares columns that the table does not have",
            details={"expected": ", ".join(missing), "found": ", ".join(list(names)[:20])},
            action="Correct `dtypes` in the entry's layout.",
        )
    if unknown := sorted({word for word in dtypes.values() if word not in ARROW_TYPES}):
        raise bad_file(
            "table.unknown_type",
            path,
            "the entry declares types that medshard does not have",
            details={"expected": ", ".join(ARROW_TYPES), "found": ", ".join(unknown)},
            action="Correct `dtypes` in the entry's layout.",
        )


def usable_names(path: Path, names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Names of columns, with `column_7` for one that has none, and the warning that says so.

    Raises CaseError[table.duplicate_column | table.unreadable_header].
    """
    if any(len(name) > LONGEST_NAME for name in names):
        raise bad_file(
            "table.unreadable_header",
            path,
            "a column's name is no name",
            details={"expected": f"at most {LONGEST_NAME} characters", "found": max(map(len, names))},
        )
    named = [name if name.strip() else f"column_{number}" for number, name in enumerate(names, start=1)]
    require_columns(path, named, {})
    unnamed = [new for new, old in zip(named, names, strict=True) if new != old]
    if not unnamed:
        return named, ()
    listed = ", ".join(unnamed[:5]) + (f" and {len(unnamed) - 5} more" if len(unnamed) > 5 else "")
    return named, (f"columns without a name are called by their place: {listed}",)


def one_file(files: Files) -> Path:
    """The only file. Raises CaseError[table.several_files]."""
    if len(files) > 1:
        raise bad_file(
            "table.several_files",
            files[0],
            "several files are given for one table",
            details={"files": len(files)},
            action="The case is excluded. Make the path in the entry's layout match one of them.",
        )
    return files[0]


def too_many_columns(path: Path, found: int, most: int = MOST_COLUMNS) -> CaseError:
    return bad_file(
        "table.too_many_columns",
        path,
        "the table has more columns than a table of medshard has",
        details={"expected": f"at most {most}", "found": found},
        action="The case is excluded. A matrix of numbers is read as sparse rows up to 200,000 columns.",
    )
