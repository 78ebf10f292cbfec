"""One catalog file -> its entries and its own concepts, with the line of everything that is wrong in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medshard.registry.catalog.entry_checks import check_entry
from medshard.registry.concepts import Vocabulary, located, read_concepts
from medshard.registry.schema import Entry
from medshard.registry.schema.shape import alternatives, item_shape, model_of, value_shape
from medshard.registry.yaml_lines import Problem, YamlDocument, read_yaml

FORMAT_VERSION = 1
FIELDS = {"format_version", "concepts", "entries"}

_OF_ANOTHER_TYPE = ("_type", "is_instance_of")
"""How pydantic names the faults of a union's other sides, which say nothing when one side nearly fits."""


@dataclass(frozen=True)
class LocatedEntry:
    """A valid entry and where it stands: the document, and its number in the list of entries."""

    entry: Entry
    document: YamlDocument
    number: int

    @property
    def line(self) -> int:
        return self.document.line_of(("entries", self.number))

    def problem(self, field: tuple[Any, ...], message: str) -> Problem:
        """A fault of this entry, with the line of the field."""
        return _problem(self.document, self.number, field, message)


@dataclass(frozen=True, kw_only=True)
class CatalogFile:
    """What a file holds: its valid entries, the vocabulary with the file's own concepts, and its faults."""

    vocabulary: Vocabulary
    entries: tuple[LocatedEntry, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_catalog_file(file: Path, vocabulary: Vocabulary) -> CatalogFile:
    """Nothing is raised: what cannot be read is a problem, and hides nothing else."""
    try:
        document = read_yaml(file)
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(file, vocabulary, f"cannot be read: {error}")
    problems = [*_name_entries(document), *_unknown_fields(document)]
    if document.data is None:
        if not problems:
            return _unreadable(file, vocabulary, "the file is empty")
        return CatalogFile(vocabulary=vocabulary, problems=tuple(problems))
    if fault := _document_fault(document):
        return CatalogFile(vocabulary=vocabulary, problems=(*problems, fault))
    if "concepts" in document.data:
        vocabulary, faults = read_concepts(document.data["concepts"], vocabulary)
        problems.extend(located(faults, document, ("concepts",)))
    torn = {_entry_of(problem) for problem in document.problems}
    entries = []
    for number, raw in enumerate(document.data["entries"]):
        if number in torn:
            continue  # a duplicate key: what was meant is unknown, and it is reported above
        try:
            entry = Entry.model_validate(raw)
        except ValidationError as error:
            problems.extend(_explain(document, number, raw, error))
            continue
        faults_of_entry = [
            _problem(document, number, fault.field, fault.message) for fault in check_entry(entry, vocabulary)
        ]
        problems.extend(faults_of_entry)
        if not faults_of_entry:
            entries.append(LocatedEntry(entry, document, number))
    return CatalogFile(vocabulary=vocabulary, entries=tuple(entries), problems=tuple(problems))


def _unreadable(file: Path, vocabulary: Vocabulary, message: str) -> CatalogFile:
    problem = Problem(file=str(file), line=1, entry=None, field="", message=message)
    return CatalogFile(vocabulary=vocabulary, problems=(problem,))


def _document_fault(document: YamlDocument) -> Problem | None:
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("entries"), list):
        message = "a catalog file has `format_version: 1` and a list of `entries`"
        return Problem(file=document.file, line=1, entry=None, field="", message=message)
    if data.get("format_version") != FORMAT_VERSION:
        message = f"expected {FORMAT_VERSION}, found {data.get('format_version')!r}"
        line = document.line_of(("format_version",))
        return Problem(file=document.file, line=line, entry=None, field="format_version", message=message)
    return None


def _unknown_fields(document: YamlDocument) -> Iterator[Problem]:
    for field in document.data if isinstance(document.data, dict) else ():
        if field not in FIELDS:
            message = "not a field of a catalog file; entries stand in the list `entries`"
            line = document.line_of((field,))
            yield Problem(file=document.file, line=line, entry=None, field=str(field), message=message)


def _explain(document: YamlDocument, number: int, raw: Any, error: ValidationError) -> Iterable[Problem]:
    faults = [(fault, _field_in_file(document, number, fault)) for fault in _told_once(error)]
    better = {field for fault, field in faults if not fault["type"].endswith(_OF_ANOTHER_TYPE)}
    seen: set[tuple[tuple[Any, ...], str]] = set()
    for fault, field in faults:
        if fault["type"].endswith(_OF_ANOTHER_TYPE) and any(other[: len(field)] == field for other in better):
            continue
        message = _message(raw, field, fault)
        if (field, message) not in seen:
            seen.add((field, message))
            yield _problem(document, number, field, message)


def _told_once(error: ValidationError) -> list[Any]:
    """A list whose only item is faulty counts as empty as well: only the item is reported."""
    faults = error.errors(include_url=False)
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(other["loc"][: len(fault["loc"])] == fault["loc"] for other in faults if other is not fault)
    ]


def _field_in_file(document: YamlDocument, number: int, fault: Any) -> tuple[Any, ...]:
    """Where a fault stands, without the sides of unions that pydantic names and the file does not."""
    path = ("entries", number, *fault["loc"])
    return document.known_part(path, is_missing=fault["type"] == "missing")[2:]


def _message(raw: Any, field: tuple[Any, ...], fault: Any) -> str:
    message = _plain_message(fault)
    value = fault["input"]
    found = "" if fault["type"] == "missing" or isinstance(value, dict | list) else f" (found {value!r})"
    return f"{message}{found}{_hint(raw, field, fault)}"


_PATTERNS = {
    r"^[a-z0-9]+(-[a-z0-9]+)*$": "an id has small letters and digits, with single hyphens between them",
    r"^[A-Za-z0-9_]+$": "a name has letters, digits and _ only",
    r"^10\.\d{4,9}/\S+$": "a DOI begins with 10. and has no https://doi.org/ before it",
    r"^(https?|ftp)://[^\s/]+\S*$": "an address begins with https://, http:// or ftp:// and has no blanks",
    r"^#[0-9a-f]{6}$": "a colour is # and six digits of 0-9 and a-f",
    r"^[0-9a-f]{64}$": "a SHA-256 has 64 digits of 0-9 and a-f",
}
_PLAIN = {
    "tuple_type": "a list is expected here",
    "model_type": "fields (`name: value` below one another) are expected here",
    "model_attributes_type": "fields (`name: value` below one another) are expected here",
    "dict_type": "`name: value` pairs are expected here",
    "string_type": "text is expected here",
}


def _plain_message(fault: Any) -> str:
    """What pydantic says, in words that do not need Python."""
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] in _PATTERNS:
        return _PATTERNS[fault["ctx"]["pattern"]]
    return _PLAIN.get(fault["type"], fault["msg"].removeprefix("Value error, "))


def _hint(raw: Any, field: tuple[Any, ...], fault: Any) -> str:
    """The nearest valid word for a misspelt value or a misspelt field."""
    if fault["type"] == "extra_forbidden":
        choices = list(_fields_beside(raw, field))
        word = str(field[-1])
    elif "expected" in fault.get("ctx", {}):
        choices = [part.strip(" '") for part in str(fault["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        word = str(fault["input"])
    elif fault["type"] == "union_tag_invalid":
        choices = [part.strip(" '") for part in str(fault["ctx"]["expected_tags"]).split(",")]
        word = str(fault["ctx"]["tag"])
    elif fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float | date):
        return "; put it in quotes, without them YAML reads no text here"
    else:
        return ""
    near = difflib.get_close_matches(word.casefold(), [choice.casefold() for choice in choices], n=1)
    named = {choice.casefold(): choice for choice in choices}
    return f"; did you mean `{named[near[0]]}`?" if near else ""


def _fields_beside(raw: Any, field: tuple[Any, ...]) -> Iterator[str]:
    """The fields that the model at this place has."""
    shape: Any = Entry
    value = raw
    for part in field[:-1]:
        if isinstance(value, Mapping):
            shape, value = value_shape(shape, part, value), value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            shape, value = item_shape(shape), value[part]
    model = model_of(shape, value) if any(alternatives(shape)) else None
    yield from model.model_fields if model is not None else ()


def _problem(document: YamlDocument, number: int, field: tuple[Any, ...], message: str) -> Problem:
    raw = document.data["entries"][number]
    entry = raw.get("id") if isinstance(raw, dict) else None
    return Problem(
        file=document.file,
        line=document.line_of(("entries", number, *field)),
        entry=str(entry) if entry is not None else None,
        field=".".join(str(part) for part in field),
        message=message,
    )


def _entry_of(problem: Problem) -> int | None:
    """The number of the entry that a fault of the YAML itself stands in."""
    at = re.match(r"entries\.(\d+)(?:\.|$)", problem.field)
    return int(at[1]) if at else None


def _name_entries(document: YamlDocument) -> Iterable[Problem]:
    """Faults of the YAML itself, with the id of the entry they stand in where it can be told."""
    for problem in document.problems:
        entry, field = None, problem.field
        if isinstance(document.data, dict) and isinstance(document.data.get("entries"), list):
            number = _entry_of(problem)
            raw = document.data["entries"][number] if number is not None else None
            entry = str(raw["id"]) if isinstance(raw, dict) and "id" in raw else None
            field = field.removeprefix(f"entries.{number}").removeprefix(".")
        yield Problem(file=problem.file, line=problem.line, entry=entry, field=field, message=problem.message)
