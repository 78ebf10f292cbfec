"""One concept over all entries: who annotates it, who examines it, and under which value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from medshard.registry.concepts import Vocabulary
from medshard.registry.schema import Entry, LabelSpec
from medshard.registry.schema.annotations import Annotation


@dataclass(frozen=True, kw_only=True)
class LabelUse:
    """A value of one layer or annotation that stands for a concept.

    value: what the voxel holds, or the word of a table or folder. examined: whether absence means absence there.
    """

    entry: str
    layer: str
    kind: str
    value: str
    concept: str
    examined: bool

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def uses_of(concept: str, entries: Iterable[Entry], vocabulary: Vocabulary) -> tuple[LabelUse, ...]:
    """Every use of a concept, of its parts and of its kinds. Raises CatalogError[concept.unknown]."""
    found = vocabulary.find(concept)
    meant = vocabulary.descendants((found or vocabulary.get(concept)).name)
    return tuple(use for entry in entries for use in uses_in(entry) if use.concept in meant)


def uses_in(entry: Entry) -> tuple[LabelUse, ...]:
    """Every value of an entry that stands for a concept, each once."""
    found = {
        LabelUse(
            entry=entry.id,
            layer=name,
            kind=layer.kind,
            value=str(value),
            concept=concept,
            examined=concept in layer.examined_concepts,
        )
        for group in entry.cases
        for name, layer in (*group.labels.items(), *group.annotations.items())
        for value, concept in _meanings(layer)
    }
    # Groups may share a layer's name and differ in its kind or in what was examined; the order is the same always.
    return tuple(sorted(found, key=lambda use: (use.layer, _in_order(use.value), use.concept, use.kind, use.examined)))


def _meanings(layer: LabelSpec | Annotation) -> Iterator[tuple[object, str]]:
    """(value or word, concept) of a layer, with the further concepts that a value belongs to."""
    yield from (layer.concepts if isinstance(layer, LabelSpec) else layer.values).items()
    for value, concepts in layer.also.items():
        yield from ((value, concept) for concept in concepts)


def _in_order(value: str) -> tuple[int, str]:
    return (int(value), value) if value.isdecimal() else (1 << 30, value)
