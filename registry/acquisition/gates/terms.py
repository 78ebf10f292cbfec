"""The terms of a data set as the text that a person is shown, the same bytes for the same entry."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medshard.registry.cards.licence_terms import how_sure
from medshard.registry.hosts import host_of
from medshard.registry.places import home_of
from medshard.registry.schema import Entry
from medshard.registry.schema.terms import QUESTIONS
from medshard.registry.store.digests import sha256_bytes
from medshard.registry.vocabulary import Access, Permission

WIDTH = 100
"""Characters of a line of the text."""

PERMISSIONS_IN_WORDS: Mapping[Permission, str] = MappingProxyType(
    {
        Permission.ALLOWED: "allowed",
        Permission.CONDITIONAL: "allowed under conditions",
        Permission.FORBIDDEN: "forbidden",
        Permission.UNKNOWN: "not stated: treat as forbidden",
    }
)
_ACCESS_IN_WORDS: Mapping[Access, str] = MappingProxyType(
    {
        Access.OPEN: "open to everybody",
        Access.ACCOUNT: "behind an account",
        Access.AGREEMENT: "behind an agreement that a person signs or accepts",
        Access.UNAVAILABLE: "not given out",
    }
)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """text: lines of at most 100 characters. digest: SHA-256 of its UTF-8. consent: whether somebody has to accept."""

    entry: str
    text: str
    digest: str
    consent: bool


def terms_of(entry: Entry) -> Terms:
    """What a user of the data set agrees to, as far as the catalog knows."""
    text = "".join(f"{line}\n" for line in _lines(entry))
    return Terms(entry=entry.id, text=text, digest=sha256_bytes(text.encode()), consent=_asks_for_consent(entry))


def facts_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """Label and words, the licence and its three answers first."""
    licence, access = entry.licence, entry.access
    yield "licence", licence.id
    for question in QUESTIONS:
        yield question.replace("_", " "), PERMISSIONS_IN_WORDS[getattr(licence, question)]
    yield "how sure", _how_sure(entry)
    if licence.url:
        yield "text", licence.url
    if licence.note:
        yield "on the licence", licence.note
    if licence.notice:
        yield "notice", licence.notice
    yield "access", _ACCESS_IN_WORDS[access.kind]
    if access.instructions and access.kind is not Access.OPEN:
        yield "to get it", access.instructions
    if access.url:
        yield "page", access.url


def terms_address(entry: Entry) -> str:
    """Where to read more: the licence's own text, or else the page of the data set."""
    return entry.licence.url or home_of(entry) or "no address is known"


def _how_sure(entry: Entry) -> str:
    sure = how_sure(entry.licence) or "nobody knows them"
    return f"{sure}; look for the terms at their source" if entry.licence.is_doubtful else sure


def _asks_for_consent(entry: Entry) -> bool:
    if entry.acquisition and all(host_of(source.kind).local for source in entry.acquisition):
        return False
    free = all(getattr(entry.licence, question) is Permission.ALLOWED for question in QUESTIONS)
    return not (free and entry.access.kind is Access.OPEN and not entry.licence.is_doubtful)


def _lines(entry: Entry) -> Iterator[str]:
    yield from _wrapped(f"Terms of {entry.title} ({entry.id}), version {entry.version}", indent="  ")
    yield ""
    facts = list(facts_of(entry))
    margin = 2 + max(len(label) for label, _ in facts)
    for label, words in facts:
        if max(map(len, words.split()), default=0) > WIDTH - margin:
            # An address that is broken in two is of no use: it gets a line of its own.
            yield label
            yield from _wrapped(f"  {words}", indent="  ")
            continue
        first, *rest = _wrapped(words, width=WIDTH - margin)
        yield f"{label:<{margin}}{first}"
        yield from (f"{'':<{margin}}{line}" for line in rest)


def _wrapped(words: str, *, width: int = WIDTH, indent: str = "") -> list[str]:
    return textwrap.wrap(words, width=width, subsequent_indent=indent, break_on_hyphens=False) or [""]
