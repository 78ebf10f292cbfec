"""Who shows the same person: cases joined by patient, by equal voxels, and by pairs that entries declare."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from medshard.errors import SplitError
from medshard.registry.schema import Entry

Patient = tuple[str, str]  # (entry, patient)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCase:
    """A case to be split.

    labelled: only components with a labelled case are dealt to val and test.
    contents: digests of its images' voxels; cases that share one are one component, whatever their patients are called.
    strata: `kind:value` of all that the parts shall have evenly, such as `class:liver` or `site:a1b2`.
    shipped: the part that its makers put it in. synthetic: made by a program, not by a scanner.
    patients_known: False where two cases of the entry may show one person and nobody can tell.
    """

    entry: str
    case: str
    patient: str
    labelled: bool
    contents: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    shipped: str | None = None
    synthetic: bool = False
    patients_known: bool = True

    @property
    def name(self) -> tuple[str, str]:
        return self.entry, self.case


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Why two patients are one person. evidence: the digest of the voxels that both have, or the entry's own words."""

    kind: Literal["scan", "overlap"]
    one: Patient
    other: Patient
    evidence: str


@dataclass(frozen=True)
class LeakageGraph:
    """component_of: patient -> name of its component, which is the smallest `entry/patient` in it."""

    component_of: Mapping[Patient, str]
    links: tuple[Link, ...]

    def path(self, one: Patient, other: Patient) -> tuple[Link, ...]:
        """The fewest links that lead from one patient to another; none when nothing does, or they are the same."""
        reached: dict[Patient, tuple[Patient, Link] | None] = {one: None}
        waiting = deque([one])
        while waiting and other not in reached:
            here = waiting.popleft()
            for there, link in self._neighbours.get(here, ()):
                if there not in reached:
                    reached[there] = (here, link)
                    waiting.append(there)
        found: list[Link] = []
        step = reached.get(other)
        while step is not None:
            found.append(step[1])
            step = reached[step[0]]
        return tuple(reversed(found))

    @cached_property
    def _neighbours(self) -> Mapping[Patient, list[tuple[Patient, Link]]]:
        found: dict[Patient, list[tuple[Patient, Link]]] = defaultdict(list)
        for link in self.links:
            found[link.one].append((link.other, link))
            found[link.other].append((link.one, link))
        return found


def leakage_graph(cases: Iterable[SplitCase], entries: Iterable[Entry]) -> LeakageGraph:
    """The graph of all patients of the cases, and of those that overlaps name."""
    patients: set[Patient] = set()
    showing: dict[str, set[Patient]] = defaultdict(set)
    for case in cases:
        patient = (case.entry, case.patient)
        patients.add(patient)
        for content in case.contents:
            showing[content].add(patient)
    links = (*_scan_links(showing), *_declared_links(entries))
    return LeakageGraph(component_of=_united(patients, links), links=links)


def components(cases: Iterable[SplitCase], entries: Iterable[Entry]) -> dict[Patient, str]:
    """(entry, patient) -> name of its component."""
    return dict(leakage_graph(cases, entries).component_of)


def check_overlaps(patients: Mapping[str, Collection[str]], entries: Iterable[Entry]) -> None:
    """Raise SplitError when an overlap names a patient that an entry does not have: it would join nothing.

    patients: entry -> all its patients, of cases that are used and of those that are not.
    """
    for entry in entries:
        for overlap in entry.overlaps:
            ours = [(entry.id, patient) for patient in overlap.patients]
            for where, patient in (*ours, *((overlap.entry, patient) for patient in overlap.patients.values())):
                if where in patients and patient not in patients[where]:
                    raise SplitError(
                        "split.unknown_patient",
                        where=f"{entry.id} overlaps",
                        problem=f"{where} has no patient {patient!r}",
                        details={"it has": ", ".join(sorted(patients[where])[:8])},
                        action="Mend `overlaps` in the catalog entry.",
                    )


def _scan_links(showing: Mapping[str, set[Patient]]) -> Iterator[Link]:
    for content, patients in sorted(showing.items()):
        if len(patients) > 1:
            first, *others = sorted(patients)
            for other in others:
                yield Link(kind="scan", one=first, other=other, evidence=content)


def _declared_links(entries: Iterable[Entry]) -> Iterator[Link]:
    for entry in sorted(entries, key=lambda entry: entry.id):
        for overlap in entry.overlaps:
            for ours, theirs in overlap.patients.items():
                yield Link(
                    kind="overlap", one=(entry.id, ours), other=(overlap.entry, theirs), evidence=overlap.evidence
                )


def _united(patients: Iterable[Patient], links: Iterable[Link]) -> dict[Patient, str]:
    """Union-find; the smallest patient of a component is its root."""
    parent = {patient: patient for patient in patients}

    def find(patient: Patient) -> Patient:
        parent.setdefault(patient, patient)
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = parent[patient]
        return patient

    for link in links:
        one, other = find(link.one), find(link.other)
        parent[max(one, other)] = min(one, other)
    return {patient: "/".join(find(patient)) for patient in list(parent)}
