"""Records: written once, found again by a key that digests all that went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medshard.errors import CaseError, StoreError
from medshard.registry.store import CaseRecord, RecordRef, Store, read_record, record_key, write_record
from medshard.registry.store.digests import canonical_json, sha256_bytes
from medshard.registry.store.records import error_to_json, record_bytes_digest, record_path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


text = st.text(st.characters(exclude_categories=[]), max_size=8)  # lone surrogates too: file names may hold them
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
digests = st.integers(0, 99).map(lambda number: sha256_bytes(str(number).encode()))
refs = st.builds(RecordRef, key=digests, digest=digests)

INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "stage": text,
    "code_version": text,
    "entry": text,
    "case": text,
    "parameters": plain,
    "inputs": st.lists(refs, max_size=3).map(tuple),
    "sources": st.dictionaries(text, digests, max_size=3),
    "plan": st.none() | digests,
}

records = st.builds(
    CaseRecord,
    stage=text,
    entry=text,
    case=text,
    key=digests,
    code_version=text,
    plan=st.none() | digests,
    inputs=INPUTS["inputs"],
    sources=INPUTS["sources"],
    decoders=st.dictionaries(text, text, max_size=2),
    facts=st.dictionaries(text, plain, max_size=3),
    verdicts=st.dictionaries(text, st.lists(text, max_size=2), max_size=2),
    error=st.none() | st.just(error_to_json(CaseError("x.y", where="demo/a", problem="no", details={"found": 1}))),
    warnings=st.lists(text, max_size=2).map(tuple),
)

EXAMPLE = CaseRecord(stage="volumes", entry="demo", case="a", key="ab" * 32, code_version="1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=records)
def test_a_record_is_read_as_it_was_written(store: Store, record: CaseRecord) -> None:
    write_record(store, record)
    assert read_record(store, record.key) == record
    assert record_bytes_digest(store, record.key) == record.digest


@pytest.mark.parametrize("field", sorted(INPUTS))
@settings(max_examples=25, deadline=None)
@given(base=st.fixed_dictionaries(INPUTS), other=st.fixed_dictionaries(INPUTS))
def test_anything_that_changes_what_goes_in_changes_the_key(
    field: str, base: dict[str, Any], other: dict[str, Any]
) -> None:
    changed = {**base, field: other[field]}
    if field == "inputs":  # what an input holds decides, not the key it was found under
        same = [ref.digest for ref in base[field]] == [ref.digest for ref in other[field]]
    else:
        same = canonical_json(base[field]) == canonical_json(other[field])
    assert (record_key(**changed) == record_key(**base)) == same


@settings(max_examples=30, deadline=None)
@given(sources=st.dictionaries(text, digests, min_size=2, max_size=4))
def test_the_key_does_not_depend_on_the_order_of_the_sources(sources: dict[str, str]) -> None:
    backwards = dict(reversed(sources.items()))
    common: dict[str, Any] = {"stage": "volumes", "code_version": "1", "entry": "demo", "case": "a", "parameters": {}}
    assert record_key(**common, sources=sources) == record_key(**common, sources=backwards)


@settings(max_examples=60, deadline=None)
@given(first=records, second=records)
def test_records_that_differ_have_different_digests(first: CaseRecord, second: CaseRecord) -> None:
    assume(canonical_json(first.to_json()) != canonical_json(second.to_json()))
    assert first.digest != second.digest


def test_there_is_no_record_before_it_is_written(store: Store) -> None:
    assert read_record(store, EXAMPLE.key) is None


def test_a_record_whose_object_is_gone_does_not_count(store: Store) -> None:
    output = store.publish_bytes(b"voxels", ".bin")
    record = replace(EXAMPLE, output=output)
    write_record(store, record)
    assert read_record(store, record.key) == record
    store.path(output).unlink()
    assert read_record(store, record.key) is None


def test_a_record_of_a_newer_format_is_refused(store: Store) -> None:
    write_record(store, EXAMPLE)
    record_path(store, EXAMPLE.key).write_bytes(canonical_json({**EXAMPLE.to_json(), "format_version": 2}))
    with pytest.raises(StoreError, match=r"store\.format_version"):
        read_record(store, EXAMPLE.key)


def test_a_torn_record_is_named(store: Store) -> None:
    write_record(store, EXAMPLE)
    path = record_path(store, EXAMPLE.key)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=r"store\.unreadable") as damage:
        read_record(store, EXAMPLE.key)
    assert damage.value.where == str(path)


def test_a_case_is_fit_for_a_purpose_unless_it_failed_or_something_speaks_against_it() -> None:
    judged = replace(EXAMPLE, verdicts={"supervised": ["no annotation"], "self-supervised": []})
    assert judged.fit_for("self-supervised")
    assert judged.fit_for("evaluation")
    assert not judged.fit_for("supervised")
    assert not replace(judged, error={"code": "geometry.mismatch"}).fit_for("self-supervised")
