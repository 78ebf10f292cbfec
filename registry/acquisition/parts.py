"""The parts of an entry's acquisition: what is wanted, each from one source or from the first mirror that has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medshard.registry.schema import Entry, RemoteSource, Source
from medshard.registry.store.digests import sha256_json

# What changes neither the files nor where they go; a folder is what is in it, wherever it lies.
_WORDS_FOR_PEOPLE = {"note", "page", "optional", "part", "path"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Content that one source has, or several as mirrors in order. numbers: their places in `acquisition`."""

    name: str
    numbers: tuple[int, ...]
    sources: tuple[Source, ...]
    optional: bool

    @property
    def words(self) -> list[dict[str, Any]]:
        """What the catalog says that decides the content: it goes into the key of the part."""
        return [source_words(source) for source in self.sources]

    @property
    def key(self) -> str:
        return sha256_json(self.words)


def source_words(source: Source) -> dict[str, Any]:
    """A source as plain JSON, without what is written for people only."""
    return source.model_dump(mode="json", exclude=_WORDS_FOR_PEOPLE)


def parts_of(entry: Entry, *, optional: bool = False) -> tuple[Part, ...]:
    """The parts in the order of the entry; optional ones only on request."""
    mirrors: dict[str, list[tuple[int, Source]]] = {}
    for number, source in enumerate(entry.acquisition):
        shared = source.part if isinstance(source, RemoteSource) else ""
        mirrors.setdefault(shared or f"#{number}", []).append((number, source))
    parts = [_part(name, members) for name, members in mirrors.items()]
    return tuple(part for part in parts if optional or not part.optional)


def _part(name: str, members: list[tuple[int, Source]]) -> Part:
    number, first = members[0]
    return Part(
        name=f"{number:02d}-{first.kind if name.startswith('#') else name}",
        numbers=tuple(number for number, _ in members),
        sources=tuple(source for _, source in members),
        optional=all(isinstance(source, RemoteSource) and source.optional for _, source in members),
    )
