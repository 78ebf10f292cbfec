"""Terms are accepted once per text and use, and the record says who, when, how and which text."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import AcquisitionError, StoreError
from medshard.registry import Entry
from medshard.registry.acquisition.gates.acceptance import (
    Acceptance,
    acceptances,
    accepted,
    record_acceptance,
    require_acceptance,
    this_user,
)
from medshard.registry.acquisition.gates.terms import Terms, terms_of
from medshard.registry.acquisition.gates.use import Use
from medshard.registry.store import Store

NOW = datetime(2026, 11, 22, 21, 5, 7, 123456, tzinfo=UTC)
STRICT = made_entry("scans", licence={"id": "CC-BY-NC-4.0", "url": "https://a.example/nc"})
FREE = made_entry("free", licence={"id": "CC0-1.0", "confidence": "verified"})


def yes(terms: Terms) -> bool:
    return True


def no(terms: Terms) -> bool:
    return False


def never(terms: Terms) -> bool:
    raise AssertionError("nobody is to be asked")


def require(store: Store, entry: Entry = STRICT, **changes: Any) -> Acceptance:
    settings: dict[str, Any] = {"asked": None, "named": (), "use": Use.RESEARCH, "who": "ada@lab", "now": NOW}
    return require_acceptance(store, entry, **{**settings, **changes})


def test_an_acceptance_says_who_when_how_and_which_text(store: Store) -> None:
    assert require(store, asked=yes) == Acceptance(
        entry="scans",
        licence="CC-BY-NC-4.0",
        digest=terms_of(STRICT).digest,
        who="ada@lab",
        when="2026-11-22T21:05:07+00:00",
        how="terminal",
        use=Use.RESEARCH,
    )


def test_it_is_kept_in_the_store_and_asked_once(store: Store) -> None:
    first = require(store, asked=yes)
    assert accepted(store, STRICT) == first
    assert require(store, asked=never, who="bob@lab", now=NOW + timedelta(days=1)) == first
    document = json.loads((store.root / "terms" / "scans.json").read_bytes())
    assert document["format_version"] == 1
    assert [item["who"] for item in document["acceptances"]] == ["ada@lab"]


def test_a_time_of_another_zone_is_written_as_utc(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=8)))
    assert require(store, asked=yes, now=there).when == "2026-11-22T21:05:07+00:00"


def test_a_changed_text_asks_again_and_the_older_acceptance_stays(store: Store) -> None:
    first = require(store, asked=yes)
    changed = made_entry("scans", licence={"id": "CC-BY-NC-ND-4.0"})
    assert accepted(store, changed) is None
    with pytest.raises(AcquisitionError, match="licence.not_accepted"):
        require(store, changed)
    second = require(store, changed, asked=yes)
    assert acceptances(store, "scans") == (first, second)
    assert accepted(store, STRICT) == first


def test_another_use_asks_again(store: Store) -> None:
    require(store, asked=yes)
    with pytest.raises(AcquisitionError, match="licence.not_accepted"):
        require(store, use=Use.COMMERCIAL)
    assert require(store, asked=yes, use=Use.COMMERCIAL).use is Use.COMMERCIAL
    assert require(store, asked=never).use is Use.RESEARCH


@pytest.mark.parametrize(
    ("environment", "how"),
    [({}, "option"), ({"MEDSHARD_ACCEPT_LICENCE": "other, scans"}, "environment"), ({"OTHER": "scans"}, "option")],
)
def test_machines_name_the_entry(store: Store, environment: dict[str, str], how: str) -> None:
    assert require(store, asked=never, named={"scans"}, environment=environment).how == how


def test_naming_another_entry_accepts_nothing(store: Store) -> None:
    with pytest.raises(AcquisitionError, match="licence.not_accepted"):
        require(store, named={"scan", "all"})


def test_where_nobody_can_be_asked_the_terms_are_shown_and_what_to_type(store: Store) -> None:
    with pytest.raises(AcquisitionError) as caught:
        require(store, asked=None)
    error = caught.value
    assert error.code == "licence.not_accepted"
    assert "nobody can be asked here" in error.problem
    assert error.details == {
        "licence": "CC-BY-NC-4.0",
        "commercial use": "forbidden",
        "redistribution": "allowed under conditions",
        "derivatives": "allowed under conditions",
        "address": "https://a.example/nc",
    }
    assert "medshard build scans --accept-licence scans" in error.action
    assert not (store.root / "terms").exists()


def test_who_has_just_said_no_is_not_told_the_terms_again(store: Store) -> None:
    with pytest.raises(AcquisitionError) as caught:
        require(store, asked=no)
    assert str(caught.value).splitlines() == [
        "AcquisitionError[licence.not_accepted] scans: its terms were not accepted",
        "  Nothing was fetched. `medshard build scans` asks again.",
    ]
    assert not (store.root / "terms").exists()


def test_terms_that_ask_nothing_are_shown_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "medshard")
    assert require(store, FREE, asked=never).how == "shown"
    assert "Terms of free" in caplog.text
    caplog.clear()
    assert require(store, FREE, asked=never).how == "shown"
    assert caplog.text == ""


def test_they_are_shown_where_the_caller_wants(store: Store) -> None:
    seen: list[Terms] = []
    require(store, FREE, show=seen.append)
    assert seen == [terms_of(FREE)]


def test_two_builders_at_once_lose_no_record(store: Store) -> None:
    mine = require(store, asked=yes)
    others = [replace(mine, who=f"user-{number}") for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda item: record_acceptance(store, item), others))
    assert {item.who for item in acceptances(store, "scans")} == {"ada@lab", *(item.who for item in others)}


def test_a_file_of_a_newer_format_is_not_taken_for_none(store: Store) -> None:
    store.write(store.root / "terms" / "scans.json", b'{"format_version": 2, "acceptances": []}')
    with pytest.raises(StoreError, match="store.format_version"):
        require(store, asked=yes)


def test_the_user_is_the_login_at_this_machine_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert this_user({}) == f"ada@{socket.gethostname()}"
    assert this_user({"MEDSHARD_USER": "robot 7"}) == "robot 7"


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert this_user({}).startswith("uid-")
