"""Entries that share people when nobody has said which: what an overlap without pairs means for a split.

Such a tie joins no patients, for it would join all of them. It says instead that the two entries must not stand on two
sides: none of them is held out, unless the user names the one that is, and then the others are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from medshard.registry.schema import Entry, Overlap
from medshard.registry.splits.graph import LeakageGraph, Patient
from medshard.registry.vocabulary import INVERSE_OVERLAP, OverlapKind

# Read from an entry: all of ours are among theirs.
_CONTAINED = frozenset({OverlapKind.SAME_CASES, OverlapKind.SUBSET_OF})


@dataclass(frozen=True, kw_only=True, order=True)
class Tie:
    """Two entries, by id in order, that share people nobody can name. through: an entry that both are drawn from."""

    one: str
    other: str
    evidence: str
    through: str = ""

    def to(self, entry: str) -> str:
        return self.other if entry == self.one else self.one


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One overlap as seen from one of its entries."""

    entry: str
    other: str
    kind: OverlapKind
    evidence: str
    named: frozenset[str]


def find_ties(entries: Iterable[Entry], graph: LeakageGraph, present: Collection[str], *, suspected: bool) -> list[Tie]:
    """The ties between entries that are present, sorted.

    An overlap ties nothing where its patients are known: it lists pairs (of every patient, where it says that all are
    shared), or each patient that it says is shared was found by its voxels. Two entries that are both drawn
    from a third one, present or not, are tied as well. suspected: overlaps that are only possible count too.
    """
    known = _patients_by_entry(graph)
    ties: set[Tie] = set()
    drawn_from: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        for overlap in entry.overlaps:
            for side in _sides(entry.id, overlap):
                if side.kind not in _passed(suspected) or _is_resolved(side, known):
                    continue
                if side.entry in present and side.other in present:
                    one, other = sorted((side.entry, side.other))
                    ties.add(Tie(one=one, other=other, evidence=side.evidence))
                if side.entry in present and side.kind in _CONTAINED:
                    drawn_from[side.other][side.entry] = side.evidence
    direct = {(tie.one, tie.other) for tie in ties}
    for source, drawn in drawn_from.items():
        names = sorted(drawn)
        for number, one in enumerate(names):
            for other in names[number + 1 :]:
                if (one, other) not in direct:
                    evidence = f"{drawn[one]} {drawn[other]}"
                    ties.add(Tie(one=one, other=other, evidence=evidence, through=source))
    return sorted(ties)


def suspicions(entries: Iterable[Entry], present: Collection[str]) -> list[Tie]:
    """Overlaps between entries present that somebody only suspects."""
    return sorted(
        Tie(one=min(entry.id, overlap.entry), other=max(entry.id, overlap.entry), evidence=overlap.evidence)
        for entry in entries
        for overlap in entry.overlaps
        if overlap.kind is OverlapKind.POSSIBLE and entry.id in present and overlap.entry in present
    )


def _passed(suspected: bool) -> frozenset[OverlapKind]:
    left = {OverlapKind.NONE_KNOWN} if suspected else {OverlapKind.NONE_KNOWN, OverlapKind.POSSIBLE}
    return frozenset(OverlapKind) - left


def _sides(entry: str, overlap: Overlap) -> tuple[_Side, _Side]:
    ours, theirs = frozenset(overlap.patients), frozenset(overlap.patients.values())
    return (
        _Side(entry=entry, other=overlap.entry, kind=overlap.kind, evidence=overlap.evidence, named=ours),
        _Side(
            entry=overlap.entry,
            other=entry,
            kind=INVERSE_OVERLAP.get(overlap.kind, overlap.kind),
            evidence=overlap.evidence,
            named=theirs,
        ),
    )


def _is_resolved(side: _Side, known: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether it is known which patients this side shares with the other."""
    if side.kind is OverlapKind.SUPERSET_OF:
        return True  # decided by the other side, whose patients are all shared
    ours = known.get(side.entry, {})
    if side.kind not in _CONTAINED:
        return bool(side.named)
    theirs = set(known.get(side.other, {}).values())
    return all(patient in side.named or component in theirs for patient, component in ours.items()) and bool(ours)


def _patients_by_entry(graph: LeakageGraph) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    names: Iterable[tuple[Patient, str]] = graph.component_of.items()
    for (entry, patient), component in names:
        found[entry][patient] = component
    return found
