"""Every entry that has a tree: built from what its source packs to shards, and what came out is what was drawn.

The trees are in tests/made/trees, written from public descriptions and listings; docs/layout-tests.md tells how.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from trees.checks import build_and_check
from trees.tree import MadeTree, made_trees
from trees.waiting import WAITING

from medshard.errors import MedshardError
from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG

TREES = made_trees()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def tree_of(made: MadeTree) -> object:
    """A parameter; one that waits for something has to fail until it no longer does."""
    waits = WAITING.get(made.entry)
    marks = [pytest.mark.xfail(reason=waits, raises=(AssertionError, MedshardError), strict=True)] if waits else []
    return pytest.param(made, id=made.entry, marks=marks)


@pytest.mark.parametrize("made", [tree_of(made) for made in TREES.values()])
def test_the_tree_becomes_what_it_shows(made: MadeTree, catalog: Catalog, tmp_path: Path) -> None:
    waiting = build_and_check(made, catalog, tmp_path)
    if waiting:
        pytest.skip(waiting)
