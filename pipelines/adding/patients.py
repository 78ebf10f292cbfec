"""Who is shown: what the names of files suggest, what DICOM headers say, and how little that proves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medshard.converters.formats.faults import bad_file_errors
from medshard.errors import CaseError
from medshard.pipelines.adding.attached import Group
from medshard.pipelines.adding.keys import STAR, spread
from medshard.pipelines.adding.notes import Noted
from medshard.pipelines.adding.samples import files_of
from medshard.pipelines.adding.templates import Field, is_patient_word
from medshard.pipelines.adding.walk import FoundFiles
from medshard.registry.vocabulary import PatientBasis

_NOBODY_SAID = (
    "Nobody has said whether two cases can show one person; a split by case may put one person on both sides."
)
_SERIES_ASKED = 100
_MOST_OF_ONE = 50
_NO_PERSONS = (
    *("batch", "imagepart", "set", "fold", "task", "center", "centre", "site", "group", "maps", "slice", "frame"),
    *("view", "scale", "train", "test", "score"),
)
"""Words in front of numbers that count something else than persons."""


@dataclass(frozen=True)
class PatientReading:
    """patient, basis: fields of the entry. count: of patients, by this reading. doubt: a sentence for the entry."""

    patient: Noted | None
    basis: Noted
    count: int
    doubt: str


def patient_reading(group: Group, fields: Sequence[Field], found: FoundFiles) -> PatientReading:
    """The reading that puts most cases together: a patient in two parts of a split is worse than a part too small.

    fields: those that may tell persons apart, without classes.
    """
    headers = _said_by_headers(group, found)
    named = next((field for field in fields if is_patient_word(field.name)), None)
    if named is not None:
        count = _distinct(group, named)
        note = f"guessed: the names say `{named.name}`; {count} patients in {len(group.cases)} cases"
        basis = Noted(str(PatientBasis.ASSUMED), f"TODO `identified` once you know that it holds{headers}")
        doubt = f"That `{named.name}` in the file names is one person was read off the names alone."
        return PatientReading(Noted(f"{{{named.name}}}", note), basis, count, doubt)
    first = next((field for field in fields if not _is_no_person(field, group)), None)
    if len(fields) > 1 and first is not None:
        count = _distinct(group, first)
        if 1 < count <= len(group.cases) <= _MOST_OF_ONE * count:
            note = f"guessed: what shares `{first.name}` is taken for one person; {count} in {len(group.cases)} cases"
            basis = Noted(str(PatientBasis.ASSUMED), f"TODO who is shown? Nothing but the names says it{headers}")
            doubt = (
                f"That files with the same `{first.name}` show one person, and others do not, was read off the names."
            )
            return PatientReading(Noted(f"{{{first.name}}}", note), basis, count, doubt)
    note = "TODO no name tells persons apart: every case would count as a person of its own. Can two cases show one?"
    basis = Noted(str(PatientBasis.UNKNOWN), f"{note}{headers}")
    return PatientReading(None, basis, len(group.cases), _NOBODY_SAID)


def _is_no_person(field: Field, group: Group) -> bool:
    """`batch`, `trainbatch`, `view2`; folders of a few plain words such as `upper` and `lower`."""
    if field.name.rstrip("0123456789").endswith(_NO_PERSONS):
        return True
    place = [one.name for one in group.fields].index(field.name)
    values = {binding[place] for binding in group.cases}
    worded = not any(sign.isdigit() for value in values for sign in value)
    return not field.number and worded and len(values) * 2 <= len(group.cases)


def _distinct(group: Group, field: Field) -> int:
    place = [one.name for one in group.fields].index(field.name)
    return len({binding[place] for binding in group.cases})


def _said_by_headers(group: Group, found: FoundFiles) -> str:
    """What PatientID of a few series says about the reading; the IDs themselves are never shown."""
    if group.anchor.known.format.lower() != "dicom":
        return ""
    import pydicom  # noqa: PLC0415 - only where there is DICOM

    family = group.anchor.family
    firsts = {row.path.rpartition("/")[0]: row for row in reversed(family.rows)}
    rows = [firsts[folder] for folder in sorted(firsts)] if family.name[0] == STAR else list(family.rows)
    stated: list[str] = []
    unread = 0
    for row in spread(rows, _SERIES_ASKED):
        path = files_of(row, found)[0]
        try:
            with bad_file_errors(path, "pydicom"):
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
                stated.append(str(header.get("PatientID", "")).strip())
        except CaseError:
            unread += 1
    without = f"; {unread} of those sampled could not be read" if unread else ""
    told = [one for one in stated if one]
    if not told:
        return f" (the headers sampled have no PatientID{without})"
    return f" ({len(stated)} of {len(rows)} series have {len(set(told))} different PatientIDs{without})"
