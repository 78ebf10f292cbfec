"""The split as its makers shipped it: where it leaks, and what of it can be used.

`extra` and `unlabelled` belong to none of the three parts; such cases train, unless they show somebody who is
held out. So do cases of which nothing is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from medshard.registry.schema import Entry
from medshard.registry.splits.checking import Leak, find_leaks
from medshard.registry.splits.graph import SplitCase, leakage_graph
from medshard.registry.splits.leaving_out import without_tied
from medshard.registry.splits.table import PARTS, LeftOutCase, Making, Part, Split, SplitRow, in_order
from medshard.registry.splits.ties import find_ties
from medshard.registry.vocabulary import SplitName

PART_OF: dict[str, Part] = {
    SplitName.TRAIN.value: "train",
    SplitName.VALIDATION.value: "val",
    SplitName.TEST.value: "test",
}
_RANK = {part: number for number, part in enumerate(PARTS)}


def as_shipped(cases: Iterable[SplitCase], entries: Iterable[Entry]) -> Split:
    """The rows that have a shipped part, just as they were shipped: leaks included."""
    told = [case for case in cases if case.shipped in PART_OF]
    graph = leakage_graph(told, entries)
    rows = [_row(case, graph.component_of[case.entry, case.patient], PART_OF[case.shipped or ""]) for case in told]
    return Split(in_order(rows), making=Making(shipped=True))


def shipped_leaks(
    cases: Sequence[SplitCase], entries: Iterable[Entry], unsplit: Sequence[SplitCase] = ()
) -> tuple[Leak, ...]:
    """What is on both sides of the split as shipped. unsplit: see `make_split`."""
    known = list(entries)
    return find_leaks(as_shipped(cases, known), [*cases, *unsplit], known)


def make_shipped_split(
    cases: Sequence[SplitCase], *, entries: Iterable[Entry], unsplit: Sequence[SplitCase] = ()
) -> Split:
    """The split as shipped without its leaks. Test wins over val, and val over train. unsplit: see `make_split`.

    A component is in the strictest part that it was shipped in; its other cases are left out, and so are synthetic
    cases of a component that is held out, and entries that share people, nobody knows which, with one that is held out.
    """
    known = list(entries)
    graph = leakage_graph([*cases, *unsplit], known)
    strictest: dict[str, Part] = {}
    for case in cases:
        component, part = graph.component_of[case.entry, case.patient], _part(case)
        if not case.synthetic and _RANK[part] >= _RANK[strictest.get(component, "train")]:
            strictest[component] = part
    rows: list[SplitRow] = []
    left_out: list[LeftOutCase] = []
    for case in cases:
        component = graph.component_of[case.entry, case.patient]
        part = strictest.get(component, "train")
        if part != "train" and case.synthetic:
            left_out.append(_left_out(case, component, f"made by a program, and {component} is in {part}", made=True))
        elif part != _part(case) and not case.synthetic:
            reason = f"shipped as {case.shipped or 'nothing'}, and is the same person as {component}, shipped in {part}"
            left_out.append(_left_out(case, component, reason))
        else:
            rows.append(_row(case, component, part))
    ties = find_ties(known, graph, {case.entry for case in cases}, suspected=False)
    rows, tied = without_tied(rows, ties)
    making = Making(shipped=True, notes=_notes(cases), balance=_balance(rows))
    return Split(in_order(rows), tuple(sorted([*left_out, *tied], key=lambda case: case.name)), making)


def _part(case: SplitCase) -> Part:
    return PART_OF.get(case.shipped or "", "train")


def _row(case: SplitCase, component: str, part: Part) -> SplitRow:
    return SplitRow(
        entry=case.entry,
        case=case.case,
        patient=case.patient,
        component=component,
        part=part,
        shipped=case.shipped,
        synthetic=case.synthetic,
    )


def _left_out(case: SplitCase, component: str, reason: str, *, made: bool = False) -> LeftOutCase:
    return LeftOutCase(
        entry=case.entry,
        case=case.case,
        patient=case.patient,
        component=component,
        left_out="synthetic" if made else "leak",
        reason=reason,
    )


def _notes(cases: Iterable[SplitCase]) -> tuple[str, ...]:
    unknown = sorted({case.entry for case in cases if not case.patients_known and case.shipped in PART_OF})
    untold = {case.entry for case in cases} - {case.entry for case in cases if case.shipped in PART_OF}
    return (
        *(
            f"{entry}: nobody can tell which of its cases show one person; the makers' word is taken"
            for entry in unknown
        ),
        *(f"{entry} was shipped without a split, and trains" for entry in sorted(untold)),
    )


def _balance(rows: Iterable[SplitRow]) -> dict[str, dict[str, int]]:
    components: dict[str, set[tuple[str, Part]]] = defaultdict(set)
    for row in rows:
        components["all"].add((row.component, row.part))
        components[f"entry:{row.entry}"].add((row.component, row.part))
    return {label: dict(sorted(Counter(part for _, part in found).items())) for label, found in components.items()}
