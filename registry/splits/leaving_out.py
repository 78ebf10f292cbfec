"""From places of components to rows: what would leak into training, or is no patient's, is left out by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from medshard.errors import SplitError
from medshard.registry.splits.graph import LeakageGraph, SplitCase
from medshard.registry.splits.table import PARTS, LeftOutCase, LeftOutCode, Part, Split, SplitRow, in_order
from medshard.registry.splits.ties import Tie

_RANK: dict[Part, int] = {part: number for number, part in enumerate(PARTS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Where a component is. fold: in which it is val; None where it never is."""

    part: Part
    fold: int | None = None

    @property
    def is_held(self) -> bool:
        return self.part != "train" or self.fold is not None


def settle(
    cases: Iterable[SplitCase],
    graph: LeakageGraph,
    places: Mapping[str, Placed],
    *,
    previous: Split | None,
    ties: Collection[Tie],
    held_out: Collection[str],
) -> tuple[tuple[SplitRow, ...], tuple[LeftOutCase, ...]]:
    """Rows and left-out cases, sorted.

    Left out are synthetic cases of a component that is held out; cases that the previous split trained or validated
    on and that turn out to be of a component it tests; and the cases of entries that share people, nobody
    knows which, with one that is held out.
    """
    was = _parts_before(previous)
    rows: list[SplitRow] = []
    left_out: list[LeftOutCase] = []
    for case in cases:
        component = graph.component_of[case.entry, case.patient]
        place = places[component]
        before = was.get(case.name)
        if case.synthetic and place.is_held:
            reason = f"made by a program, and {component} is in {_said(place)}"
            left_out.append(_left_out(case, component, "synthetic", reason, before))
        elif before is not None and _RANK[before] < _RANK[place.part]:
            reason = f"was in {before}, and is the same person as {component}, which is in {place.part}"
            left_out.append(_left_out(case, component, "joined", reason, before))
        else:
            rows.append(
                SplitRow(
                    entry=case.entry,
                    case=case.case,
                    patient=case.patient,
                    component=component,
                    part=place.part,
                    fold=place.fold,
                    shipped=case.shipped,
                    synthetic=case.synthetic,
                )
            )
    rows, tied = without_tied(rows, ties, held_out, was)
    return in_order(rows), tuple(sorted([*left_out, *tied], key=lambda case: case.name))


def without_tied(
    rows: Iterable[SplitRow],
    ties: Collection[Tie],
    held_out: Collection[str] = (),
    was: Mapping[tuple[str, str], Part] | None = None,
) -> tuple[list[SplitRow], list[LeftOutCase]]:
    """Rows without those that may show people who are held out in another entry, and these.

    Raises SplitError[split.tied] when two entries that are to be held out are tied.
    """
    known = list(rows)
    highest = _highest_parts(known)
    against: dict[str, list[Tie]] = defaultdict(list)
    for tie in ties:
        if tie.one in held_out and tie.other in held_out:
            raise SplitError(
                "split.tied",
                where=f"{tie.one} and {tie.other}",
                problem="two entries that share people cannot both be held out",
                details={"evidence": tie.evidence},
                action="Hold out one of them; the other is left out for it.",
            )
        against[tie.one].append(tie)
        against[tie.other].append(tie)
    kept: list[SplitRow] = []
    left_out: list[LeftOutCase] = []
    for row in known:
        stronger = [tie for tie in against[row.entry] if _RANK[row.part] < highest.get(tie.to(row.entry), 0)]
        if not stronger:
            kept.append(row)
            continue
        reason = f"{stronger[0].to(row.entry)} is held out, and they share people: {stronger[0].evidence}"
        before = (was or {}).get(row.name)
        left_out.append(
            LeftOutCase(
                entry=row.entry,
                case=row.case,
                patient=row.patient,
                component=row.component,
                left_out="tied",
                reason=reason,
                was=before,
            )
        )
    return kept, left_out


def _highest_parts(rows: Iterable[SplitRow]) -> dict[str, int]:
    """Entry -> rank of the strictest part that it has a case in; a fold counts as val."""
    found: dict[str, int] = {}
    for row in rows:
        rank = max(_RANK[row.part], 0 if row.fold is None else _RANK["val"])
        found[row.entry] = max(rank, found.get(row.entry, 0))
    return found


def _parts_before(previous: Split | None) -> dict[tuple[str, str], Part]:
    if previous is None:
        return {}
    found = {case.name: case.was for case in previous.left_out if case.was is not None}
    return found | {row.name: row.part for row in previous.rows}


def _left_out(case: SplitCase, component: str, code: LeftOutCode, reason: str, was: Part | None) -> LeftOutCase:
    return LeftOutCase(
        entry=case.entry,
        case=case.case,
        patient=case.patient,
        component=component,
        left_out=code,
        reason=reason,
        was=was,
    )


def _said(place: Placed) -> str:
    return place.part if place.fold is None else f"fold {place.fold}"
