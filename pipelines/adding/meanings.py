"""Words of a source -> concepts of the vocabulary, and a plain demand where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from medshard.pipelines.adding.words import MASK_WORDS, words_of
from medshard.registry.concepts import Vocabulary

NAME_IT = "name it"
_EMPTY_WORDS = MASK_WORDS | {
    "binary",
    "final",
    "image",
    "images",
    "img",
    "data",
    "png",
    "nii",
    "gz",
    "set",
    "file",
    "files",
}


def demand(word: object) -> str:
    """What stands for a concept that only a person can name; `medshard check` complains of it with its line."""
    return f"TODO name {re.sub(r'[^A-Za-z0-9 .-]+', ' ', str(word)).strip() or 'it'}"[:70].strip()


def concept_of(text: str, vocabulary: Vocabulary) -> str | None:
    """The concept that a word of a source means: as it stands, or without words such as `mask` and leading numbers."""
    for spelling in _spellings(text):
        found = vocabulary.find(spelling)
        if found is not None:
            return found.name
    return None


def _spellings(text: str) -> Iterable[str]:
    yield text
    yield re.sub(r"^\d+[\s._-]+", "", text)
    words = [word for word in words_of(text) if word not in _EMPTY_WORDS]
    if words:
        yield " ".join(words)
        yield " ".join(word for word in words if not word.isdigit())


def meanings(named: Mapping[int, str], vocabulary: Vocabulary) -> tuple[dict[int, str], dict[int, str]]:
    """Value -> concept, and value -> reason of those whose word the vocabulary has not.

    Where no word is known all are demanded: a layer without a class is no layer.
    """
    known = {value: concept_of(word, vocabulary) for value, word in named.items()}
    classes = {value: concept for value, concept in known.items() if concept is not None}
    if not classes:
        return {value: demand(word) for value, word in named.items()}, {}
    return classes, {value: NAME_IT for value in named if value not in classes}


def word_meanings(words: Iterable[str], vocabulary: Vocabulary) -> tuple[dict[str, str], dict[str, str]]:
    """The same for the words of folders and tables."""
    ordered = list(dict.fromkeys(words))
    classes, unmapped = meanings(dict(enumerate(ordered)), vocabulary)
    return ({ordered[number]: concept for number, concept in classes.items()},
            {ordered[number]: reason for number, reason in unmapped.items()})  # fmt: skip
