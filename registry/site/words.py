"""How the site says what the catalog holds: numbers, sizes, licence names, and words beside the marks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from medshard.registry.cards.licence_terms import how_sure
from medshard.registry.licences import UNKNOWN_LICENCE
from medshard.registry.schema import Entry
from medshard.registry.schema.terms import Licence
from medshard.registry.site.markup import NOTHING, Html, tag
from medshard.registry.vocabulary import Confidence, OverlapKind, PatientBasis

NOT_STATED = "not stated"

PERMISSION_NAMES: Mapping[str, str] = MappingProxyType(
    {"commercial_use": "Commercial use", "redistribution": "Redistribution", "derivatives": "Derivatives"}
)

OVERLAPS: Mapping[OverlapKind, str] = MappingProxyType(
    {
        OverlapKind.SAME_CASES: "has the same cases as",
        OverlapKind.SUBSET_OF: "is a part of",
        OverlapKind.SUPERSET_OF: "contains",
        OverlapKind.SHARES_CASES: "shares cases with",
        OverlapKind.SHARES_PATIENTS: "shares patients with",
        OverlapKind.POSSIBLE: "may overlap with",
        OverlapKind.NONE_KNOWN: "has no known overlap with",
    }
)

PATIENTS: Mapping[PatientBasis, str] = MappingProxyType(
    {
        PatientBasis.IDENTIFIED: "the files name the patient",
        PatientBasis.ONE_PER_CASE: "every case is a patient of its own",
        PatientBasis.ASSUMED: "one patient per case is assumed",
        PatientBasis.UNKNOWN: "two cases may show one person, and nobody can tell",
        PatientBasis.NOT_A_PATIENT: "not a patient",
    }
)

CONFIDENCES: Mapping[Confidence, str] = MappingProxyType(
    {
        Confidence.VERIFIED: "verified",
        Confidence.PARTLY: "partly verified",
        Confidence.MEMORY: "from memory",
        Confidence.UNSTATED: "confidence not stated",
    }
)

ACTIONS: Mapping[str, str] = MappingProxyType(
    {"exclude": "left out", "repair-header": "header repaired", "accept": "kept as it is"}
)


def count(number: int | None) -> str:
    return NOT_STATED if number is None else f"{number:,}"


def size(octets: int) -> str:
    """Bytes for people, 1 MB being 10^6 bytes."""
    for unit, least in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= least:
            return f"{octets / least:,.1f} {unit}"
    return f"{octets} B"


def licence_name(identifier: str) -> str:
    """The id without what SPDX puts before terms that have no id of theirs."""
    return "unknown terms" if identifier == UNKNOWN_LICENCE else identifier.replace("LicenseRef-", "")


def licence_doubt(licence: Licence) -> Html:
    """How sure the licence is, where it is not sure."""
    sure = how_sure(licence)
    if not sure or licence.confidence is Confidence.VERIFIED:
        return NOTHING
    return tag("span", f"({sure})", kind="sure warn" if licence.is_doubtful else "sure quiet")


def dimensions(entry: Entry) -> str:
    return ", ".join(f"{dimension}D" for dimension in entry.dimensions)


def badge(kind: str, word: str, *, about: str, shown: str = "") -> Html:
    """A word with a mark beside it; the mark repeats what the word says.

    about: what the word answers. shown: how it is written, when not as in the catalog.
    """
    text = shown or word
    unseen = tag("span", f"{about}: ", kind="unseen")
    return tag("span", unseen, text, kind=f"badge {kind}-{word}", title=f"{about}: {text}")


def badges(entry: Entry) -> tuple[Html, Html, Html]:
    """Access, maturity and confidence."""
    return (
        badge("access", entry.access.kind, about="Access"),
        badge("maturity", entry.maturity, about="Maturity"),
        badge("confidence", entry.confidence, about="Facts", shown=CONFIDENCES[entry.confidence]),
    )


def answer(permission: str) -> Html:
    """One of a licence's answers, with its mark."""
    return tag("span", permission, kind=f"answer answer-{permission}")
