"""The trees of the catalog's entries: a draft reads off a tree what the entry says that was written by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_draft_comparison import compared
from trees.tree import made_trees

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG

LEAST_RIGHT = 0.8
"""Of all trees; docs/contributing-a-data-set.md has the figure of the day that it was measured."""
SOME = (
    "amos-2022",
    "atm22",
    "brats21",
    "btcv-abdomen",
    "chaos-ct",
    "cp-child",
    "isles22",
    "kits19",
    "kvasir-seg",
    "lits",
    "promise12",
    "segthor",
    "totalsegmentator-v2",
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize("entry", SOME)
def test_cases_masks_and_persons_are_those_of_the_entry(entry: str, catalog: Catalog, tmp_path: Path) -> None:
    found = compared(made_trees()[entry], catalog, tmp_path)
    assert found.cases, "as many cases"
    assert found.paired, "with the same masks"
    assert not found.split, "no person is two in silence"


@pytest.mark.soak
def test_most_trees_are_read_as_by_hand(catalog: Catalog, tmp_path: Path) -> None:
    found = []
    for entry, made in made_trees().items():
        if entry != "nafld":  # its source brings one path twice
            found.append(compared(made, catalog, tmp_path / entry))
    wrong = [one.entry for one in found if not one.right]
    split = [one.entry for one in found if one.split]
    figures = (
        f"{len(found)} trees, cases of {sum(one.cases for one in found)}, masks of {sum(one.paired for one in found)}"
    )
    assert len(wrong) <= (1 - LEAST_RIGHT) * len(found), f"{figures}, not right: {wrong}"
    assert not split, f"{figures}, two persons made of one: {split}"
