"""Whether copies of an entry may be handed on in another form, by what its licence says."""

from __future__ import annotations

from medshard.errors import MedshardError
from medshard.registry.acquisition.gates.terms import PERMISSIONS_IN_WORDS
from medshard.registry.schema import Entry
from medshard.registry.vocabulary import Permission

# An export is a copy in another form: both have to be allowed for somebody else to get it.
ASKED = ("redistribution", "derivatives")
REFUSED = (Permission.FORBIDDEN, Permission.UNKNOWN)


def obstacles(entry: Entry) -> tuple[str, ...]:
    """Of the questions asked of the licence, those that it does not answer with yes or yes, if."""
    return tuple(question for question in ASKED if getattr(entry.licence, question) in REFUSED)


def check_permission(entry: Entry, *, for_own_use: bool) -> None:
    """Raises MedshardError[export.licence] where the export could not be handed on and nobody says it will not be."""
    against = obstacles(entry)
    if not against or for_own_use:
        return
    raise MedshardError(
        "export.licence",
        where=entry.id,
        problem="its licence does not allow to hand on copies in another form",
        details={
            "licence": entry.licence.id,
            **{question: PERMISSIONS_IN_WORDS[getattr(entry.licence, question)] for question in ASKED},
        },
        action="Say --for-own-use if the export stays with you; its NOTICE.md will say so.",
    )
