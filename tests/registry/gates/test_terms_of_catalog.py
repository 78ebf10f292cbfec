"""Every entry of the catalog has terms that can be shown, and a commercial user is refused unless it is allowed."""

from __future__ import annotations

import pytest

from medshard.errors import AcquisitionError
from medshard.registry import Entry
from medshard.registry.acquisition.gates.terms import terms_of
from medshard.registry.acquisition.gates.use import Use, require_use
from medshard.registry.catalog import Catalog
from medshard.registry.vocabulary import Access, Permission


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return list(Catalog.load())


def test_every_entry_has_a_text_of_short_lines_with_whole_addresses(entries: list[Entry]) -> None:
    for entry in entries:
        lines = terms_of(entry).text.splitlines()
        assert max(map(len, lines)) <= 100, entry.id
        words = {word for line in lines for word in line.split()}
        assert {entry.licence.url, entry.access.url} - {None} <= words, entry.id


def test_only_entries_that_ask_nothing_need_no_consent(entries: list[Entry]) -> None:
    free = [entry for entry in entries if not terms_of(entry).consent]
    assert 0 < len(free) < len(entries) / 2
    for entry in free:
        assert entry.access.kind is Access.OPEN, entry.id
        assert not entry.licence.is_doubtful or {source.kind for source in entry.acquisition} <= {"pip", "package"}


def refused(entry: Entry) -> bool:
    try:
        require_use(entry, Use.COMMERCIAL)
    except AcquisitionError:
        return True
    return False


def test_commercial_use_is_refused_unless_it_is_allowed_beyond_doubt(entries: list[Entry]) -> None:
    for entry in entries:
        licence = entry.licence
        assert refused(entry) is (licence.commercial_use is not Permission.ALLOWED or licence.is_doubtful), entry.id
    assert 0 < sum(refused(entry) for entry in entries) < len(entries)
