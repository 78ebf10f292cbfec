"""Splits in a store: tables named by digest, and names that move from table to table."""

from __future__ import annotations

from pathlib import Path

import pytest

from medshard.errors import SplitError, StoreError
from medshard.registry.splits import (
    Split,
    SplitRow,
    load_split,
    read_named,
    read_split,
    save_split,
    split_names,
)
from medshard.registry.store import Head, Store, swap_head


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def table(*parts: str) -> Split:
    return Split(
        tuple(
            SplitRow(entry="a", case=f"c{number}", patient=f"p{number}", component=f"a/p{number}", part=part)  # type: ignore[arg-type]
            for number, part in enumerate(parts)
        )
    )


def test_a_split_is_read_by_name_digest_and_path(store: Store, tmp_path: Path) -> None:
    split = table("train", "test")
    named = save_split(store, "mine", split, {"a": "0" * 64})
    file = tmp_path / "own.jsonl"
    file.write_bytes(split.to_bytes())
    for name in ("mine", split.digest, split.digest[:8], str(file), file, named.table):
        assert read_split(store, name) == split
    assert read_split(None, file) == split
    assert split_names(store) == ("mine",)
    assert store.path(named.table).name == f"{split.digest}.split.jsonl"


def test_the_split_of_a_recipe_is_read_by_the_recipe(store: Store) -> None:
    split = table("train", "test")
    ref = store.publish_bytes(split.to_bytes(), ".split.jsonl")
    swap_head(store, "my-recipe", "split", Head(manifest=ref, attachments={"split": ref}))
    assert read_split(store, "my-recipe") == split


def test_a_name_moves_to_a_new_table_and_remembers_the_old_one(store: Store) -> None:
    first, second = table("train", "test"), table("train", "test", "val")
    save_split(store, "mine", first, {})
    save_split(store, "mine", second, {})
    named = read_named(store, "mine")
    assert named is not None
    assert (named.table.digest, named.previous) == (second.digest, first.digest)
    assert read_split(store, first.digest) == first
    save_split(store, "mine", second, {})
    assert read_named(store, "mine") == named


def test_what_is_not_there_is_said_with_what_is(store: Store) -> None:
    save_split(store, "mine", table("train"), {})
    with pytest.raises(SplitError, match=r"split.unknown(.|\n)*mine"):
        read_split(store, "yours")


@pytest.mark.parametrize("name", ["", "Mine", "../mine", "a/b", "0123abcd", "a" * 80, "a\n"])
def test_a_name_that_is_a_path_or_could_be_a_digest_is_refused(store: Store, name: str) -> None:
    with pytest.raises(SplitError, match="split.name"):
        save_split(store, name, table("train"), {})


def test_a_table_that_leaks_is_neither_kept_nor_read(store: Store, tmp_path: Path) -> None:
    rows = table("train", "test").rows
    leaking = Split(tuple(SplitRow(**{**row.to_json(), "component": "a/p0"}) for row in rows))
    with pytest.raises(SplitError, match="split.leak"):
        save_split(store, "mine", leaking, {})
    file = tmp_path / "edited.jsonl"
    file.write_bytes(leaking.to_bytes())
    with pytest.raises(SplitError, match="split.leak"):
        read_split(store, file)
    assert load_split(store, file) == leaking


def test_a_table_that_is_gone_is_named(store: Store) -> None:
    named = save_split(store, "mine", table("train"), {})
    store.remove(named.table)
    with pytest.raises(StoreError, match="object.missing"):
        read_split(store, "mine")
    with pytest.raises(SplitError, match="split.unreadable"):
        read_split(store, Path(__file__))
