"""The catalog's overlaps against a second reading of the facts, made without the catalog (`known_overlaps.yaml`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.vocabulary import INVERSE_OVERLAP, OverlapKind

READING = yaml.safe_load((Path(__file__).parent / "known_overlaps.yaml").read_text(encoding="utf8"))
Known = dict[str, Any]
PAIRS: list[Known] = READING["pairs"]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def inverse(kind: OverlapKind) -> OverlapKind:
    return INVERSE_OVERLAP.get(kind, kind)


@pytest.mark.parametrize("known", PAIRS, ids=lambda known: "-and-".join(known["pair"]))
def test_an_overlap_that_the_facts_name_is_in_the_catalog_both_ways(catalog: Catalog, known: Known) -> None:
    one, other = known["pair"]
    kind = OverlapKind(known["kind"])
    there, back = catalog.overlaps.between(one, other), catalog.overlaps.between(other, one)
    assert there is not None, f"the catalog lacks {one} / {other}: {known['words']}"
    assert back is not None, f"the catalog has {one} / {other} in one direction only"
    assert (there.kind, back.kind) == (kind, inverse(kind)), known["words"]


def test_every_edge_has_its_inverse_with_the_same_evidence(catalog: Catalog) -> None:
    edges = {(edge.entry, edge.other, edge.kind, edge.evidence) for edge in catalog.overlaps.edges}
    turned = {(other, entry, inverse(kind), evidence) for entry, other, kind, evidence in edges}
    assert edges == turned
    assert edges


def test_two_entries_have_one_edge_in_each_direction(catalog: Catalog) -> None:
    ends = [(edge.entry, edge.other) for edge in catalog.overlaps.edges]
    assert len(ends) == len(set(ends))


def test_every_edge_names_its_evidence(catalog: Catalog) -> None:
    assert [(edge.entry, edge.other) for edge in catalog.overlaps.edges if not edge.evidence.strip()] == []


def test_the_reading_names_entries_only_and_each_pair_once_in_order(catalog: Catalog) -> None:
    pairs = [tuple(known["pair"]) for known in PAIRS]
    named = {entry for pair in pairs for entry in pair}
    named |= {entry for known in PAIRS for entry in known["told_by"]}
    named |= {entry for outside in READING["outside"] for entry in outside["entries"]}
    assert named <= {entry.id for entry in catalog}
    assert pairs == sorted(set(pairs))
    assert all(one < other for one, other in pairs)
