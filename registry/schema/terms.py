"""Citation, licence and access of an entry."""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from medshard.registry.licences import UNKNOWN_LICENCE, canonical_licence, known_terms, looser_than, upper_bound
from medshard.registry.schema.model import Doi, Model, WebAddress
from medshard.registry.vocabulary import Access, Confidence, Permission

QUESTIONS = ("commercial_use", "redistribution", "derivatives")


class Citation(Model):
    text: str = ""
    doi: Doi | None = None


class Licence(Model):
    """The terms, as data. `id` is an SPDX expression; terms that have no SPDX id are named `LicenseRef-<name>`.

    The three answers follow from a known id; an entry may state a stricter one, never a looser one. confidence: how
    sure it is that these are the terms. note: what is doubtful, disputed or different for a part of the data. notice:
    what a copy has to carry.
    """

    id: str
    confidence: Confidence = Confidence.UNSTATED
    commercial_use: Permission = Permission.UNKNOWN
    redistribution: Permission = Permission.UNKNOWN
    derivatives: Permission = Permission.UNKNOWN
    url: WebAddress | None = None
    notice: str = ""
    note: str = ""

    @field_validator("id")
    @classmethod
    def _spdx(cls, value: str) -> str:
        return canonical_licence(value)

    @model_validator(mode="before")
    @classmethod
    def _answers_of_known_terms(cls, raw: Any) -> Any:
        terms = known_terms(str(raw["id"])) if isinstance(raw, dict) and "id" in raw else None
        if terms is None:
            return raw
        return {**{question: getattr(terms, question) for question in QUESTIONS}, **raw}

    @model_validator(mode="after")
    def _promises_no_more(self) -> Self:
        most = upper_bound(self.id)
        for question in QUESTIONS if most else ():
            stated, known = getattr(self, question), getattr(most, question)
            if looser_than(stated, known):
                raise ValueError(f"`{question}: {stated}` promises more than {self.id}, which says {known}")
        return self

    @property
    def is_doubtful(self) -> bool:
        """True when the terms are known in part or from memory only, or not at all."""
        return self.confidence in {Confidence.PARTLY, Confidence.MEMORY} or self.id == UNKNOWN_LICENCE


class AccessTerms(Model):
    """What a user has to do, and where, before the first byte."""

    kind: Access
    instructions: str = ""
    url: WebAddress | None = None

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if self.kind is not Access.OPEN and not self.instructions:
            raise ValueError(f"access `{self.kind}` needs `instructions`: what to do, and where")
        return self
