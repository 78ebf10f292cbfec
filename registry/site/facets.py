"""The filters of the index. They are named as in `Catalog.where` and choose the same entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from medshard.registry.cards.licence_terms import LICENCE_CONFIDENCES
from medshard.registry.catalog.entry_checks import parts_of
from medshard.registry.schema import Entry
from medshard.registry.site.words import CONFIDENCES, licence_name
from medshard.registry.vocabulary import Access, Confidence, Maturity, Permission


@dataclass(frozen=True, kw_only=True)
class Facet:
    """One filter.

    facts: the words of an entry. order: the words in their own order; the commonest first when it is not given.
    shown: how a word is written. is_open: whether its choices are visible at once. hint: said under its title.
    """

    name: str
    title: str
    facts: Callable[[Entry], Iterable[str]]
    order: Sequence[str] = ()
    shown: Callable[[str], str] = str
    is_open: bool = False
    hint: str = ""

    def words(self, entry: Entry) -> list[str]:
        return sorted({str(word) for word in self.facts(entry)})

    def choices(self, entries: Iterable[Entry]) -> list[tuple[str, int]]:
        """Every word that occurs, with the number of its entries."""
        counts = Counter(word for entry in entries for word in self.words(entry))
        if self.order:
            return [(str(word), counts[str(word)]) for word in self.order if str(word) in counts]
        return sorted(counts.items(), key=lambda item: (-item[1], item[0].casefold()))


FACETS = (
    Facet(
        name="modality",
        title="Modality",
        is_open=True,
        hint="CT has CTA, PET-CT and CBCT as well.",
        facts=lambda entry: (part for word in entry.modalities for part in parts_of(word)),
    ),
    Facet(name="region", title="Region", is_open=True, facts=lambda entry: entry.regions),
    Facet(name="task", title="Task", is_open=True, facts=lambda entry: entry.tasks),
    Facet(
        name="commercial_use",
        title="Commercial use",
        is_open=True,
        order=tuple(Permission),
        facts=lambda entry: (entry.licence.commercial_use,),
    ),
    Facet(name="access", title="Access", is_open=True, order=tuple(Access), facts=lambda entry: (entry.access.kind,)),
    Facet(name="group", title="Group", facts=lambda entry: entry.groups),
    Facet(
        name="dimension",
        title="Dimension",
        order=("1", "2", "3"),
        shown=lambda word: f"{word}D",
        facts=lambda entry: map(str, entry.dimensions),
    ),
    Facet(name="licence", title="Licence", shown=licence_name, facts=lambda entry: (entry.licence.id,)),
    Facet(
        name="licence_confidence",
        title="Licence known",
        order=tuple(Confidence),
        shown=lambda word: LICENCE_CONFIDENCES[Confidence(word)],
        hint="How sure it is that these are the terms.",
        facts=lambda entry: (entry.licence.confidence,),
    ),
    Facet(
        name="redistribution",
        title="Redistribution",
        order=tuple(Permission),
        facts=lambda entry: (entry.licence.redistribution,),
    ),
    Facet(
        name="derivatives",
        title="Derivatives",
        order=tuple(Permission),
        facts=lambda entry: (entry.licence.derivatives,),
    ),
    Facet(
        name="maturity",
        title="Maturity",
        order=tuple(Maturity),
        hint="How far an entry is proven.",
        facts=lambda entry: (entry.maturity,),
    ),
    Facet(
        name="confidence",
        title="Confidence",
        order=tuple(Confidence),
        shown=lambda word: CONFIDENCES[Confidence(word)],
        hint="How well its facts are backed.",
        facts=lambda entry: (entry.confidence,),
    ),
)
