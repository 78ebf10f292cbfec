"""A split made: components dealt to train, val and test, or to folds, and what must stay out of them.

What is held out is decided in this order: a previous split, which is never contradicted; what must not be held out
(entries whose patients nobody can tell apart, entries that share people nobody can name, synthetic cases); the shares.
Then whatever would leak into training is left out by name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from medshard.errors import SplitError
from medshard.registry.schema import Entry
from medshard.registry.splits.dealing import ENTRY, Dealt, deal, even_quotas
from medshard.registry.splits.graph import LeakageGraph, SplitCase, leakage_graph
from medshard.registry.splits.leaving_out import Placed, settle
from medshard.registry.splits.table import PARTS, LeftOutCase, Making, Part, Split, SplitRow
from medshard.registry.splits.ties import Tie, find_ties, suspicions

STRATA = ("entry", "modality", "site", "class")
UnknownPatients = Literal["together", "separate"]


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """What is asked of a split.

    fractions: part -> share of the *labelled* components; they sum to 1. folds: of a cross-validation over what is
    not in test; val is 0 then. stratify: kinds of strata that the parts shall have evenly (`STRATA`).
    unknown_patients: `together` holds out no entry whose patients cannot be told apart, `separate` takes each of
    its cases for a patient of its own. held_out: entries that are dealt although they share people with others, which
    are left out for it. suspected: overlaps that are only suspected count as known ones.
    """

    fractions: Mapping[str, float]
    seed: int = 0
    folds: int = 0
    stratify: tuple[str, ...] = ()
    unknown_patients: UnknownPatients = "together"
    held_out: tuple[str, ...] = ()
    suspected: bool = False


def make_split(
    cases: Sequence[SplitCase],
    *,
    entries: Iterable[Entry],
    rules: SplitRules,
    previous: Split | None = None,
    unsplit: Sequence[SplitCase] = (),
) -> Split:
    """Deal whole components to train, val and test, and to folds.

    entries: of the catalog, all of them: two data sets may share a patient through a third one. previous: its
    components keep their parts and folds; docs/splits.md says what happens when one that was trained on turns out to
    be one that is tested. unsplit: further cases, which are in no part, but may show that two patients are one.

    Components without a label, and all that is left, go to train. The order of dealing is the hash of (seed,
    component), so it does not depend on how the cases are listed. Each of val and test with a positive share gets at
    least one component.

    Raises SplitError when the rules make no sense or there are fewer labelled components than parts.
    """
    _check_rules(rules, {case.entry for case in cases})
    known = list(entries)
    graph = leakage_graph([*cases, *unsplit], known)
    ties = find_ties(known, graph, {case.entry for case in cases}, suspected=rules.suspected)
    barred = _barred_entries(cases, ties, rules)
    groups = _groups(cases, graph)
    if previous is not None:
        _take_over(groups, graph, previous, {case.name: case.patient for case in [*cases, *unsplit]})
    candidates = [group for group in groups.values() if group.is_dealt(barred)]
    places = _dealt_places(candidates, rules, barred)
    for name, group in groups.items():
        if name not in places:
            places[name] = Placed(part=group.part or "train", fold=group.fold)
    rows, left_out = settle(cases, graph, places, previous=previous, ties=ties, held_out=rules.held_out)
    making = Making(
        fractions=dict(rules.fractions),
        folds=rules.folds,
        seed=rules.seed,
        stratify=rules.stratify,
        notes=(*_notes(cases, known, barred, rules), *_moved(left_out)),
        balance=_balance(candidates, places),
    )
    return Split(rows, left_out, making)


@dataclass(kw_only=True)
class _Group:
    """A component while it is dealt. part, fold: of the previous split."""

    name: str
    entries: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    labelled: bool = False
    part: Part | None = None
    fold: int | None = None

    def is_dealt(self, barred: Mapping[str, str]) -> bool:
        """Whether it may be held out: labelled and of no barred entry; or it is held out already."""
        is_held = self.part in ("val", "test") or self.fold is not None
        return self.labelled and (is_held or not self.entries & barred.keys())


def _groups(cases: Iterable[SplitCase], graph: LeakageGraph) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for case in cases:
        name = graph.component_of[case.entry, case.patient]
        group = groups.setdefault(name, _Group(name=name))
        group.entries.add(case.entry)
        if not case.synthetic:
            group.labelled |= case.labelled
            group.labels.update(case.strata)
    return groups


def _take_over(
    groups: Mapping[str, _Group], graph: LeakageGraph, previous: Split, patient_of: Mapping[tuple[str, str], str]
) -> None:
    """Parts and folds of the previous split. A component that has become one of several is where the strictest was.

    patient_of: (entry, case) -> its patient today. Where that is another name than before, nobody can say here
    whether the patient or the case was renamed: both patients are taken to have been in that part.
    """
    rank: dict[Part, int] = {part: number for number, part in enumerate(PARTS)}
    then: list[tuple[SplitRow | LeftOutCase, Part, int | None]] = [(row, row.part, row.fold) for row in previous.rows]
    then += [(case, case.was, None) for case in previous.left_out if case.was is not None]
    was = {
        (case.entry, patient, part, fold)
        for case, part, fold in then
        for patient in (case.patient, patient_of.get(case.name, case.patient))
    }
    for entry, patient, part, fold in sorted(was, key=lambda row: (row[0], row[1], -1 if row[3] is None else row[3])):
        group = groups.get(graph.component_of.get((entry, patient), ""))
        if group is None:
            continue
        if group.part is None or rank[part] > rank[group.part]:
            group.part = part
        if group.fold is None:
            group.fold = fold
    for group in groups.values():
        if group.part != "train":
            group.fold = None


def _barred_entries(cases: Iterable[SplitCase], ties: Iterable[Tie], rules: SplitRules) -> dict[str, str]:
    """Entry -> why none of its cases may be held out."""
    barred: dict[str, str] = {}
    if rules.unknown_patients == "together":
        for case in cases:
            if not case.patients_known:
                barred[case.entry] = "nobody can tell which of its cases show one person"
    tied: dict[str, list[str]] = defaultdict(list)
    for tie in ties:
        tied[tie.one].append(tie.other)
        tied[tie.other].append(tie.one)
    for entry, others in sorted(tied.items()):
        if entry not in rules.held_out:
            barred.setdefault(entry, f"it shares people with {', '.join(sorted(set(others)))}, and nobody says which")
    return barred


def _dealt_places(groups: Sequence[_Group], rules: SplitRules, barred: Mapping[str, str]) -> dict[str, Placed]:
    quotas = _quotas(rules, len(groups), barred)
    items = [_item(group, group.part, rules.stratify) for group in groups]
    part_of = deal(items, quotas, seed=rules.seed)
    if not rules.folds:
        return {name: Placed(part=_part(part)) for name, part in part_of.items()}
    folded = [group for group in groups if part_of[group.name] == "train"]
    names = [str(number) for number in range(rules.folds)]
    if len(folded) < rules.folds:
        raise _too_few(len(folded), {"folds": rules.folds}, barred)
    items = [_item(group, None if group.fold is None else str(group.fold), rules.stratify) for group in folded]
    fold_of = deal(items, even_quotas(names, len(folded)), seed=rules.seed)
    return {
        name: Placed(part=_part(part), fold=int(fold_of[name]) if name in fold_of else None)
        for name, part in part_of.items()
    }


def _item(group: _Group, fixed: str | None, stratify: Collection[str]) -> Dealt:
    labels = {label for label in group.labels if label.partition(":")[0] in stratify}
    if "entry" in stratify:
        labels |= {f"{ENTRY}{entry}" for entry in group.entries}
    return Dealt(name=group.name, labels=frozenset(labels), fixed=fixed)


def _quotas(rules: SplitRules, count: int, barred: Mapping[str, str]) -> dict[str, int]:
    held = {part: _quota(rules.fractions.get(part, 0.0), count) for part in ("test", "val")}
    if (sum(held.values()) or rules.folds) and sum(held.values()) >= count:
        raise _too_few(count, held, barred)
    return {**held, "train": count - sum(held.values())}


def _quota(fraction: float, count: int) -> int:
    return max(1, round(fraction * count)) if fraction > 0 else 0


def _too_few(count: int, asked: Mapping[str, int], barred: Mapping[str, str]) -> SplitError:
    never = {f"never held out: {entry}": why for entry, why in barred.items()}
    return SplitError(
        "split.too_few",
        where="split",
        problem="too few labelled patients for the parts that are asked for",
        details={"labelled components": count, **asked, **never},
        action="Ask for fewer parts, or add entries."
        + (" Entries that are never held out can be: see --unknown-patients and --hold-out." if never else ""),
    )


def _part(name: str) -> Part:
    return next(part for part in PARTS if part == name)


def _balance(groups: Iterable[_Group], places: Mapping[str, Placed]) -> dict[str, dict[str, int]]:
    """All strata that the dealt components have, stratified by or not: a reader sees what came out."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for group in groups:
        place = places[group.name]
        for label in ("", *group.labels, *(f"{ENTRY}{entry}" for entry in group.entries)):
            counts[label][place.part] += 1
            if place.fold is not None:
                counts[label][f"fold {place.fold}"] += 1
    return {label or "all": dict(sorted(found.items())) for label, found in sorted(counts.items())}


def _notes(
    cases: Iterable[SplitCase], entries: Iterable[Entry], barred: Mapping[str, str], rules: SplitRules
) -> list[str]:
    notes = [f"{entry} is never held out: {why}" for entry, why in sorted(barred.items())]
    if rules.unknown_patients == "separate":
        unknown = sorted({case.entry for case in cases if not case.patients_known})
        notes += [f"{entry}: each case counts as a patient, though two may show one person" for entry in unknown]
    if not rules.suspected:
        present = {case.entry for case in cases}
        notes += [
            f"{tie.one} and {tie.other} may share people (suspected, not joined): {tie.evidence}"
            for tie in suspicions(entries, present)
        ]
    return notes


def _moved(left_out: Iterable[LeftOutCase]) -> list[str]:
    dropped = sum(case.was is not None for case in left_out)
    return [f"{dropped} cases that had a part in an earlier split are left out"] if dropped else []


def _check_rules(rules: SplitRules, present: Collection[str]) -> None:
    shares = rules.fractions
    unknown = sorted(set(shares) - set(PARTS))
    if unknown or any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise SplitError(
            "split.fractions",
            where="split",
            problem="the shares of the parts make no sense",
            details={"expected": "train, val and test, none negative, summing to 1", "found": dict(shares)},
            action="Mend `split.fractions`.",
        )
    if rules.folds and (rules.folds < 2 or shares.get("val", 0.0) > 0):
        raise SplitError(
            "split.folds",
            where="split",
            problem="these folds make no cross-validation",
            details={"expected": "2 folds or more, and no val beside them", "found": f"{rules.folds}, {dict(shares)}"},
            action="In a cross-validation each fold is val once: give val no share of its own.",
        )
    if strange := sorted(set(rules.stratify) - set(STRATA)):
        raise SplitError(
            "split.strata",
            where="split",
            problem="nothing is known to stratify by",
            details={"expected": ", ".join(STRATA), "found": ", ".join(strange)},
        )
    if absent := sorted(set(rules.held_out) - set(present)):
        raise SplitError(
            "split.held_out",
            where="split",
            problem="what is to be held out is not split",
            details={"entries": ", ".join(sorted(present)), "to be held out": ", ".join(absent)},
        )
