"""The text that a person is shown: complete, plain, the same for the same entry, and asked for only where it asks."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from made_entries import made_entry

from medshard.registry.acquisition.gates.terms import terms_of

FREE = {"id": "CC-BY-4.0", "confidence": "verified"}
BEHIND_FORM = {"kind": "agreement", "instructions": "Sign the form.", "url": "https://a.example/form"}


def entry(licence: dict[str, Any] = FREE, **changes: Any) -> Any:
    return made_entry("scans", licence=licence, **changes)


def test_the_text_says_what_the_licence_says() -> None:
    text = terms_of(
        entry(
            {
                "id": "CC-BY-NC-SA-4.0",
                "confidence": "memory",
                "url": "https://a.example/licence",
                "note": "Only the scans.",
                "notice": "Name the authors.",
            },
            title="Made scans",
            access=BEHIND_FORM,
        )
    ).text
    assert text.splitlines() == [
        "Terms of Made scans (scans), version 1",
        "",
        "licence         CC-BY-NC-SA-4.0",
        "commercial use  forbidden",
        "redistribution  allowed under conditions",
        "derivatives     allowed under conditions",
        "how sure        from memory; look for the terms at their source",
        "text            https://a.example/licence",
        "on the licence  Only the scans.",
        "notice          Name the authors.",
        "access          behind an agreement that a person signs or accepts",
        "to get it       Sign the form.",
        "page            https://a.example/form",
    ]


def test_what_nobody_stated_is_to_be_treated_as_forbidden() -> None:
    text = terms_of(entry({"id": "LicenseRef-unknown"})).text
    assert text.count("not stated: treat as forbidden") == 3
    assert "nobody knows them" in text


def test_the_digest_is_of_the_text_and_the_same_each_time() -> None:
    terms = terms_of(entry())
    assert terms.digest == hashlib.sha256(terms.text.encode()).hexdigest()
    assert terms == terms_of(entry())


@pytest.mark.parametrize(
    "changes",
    [
        {"licence": {"id": "CC-BY-4.0", "confidence": "memory", "note": "Heard of."}},
        {"licence": FREE | {"notice": "Name the authors."}},
        {"access": BEHIND_FORM},
        {"version": "2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_text_has_another_digest(changes: dict[str, Any]) -> None:
    assert terms_of(entry(**changes)).digest != terms_of(entry()).digest


def test_what_has_nothing_to_do_with_the_terms_changes_nothing() -> None:
    assert terms_of(entry(description="Other words.", notes="More.")).digest == terms_of(entry()).digest


@pytest.mark.parametrize(
    ("changes", "consent"),
    [
        ({}, False),
        ({"licence": {"id": "CC-BY-4.0"}}, False),
        ({"licence": FREE | {"confidence": "memory"}}, True),
        ({"licence": FREE | {"confidence": "partly"}}, True),
        ({"licence": {"id": "CC-BY-SA-4.0", "confidence": "verified"}}, True),
        ({"licence": {"id": "CC-BY-NC-4.0", "confidence": "verified"}}, True),
        ({"licence": {"id": "LicenseRef-unknown"}}, True),
        ({"access": {"kind": "account", "instructions": "Sign in."}}, True),
        ({"access": BEHIND_FORM}, True),
    ],
)
def test_consent_is_asked_for_unless_the_terms_ask_nothing(changes: dict[str, Any], consent: bool) -> None:
    assert terms_of(entry(**changes)).consent is consent


def test_files_of_this_machine_need_no_consent() -> None:
    own = {"kind": "folder", "path": "scans"}
    remote = {"kind": "zenodo", "record": "1"}
    unknown = {"id": "LicenseRef-unknown"}
    assert not terms_of(entry(unknown, acquisition=[own])).consent
    assert terms_of(entry(unknown, acquisition=[own, remote])).consent


def test_long_words_are_folded_and_addresses_stay_whole() -> None:
    address = "https://a.example/" + "licence/" * 9
    text = terms_of(entry(FREE | {"url": address, "note": "word " * 60})).text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert f"  {address}" in text.splitlines()
