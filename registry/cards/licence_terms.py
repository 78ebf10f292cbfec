"""A licence in words: how sure it is, and where the same data go out under other terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medshard.registry.catalog import Catalog
from medshard.registry.licences import UNKNOWN_LICENCE
from medshard.registry.schema import Entry
from medshard.registry.schema.terms import Licence
from medshard.registry.vocabulary import Confidence, OverlapKind

LICENCE_CONFIDENCES: Mapping[Confidence, str] = MappingProxyType(
    {
        Confidence.VERIFIED: "verified",
        Confidence.PARTLY: "partly verified",
        Confidence.MEMORY: "from memory",
        Confidence.UNSTATED: "confidence not stated",
    }
)


@dataclass(frozen=True, kw_only=True)
class OtherTerms:
    """An entry with the same data, its licence, and the words between the two."""

    other: Entry
    relation: str

    @property
    def licence(self) -> Licence:
        return self.other.licence


def how_sure(licence: Licence) -> str:
    """Empty where the licence itself is unknown and nobody says more: there is nothing to be sure of."""
    if licence.id == UNKNOWN_LICENCE and licence.confidence is Confidence.UNSTATED:
        return ""
    return LICENCE_CONFIDENCES[licence.confidence]


def licence_in_words(licence: Licence) -> str:
    """`CC-BY-4.0 (from memory)`."""
    sure = how_sure(licence)
    return f"{licence.id} ({sure})" if sure else licence.id


def other_terms(entry: Entry, catalog: Catalog) -> Iterator[OtherTerms]:
    """The entries that hold all of these cases, or of which these hold all, and whose licence is another one."""
    relations = {
        OverlapKind.SAME_CASES: f"gives the same {entry.source.unit} out under",
        OverlapKind.SUBSET_OF: "contains this data set and goes out under",
        OverlapKind.SUPERSET_OF: "is a part of this data set and goes out under",
    }
    for edge in catalog.overlaps.of_entry(entry.id):
        other = catalog.entries.get(edge.other)
        if other is not None and edge.kind in relations and other.licence.id != entry.licence.id:
            yield OtherTerms(other=other, relation=relations[edge.kind])
