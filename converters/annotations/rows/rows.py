"""Rows of a table whose columns have names: what every reader of row files gives and every kind of annotation takes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import accumulate
from typing import Any, overload

import pyarrow as pa

from medshard.registry.schema.annotations import Boxes, ReportText, RowAnnotation

Cell = Any
"""str, int, float, bool, None, or a list or dict of them."""

Row = Mapping[str, Cell]

FILE = "file"
"""Column of the stem of the file that a row is from: where several are read as one, or the entry asks for it."""

BLANK_WORDS = frozenset({"", "nan", "none", "null", "n/a", "na"})
"""What empty cells are written as, where a number is wanted."""


@dataclass(frozen=True, kw_only=True)
class RowShape:
    """How rows lie in their file; the fields are those of `RowAnnotation`.

    text: a file of plain text is one row with the column `text`. file: the stem of its file is a column of each row.
    """

    rows: str | None = None
    sheet: str | None = None
    header: bool = True
    comment: str | None = None
    lines: str | None = None
    delimiter: str | None = None
    each: tuple[str, ...] = ()
    text: bool = False
    file: bool = False


PLAIN = RowShape()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """columns: in the order of the file, as far as they are known before the rows are read."""

    columns: tuple[str, ...]
    rows: Sequence[Row]
    format: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchRows(Sequence[Row]):
    """Rows that lie in Arrow batches and become a dict when they are asked for: half a million of them fit anywhere."""

    batches: Sequence[pa.RecordBatch]
    ends: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", list(accumulate(batch.num_rows for batch in self.batches)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        which = bisect_right(self.ends, number)
        batch = self.batches[which]
        inside = number - (self.ends[which] - batch.num_rows)
        names = batch.schema.names
        return {name: batch.column(column)[inside].as_py() for column, name in enumerate(names)}

    def __iter__(self) -> Iterator[Row]:
        for batch in self.batches:
            names = batch.schema.names
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                yield dict(zip(names, cells, strict=True))

    def column(self, name: str) -> list[Cell]:
        return [cell for batch in self.batches for cell in batch.column(batch.schema.names.index(name)).to_pylist()]


def row_shape(annotation: RowAnnotation) -> RowShape:
    """What the entry says, and what the format of the annotation says by itself."""
    shape = RowShape(
        rows=annotation.rows,
        sheet=annotation.sheet,
        header=annotation.header,
        comment=annotation.comment,
        lines=annotation.lines,
        delimiter=annotation.delimiter,
        each=annotation.each,
        text=isinstance(annotation, ReportText),
        file=FILE in annotation.columns.values(),
    )
    known = annotation.format if isinstance(annotation, Boxes) else ""
    if known == "yolo":
        return RowShape(header=False, delimiter="blank", comment=shape.comment, file=shape.file)
    if known in ("voc", "coco"):
        return RowShape(rows=shape.rows or {"voc": ".//object", "coco": "annotations"}[known])
    return shape


def column_of(rows: Sequence[Row], name: str) -> list[Cell]:
    """The cells of one column, row by row; dotted names lead into nested ones."""
    if isinstance(rows, BatchRows) and rows.batches and name in rows.batches[0].schema.names:
        return rows.column(name)
    return [cell_of(row, name) for row in rows]


def cell_of(row: Row, name: str) -> Cell:
    """The cell of a column. `bbox.0` is the first of a list, `category.name` a field of a nested row; else None."""
    if name in row:
        return row[name]
    found: Cell = row
    parts = name.split(".")
    while parts:
        if isinstance(found, Mapping):
            # The longest name that is there: names may hold dots themselves.
            length = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in found), 0)
            if not length:
                return None
            found, parts = found[".".join(parts[:length])], parts[length:]
        elif isinstance(found, list) and parts[0].isdecimal() and int(parts[0]) < len(found):
            found, parts = found[int(parts[0])], parts[1:]
        else:
            return None
    return found


def has_column(rows: Sequence[Row], name: str) -> bool:
    """Whether any row has the column."""
    if isinstance(rows, BatchRows):
        return bool(rows.batches) and name in rows.batches[0].schema.names
    return any(name in row or cell_of(row, name) is not None for row in rows)


def nearest(name: str, columns: Iterable[str]) -> dict[str, object]:
    """Evidence for a message: the names most like the one that is missing. The others are not told: without a header
    that is really there, they are somebody's data."""
    known = [str(column) for column in columns]
    return {"columns": len(known), "like it": ", ".join(get_close_matches(name, known, n=3)) or "none"}


def columns_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Every name that a row has, in the order in which they appear."""
    if isinstance(rows, BatchRows):
        return tuple(rows.batches[0].schema.names) if rows.batches else ()
    return tuple(dict.fromkeys(name for row in rows for name in row))


def text_of(cell: Cell) -> str:
    """A cell as the text that stands for it: stripped, whole numbers without a point, nothing for an empty cell."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float):
        return "" if math.isnan(cell) else str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    return str(cell).strip()


def word_of(cell: Cell) -> str:
    """As `text_of`; the text of a whole number with a point (`1.0`) is that of the number as well."""
    text = text_of(cell)
    whole, point, rest = text.partition(".")
    return whole if point and not rest.strip("0") and whole.lstrip("-").isdecimal() else text


def is_blank(cell: Cell) -> bool:
    """Whether a cell holds nothing; a list of nothing holds nothing."""
    return not cell if isinstance(cell, list | dict) else text_of(cell).lower() in BLANK_WORDS


def number_of(cell: Cell) -> float | None:
    """The number of a cell; None where it is empty. Raises ValueError where it holds something else."""
    if is_blank(cell):
        return None
    number = float(text_of(cell))
    if number in (float("inf"), float("-inf")):
        raise ValueError("an infinite number")
    return number


def numbers_of(cell: Cell) -> list[float]:
    """The numbers of a list, or of a text with commas, semicolons or blanks between them. Raises ValueError."""
    parts = cell if isinstance(cell, list) else text_of(cell).strip("[]()").replace(",", " ").replace(";", " ").split()
    numbers = [number_of(part) for part in parts]
    if any(number is None for number in numbers):
        raise ValueError("a number is missing")
    return [number for number in numbers if number is not None]
