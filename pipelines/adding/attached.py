"""How a family goes with the cases of a group: which slots are fields of the anchor, and which cases it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from medshard.pipelines.adding.keys import SLOTS, STAR, WHOLE, Family, Part, Row, ending, plain_words
from medshard.pipelines.adding.kinds import Kind, KnownFamily
from medshard.pipelines.adding.templates import Field, Fit, fit, template
from medshard.pipelines.adding.words import split_of
from medshard.registry.vocabulary import SplitName


@dataclass(frozen=True)
class Attached:
    """A family that goes with the cases of a group.

    bound: the cases that have a file of it. paths: those files. extra: slots that count up several files of one case.
    """

    known: KnownFamily
    mapping: Mapping[int, str]
    bound: frozenset[tuple[str, ...]]
    paths: frozenset[str]
    extra: tuple[int, ...] = ()

    @property
    def family(self) -> Family:
        return self.known.family

    @property
    def path(self) -> str:
        """The template; what counts up stands as it does in the first file."""
        return template(self.family, self.mapping)


@dataclass(frozen=True)
class Group:
    """cases: what the fields hold, for each case. images: the anchor first. others: tables, texts, json per case."""

    fields: tuple[Field, ...]
    cases: tuple[tuple[str, ...], ...]
    images: tuple[Attached, ...]
    masks: tuple[Attached, ...] = ()
    others: tuple[Attached, ...] = ()
    split: SplitName | None = None

    @property
    def anchor(self) -> Attached:
        return self.images[0]

    @property
    def kind(self) -> Kind:
        return self.anchor.known.kind

    @property
    def labelled(self) -> frozenset[tuple[str, ...]]:
        return frozenset(binding for mask in self.masks for binding in mask.bound)


def role_text(family: Family) -> str:
    """The words of a family's folders and own name, but for the folders of all files; names of cases are no words."""
    plain = [plain_words(part) for part in family.key[min(family.shared, len(family.key) - 1) :]]
    plain[-1] = plain[-1].removesuffix(ending(plain[-1]))
    return " / ".join(plain)


def split_said(family: Family) -> SplitName | None:
    """The part that the folders speak of, the nearest first; then the file's own name."""
    words = [plain_words(part) for part in family.key]
    return next((part for part in map(split_of, [*reversed(words[:-1]), words[-1]]) if part), None)


def attached_to(group: Group, known: KnownFamily) -> Attached | None:
    best: tuple[Fit, Family] | None = None
    for family in (known.family, *_with_names_of(group, known.family)):
        found = fit(family, group.fields, group.cases, _slots_of_shared_folders(group, family))
        if found is not None and (best is None or found.score > best[0].score):
            best = found, family
    if best is None:
        return None
    found, family = best
    extra = tuple(slot for slot in range(family.slots) if slot not in found.mapping and len(family.distinct(slot)) > 1)
    return Attached(replace(known, family=family), found.mapping, found.bound, found.paths, extra)


def _slots_of_shared_folders(group: Group, family: Family) -> dict[int, str | None]:
    """Slots within folders that anchor and family have in common: what they are to the one they are to the other."""
    depth = shared_depth(group.anchor.family.key, family.key)
    count = sum(sign in SLOTS for part in family.key[:depth] for sign in part)
    return {slot: group.anchor.mapping.get(slot) for slot in range(count)}


def _with_names_of(group: Group, family: Family) -> list[Family]:
    """The family with names of cases as one slot, where the anchor has such: `CHUM-001` is no `CHUM-` and a number."""
    signs = {field.name: field for field in group.fields if not field.number}
    made = []
    for name in signs:
        place = [field.name for field in group.fields].index(name)
        known = sorted({binding[place] for binding in group.cases}, key=lambda text: (-len(text), text))
        rows = [_renamed(row, known) for row in family.rows]
        keys = {row.key for row in rows if row is not None}
        if len(keys) == 1 and None not in rows:
            made.append(Family(next(iter(keys)), tuple(row for row in rows if row is not None)))
    return made


def _renamed(row: Row, names: Sequence[str]) -> Row | None:
    """The file's name with the name of a case in it as one slot."""
    own = row.path.rpartition("/")[2]
    stem = own.removesuffix(ending(own))
    name = next((name for name in names if name in stem), None)
    if name is None or row.parts[-1].key[0] == STAR:
        return None
    before, _, after = stem.partition(name)
    return replace(row, parts=(*row.parts[:-1], Part(f"{before}{WHOLE}{after}{ending(own)}", (name,))))


def shared_depth(one: Sequence[str], other: Sequence[str]) -> int:
    depth = 0
    while depth < min(len(one), len(other)) - 1 and one[depth] == other[depth]:
        depth += 1
    return depth
