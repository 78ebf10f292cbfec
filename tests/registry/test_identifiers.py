"""Hashed ids beside the manifests, and pseudonyms of institutions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.registry.identifiers import identifiers_path, read_identifiers, site_pseudonym, write_identifiers
from medshard.registry.store import Store
from medshard.registry.store.salt import SALT_VARIABLE

STATED = {"ct": {"StudyInstanceUID": "1.2.840.1931", "PatientID": "MRN 4711", "PatientName": "DOE^JANE"}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv(SALT_VARIABLE, raising=False)
    return Store.open(tmp_path / "store")


def test_only_hashes_are_written_and_only_of_known_keywords(store: Store) -> None:
    path = write_identifiers(store, "entry", "case", STATED)
    text = path.read_text()
    assert not any(value in text for value in STATED["ct"].values())
    found = read_identifiers(store, "entry", "case")["ct"]
    assert set(found) == {"StudyInstanceUID", "PatientID"}
    assert found["PatientID"].startswith("patient-")


def test_the_same_ids_give_the_same_bytes_and_equal_patients_match_between_cases(store: Store) -> None:
    first = write_identifiers(store, "entry", "case", STATED).read_bytes()
    assert write_identifiers(store, "entry", "case", STATED).read_bytes() == first
    write_identifiers(store, "entry", "other", {"mr": {"PatientID": "MRN 4711"}})
    other = read_identifiers(store, "entry", "other")["mr"]["PatientID"]
    assert other == read_identifiers(store, "entry", "case")["ct"]["PatientID"]


def test_two_stores_cannot_be_matched(store: Store, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    for one in (store, other):
        write_identifiers(one, "entry", "case", STATED)
    assert read_identifiers(store, "entry", "case") != read_identifiers(other, "entry", "case")


def test_nothing_written_is_nothing_read(store: Store) -> None:
    assert read_identifiers(store, "entry", "case") == {}


@given(first=st.text(min_size=1, max_size=300), second=st.text(min_size=1, max_size=300))
def test_every_case_has_a_file_of_its_own_inside_the_entrys_folder(first: str, second: str) -> None:
    store = Store(Path("/store"))
    one, two = identifiers_path(store, "entry", first), identifiers_path(store, "entry", second)
    assert one.parent == two.parent == Path("/store/identifiers/entry")
    assert (one == two) == (first == second)
    assert len(one.name.encode()) <= 255


class TestSites:
    def test_equal_institutions_of_an_entry_are_one_site(self) -> None:
        names = ("St. Mary's Hospital", "ST MARY S HOSPITAL ", "st.  mary's hospital", "St. M\u00e0ry's Hospital")
        assert len({site_pseudonym("entry", name) for name in names}) == 1

    def test_others_and_those_of_other_entries_are_not(self) -> None:
        sites = {site_pseudonym("entry", "A"), site_pseudonym("entry", "B"), site_pseudonym("other", "A")}
        assert len(sites) == 3

    def test_it_is_the_same_in_every_store_and_version(self) -> None:
        assert site_pseudonym("entry", "A") == site_pseudonym("entry", "a")
        assert len(site_pseudonym("entry", "A") or "") == len("site-1f2e3d4c")

    @pytest.mark.parametrize("stated", [None, "", "  ", "***"])
    def test_none_stated_is_none(self, stated: str | None) -> None:
        assert site_pseudonym("entry", stated) is None
