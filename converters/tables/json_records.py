"""JSON and JSON lines as a table.

    lines of objects, or a list of objects     a row each
    lines or a list of other values            a row each, in the column `value`
    an object of objects                       a row each, its name in the column `key`
    an object of lists of one length           columns, unless objects are in the lists
    an object of objects named 0, 1, 2 ...     columns (how pandas writes them)
    an object of more than 256 single values   a row each: `key`, `value`
    any other object                           one row, what is nested as JSON text (`record_columns`)

`request.key` names a member of the object at the top (`a/b` a member of that), which is then read by the same rules.
Two passes, one record in memory at a time, but for objects of columns, which are read whole up to 256 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.encodings import encoding_of, is_text
from medshard.converters.tables.json_stream import LONGEST_RECORD, JsonText
from medshard.converters.tables.packed import unpacked_name, unpacked_start
from medshard.converters.tables.record_columns import Record, RecordSurvey, batches_of, schema_of
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, one_file, require_columns

SUFFIXES = (".json", ".jsonl", ".ndjson")
MOST_FIELDS = 256

Records = Callable[[], Iterator[Record]]


def sniff(files: Files) -> bool:
    start = unpacked_start(files[0], 1 << 12)
    if not is_text(start):
        return False
    text = start.decode(encoding_of(files[0], start), "ignore").lstrip("\ufeff \t\r\n")
    return text[:1] in {"{", "["} and (unpacked_name(files[0]).endswith(SUFFIXES) or text[:1] == "{")


def read(files: Files, request: TableRequest) -> Table:
    path = one_file(files)
    return table_of_records(path, partial(records_of, path, request.key), request, FORMAT.name)


def table_of_records(path: Path, records: Records, request: TableRequest, name: str, *warnings: str) -> Table:
    """A table of what can be passed over twice. Raises CaseError[table.*]."""
    survey = RecordSurvey(path=path)
    for record in records():
        survey.add(record)
    require_columns(path, list(survey.columns), request.dtypes)
    kinds = survey.kinds(request.dtypes)
    return Table(
        schema=schema_of(kinds),
        batches=lambda: batches_of(path, records(), kinds, request.dtypes),
        format=name,
        attributes={"rows": survey.rows},
        warnings=(*warnings, *survey.warnings(request.dtypes)),
    )


def records_of(path: Path, key: str | None) -> Iterator[Record]:
    """One pass over the records."""
    with closing(JsonText(path)) as text:
        names = key.strip("/").split("/") if key else []
        for name in names:
            _go_to(text, name)
        if text.peek() == "[":
            yield from map(_record, text.members())
            if not names:
                yield from _after(text)
        elif text.peek() == "{":
            yield from _of_object(text, at_top=not names)
        elif text.peek() == "":
            raise bad_file("read.truncated", path, "the file holds no JSON")
        else:
            yield from map(_record, text.lines() if not names else iter([text.value()]))


def _go_to(text: JsonText, wanted: str) -> None:
    if text.peek() == "{":
        for name in text.names():
            if name == wanted:
                return
            text.value()
    raise bad_file(
        "table.no_such_key",
        text.path,
        "the JSON text has no such member",
        details={"expected": wanted},
        action="Correct `key` in the entry's layout.",
    )


def _record(value: Any) -> Record:
    return value if isinstance(value, dict) else {"value": value}


def _after(text: JsonText) -> Iterator[Record]:
    """What follows a list: nothing, or more lists, as lines."""
    for value in text.lines():
        if not isinstance(value, list):
            text.require_end()
            raise bad_file("read.unreadable", text.path, "a list at the top is followed by something else")
        yield from map(_record, value)


def _of_object(text: JsonText, *, at_top: bool) -> Iterator[Record]:
    """An object, or lines of objects, which begin alike."""
    items = text.items()
    first = list(islice(items, 1))
    if first and isinstance(first[0][1], dict) and not _is_numbered(first[0][1]):
        yield from _rows_by_name(text, chain(first, items), at_top=at_top)
        return
    whole: dict[str, Any] = {}
    for name, value in chain(first, items):
        whole[name] = value
        if text.passed > LONGEST_RECORD:
            raise text.too_long()
    if at_top and text.peek():
        yield from chain([whole], map(_record, text.lines()))
        return
    yield from _of_whole(whole)


def _rows_by_name(text: JsonText, items: Iterator[tuple[str, Any]], *, at_top: bool) -> Iterator[Record]:
    """Objects by name; or a record that only begins with an object."""
    kept: list[tuple[str, Any]] = []
    streaming = False
    for name, value in items:
        if not isinstance(value, dict) and streaming:
            raise bad_file(
                "table.mixed_records",
                text.path,
                "an object holds records and other values beside them",
                details={"expected": "objects only, or `key`"},
                action="Name the member to read as `key` in the entry's layout.",
            )
        kept.append((name, value))
        if streaming or (len(kept) > MOST_FIELDS and all(isinstance(member, dict) for _, member in kept)):
            streaming = True
            yield from (_named(*item) for item in kept)
            kept = []
    if streaming or not kept:
        return
    if at_top and text.peek():
        yield from chain([dict(kept)], map(_record, text.lines()))
    elif all(isinstance(value, dict) for _, value in kept):
        yield from (_named(*item) for item in kept)
    else:
        yield dict(kept)


def _named(name: str, value: Record) -> Record:
    """A record with its name, in `key`, or `_key` where the record has a member of that name."""
    return {"_key" if "key" in value else "key": name, **value}


def _of_whole(whole: dict[str, Any]) -> Iterator[Record]:
    """The records of an object that is in memory."""
    values = list(whole.values())
    if values and all(isinstance(value, dict) and _is_numbered(value) for value in values):
        columns = {name: list(value.values()) for name, value in whole.items()}
    elif values and all(isinstance(value, list) and not any(map(_is_object, value)) for value in values):
        columns = whole
    elif len(whole) > MOST_FIELDS and not any(isinstance(value, dict | list) for value in values):
        columns = {"key": list(whole), "value": values}
    else:
        columns = {}
    if columns and len({len(column) for column in columns.values()}) == 1:
        yield from (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    elif values and all(isinstance(value, dict) for value in values):
        yield from (_named(*item) for item in whole.items())
    else:
        yield whole


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_numbered(value: Record) -> bool:
    """Whether an object's names count from 0, as those of a column that pandas writes."""
    return bool(value) and all(name == str(number) for number, name in enumerate(value))


FORMAT = TableFormat(
    name="JSON",
    suffixes=SUFFIXES,
    sniff=sniff,
    read=read,
    decoders=lambda: installed_versions("pyarrow", "isal"),
)
