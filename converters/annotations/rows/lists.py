"""What lists and tables say of cases before they are read: the part of the split, and the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.annotations.rows.matching import AS_THEY_ARE, WITHOUT_SUFFIX, IndexedRows, index_rows
from medshard.converters.annotations.rows.row_files import read_rows
from medshard.converters.annotations.rows.rows import Rows, RowShape, cell_of, column_of, has_column, nearest, word_of
from medshard.converters.annotations.rows.text_tables import encoding_of, open_text, text_lines
from medshard.converters.formats.faults import errors_of_case
from medshard.errors import CaseError, SplitError
from medshard.registry.schema.cases import PatientColumn, SplitColumn, SplitLists
from medshard.registry.vocabulary import SplitName

TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True, kw_only=True)
class ListedSplit:
    """parts: case -> its part; a case that no list names has none. warnings: one sentence each."""

    parts: Mapping[str, SplitName]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TabledPatients:
    """patients: case -> patient. missing: case -> why it has none; such a case is excluded, never a new patient."""

    patients: Mapping[str, str]
    missing: Mapping[str, CaseError]
    warnings: tuple[str, ...] = ()


def split_of_lists(
    files: Mapping[SplitName, Sequence[Path]], keys: Mapping[str, str], *, where: str, split: SplitLists | None = None
) -> ListedSplit:
    """The part of each case, from lists of names: a text file with a name per line, or the column of a table
    that has them.

    keys: case -> what it is called in the lists. where: the entry. split: named in the advice.
    Names are compared as they are; where no name of any list is a key, without letter case and suffixes of files.
    Raises SplitError[split.in_two_parts | split.no_name_found], CaseError[read.*].
    """
    wanted = {key.strip() for key in keys.values()}
    named = {part: _names(paths, where, wanted) for part, paths in files.items()}
    every = {name for names in named.values() for name in names}
    exact = bool(every & wanted)
    fold = AS_THEY_ARE.fold if exact else WITHOUT_SUFFIX.fold
    folded = {part: {fold(name) for name in names} for part, names in named.items()}
    parts: dict[str, SplitName] = {}
    for case, key in keys.items():
        found = [part for part, names in folded.items() if fold(key.strip()) in names]
        if len(found) > 1:
            raise SplitError(
                "split.in_two_parts",
                where=where,
                problem="the lists of the split name a case in two parts",
                details={"case": case, "parts": ", ".join(found)},
                action="Correct the lists, or `split` in the entry's layout.",
            )
        if found:
            parts[case] = found[0]
    if keys and not parts:
        raise SplitError(
            "split.no_name_found",
            where=where,
            problem="the lists of the split name none of the cases",
            details={"cases": len(keys), "names": len(every)},
            action=f"Correct the `key` {split.key if split else ''} of the split: it is to be written as in the lists.",
        )
    warnings = [] if exact else ["the lists of the split name cases without regard to letter case and suffix"]
    without = len(keys) - len(parts)
    warnings += [f"{without} cases stand in none of the lists of the split"] if without else []
    return ListedSplit(parts=parts, warnings=tuple(warnings))


def split_of_table(files: Sequence[Path], split: SplitColumn, keys: Mapping[str, str], *, where: str) -> ListedSplit:
    """The part of each case, from the column of a table. keys: case -> what it is called in `key_column`.

    Raises CaseError[annotation.no_key_column | annotation.ambiguous_key | split.no_column | read.*],
    SplitError[split.in_two_parts].
    """
    rows, indexed = _indexed(files, split, "split", keys, where)
    parts: dict[str, SplitName] = {}
    for case, key in keys.items():
        words = {word_of(cell_of(row, split.column)) for row in indexed.by_key.get(key, ())}
        found = {split.values[word] for word in words if word in split.values}
        if len(found) > 1:
            raise SplitError(
                "split.in_two_parts",
                where=where,
                problem="the table of the split names two parts for a case",
                details={"case": case, "parts": ", ".join(sorted(found))},
                action="Correct the table, or `split` in the entry's layout.",
            )
        if found:
            parts[case] = found.pop()
    without = len(keys) - len(parts)
    said = (f"{without} cases have no part of the split in its table",) if without else ()
    return ListedSplit(parts=parts, warnings=(*rows.warnings, *indexed.warnings, *said))


def patients_of_table(
    files: Sequence[Path], patient: PatientColumn, keys: Mapping[str, str], *, where: str
) -> TabledPatients:
    """The patient of each case. keys: case -> what it is called in `key_column`. where: the entry.

    Raises CaseError[annotation.no_key_column | annotation.ambiguous_key | patient.no_column | read.*]; a
    case without a row, without a name in it, or with two names gets CaseError[patient.missing | patient.two].
    """
    rows, indexed = _indexed(files, patient, "patient", keys, where)
    patients: dict[str, str] = {}
    missing: dict[str, CaseError] = {}
    for case, key in keys.items():
        words = [word_of(cell_of(row, patient.column)) for row in indexed.by_key.get(key, ())]
        names = {word for word in words if word}
        if len(names) == 1:
            patients[case] = names.pop()
        else:
            missing[case] = _without_patient(f"{where}/{case}", rows=len(words), names=len(names))
    return TabledPatients(patients=patients, missing=missing, warnings=(*rows.warnings, *indexed.warnings))


def _indexed(
    files: Sequence[Path], column: SplitColumn | PatientColumn, of: str, keys: Mapping[str, str], where: str
) -> tuple[Rows, IndexedRows]:
    """The rows of the table that tells the split or the patients, and which of them are each case's."""
    rows = read_rows(files, where=where, shape=RowShape())
    if rows.rows and not has_column(rows.rows, column.column):
        raise CaseError(
            f"{of}.no_column",
            where=where,
            problem=f"the table of the {of} has no such column",
            details={"expected": column.column, **nearest(column.column, rows.columns)},
            action=f"Correct `column` of the {of} in the entry's layout.",
        )
    return rows, index_rows(rows, set(keys.values()), key_column=column.key_column, where=where)


def _without_patient(where: str, *, rows: int, names: int) -> CaseError:
    return CaseError(
        "patient.two" if names else "patient.missing",
        where=where,
        problem="the table names two patients for the case" if names else "the table names no patient for the case",
        details={"rows": rows, "patients": names},
        action="The case is excluded: guessing its patient could put one person on both sides of a split.",
    )


def _names(paths: Sequence[Path], where: str, keys: AbstractSet[str]) -> set[str]:
    """Every name that the lists of one part hold: of a table, those of the column that has most of the keys."""
    names: set[str] = set()
    for path in sorted(paths):
        columns = _table_names(path, where) if _is_table(path) else [_line_names(path, where)]
        names |= max(columns, key=lambda column: _found(column, keys), default=set())
    return names - {""}


def _found(names: AbstractSet[str], keys: AbstractSet[str]) -> tuple[int, int]:
    fold = WITHOUT_SUFFIX.fold
    return len(names & keys), len({fold(name) for name in names} & {fold(key) for key in keys})


def _is_table(path: Path) -> bool:
    return any(suffix.lower() in TABLES for suffix in path.suffixes)


def _line_names(path: Path, where: str) -> set[str]:
    with errors_of_case([path], "list", where):
        encoding, _ = encoding_of(path)
        with open_text(path, encoding) as stream:
            return {line.strip() for line in text_lines(path, stream)} - {""}


def _table_names(path: Path, where: str) -> list[set[str]]:
    """The names of each column of a table; the first of a list without a header is taken for one."""
    rows = read_rows([path], where=where)
    return [
        {word_of(cell) for cell in column_of(rows.rows, column) if not isinstance(cell, list | dict)} | {column}
        for column in rows.columns
    ]
