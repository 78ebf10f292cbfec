"""Rows in JSON: a list of records, a dict of them, a dict of columns, deeper ones, and a record per line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from medshard.converters.annotations.rows.rows import Row, Rows, RowShape, columns_of, nearest
from medshard.converters.annotations.rows.text_tables import open_text, text_lines
from medshard.converters.formats.faults import bad_file

LARGEST_JSON = 1 << 30
LINES_AT_ONCE = 10_000

KEY = "key"
"""Column of the name under which a record lies in a dict."""

VALUE = "value"
"""Column of what is no record itself."""


@dataclass(frozen=True)
class LineRows(Sequence[Row]):
    """A record per line of text, read when it is asked for."""

    lines: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return _record(json.loads(self.lines[index].as_py()))

    def __iter__(self) -> Iterator[Row]:
        for chunk in self.lines.chunks:
            for line in chunk.to_pylist():
                yield _record(json.loads(line))


def read_json(path: Path, shape: RowShape, *, encoding: str) -> Rows:
    """Raises CaseError[read.too_large | read.unreadable | annotation.no_rows]."""
    if path.stat().st_size > LARGEST_JSON and path.suffix.lower() != ".jsonl":
        raise bad_file("read.too_large", path, f"JSON of more than {LARGEST_JSON >> 20} MiB")
    if path.suffix.lower() == ".jsonl":
        return _read_lines(path, shape, encoding=encoding)
    with open_text(path, encoding) as stream:
        text = stream.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON:
        raise bad_file("read.too_large", path, f"JSON of more than {LARGEST_JSON >> 20} MiB")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos + 1]:
            return _read_lines(path, shape, encoding=encoding)
        raise bad_file(
            "read.unreadable",
            path,
            "the file is no valid JSON",
            details={"line": error.lineno, "column": error.colno, "reason": error.msg},
        ) from error
    except RecursionError as error:
        raise bad_file("read.unreadable", path, "the JSON is nested too deeply") from error
    found = rows_of(data, shape.rows, path)
    return Rows(columns=columns_of(found), rows=found, format="json")


def rows_of(data: Any, where: str | None, path: Path) -> list[Row]:
    """The records at a dotted place of nested data; what lies above them, as far as it is plain, is in each of them.

    `*` is each element of a list or a dict. COCO's tables and 3D Slicer's markups are joined to their rows.
    Raises CaseError[annotation.no_rows].
    """
    if isinstance(data, Mapping) and isinstance(data.get("markups"), list) and not where:
        return _slicer_points(data["markups"])
    tables = _coco_tables(data)
    found = [dict(row) for row in _walk(data, (where or "").split(".") if where else [], {})]
    if where and not found and not _is_there(data, where):
        raise bad_file(
            "annotation.no_rows",
            path,
            "the file has nothing at the place of the rows",
            details={"rows": where, **nearest(where.partition(".")[0], data if isinstance(data, Mapping) else ())},
            action="Correct `rows` of the entry's annotation.",
        )
    return [_joined(row, tables) for row in found]


def _read_lines(path: Path, shape: RowShape, *, encoding: str) -> Rows:
    """Every line is parsed once here, so that a bad one is told now, and once more when its row is asked for."""
    chunks: list[pa.Array] = []
    held: list[str] = []
    nested: list[Row] = []
    columns: dict[str, None] = {}
    with open_text(path, encoding) as stream:
        for number, line in enumerate(text_lines(path, stream), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise bad_file("read.unreadable", path, "a line is no valid JSON", details={"line": number}) from error
            if shape.rows:
                nested += rows_of(record, shape.rows, path)
                continue
            columns.update(dict.fromkeys(_record(record)))
            held.append(line)
            if len(held) == LINES_AT_ONCE:
                chunks.append(pa.array(held, pa.string()))
                held = []
    if shape.rows:
        return Rows(columns=columns_of(nested), rows=nested, format="json lines")
    chunks.append(pa.array(held, pa.string()))
    return Rows(columns=tuple(columns), rows=LineRows(pa.chunked_array(chunks)), format="json lines")


def _walk(data: Any, steps: list[str], above: dict[str, Any]) -> Iterator[Row]:
    if not steps:
        yield from _leaves(data, above)
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        for name, element in _elements(data):
            plain = _plain(element) if rest else {}
            yield from _walk(element, rest, {**above, **({} if name is None else {KEY: name}), **plain})
    elif isinstance(data, Mapping) and step in data:
        element = data[step]
        yield from _walk(element, rest, {**above, **(_plain(element) if rest else {})})


def _leaves(data: Any, above: dict[str, Any]) -> Iterator[Row]:
    """The rows of what lies at the end of the way."""
    if isinstance(data, Mapping):
        values = list(data.values())
        if values and all(isinstance(value, Mapping) for value in values):
            yield from ({**above, KEY: str(name), **value} for name, value in data.items())
        elif values and all(isinstance(value, list) for value in values) and len({len(v) for v in values}) == 1:
            if above:
                yield {**above, **data}
            else:
                yield from (dict(zip(data, cells, strict=True)) for cells in zip(*values, strict=True))
        elif values and _are_columns(values):
            yield from _by_columns(data)
        else:
            yield {**above, **data}
    elif isinstance(data, list) and not (above and _is_flat(data)):
        yield from ({**above, **_record(element)} for element in data)
    else:
        yield {**above, VALUE: data}


def _are_columns(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Mapping) for value in values) and len({tuple(value) for value in values}) == 1


def _by_columns(data: Mapping[str, Any]) -> Iterator[Row]:
    first = next(iter(data.values()))
    yield from ({name: column[index] for name, column in data.items()} for index in first)


def _is_flat(data: list[Any]) -> bool:
    """Whether a list is one value, such as the corners of a box."""
    return bool(data) and not any(isinstance(element, Mapping | list) for element in data)


def _elements(data: Any) -> Iterator[tuple[str | None, Any]]:
    if isinstance(data, Mapping):
        yield from ((str(name), element) for name, element in data.items())
    elif isinstance(data, list):
        yield from ((None, element) for element in data)


def _plain(data: Any) -> dict[str, Any]:
    return {k: v for k, v in data.items() if not isinstance(v, Mapping | list)} if isinstance(data, Mapping) else {}


def _record(data: Any) -> dict[str, Any]:
    if isinstance(data, Mapping):
        return {str(name): value for name, value in data.items()}
    return {VALUE: data}


def _is_there(data: Any, where: str) -> bool:
    """Whether a place exists, though it holds no rows."""
    step, _, rest = where.partition(".")
    if not step:
        return True
    if step == "*":
        inside = [element for _, element in _elements(data)]
        return not rest or not inside or any(_is_there(element, rest) for element in inside)
    return isinstance(data, Mapping) and step in data and _is_there(data[step], rest)


def _coco_tables(data: Any) -> dict[str, dict[Any, Row]]:
    """Rows of `images` and `categories` by their id, where the data are laid out as COCO's are."""
    if not isinstance(data, Mapping) or not isinstance(data.get("annotations"), list):
        return {}
    named = {"image": data.get("images"), "category": data.get("categories")}
    return {
        name: {row["id"]: row for row in table if isinstance(row, Mapping) and isinstance(row.get("id"), str | int)}
        for name, table in named.items()
        if isinstance(table, list)
    }


def _joined(row: Row, tables: Mapping[str, Mapping[Any, Row]]) -> Row:
    found = {name: rows.get(row.get(f"{name}_id")) for name, rows in tables.items()}
    return {**row, **{name: other for name, other in found.items() if other is not None}}


def _slicer_points(markups: list[Any]) -> list[Row]:
    """Control points of 3D Slicer's `.mrk.json`: position, label and the frame, which is LPS where none is stated."""
    return [
        {"label": point.get("label"), "point": point.get("position"), "space": markup.get("coordinateSystem", "LPS")}
        for markup in markups
        if isinstance(markup, Mapping)
        for point in markup.get("controlPoints") or ()
        if isinstance(point, Mapping) and point.get("positionStatus", "defined") == "defined"
    ]
