"""Intended use, and the refusal of what a licence does not allow.

Research is always let through: the terms themselves, which a person accepts, say what research may do. Commercial use
needs a licence that is known to allow it. Forbidden, under conditions, stated by nobody, or allowed but doubtful (read
in part, or written down from memory) are refused alike, each in its own words: to be wrong is dear, and to confirm a
licence in the catalog is one line. A confidence that nobody stated is no doubt: an entry of somebody's own catalog that
names a licence says what its author means.
"""

from __future__ import annotations

from enum import StrEnum

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.terms import terms_address
from medshard.registry.cards.licence_terms import LICENCE_CONFIDENCES, licence_in_words
from medshard.registry.schema import Entry
from medshard.registry.schema.terms import Licence
from medshard.registry.vocabulary import Permission

_OWN_CATALOG = (
    "state what they say, with the licence's `confidence`, in the entry (or in one of your own: MEDSHARD_CATALOG)."
)


class Use(StrEnum):
    """What the data are wanted for."""

    RESEARCH = "research"
    COMMERCIAL = "commercial"


def require_use(entry: Entry, use: Use) -> None:
    """Raise AcquisitionError[licence.use] when the licence does not allow the intended use."""
    if use is Use.COMMERCIAL:
        refusal = _refusal_of_commercial_use(entry.licence)
        if refusal is not None:
            problem, action = refusal
            raise AcquisitionError(
                "licence.use", where=entry.id, problem=problem, details=_clause(entry), action=action
            )


def _refusal_of_commercial_use(licence: Licence) -> tuple[str, str] | None:
    """Problem and action; None when commercial use is allowed beyond doubt."""
    if licence.commercial_use is Permission.FORBIDDEN:
        return (
            "the licence forbids commercial use",
            "Choose another data set (`medshard list --commercial-use allowed`), or agree on terms with the owner.",
        )
    if licence.commercial_use is Permission.CONDITIONAL:
        return (
            "the licence allows commercial use under conditions, which no program can check",
            f"Check the conditions, ask the owner where they are not clear, and {_OWN_CATALOG}",
        )
    if licence.commercial_use is Permission.UNKNOWN:
        return (
            "nobody has stated whether commercial use is allowed, which does not make it allowed",
            f"Ask the owner of the data, and {_OWN_CATALOG}",
        )
    if licence.is_doubtful:
        return (
            f"commercial use seems allowed, but that is {LICENCE_CONFIDENCES[licence.confidence]} only",
            f"Read the terms at their source, and {_OWN_CATALOG}",
        )
    return None


def _clause(entry: Entry) -> dict[str, str]:
    licence = entry.licence
    details = {
        "clause": f"{licence_in_words(licence)}, commercial_use: {licence.commercial_use}",
        "address": terms_address(entry),
    }
    return {**details, "note": licence.note} if licence.note else details
