"""Tables that serve many cases: read once a build, and dealt out so that a worker gets the rows of its case alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medshard.converters.annotations.rows.reading import (
    Rows,
    RowShape,
    index_rows,
    is_own_file,
    is_row_contours,
    key_of,
    patients_of_table,
    read_rows,
    row_shape,
    split_of_lists,
    split_of_table,
)
from medshard.errors import CaseError
from medshard.pipelines.stages.case_payload import CaseRows
from medshard.registry.layout import CaseFiles
from medshard.registry.schema import AnyAnnotation, CaseGroup, Entry, PatientColumn, SplitColumn, SplitLists
from medshard.registry.schema.annotations import Contours, RowAnnotation

Located = Mapping[str, Path]

DEFAULT_KEY = "{case}"


@dataclass(frozen=True, kw_only=True)
class TabledCases:
    """Cases with the patient and the shipped split that tables give them.

    failed: case -> why it has none; a case without a patient is no case, since its split could leak.
    """

    cases: tuple[CaseFiles, ...]
    failed: Mapping[str, CaseError]
    warnings: tuple[str, ...]


def is_rows(annotation: AnyAnnotation) -> bool:
    """Whether an annotation stands in rows of a table."""
    if isinstance(annotation, Contours):
        return is_row_contours(annotation)
    return isinstance(annotation, RowAnnotation)


def with_tabled_facts(entry: Entry, cases: Sequence[CaseFiles], files: Located) -> TabledCases:
    """Patients and splits of all cases whose group has them in tables or lists.

    Raises CaseError when such a table cannot be read at all: without it nobody knows who is who.
    """
    parts = [TabledCases(cases=(), failed={}, warnings=())]
    for number, group in enumerate(entry.cases):
        where = f"{entry.id} cases[{number}]"
        own = TabledCases(cases=tuple(case for case in cases if case.group == number), failed={}, warnings=())
        if isinstance(group.patient, PatientColumn):
            own = _with_patients(group.patient, own.cases, files, where)
        if isinstance(group.split, SplitLists):
            own = _with_splits(group.split, own, files, where)
        elif isinstance(group.split, SplitColumn):
            own = _with_split_column(group.split, own, files, where)
        parts.append(own)
    return TabledCases(
        cases=tuple(case for part in parts for case in part.cases),
        failed={case: error for part in parts for case, error in part.failed.items()},
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )


def _with_patients(column: PatientColumn, cases: Sequence[CaseFiles], files: Located, where: str) -> TabledCases:
    done: list[CaseFiles] = []
    failed: dict[str, CaseError] = {}
    warnings: list[str] = []
    by_files = _by_files(cases, "patients")
    for paths, own in by_files.items():
        keys = {case.case: key_of(column.key, fields=case.fields, case=case.case) for case in own}
        found = patients_of_table([files[path] for path in paths], column, keys, where=where)
        failed |= found.missing
        warnings += found.warnings
        done += [replace(case, patient=found.patients.get(case.case, case.case)) for case in own]
    with_table = {case.case for own in by_files.values() for case in own}
    for case in cases:
        if case.case not in with_table:
            failed[case.case] = _no_table(column, where, case.case)
            done.append(case)
    return TabledCases(cases=tuple(done), failed=failed, warnings=tuple(warnings))


def _no_table(column: PatientColumn, where: str, case: str) -> CaseError:
    return CaseError(
        "patient.no_table",
        where=f"{where} {case}",
        problem="the table that says whose the case is, is not there",
        details={"looked for": column.path},
        action="Complete the source: without it a patient may stand on both sides of a split.",
    )


def _with_splits(lists: SplitLists, tabled: TabledCases, files: Located, where: str) -> TabledCases:
    names = {
        name: sorted({path for case in tabled.cases for path in case.others.get(f"split {name}", ())})
        for name in lists.files
    }
    located = {name: [files[path] for path in paths] for name, paths in names.items() if paths}
    if not located:
        return tabled
    keys = {case.case: key_of(lists.key, fields=case.fields, case=case.case) for case in tabled.cases}
    found = split_of_lists(located, keys, where=where, split=lists)
    return replace(
        tabled,
        cases=tuple(replace(case, split=found.parts.get(case.case, case.split)) for case in tabled.cases),
        warnings=(*tabled.warnings, *found.warnings),
    )


def _with_split_column(column: SplitColumn, tabled: TabledCases, files: Located, where: str) -> TabledCases:
    parts: dict[str, str] = {}
    warnings = list(tabled.warnings)
    for paths, own in _by_files(tabled.cases, "splits").items():
        keys = {case.case: key_of(column.key, fields=case.fields, case=case.case) for case in own}
        found = split_of_table([files[path] for path in paths], column, keys, where=where)
        parts |= found.parts
        warnings += found.warnings
    cases = tuple(replace(case, split=parts.get(case.case, case.split)) for case in tabled.cases)
    return replace(tabled, cases=cases, warnings=tuple(warnings))


@dataclass(frozen=True, kw_only=True)
class _SharedTable:
    """An annotation of some cases that share one table. by_number: whether row i is that of picture i of a file."""

    where: str
    annotation: RowAnnotation
    paths: tuple[str, ...]
    cases: Sequence[CaseFiles]
    by_number: bool = False

    @property
    def identity(self) -> tuple[tuple[str, ...], RowShape]:
        """What decides the rows that are read."""
        return self.paths, row_shape(self.annotation)


def shared_rows(entry: Entry, cases: Sequence[CaseFiles], files: Located) -> dict[str, dict[str, CaseRows]]:
    """case -> annotation -> its rows, of every annotation whose table serves many cases.

    A table that cannot be read is told to every case that needs it: it costs them this annotation and nothing else.
    """
    found: dict[str, dict[str, CaseRows]] = {}
    read: dict[tuple[tuple[str, ...], RowShape], Rows | CaseError] = {}
    for number, group in enumerate(entry.cases):
        own = [case for case in cases if case.group == number]
        for name, annotation in _in_shared_tables(group):
            for paths, some in _by_files(own, f"annotation {name}").items():
                table = _SharedTable(
                    where=f"{entry.id} annotation {name}",
                    annotation=annotation,
                    paths=paths,
                    cases=some,
                    by_number=_is_by_number(group, annotation),
                )
                if table.identity not in read:
                    read[table.identity] = _read(table, files)
                for case, rows in _dealt(table, read[table.identity]):
                    found.setdefault(case, {})[name] = rows
    return found


def _in_shared_tables(group: CaseGroup) -> Iterator[tuple[str, RowAnnotation]]:
    for name, annotation in group.annotations.items():
        if not (isinstance(annotation, RowAnnotation) and is_rows(annotation)):
            continue
        own = is_own_file(annotation, case=group.case, anchor=group.anchor)
        if not own or _is_by_number(group, annotation):
            yield name, annotation


def _is_by_number(group: CaseGroup, annotation: RowAnnotation) -> bool:
    """Whether rows follow the pictures of a file in their order: nothing says under which word a picture stands."""
    return group.pictures_of_files and annotation.key_column is None and annotation.key == DEFAULT_KEY


def _by_files(cases: Sequence[CaseFiles], name: str) -> dict[tuple[str, ...], list[CaseFiles]]:
    """Cases whose file of this name is the same; those that have none are left out."""
    found: dict[tuple[str, ...], list[CaseFiles]] = {}
    for case in cases:
        if case.others.get(name):
            found.setdefault(case.others[name], []).append(case)
    return found


def _read(table: _SharedTable, files: Located) -> Rows | CaseError:
    paths, shape = table.identity
    try:
        return read_rows([files[path] for path in paths], where=table.where, shape=shape)
    except CaseError as error:
        return error


def _dealt_by_number(table: _SharedTable, rows: Rows | CaseError) -> Iterator[tuple[str, CaseRows]]:
    """Row i for picture i; as many rows as pictures, or none is trusted."""
    if not isinstance(rows, CaseError) and len(rows.rows) != len(table.cases):
        rows = CaseError(
            "annotation.row_count",
            where=table.where,
            problem="the rows follow the pictures of a file, and there are not as many",
            details={"pictures": len(table.cases), "rows": len(rows.rows)},
            action="Name the `key_column` that says which picture a row is about, or mend `rows`.",
        )
    for case in table.cases:
        if isinstance(rows, CaseError):
            yield case.case, CaseRows(error=rows)
        elif case.page is not None:
            yield case.case, CaseRows(rows=(rows.rows[case.page],), warnings=rows.warnings)


def _dealt(table: _SharedTable, rows: Rows | CaseError) -> Iterator[tuple[str, CaseRows]]:
    """(case, rows) of every case that shares one table."""
    if table.by_number:
        yield from _dealt_by_number(table, rows)
        return
    key = table.annotation.key
    keys = {case.case: key_of(key, fields=case.fields, case=case.case) for case in table.cases}
    try:
        if isinstance(rows, CaseError):
            raise rows
        indexed = index_rows(rows, list(keys.values()), key_column=table.annotation.key_column, where=table.where)
    except CaseError as error:
        yield from ((case, CaseRows(error=error)) for case in keys)
        return
    for case, own in keys.items():
        yield (
            case,
            CaseRows(rows=tuple(indexed.by_key.get(own, ())), warnings=(*rows.warnings, *indexed.warnings)),
        )
