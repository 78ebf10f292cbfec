"""`layout-tested` in the catalog means that a tree went through the chain, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from trees.tree import made_trees
from trees.waiting import WAITING

from medshard.errors import CatalogError
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.schema import Entry
from medshard.registry.vocabulary import Maturity


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def is_read(entry: Entry) -> bool:
    try:
        refuse_unread_layout(entry)
    except CatalogError:
        return False
    return True


def test_the_layout_tested_entries_are_those_whose_tree_passes(catalog: Catalog) -> None:
    claimed = {entry.id for entry in catalog if entry.maturity is Maturity.LAYOUT_TESTED}
    acquired = {entry.id for entry in catalog if entry.maturity is Maturity.ACQUIRED}
    passing = {entry for entry in made_trees() if entry not in WAITING and is_read(catalog.entry(entry))}
    assert claimed - passing == set(), "no tree of theirs passes"
    assert passing - claimed - acquired == set(), "their trees pass: say `maturity: layout-tested`"


def test_the_page_names_every_entry_that_is_not_tested_and_why(catalog: Catalog) -> None:
    page = (Path(__file__).parents[2] / "docs" / "layout-tests.md").read_text(encoding="utf8")
    section = page.partition("## Not tested")[2]
    named = set(re.findall(r"^\| `([^`]+)` \| .{20,} \|$", section, flags=re.MULTILINE))
    assert named == {entry.id for entry in catalog if entry.maturity is Maturity.DESCRIBED}


def test_what_waits_has_a_tree() -> None:
    assert set(WAITING) <= set(made_trees())


def test_every_tree_says_where_its_names_were_seen() -> None:
    assert [entry for entry, made in made_trees().items() if not any(made.evidence)] == []
