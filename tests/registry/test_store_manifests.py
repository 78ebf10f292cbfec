"""Manifests and HEADs: a stage's state, and which one is current."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import StoreError
from medshard.registry.store import (
    CaseRecord,
    Head,
    Manifest,
    Store,
    publish_manifest,
    read_head,
    read_manifest,
    swap_head,
)
from medshard.registry.store.digests import canonical_json, sha256_bytes
from medshard.registry.store.manifests import head_path, iterate_heads, parse_manifest, require_head


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def record(case: str, *, error: str | None = None) -> CaseRecord:
    return CaseRecord(
        stage="volumes",
        entry="demo",
        case=case,
        key=sha256_bytes(case.encode()),
        code_version="1",
        facts={"line breaks": "a\nb\r\n\x85\u2028"},
        error={"code": error} if error else None,
    )


def manifest(*cases: str) -> Manifest:
    return Manifest(stage="volumes", entry="demo", code_version="1", records=tuple(record(case) for case in cases))


CASES = ["a", "b", "case 3", "Ä", "z\u2028"]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(CASES))
def test_the_bytes_of_a_manifest_do_not_depend_on_the_order_of_its_records(order: list[str]) -> None:
    assert manifest(*order).to_bytes() == manifest(*CASES).to_bytes()


def test_a_manifest_is_read_as_it_was_published(store: Store) -> None:
    published = manifest(*sorted(CASES))
    ref = publish_manifest(store, published)
    assert read_manifest(store, ref) == published
    assert publish_manifest(store, manifest(*CASES)) == ref
    assert Head(manifest=ref).data_version == ref.digest


def test_one_changed_record_changes_the_data_version(store: Store) -> None:
    before = publish_manifest(store, manifest("a", "b"))
    changed = Manifest(
        stage="volumes", entry="demo", code_version="1", records=(record("a"), replace(record("b"), warnings=("x",)))
    )
    assert publish_manifest(store, changed) != before


def test_an_empty_manifest_is_a_state_too(store: Store) -> None:
    assert read_manifest(store, publish_manifest(store, manifest())).records == ()


def test_excluded_cases_stand_in_the_manifest_beside_the_good_ones() -> None:
    both = replace(manifest("a"), records=(record("a"), record("b", error="geometry.mismatch")))
    assert [record.case for record in both.good] == ["a"]
    assert [record.case for record in both.excluded] == ["b"]
    assert both.record("b") == both.excluded[0]
    assert both.record("c") is None


def test_a_manifest_of_a_newer_format_is_refused() -> None:
    data = manifest("a").to_bytes().replace(b'"format_version":1', b'"format_version":2', 1)
    with pytest.raises(StoreError, match=r"store\.format_version.*") as refusal:
        parse_manifest(data, where="here")
    assert refusal.value.where == "here"


def test_a_manifest_that_is_gone_is_named(store: Store) -> None:
    ref = publish_manifest(store, manifest("a"))
    store.path(ref).unlink()
    with pytest.raises(StoreError, match=r"object\.missing"):
        read_manifest(store, ref)


def test_a_head_is_swapped_and_swapping_it_for_itself_writes_nothing(store: Store) -> None:
    first = Head(
        manifest=publish_manifest(store, manifest("a")), attachments={"index": store.publish_bytes(b"i", ".arrow")}
    )
    second = Head(manifest=publish_manifest(store, manifest("a", "b")))
    assert read_head(store, "demo", "volumes") is None
    assert swap_head(store, "demo", "volumes", first)
    assert read_head(store, "demo", "volumes") == first
    before = head_path(store, "demo", "volumes").stat()
    assert not swap_head(store, "demo", "volumes", first)
    assert head_path(store, "demo", "volumes").stat().st_ino == before.st_ino
    assert swap_head(store, "demo", "volumes", second)
    assert read_head(store, "demo", "volumes") == second


def test_plans_of_one_stage_live_side_by_side(store: Store) -> None:
    coarse, fine = (Head(manifest=publish_manifest(store, manifest(case))) for case in "ab")
    swap_head(store, "demo", "shards", coarse, plan="coarse")
    swap_head(store, "demo", "shards", fine, plan="fine")
    assert read_head(store, "demo", "shards", "coarse") == coarse
    assert read_head(store, "demo", "shards", "fine") == fine
    assert read_head(store, "demo", "shards") is None
    assert list(iterate_heads(store)) == [("demo", "shards", "coarse"), ("demo", "shards", "fine")]


def test_a_stage_that_was_never_built_says_how_to_build_it(store: Store) -> None:
    with pytest.raises(StoreError, match=r"stage\.not_built") as refusal:
        require_head(store, "demo", "volumes")
    assert "medshard build demo --root" in refusal.value.action


def test_a_misspelt_name_is_told_what_it_is_like(store: Store) -> None:
    head = Head(manifest=publish_manifest(store, manifest("a")))
    for entry in ("demo", "other"):
        swap_head(store, entry, "shards", head, "default")
    for entry, plan, nearest in (("dmo", "default", "demo"), ("demo", "defualt", "demo@default")):
        with pytest.raises(StoreError) as refusal:
            require_head(store, entry, "shards", plan)
        assert refusal.value.details["built there"].split(", ")[0] == nearest


def test_a_head_of_a_newer_format_is_refused(store: Store) -> None:
    head = Head(manifest=publish_manifest(store, manifest("a")))
    swap_head(store, "demo", "volumes", head)
    head_path(store, "demo", "volumes").write_bytes(canonical_json({**head.to_json(), "format_version": 2}))
    with pytest.raises(StoreError, match=r"store\.format_version"):
        read_head(store, "demo", "volumes")
