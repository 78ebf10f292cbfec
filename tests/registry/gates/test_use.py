"""Commercial use is refused unless the licence is known to allow it, and the refusal names the clause."""

from __future__ import annotations

from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.use import Use, require_use
from medshard.registry.schema import Entry


def licensed(**licence: Any) -> Any:
    return made_entry("scans", licence=licence)


def refusal(**licence: Any) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        require_use(licensed(**licence), Use.COMMERCIAL)
    assert caught.value.code == "licence.use"
    assert caught.value.where == "scans"
    return caught.value


def refuses(entry: Entry, use: Use) -> bool:
    try:
        require_use(entry, use)
    except AcquisitionError:
        return True
    return False


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC0-1.0", "LicenseRef-unknown"])
def test_research_is_let_through(licence: str) -> None:
    assert not refuses(licensed(id=licence), Use.RESEARCH)


@pytest.mark.parametrize("confidence", ["verified", "unstated"])
def test_commercial_use_is_let_through_where_it_is_allowed(confidence: str) -> None:
    assert not refuses(licensed(id="CC-BY-4.0", confidence=confidence), Use.COMMERCIAL)


def test_a_forbidden_use_names_the_clause() -> None:
    error = refusal(id="CC-BY-NC-4.0", confidence="verified", url="https://a.example/nc", note="The test set is freer.")
    assert error.problem == "the licence forbids commercial use"
    assert error.details == {
        "clause": "CC-BY-NC-4.0 (verified), commercial_use: forbidden",
        "address": "https://a.example/nc",
        "note": "The test set is freer.",
    }


def test_what_nobody_stated_is_not_allowed() -> None:
    error = refusal(id="LicenseRef-unknown")
    assert error.problem == "nobody has stated whether commercial use is allowed, which does not make it allowed"
    assert error.details["clause"] == "LicenseRef-unknown, commercial_use: unknown"
    assert error.action.startswith("Ask the owner of the data")


def test_conditions_are_for_people_to_check() -> None:
    error = refusal(id="LicenseRef-House", commercial_use="conditional")
    assert "under conditions, which no program can check" in error.problem


@pytest.mark.parametrize(("confidence", "words"), [("memory", "from memory"), ("partly", "partly verified")])
def test_a_doubtful_permission_is_none_until_the_catalog_confirms_it(confidence: str, words: str) -> None:
    error = refusal(id="CC-BY-4.0", confidence=confidence, note="Heard of.")
    assert error.problem == f"commercial use seems allowed, but that is {words} only"
    assert error.details["clause"] == f"CC-BY-4.0 ({words}), commercial_use: allowed"
    assert "Read the terms at their source" in error.action


def test_without_a_licence_text_the_page_of_the_data_is_named() -> None:
    assert refusal(id="CC-BY-NC-4.0").details["address"] == "https://zenodo.org/records/1"
