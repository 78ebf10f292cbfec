"""Patient-level splits: frozen tables made on the connected components of the leakage graph.

Two cases are joined when they are of one patient, and two patients when an entry declares that they are the same
person (`overlaps`) or when they have an image of the same voxels. A component lies on one side of a split as a whole,
so nothing that touches a test patient can be trained on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from medshard.errors import SplitError
from medshard.registry.schema import Entry
from medshard.registry.store.digests import canonical_json, sha256_bytes, sha256_json

FORMAT_VERSION = 1

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Patient = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class SplitCase:
    """A case to be split.

    labelled: only labelled components are dealt to val and test.
    contents: digests of its images' voxels; cases that share one are one component, whatever their patients are called.
    """

    entry: str
    case: str
    patient: str
    labelled: bool
    contents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    entry: str
    case: str
    patient: str
    component: str
    part: Part


@dataclass(frozen=True)
class Split:
    """A frozen table case -> part. Its digest names it."""

    rows: tuple[SplitRow, ...]

    def to_bytes(self) -> bytes:
        """JSON lines, sorted by entry and case."""
        rows = sorted(self.rows, key=lambda row: (row.entry, row.case))
        return b"".join(canonical_json(asdict(row)) + b"\n" for row in rows)

    @classmethod
    def from_bytes(cls, data: bytes) -> Split:
        return cls(tuple(SplitRow(**json.loads(line)) for line in data.splitlines()))

    @property
    def digest(self) -> str:
        return sha256_bytes(self.to_bytes())

    def part_of(self, entry: str, case: str) -> Part | None:
        return next((row.part for row in self.rows if (row.entry, row.case) == (entry, case)), None)

    def counts(self) -> dict[str, int]:
        return {part: sum(row.part == part for row in self.rows) for part in PARTS}


def make_split(
    cases: Sequence[SplitCase], *, entries: Iterable[Entry], fractions: Mapping[str, float], seed: int
) -> Split:
    """Deal whole components to train, val and test.

    fractions: part -> share of the *labelled* components; they sum to 1. Components without a label, and all that
    is left, go to train. The order of dealing is the hash of (seed, component), so it does not depend on how the
    cases are listed. Each of val and test with a positive share gets at least one component.

    Raises SplitError when the shares are no shares or there are fewer labelled components than parts.
    """
    _check_fractions(fractions)
    component_of = components(cases, entries)
    labelled = {component_of[case.entry, case.patient] for case in cases if case.labelled}
    dealt = sorted(labelled, key=lambda component: sha256_json([seed, component]))
    held_out = {part: _quota(fractions.get(part, 0.0), len(dealt)) for part in ("val", "test")}
    if sum(held_out.values()) >= len(dealt):
        raise SplitError(
            "split.too_few",
            where="split",
            problem="too few labelled patients for the parts that are asked for",
            details={"labelled components": len(dealt), "val": held_out["val"], "test": held_out["test"]},
            action="Ask for fewer parts, or add entries.",
        )
    part_of: dict[str, Part] = {}
    for component in dealt[: held_out["test"]]:
        part_of[component] = "test"
    for component in dealt[held_out["test"] : held_out["test"] + held_out["val"]]:
        part_of[component] = "val"
    rows = (
        SplitRow(
            entry=case.entry,
            case=case.case,
            patient=case.patient,
            component=component_of[case.entry, case.patient],
            part=part_of.get(component_of[case.entry, case.patient], "train"),
        )
        for case in cases
    )
    return Split(tuple(sorted(rows, key=lambda row: (row.entry, row.case))))


def components(cases: Iterable[SplitCase], entries: Iterable[Entry]) -> dict[Patient, str]:
    """(entry, patient) -> name of its component, which is the smallest `entry/patient` in it."""
    parent: dict[Patient, Patient] = {}

    def find(patient: Patient) -> Patient:
        parent.setdefault(patient, patient)
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = parent[patient]
        return patient

    def join(one: Patient, other: Patient) -> None:
        one, other = find(one), find(other)
        parent[max(one, other)] = min(one, other)

    seen: dict[str, Patient] = {}
    for case in cases:
        patient = (case.entry, case.patient)
        find(patient)
        for content in case.contents:
            join(patient, seen.setdefault(content, patient))
    for entry in entries:
        for overlap in entry.overlaps:
            for ours, theirs in overlap.patients.items():
                join((entry.id, ours), (overlap.entry, theirs))
    return {patient: "/".join(find(patient)) for patient in list(parent)}


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


def check_no_leak(split: Split) -> None:
    """Raise SplitError[split.leak] when a component has cases in more than one part."""
    parts: dict[str, set[str]] = defaultdict(set)
    for row in split.rows:
        parts[row.component].add(row.part)
    torn = {component: sorted(found) for component, found in parts.items() if len(found) > 1}
    if torn:
        raise SplitError(
            "split.leak",
            where="split",
            problem="a patient is on both sides of the split",
            details={component: " and ".join(found) for component, found in sorted(torn.items())[:10]},
            action="Make the split with medshard; do not edit its table.",
        )


def _quota(fraction: float, count: int) -> int:
    return max(1, round(fraction * count)) if fraction > 0 else 0


def _check_fractions(fractions: Mapping[str, float]) -> None:
    unknown = sorted(set(fractions) - set(PARTS))
    if unknown or any(share < 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-9:
        raise SplitError(
            "split.fractions",
            where="split",
            problem="the shares of the parts make no sense",
            details={"expected": "train, val and test, none negative, summing to 1", "found": dict(fractions)},
            action="Mend `split.fractions`.",
        )
