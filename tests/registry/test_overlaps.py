"""Which entries show the same people: declared once, known from both ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.overlaps import OverlapGraph
from medshard.registry.schema import Entry
from medshard.registry.vocabulary import INVERSE_OVERLAP, OverlapKind

INVERSE = {
    "same-cases": "same-cases",
    "subset-of": "superset-of",
    "superset-of": "subset-of",
    "shares-cases": "shares-cases",
    "shares-patients": "shares-patients",
    "possible": "possible",
    "no-overlap": "no-overlap",
}


def entry(name: str, *overlaps: dict[str, Any]) -> Entry:
    return Entry.model_validate(
        {
            "id": name, "title": name, "description": "x", "version": "1", "groups": ["brain"], "modalities": ["MR"],
            "tasks": ["segmentation"], "dimensions": [3], "licence": {"id": "CC0-1.0"}, "access": {"kind": "open"},
            "maturity": "described", "acquisition": [{"kind": "folder", "path": "."}], "overlaps": list(overlaps),
        }
    )  # fmt: skip


def overlap(other: str, kind: str = "shares-cases", **more: Any) -> dict[str, Any]:
    return {"entry": other, "kind": kind, "evidence": "a paper", **more}


def test_every_kind_has_its_inverse() -> None:
    assert {kind: INVERSE_OVERLAP.get(kind, kind) for kind in OverlapKind} == INVERSE


@pytest.mark.parametrize(("kind", "inverse"), INVERSE.items())
def test_an_edge_is_seen_from_both_ends(kind: str, inverse: str) -> None:
    graph = OverlapGraph.of([entry("msd-liver", overlap("lits", kind, patients={"liver_0": "0"})), entry("lits")])
    there, back = graph.between("msd-liver", "lits"), graph.between("lits", "msd-liver")
    assert there is not None
    assert back is not None
    assert (there.kind, there.entry, there.other) == (kind, "msd-liver", "lits")
    assert (back.kind, back.entry, back.other) == (inverse, "lits", "msd-liver")
    for edge in (there, back):
        assert (edge.declared_by, edge.evidence, edge.pairs) == ("msd-liver", "a paper", 1)


def test_the_edges_of_an_entry_are_its_own_by_name() -> None:
    graph = OverlapGraph.of([entry("b", overlap("c"), overlap("a")), entry("c", overlap("d"))])
    assert [(edge.entry, edge.other) for edge in graph.of_entry("b")] == [("b", "a"), ("b", "c")]
    assert [edge.other for edge in graph.of_entry("c")] == ["b", "d"]
    assert graph.of_entry("x") == ()
    assert graph.between("b", "d") is None


def test_who_is_reachable_and_who_is_not() -> None:
    graph = OverlapGraph.of(
        [
            entry("a", overlap("b", "subset-of")),
            entry("b", overlap("c", "possible")),
            entry("c", overlap("a"), overlap("d", "no-overlap")),
            entry("d", overlap("e")),
            entry("f"),
        ]
    )
    assert graph.reachable("a") == {"b", "c"}
    assert graph.reachable("c") == {"a", "b"}, "a proof that nothing is shared leads nowhere"
    suspected = OverlapGraph.of([entry("a", overlap("b", "possible")), entry("b", overlap("c")), entry("c")])
    assert suspected.reachable("a") == frozenset(), "a suspicion is followed on request only"
    assert suspected.reachable("a", possible=True) == {"b", "c"}
    assert graph.reachable("d") == {"e"}
    assert graph.reachable("f") == graph.reachable("nobody") == frozenset()


names = st.sampled_from("abcdefg")


@settings(deadline=None)
@given(st.dictionaries(names, st.lists(st.tuples(names, st.sampled_from(list(INVERSE))), max_size=4)))
def test_the_graph_is_symmetric_and_reachability_an_equivalence(declared: dict[str, list[tuple[str, str]]]) -> None:
    graph = OverlapGraph.of(
        entry(name, *(overlap(other, kind) for other, kind in found)) for name, found in declared.items()
    )
    told = sorted((edge.entry, edge.other, edge.kind, edge.declared_by) for edge in graph.edges)
    mirrored = sorted((edge.other, edge.entry, INVERSE[edge.kind], edge.declared_by) for edge in graph.edges)
    assert told == mirrored
    assert len(told) == 2 * sum(len(found) for found in declared.values())
    for one in "abcdefg":
        assert one not in graph.reachable(one)
        for other in graph.reachable(one):
            assert one in graph.reachable(other)
            assert graph.reachable(other) | {other} == graph.reachable(one) | {one}


def test_the_public_graph_is_symmetric_and_holds_no_contradiction() -> None:
    catalog = Catalog.load([PUBLIC_CATALOG])
    graph = catalog.overlaps
    assert graph.edges
    for edge in graph.edges:
        back = graph.between(edge.other, edge.entry)
        assert back is not None
        assert back.kind == INVERSE[edge.kind], (edge.entry, edge.other)
        assert edge.other in catalog.entries
        assert edge.evidence
