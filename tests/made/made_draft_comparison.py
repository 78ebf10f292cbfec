"""A draft held against the entry that somebody wrote by hand for the same tree."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from made_drafts import drafted
from trees.offering import offer
from trees.tree import MadeTree, Tree

from medshard.pipelines.build import build
from medshard.pipelines.stages.raw import raw_files
from medshard.registry import Catalog
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.store import Store

_TABLES = ("annotation ", "split ", "patients")
"""Names of files that are no contents of a case."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """entry: whose tree. cases: as many as by hand. paired: every case of the hand has its image in one case of the
    draft, with the masks that the hand gives it. split: two cases that the hand gives to one person are two persons in
    the draft, without its saying that nobody knows.
    """

    entry: str
    cases: bool
    paired: bool
    split: bool

    @property
    def right(self) -> bool:
        return self.cases and self.paired


def unpacked(made: MadeTree, catalog: Catalog, folder: Path) -> Path:
    """The tree as its source's archives unpack, in a plain folder."""
    (folder / "tree/root").mkdir(parents=True)
    root = Tree(folder / "tree/root")
    made.write(root)
    store = Store.open(folder / "store")
    offered = offer(root, catalog.entry(made.entry), catalog, store)
    options = AcquisitionOptions(accept=frozenset({made.entry}), optional=True, environment={"MEDSHARD_USER": "test"})
    raw = build(store, made.entry, catalog=offered, acquisition=options, to="raw")[0]
    for name, file in raw_files(store, raw.manifest).items():
        target = folder / made.entry / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.location, target)
    return folder / made.entry


def compared(made: MadeTree, catalog: Catalog, folder: Path) -> Comparison:
    tree = unpacked(made, catalog, folder)
    paths = [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]
    draft = drafted(tree)
    ours, theirs = list(draft.cases.values()), discover(catalog.entry(made.entry), paths).cases
    holders: dict[str, list[CaseFiles]] = defaultdict(list)
    for case in ours:
        for path in _contents(case):
            holders[path].append(case)
    pairs = [(case, holders[min(_contents(case))]) for case in theirs]
    unknown = any(group.patients_rest_on == "unknown" for group in draft.entry.cases)
    persons: dict[str, set[str]] = defaultdict(set)
    for case, found in pairs:
        persons[case.patient] |= {one.patient for one in found}
    return Comparison(
        entry=made.entry,
        cases=len(ours) == len(theirs),
        paired=all(len(found) == 1 and _agree(case, found[0]) for case, found in pairs),
        split=not unknown and any(len(names) > 1 for names in persons.values()),
    )


def _agree(by_hand: CaseFiles, ours: CaseFiles) -> bool:
    """All masks of the hand are there, and none where it has none."""
    return _masks(by_hand) <= _masks(ours) and bool(_masks(by_hand)) == bool(_masks(ours))


def _contents(case: CaseFiles) -> set[str]:
    named = {path for kind in (case.images, case.meshes) for files in kind.values() for path in files}
    others = {path for name, files in case.others.items() if not name.startswith(_TABLES) for path in files}
    return named | others


def _masks(case: CaseFiles) -> set[str]:
    return {path for layer in case.labels.values() for files in layer for path in files}
