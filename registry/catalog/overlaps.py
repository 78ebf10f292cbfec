"""Which entries show the same people: the edges that entries declare, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from medshard.registry.schema import Entry
from medshard.registry.vocabulary import INVERSE_OVERLAP, OverlapKind


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One overlap, read from `entry`: it is `kind` of `other`. declared_by: the entry that says so."""

    entry: str
    other: str
    kind: OverlapKind
    evidence: str
    declared_by: str
    pairs: int = 0


@dataclass(frozen=True)
class OverlapGraph:
    """Every declared overlap, seen from both of its ends."""

    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> OverlapGraph:
        edges: list[Edge] = []
        for entry in entries:
            for overlap in entry.overlaps:
                pairs = len(overlap.patients)
                ends = (
                    (entry.id, overlap.entry, overlap.kind),
                    (overlap.entry, entry.id, INVERSE_OVERLAP.get(overlap.kind, overlap.kind)),
                )
                for one, other, kind in ends:
                    edges.append(
                        Edge(
                            entry=one,
                            other=other,
                            kind=kind,
                            evidence=overlap.evidence,
                            declared_by=entry.id,
                            pairs=pairs,
                        )
                    )
        return cls(tuple(sorted(edges, key=lambda edge: (edge.entry, edge.other))))

    def of_entry(self, entry: str) -> tuple[Edge, ...]:
        return self._by_entry.get(entry, ())

    def between(self, one: str, other: str) -> Edge | None:
        return next((edge for edge in self.of_entry(one) if edge.other == other), None)

    def reachable(self, entry: str, *, possible: bool = False) -> frozenset[str]:
        """Every entry that overlaps with this one, directly or through others; itself not.

        possible: follow overlaps that are only suspected, too.
        """
        passed = {OverlapKind.NONE_KNOWN} if possible else {OverlapKind.NONE_KNOWN, OverlapKind.POSSIBLE}
        found: set[str] = set()
        waiting = [entry]
        while waiting:
            for edge in self.of_entry(waiting.pop()):
                if edge.kind not in passed and edge.other not in found:
                    found.add(edge.other)
                    waiting.append(edge.other)
        return frozenset(found - {entry})

    @cached_property
    def _by_entry(self) -> Mapping[str, tuple[Edge, ...]]:
        grouped: dict[str, list[Edge]] = {}
        for edge in self.edges:
            grouped.setdefault(edge.entry, []).append(edge)
        return {entry: tuple(edges) for entry, edges in grouped.items()}
