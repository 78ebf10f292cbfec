"""The catalog: the valid entries of all its files, and everything that is wrong with the others."""

from __future__ import annotations

import difflib
import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from medshard.errors import CatalogError
from medshard.registry.catalog.cross_checks import check_entries
from medshard.registry.catalog.overlaps import OverlapGraph
from medshard.registry.catalog.query import select
from medshard.registry.catalog.reading import CatalogFile, LocatedEntry, read_catalog_file
from medshard.registry.concepts import Vocabulary, load_concepts
from medshard.registry.schema import Entry
from medshard.registry.yaml_lines import Problem

PUBLIC_CATALOG = Path(__file__).parents[2] / "catalog.yaml"
OVERLAYS_VARIABLE = "MEDSHARD_CATALOG"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an entry is written down. Relative paths in it start at `file`'s folder."""

    file: Path
    line: int


@dataclass(frozen=True)
class Catalog:
    """Valid entries by id, and the problems of the invalid ones. An invalid entry hides no other."""

    entries: Mapping[str, Entry]
    origins: Mapping[str, Origin]
    problems: tuple[Problem, ...] = ()
    vocabulary: Vocabulary = field(default_factory=load_concepts)

    @classmethod
    def load(cls, files: Sequence[Path] | None = None) -> Catalog:
        """The public catalog and the overlays that MEDSHARD_CATALOG names, or just the given files.

        Overlays add entries and concepts; an id or a paper's row that an earlier file has already is a problem, not a
        replacement.
        """
        with _collector_paused():
            read, vocabulary = _read_files(catalog_files() if files is None else files)
        problems = [problem for file in read for problem in file.problems]
        placed: dict[str, LocatedEntry] = {}
        for file in read:
            for item in file.entries:
                first = placed.setdefault(item.entry.id, item)
                if first is not item:
                    problems.append(item.problem(("id",), f"this id is taken by {first.document.file}:{first.line}"))
        broken: set[str] = set()
        for entry, fault in check_entries({name: item.entry for name, item in placed.items()}, _ids_seen(problems)):
            problems.append(placed[entry].problem(fault.field, fault.message))
            broken.add(entry)
        kept = {name: item for name, item in sorted(placed.items()) if name not in broken}
        return cls(
            {name: item.entry for name, item in kept.items()},
            {name: Origin(file=Path(item.document.file).resolve(), line=item.line) for name, item in kept.items()},
            tuple(problems),
            vocabulary,
        )

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def entry(self, entry_id: str) -> Entry:
        """One entry. Raises CatalogError for an unknown id, with near ones, and for an invalid entry, with faults."""
        if entry_id in self.entries:
            return self.entries[entry_id]
        faults = [problem for problem in self.problems if problem.entry == entry_id]
        if faults:
            raise CatalogError(
                "entry.invalid",
                where=entry_id,
                problem="the entry is not valid",
                details={
                    f"{Path(fault.file).name}:{fault.line}": f"{fault.field}: {fault.message}" for fault in faults
                },
                action="Mend those lines; `medshard check` shows them all.",
            )
        near = self._near(entry_id)
        raise CatalogError(
            "entry.unknown",
            where=entry_id,
            problem="no entry of this id is in the catalog",
            details={"did you mean": ", ".join(near)} if near else {},
            action="`medshard list` prints the ids; MEDSHARD_CATALOG adds catalog files of your own.",
        )

    def where(self, **conditions: object) -> tuple[Entry, ...]:
        """The entries that meet all conditions, by id; `medshard.registry.catalog.query` explains them.

        Raises CatalogError for an unknown condition or word, with the nearest ones.
        """
        return select(self.entries.values(), conditions, self.vocabulary)

    def named(self, name: str) -> tuple[Entry, ...]:
        """The entries of an id, a title, another name, or a name in the paper; case does not count."""
        wanted = name.casefold()
        return tuple(entry for entry in self if wanted in {known.casefold() for known in entry.all_names})

    @cached_property
    def overlaps(self) -> OverlapGraph:
        return OverlapGraph.of(self)

    def folder(self, entry_id: str) -> Path:
        """The folder that relative paths of an entry start at."""
        return self.origins[entry_id].file.parent

    @property
    def invalid(self) -> dict[str, tuple[Problem, ...]]:
        """id -> what is wrong with it; `file:line` where the id cannot be read or belongs to a valid entry."""
        grouped: dict[str, list[Problem]] = {}
        for problem in self.problems:
            named = problem.entry if problem.entry not in self.entries else None
            grouped.setdefault(named or f"{Path(problem.file).name}:{problem.line}", []).append(problem)
        return {name: tuple(problems) for name, problems in grouped.items()}

    def _near(self, entry_id: str) -> list[str]:
        by_name = {known.casefold(): entry.id for entry in self for known in entry.all_names}
        found = difflib.get_close_matches(entry_id.casefold(), list(by_name), n=5)
        return list(dict.fromkeys(by_name[name] for name in found))[:3]


def catalog_files() -> list[Path]:
    """The public catalog and the overlays, in this order."""
    overlays = os.environ.get(OVERLAYS_VARIABLE, "")
    return [PUBLIC_CATALOG, *(Path(part) for part in overlays.split(os.pathsep) if part)]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: reading makes 50,000 objects that stay, and walking them takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read_files(paths: Sequence[Path]) -> tuple[list[CatalogFile], Vocabulary]:
    """Each file with the concepts of those before it, so that an overlay may use and extend the public ones."""
    vocabulary = load_concepts()
    read = []
    for path in paths:
        read.append(read_catalog_file(path, vocabulary))
        vocabulary = read[-1].vocabulary
    return read, vocabulary


def _ids_seen(problems: Sequence[Problem]) -> frozenset[str]:
    """Ids of entries that stand in a file but are not valid: what refers to them refers to something."""
    return frozenset(problem.entry for problem in problems if problem.entry)
