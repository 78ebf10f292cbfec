"""Records, which are objects of JSON or rows of cells, as columns.

A column whose values are all of one kind keeps it: text, integers of 64 bits, numbers (integers among them, if exact),
booleans, dates and times. A list of such values stays a list. Objects, lists of objects, and columns of several kinds
become JSON text, each value as it is: nothing is spread over columns, so that no key of one record widens the others.
A name that a record lacks is null there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from medshard.converters.formats.faults import bad_file
from medshard.converters.tables.column_types import Misfit, converted
from medshard.converters.tables.table_format import ARROW_TYPES, MOST_COLUMNS, too_many_columns

Record = Mapping[str, Any]

BATCH_ROWS = 4096
BATCH_BYTES = 32 << 20
EXACT = 1 << 53
JSON_KIND = "json"
_KINDS: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dt.datetime: "timestamp",
    dt.date: "date",
    dt.time: "time",
    dt.timedelta: "duration",
}
TYPES: Mapping[str, pa.DataType] = {
    **ARROW_TYPES,
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
    JSON_KIND: pa.string(),
}


@dataclass(kw_only=True)
class ColumnSurvey:
    """Kinds of the values of one column so far, and of the members of its lists."""

    kinds: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)

    def add(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, list):
            self.kinds.add("list")
            self.members |= {_kind(member) for member in value if member is not None}
        else:
            self.kinds.add(_kind(value))

    @property
    def mixed(self) -> bool:
        return _settled(self.kinds) == JSON_KIND and not self.kinds <= {"object", "list", "long"}

    @property
    def kind(self) -> str:
        kind = _settled(self.kinds)
        if kind != "list":
            return kind
        member = _settled(self.members)
        return JSON_KIND if member in {JSON_KIND, "list"} else f"list of {member}"


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list"
    kind = _KINDS[type(value)]
    if kind == "integer" and abs(value) > EXACT:
        return "long integer" if -(1 << 63) <= value < 1 << 63 else "long"
    return kind


def _settled(kinds: set[str]) -> str:
    """One kind for all values; `json` where there is none."""
    if not kinds:
        return "string"
    if kinds <= {"integer", "long integer"}:
        return "integer"
    if kinds == {"integer", "number"}:
        return "number"
    if kinds == {"date", "timestamp"}:
        return "timestamp"
    only = next(iter(kinds)) if len(kinds) == 1 else JSON_KIND
    return JSON_KIND if only in {"object", "long"} else only


@dataclass(kw_only=True)
class RecordSurvey:
    """Columns in the order in which the records first name them."""

    path: Path
    columns: dict[str, ColumnSurvey] = field(default_factory=dict)
    rows: int = 0

    def add(self, record: Record) -> None:
        for name, value in record.items():
            if name not in self.columns:
                if len(self.columns) >= MOST_COLUMNS:
                    raise too_many_columns(self.path, len(self.columns) + 1)
                self.columns[name] = ColumnSurvey()
            self.columns[name].add(value)
        self.rows += 1

    def kinds(self, dtypes: Mapping[str, str]) -> dict[str, str]:
        return {name: dtypes.get(name, column.kind) for name, column in self.columns.items()}

    def warnings(self, dtypes: Mapping[str, str]) -> tuple[str, ...]:
        mixed = [name for name, column in self.columns.items() if column.mixed and name not in dtypes]
        if not mixed:
            return ()
        listed = ", ".join(mixed[:10]) + (f" and {len(mixed) - 10} more" if len(mixed) > 10 else "")
        return (f"columns hold values of several kinds, which are kept as JSON text: {listed}",)


def schema_of(kinds: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, _type(kind)) for name, kind in kinds.items()])


def batches_of(
    path: Path, records: Iterable[Record], kinds: Mapping[str, str], declared: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Raises CaseError[table.bad_value] where a value is not of its declared type."""
    schema = schema_of(kinds)
    start = 0
    for rows in _groups(records):
        columns = []
        for name, kind in kinds.items():
            values = [row.get(name) for row in rows]
            made = _declared(path, name, values, kind, start) if name in declared else _array(values, kind)
            columns.append(made)
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        start += len(rows)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _type(kind: str) -> pa.DataType:
    return pa.list_(TYPES[kind.removeprefix("list of ")]) if kind.startswith("list of ") else TYPES[kind]


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    rows: list[Record] = []
    size = 0
    for record in records:
        rows.append(record)
        size += sum(len(value) if isinstance(value, str | list) else 8 for value in record.values())
        if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == JSON_KIND:
        values = [None if value is None else as_json(value) for value in values]
    return pa.array(values, _type(kind))


def _declared(path: Path, name: str, values: Sequence[Any], kind: str, start: int) -> pa.Array:
    try:
        return converted(pa.array([_written(value) for value in values], pa.string()), kind)
    except Misfit as misfit:
        raise bad_value(path, name, kind, start + misfit.row + 1) from None


def bad_value(path: Path, name: str, kind: str, row: int) -> Exception:
    return bad_file(
        "table.bad_value",
        path,
        "a value is not of the type that the entry declares for its column",
        details={"column": name, "expected": kind, "row": row},
        action="The case is excluded. Declare the column as `string`, or repair the value at the source.",
    )


def _written(value: Any) -> str | None:
    """A value as text, for the strict conversion of declared types. An empty text is a missing value there."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    return as_json(value) if not isinstance(value, dt.date | dt.time) else value.isoformat()
