"""Questions to the catalog: which entries meet these conditions?

Text conditions may be a word or a list of words, of which one has to fit:
`group`, `modality`, `region`, `task`, `access`, `maturity`, `confidence`, `sequence`, `kind` (of source), `licence` (a
whole SPDX expression), `id`.
`modality="CT"` finds CTA and PET-CT too. `concept` finds entries that annotate the concept or a part or kind of it;
`examines` those whose annotators looked for it. `commercial_use`, `redistribution` and `derivatives` take a word of the
vocabulary, or True for `allowed` and False for anything else. `dimension` is 1, 2 or 3. `text` searches names,
descriptions, notes and concepts for all its words. `labelled=True` asks for annotations of any kind, `platform=True`
for the platform's own sets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import get_args

from medshard.errors import CatalogError
from medshard.registry.catalog.entry_checks import parts_of
from medshard.registry.concepts import Vocabulary
from medshard.registry.licences import canonical_licence
from medshard.registry.schema import Entry, Source
from medshard.registry.schema.shape import alternatives
from medshard.registry.vocabulary import (
    Access,
    Confidence,
    Group,
    Maturity,
    Modality,
    Permission,
    Region,
    Sequence,
    Task,
)

Condition = Callable[[Entry], bool]


def select(entries: Iterable[Entry], conditions: Mapping[str, object], vocabulary: Vocabulary) -> tuple[Entry, ...]:
    """The entries that meet all conditions. Raises CatalogError[query.condition, query.word, concept.unknown]."""
    tests = [_condition(name, wanted, vocabulary) for name, wanted in conditions.items() if wanted is not None]
    return tuple(entry for entry in entries if all(test(entry) for test in tests))


def _condition(name: str, wanted: object, vocabulary: Vocabulary) -> Condition:
    if name in _WORDS:
        words, facts = _WORDS[name]
        chosen = {_word(name, word, words) for word in _listed(wanted)}
        return lambda entry: bool(chosen & set(facts(entry)))
    if name in _PERMISSIONS:
        return _permission(name, wanted)
    if name in {"concept", "examines"}:
        chosen = set().union(*(_meant(str(word), vocabulary) for word in _listed(wanted)))
        facts = examined_concepts if name == "examines" else annotated_concepts
        return lambda entry: bool(chosen & facts(entry))
    if name in _FREE:
        return _FREE[name](wanted)
    near = difflib.get_close_matches(name, CONDITIONS, n=3)
    raise CatalogError(
        "query.condition",
        where=name,
        problem="the catalog has no such condition",
        details={"did you mean" if near else "conditions": ", ".join(near or CONDITIONS)},
    )


def annotated_concepts(entry: Entry) -> set[str]:
    """Concepts that some label value of the entry stands for."""
    return set(entry.concepts)


def examined_concepts(entry: Entry) -> set[str]:
    """Concepts that the annotators of some layer looked for in every case of it: absence there means absence."""
    layers = [label.examined_concepts for group in entry.cases for label in group.labels.values()]
    marks = [mark.examined_concepts for group in entry.cases for mark in group.annotations.values()]
    return {concept for concepts in (*layers, *marks) for concept in concepts}


def _meant(word: str, vocabulary: Vocabulary) -> frozenset[str]:
    """A concept by name or synonym, with all its parts and kinds."""
    found = vocabulary.find(word)
    return vocabulary.descendants((found or vocabulary.get(word)).name)


def _listed(wanted: object) -> Collection[object]:
    return wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)


def _word(name: str, word: object, words: Iterable[str] | None) -> str:
    if words is None:
        return str(word)
    known = {choice.casefold(): str(choice) for choice in words}
    if (text := str(word).casefold()) in known:
        return known[text]
    near = difflib.get_close_matches(text, list(known), n=3)
    details = {"did you mean" if near else "words": ", ".join(known[choice] for choice in near or known)}
    raise _no_word(name, word, details)


def _no_word(name: str, word: object, details: Mapping[str, str]) -> CatalogError:
    return CatalogError(
        "query.word", where=f"{name}={word}", problem=f"{word!r} is not a word for {name}", details=dict(details)
    )


def _permission(name: str, wanted: object) -> Condition:
    if isinstance(wanted, bool):
        return lambda entry: (getattr(entry.licence, name) is Permission.ALLOWED) is wanted
    chosen = {_word(name, word, Permission) for word in _listed(wanted)}
    return lambda entry: getattr(entry.licence, name) in chosen


def _text(wanted: object) -> Condition:
    words = str(wanted).casefold().split()

    def found(entry: Entry) -> bool:
        text = " ".join((*entry.all_names, entry.description, entry.notes, *entry.concepts)).casefold()
        return all(word in text for word in words)

    return found


def _dimension(wanted: object) -> Condition:
    words = [str(number).casefold().removesuffix("d") for number in _listed(wanted)]
    chosen = {int(_word("dimension", word, ("1", "2", "3"))) for word in words}
    return lambda entry: bool(chosen & set(entry.dimensions))


def _licence(wanted: object) -> Condition:
    chosen = {_licence_id(str(expression)) for expression in _listed(wanted)}
    return lambda entry: entry.licence.id in chosen


def _licence_id(expression: str) -> str:
    try:
        return canonical_licence(expression)
    except ValueError as error:
        raise _no_word("licence", expression, {"expected": str(error)}) from error


def _yes_or_no(name: str, fact: Callable[[Entry], bool]) -> Callable[[object], Condition]:
    def condition(wanted: object) -> Condition:
        if not isinstance(wanted, bool):
            raise _no_word(name, wanted, {"words": "True, False"})
        return lambda entry: fact(entry) is wanted

    return condition


def _is_labelled(entry: Entry) -> bool:
    return any(group.labels or group.annotations for group in entry.cases)


SOURCE_KINDS = tuple(word for model in alternatives(Source) for word in get_args(model.model_fields["kind"].annotation))
"""The words that tell the models of a source apart."""

_WORDS: Mapping[str, tuple[Iterable[str] | None, Callable[[Entry], Iterable[str]]]] = MappingProxyType(
    {
        "id": (None, lambda entry: (entry.id,)),
        "group": (Group, lambda entry: entry.groups),
        "modality": (Modality, lambda entry: (part for word in entry.modalities for part in parts_of(word))),
        "region": (Region, lambda entry: entry.regions),
        "task": (Task, lambda entry: entry.tasks),
        "access": (Access, lambda entry: (entry.access.kind,)),
        "maturity": (Maturity, lambda entry: (entry.maturity,)),
        "licence_confidence": (Confidence, lambda entry: (entry.licence.confidence,)),
        "confidence": (Confidence, lambda entry: (entry.confidence,)),
        "kind": (SOURCE_KINDS, lambda entry: (source.kind for source in entry.acquisition)),
        "sequence": (
            Sequence,
            lambda entry: (
                spec.sequence for group in entry.cases for spec in group.images.values() if spec.sequence is not None
            ),
        ),
    }
)
_PERMISSIONS = ("commercial_use", "redistribution", "derivatives")
_FREE: Mapping[str, Callable[[object], Condition]] = MappingProxyType(
    {
        "dimension": _dimension,
        "text": _text,
        "licence": _licence,
        "labelled": _yes_or_no("labelled", _is_labelled),
        "platform": _yes_or_no("platform", lambda entry: any(row.group is not None for row in entry.paper)),
    }
)
CONDITIONS = (*_WORDS, *_PERMISSIONS, "concept", "examines", *_FREE)
