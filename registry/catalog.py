"""The catalog: entries from YAML files, with the line of everything that is wrong in them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medshard.errors import CatalogError
from medshard.registry.schema import Entry
from medshard.registry.yaml_lines import Problem, YamlDocument, read_yaml

PUBLIC_CATALOG = Path(__file__).parent.parent / "catalog.yaml"
OVERLAYS_VARIABLE = "MEDSHARD_CATALOG"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an entry is written down. Relative paths in it start at `file`'s folder."""

    file: Path
    line: int


@dataclass(frozen=True)
class Catalog:
    """Valid entries by id, and the problems of the invalid ones. An invalid entry hides no other."""

    entries: Mapping[str, Entry]
    origins: Mapping[str, Origin]
    problems: tuple[Problem, ...] = ()

    @classmethod
    def load(cls, files: Sequence[Path] | None = None) -> Catalog:
        """The public catalog and the overlays that MEDSHARD_CATALOG names, or just the given files.

        Overlays add entries; an id that an earlier file has already is a problem, not a replacement.
        """
        entries: dict[str, Entry] = {}
        origins: dict[str, Origin] = {}
        problems: list[Problem] = []
        for file in catalog_files() if files is None else files:
            for item in _read_entries(file, problems):
                if item.entry.id in entries:
                    first = origins[item.entry.id]
                    message = f"this id is taken by {first.file}:{first.line}"
                    problems.append(
                        Problem(file=str(file), line=item.line, entry=item.entry.id, field="id", message=message)
                    )
                    continue
                entries[item.entry.id] = item.entry
                origins[item.entry.id] = Origin(file=Path(file).resolve(), line=item.line)
        return cls(dict(sorted(entries.items())), origins, tuple(problems))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def entry(self, entry_id: str) -> Entry:
        """One entry. Raises CatalogError for an unknown id, with near ones, and for an invalid entry, with faults."""
        if entry_id in self.entries:
            return self.entries[entry_id]
        faults = [problem for problem in self.problems if problem.entry == entry_id]
        if faults:
            raise CatalogError(
                "entry.invalid",
                where=entry_id,
                problem="the entry is not valid",
                details={
                    f"{Path(fault.file).name}:{fault.line}": f"{fault.field}: {fault.message}" for fault in faults
                },
                action="Mend those lines; `medshard check` shows them all.",
            )
        near = difflib.get_close_matches(entry_id, list(self.entries), n=3)
        raise CatalogError(
            "entry.unknown",
            where=entry_id,
            problem="no entry of this id is in the catalog",
            details={"did you mean": ", ".join(near)} if near else {},
            action="`medshard list` prints the ids; MEDSHARD_CATALOG adds catalog files of your own.",
        )

    def folder(self, entry_id: str) -> Path:
        """The folder that relative paths of an entry start at."""
        return self.origins[entry_id].file.parent

    @property
    def invalid(self) -> dict[str, tuple[Problem, ...]]:
        """id (or `file:line` where the id cannot be read) -> what is wrong with it."""
        grouped: dict[str, list[Problem]] = {}
        for problem in self.problems:
            grouped.setdefault(problem.entry or f"{Path(problem.file).name}:{problem.line}", []).append(problem)
        return {name: tuple(problems) for name, problems in grouped.items()}


def catalog_files() -> list[Path]:
    """The public catalog and the overlays, in this order."""
    overlays = os.environ.get(OVERLAYS_VARIABLE, "")
    return [PUBLIC_CATALOG, *(Path(part) for part in overlays.split(os.pathsep) if part)]


@dataclass(frozen=True)
class _Located:
    entry: Entry
    line: int


def _read_entries(file: Path, problems: list[Problem]) -> Iterable[_Located]:
    try:
        document = read_yaml(file)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(file=str(file), line=1, entry=None, field="", message=f"cannot be read: {error}"))
        return
    problems.extend(_name_entries(document))
    if document.data is None:
        if not document.problems:
            problems.append(Problem(file=str(file), line=1, entry=None, field="", message="the file is empty"))
        return
    if fault := _document_fault(document):
        problems.append(fault)
        return
    for number, raw in enumerate(document.data["entries"]):
        line = document.line_of(("entries", number))
        if any(problem.line >= line and _entry_of(document, problem.line) == number for problem in document.problems):
            continue  # a duplicate key: what was meant is unknown, and it is reported above
        try:
            yield _Located(Entry.model_validate(raw), line)
        except ValidationError as error:
            problems.extend(_explain(document, number, raw, error))


def _document_fault(document: YamlDocument) -> Problem | None:
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("entries"), list):
        message = "a catalog file has `format_version: 1` and a list of `entries`"
        return Problem(file=document.file, line=1, entry=None, field="", message=message)
    if data.get("format_version") != FORMAT_VERSION:
        message = f"expected {FORMAT_VERSION}, found {data.get('format_version')!r}"
        line = document.line_of(("format_version",))
        return Problem(file=document.file, line=line, entry=None, field="format_version", message=message)
    if unknown := sorted(set(data) - {"format_version", "entries"}, key=str):
        return Problem(
            file=document.file,
            line=document.line_of((unknown[0],)),
            entry=None,
            field=str(unknown[0]),
            message="not a field of a catalog file; entries stand in the list `entries`",
        )
    return None


def _explain(document: YamlDocument, number: int, raw: Any, error: ValidationError) -> Iterable[Problem]:
    entry = raw.get("id") if isinstance(raw, dict) else None
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "too_short" and any(
            other["loc"][: len(fault["loc"])] == fault["loc"] for other in faults if other is not fault
        ):
            continue  # a list whose only item is faulty counts as empty as well: that item is reported
        loc = _without_union_tag(fault["loc"])
        found = (
            ""
            if fault["type"] == "missing" or isinstance(fault["input"], dict | list)
            else f" (found {fault['input']!r})"
        )
        yield Problem(
            file=document.file,
            line=document.line_of(("entries", number, *loc)),
            entry=str(entry) if entry is not None else None,
            field=".".join(str(part) for part in loc),
            message=fault["msg"].removeprefix("Value error, ") + found,
        )


def _without_union_tag(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """pydantic puts the kind of a source between its number and its field; the file has no such level."""
    return (*loc[:2], *loc[3:]) if loc[:1] == ("acquisition",) and len(loc) > 2 else loc


def _entry_of(document: YamlDocument, line: int) -> int | None:
    starts = [(document.line_of(("entries", number)), number) for number in range(len(document.data["entries"]))]
    return max(((start, number) for start, number in starts if start <= line), default=(0, None))[1]


def _name_entries(document: YamlDocument) -> Iterable[Problem]:
    """Faults of the YAML itself, with the id of the entry they stand in where it can be told."""
    for problem in document.problems:
        entry, field = None, problem.field
        if isinstance(document.data, dict) and isinstance(document.data.get("entries"), list):
            number = _entry_of(document, problem.line)
            raw = document.data["entries"][number] if number is not None else None
            entry = str(raw["id"]) if isinstance(raw, dict) and "id" in raw else None
            field = field.removeprefix(f"entries.{number}.")
        yield Problem(file=problem.file, line=problem.line, entry=entry, field=field, message=problem.message)
