"""A split held against the graph of today: who stands on both sides, and by which edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medshard.registry.schema import Entry
from medshard.registry.splits.graph import LeakageGraph, Link, Patient, SplitCase, leakage_graph
from medshard.registry.splits.leaving_out import without_tied
from medshard.registry.splits.table import Split, SplitRow
from medshard.registry.splits.ties import find_ties

LINKS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Something that is on both sides.

    kind: `patient` (one component in two parts), `tied` (an entry that shares people, nobody knows which, with
    one that is held out) or `synthetic` (a made case that is held out). what: the component or the entries.
    cases: part (with its fold) -> `entry/case`. patients: `entry/patient` of them. links: why two patients are one;
    empty where the name of the patient is the same.
    """

    kind: Literal["patient", "tied", "synthetic"]
    what: str
    cases: Mapping[str, tuple[str, ...]]
    patients: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    evidence: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "what": self.what,
            "cases": {place: list(cases) for place, cases in self.cases.items()},
            "patients": list(self.patients),
            "links": [
                {"kind": link.kind, "one": "/".join(link.one), "other": "/".join(link.other), "evidence": link.evidence}
                for link in self.links
            ],
            "evidence": self.evidence,
        }


def find_leaks(
    split: Split, cases: Sequence[SplitCase], entries: Iterable[Entry], *, suspected: bool = False
) -> tuple[Leak, ...]:
    """Every leak of a split, sorted; none is good news.

    cases: as the store has them today. Cases that are in the table only count with the patient that it names, and a
    component that the table itself calls one is one.
    """
    known, today = list(entries), {case.name: case for case in cases}
    all_cases = [*cases, *(_as_case(row) for row in split.rows if row.name not in today)]
    graph = leakage_graph(all_cases, known)
    patient_of = {row.name: _patient(row, today) for row in split.rows}
    ties = find_ties(known, graph, {row.entry for row in split.rows}, suspected=suspected)
    _, tied = without_tied(split.rows, ties)
    leaks = [*_torn(split, graph, patient_of), *_held_synthetic(split, today)]
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in tied:
        by_reason[case.entry, case.reason].append(f"{case.entry}/{case.case}")
    leaks += [
        Leak(kind="tied", what=entry, cases={"train or val": tuple(sorted(found))}, evidence=reason)
        for (entry, reason), found in by_reason.items()
    ]
    return tuple(sorted(leaks, key=lambda leak: (leak.kind, leak.what)))


def place_of(row: SplitRow) -> str:
    return row.part if row.fold is None else f"{row.part}, fold {row.fold}"


def _torn(split: Split, graph: LeakageGraph, patient_of: Mapping[tuple[str, str], Patient]) -> Iterable[Leak]:
    together: dict[str, list[SplitRow]] = defaultdict(list)
    for row in split.rows:
        together[graph.component_of[patient_of[row.name]]].append(row)
    seen = {_rows_of(rows) for rows in together.values()}
    for rows in _by_own_component(split):
        if rows and _rows_of(rows) not in seen:
            together[f"{rows[0].component} (by the table)"] = rows
    for component, rows in together.items():
        places = defaultdict(list)
        for row in rows:
            places[place_of(row)].append(row)
        if len(places) > 1:
            patients = sorted({patient_of[row.name] for row in rows})
            yield Leak(
                kind="patient",
                what=component,
                cases={
                    place: tuple(sorted(f"{row.entry}/{row.case}" for row in found))
                    for place, found in sorted(places.items())
                },
                patients=tuple("/".join(patient) for patient in patients),
                links=_links(graph, places, patient_of),
            )


def _by_own_component(split: Split) -> Iterable[list[SplitRow]]:
    own: dict[str, list[SplitRow]] = defaultdict(list)
    for row in split.rows:
        own[row.component].append(row)
    return own.values()


def _rows_of(rows: Iterable[SplitRow]) -> frozenset[tuple[str, str]]:
    return frozenset(row.name for row in rows)


def _links(
    graph: LeakageGraph, places: Mapping[str, list[SplitRow]], patient_of: Mapping[tuple[str, str], Patient]
) -> tuple[Link, ...]:
    """The shortest way from a patient of the first place to one of each other place."""
    first, *others = (sorted({patient_of[row.name] for row in rows}) for rows in places.values())
    found: list[Link] = []
    for patients in others:
        if not set(patients) & set(first):
            found += graph.path(first[0], patients[0])
    return tuple(dict.fromkeys(found))[:LINKS_SHOWN]


def _held_synthetic(split: Split, today: Mapping[tuple[str, str], SplitCase]) -> Iterable[Leak]:
    for row in split.rows:
        is_made = row.synthetic or (row.name in today and today[row.name].synthetic)
        if is_made and (row.part != "train" or row.fold is not None):
            name = f"{row.entry}/{row.case}"
            yield Leak(kind="synthetic", what=name, cases={place_of(row): (name,)})


def _patient(row: SplitRow, today: Mapping[tuple[str, str], SplitCase]) -> Patient:
    case = today.get(row.name)
    return (row.entry, case.patient if case else row.patient)


def _as_case(row: SplitRow) -> SplitCase:
    return SplitCase(entry=row.entry, case=row.case, patient=row.patient, labelled=False, synthetic=row.synthetic)
