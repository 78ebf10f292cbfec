"""Files that hold many pictures: each of them is a case, where the layout says so (`pictures: each`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medshard.errors import CaseError
from medshard.registry.layout import CaseFiles
from medshard.registry.schema import CaseGroup, Entry
from medshard.registry.schema.cases import INDEX
from medshard.registry.templates import fill


@dataclass(frozen=True, kw_only=True)
class PicturedCases:
    """failed: case (with `{index}` still in its name) -> why its pictures cannot be counted."""

    cases: tuple[CaseFiles, ...]
    failed: Mapping[str, CaseError]


def each_picture(entry: Entry, cases: Sequence[CaseFiles], files: Mapping[str, Path]) -> PicturedCases:
    """The cases, with every picture of a file in place of the file where the layout says so. files: path -> place."""
    if not any(group.pictures_of_files for group in entry.cases):
        return PicturedCases(cases=tuple(cases), failed={})
    found: list[CaseFiles] = []
    failed: dict[str, CaseError] = {}
    for case in cases:
        try:
            found += _pictures(entry.cases[case.group], case, files, f"{entry.id}/{case.case}")
        except CaseError as error:
            failed[case.case] = error
            found.append(case)
    return PicturedCases(cases=tuple(found), failed=failed)


def _pictures(group: CaseGroup, case: CaseFiles, files: Mapping[str, Path], where: str) -> Iterator[CaseFiles]:
    if not group.pictures_of_files:
        yield case
        return
    # It loads every reader of pictures, which a worker that converts scans has no use for.
    from medshard.converters.formats.picture_counts import count_pictures  # noqa: PLC0415

    name, spec = next(iter(group.images.items()))
    count = count_pictures([files[path] for path in case.images[name]], key=spec.key, where=where)
    for number in range(count):
        fields = {**case.fields, INDEX: str(number)}
        named = fill(group.case, fields)
        patient = fill(group.patient, fields) if isinstance(group.patient, str) else named
        yield replace(case, case=named, patient=patient, fields=fields, page=number)
