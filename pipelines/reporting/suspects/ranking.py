"""Suspects of all kinds, put into one order of cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from medshard.pipelines.reporting.suspects.comparing import FEWEST_CASES, compared, outliers, outlying_layers
from medshard.pipelines.reporting.suspects.layouts import odd_layouts
from medshard.pipelines.reporting.suspects.numbers import numbers_of, subjects_of_views
from medshard.pipelines.reporting.suspects.rules import duplicates, findings
from medshard.pipelines.reporting.suspects.suspect import KINDS, MOST, Facts, Suspect

# What each further suspect of a case adds of its strength: shifted masks are odd in several ways, odd patients in one.
FURTHER = 0.5
# An unusual grid or a mask in pieces is common and mostly harmless: never before what is plainly wrong.
MOST_OF_KIND = {"grid": 3.0, "fragments": 4.0}
KEPT_OF_A_KIND = 4


@dataclass(frozen=True, kw_only=True)
class SuspectCase:
    """suspects: strongest first. score: what cases are ordered by, the strongest full and each next one half as much.

    compared: False where the entry has too few cases to compare with, and rules alone were asked.
    """

    case: str
    score: float
    suspects: tuple[Suspect, ...]
    compared: bool = True


def rank(
    cases: Mapping[str, Facts],
    digests: Mapping[str, Mapping[str, str]] | None = None,
    *,
    kind: str | None = None,
) -> list[SuspectCase]:
    """Every case, the most suspicious first; equal ones by their name.

    cases: case -> facts of `suspicion_facts`. digests: case -> image -> digest of its voxels. kind: this one alone.
    """
    found = [*findings(cases), *duplicates(digests or {}), *odd_layouts(cases), *_outliers(cases)]
    by_case: dict[str, list[Suspect]] = defaultdict(list)
    for suspect in found:
        if kind is None or suspect.kind == kind:
            by_case[suspect.case].append(suspect)
    ranked = [
        SuspectCase(
            case=case,
            score=_score(by_case[case]),
            suspects=_strongest(by_case[case]),
            compared=len(cases) >= FEWEST_CASES,
        )
        for case in cases
    ]
    return sorted(ranked, key=lambda suspect: (-suspect.score, suspect.case))


def _outliers(cases: Mapping[str, Facts]) -> Iterable[Suspect]:
    numbers = (number for case, facts in sorted(cases.items()) for number in numbers_of(case, facts))
    groups = list(compared(numbers, _spreads(cases)))
    classes: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        if group.layer is not None:
            classes[group.layer].add(group.subject)
    for group in groups:
        yield from outliers(group, len(classes[group.layer]) if group.layer is not None else 1)
    yield from outlying_layers(groups)


def _spreads(cases: Mapping[str, Facts]) -> dict[str, float]:
    """The usual range of the values of each subject: of an image, or of the image that a class lies on."""
    of_views: dict[str, list[float]] = defaultdict(list)
    on: dict[str, str] = {}
    for facts in cases.values():
        for name, image in facts.get("images", {}).items():
            for subject, view in subjects_of_views(name, image):
                if "percentiles" in view:
                    of_views[subject].append(view["percentiles"][-1] - view["percentiles"][0])
        for layer, document in facts.get("labels", {}).items():
            for concept in document["classes"] if document["image"] else ():
                on[f"{layer}: {concept}"] = document["image"]
        for name, recording in facts.get("signals", {}).items():
            for channel, measures in zip(recording["channels"], recording["measures"], strict=False):
                of_views[f"{name}: {channel}"].append(measures.get("spread", 0.0))
    usual = {subject: float(np.median(ranges)) or 1.0 for subject, ranges in of_views.items()}
    classes = {subject: usual.get(image, usual.get(f"{image}, channel 0", 1.0)) for subject, image in on.items()}
    return usual | classes


def _score(suspects: Iterable[Suspect]) -> float:
    """The strongest suspect of each kind, and half of the next of that kind; kinds add up, each next one by half."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for suspect in suspects:
        by_kind[suspect.kind].append(suspect.strength)
    kinds = [min(_summed(strengths), MOST_OF_KIND.get(name, 2 * MOST)) for name, strengths in by_kind.items()]
    return round(_summed(kinds), 4)


def _summed(strengths: Iterable[float]) -> float:
    ordered = sorted(strengths, reverse=True)
    return sum(strength * FURTHER**number for number, strength in enumerate(ordered))


def _strongest(suspects: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """Strongest first, and no more of one kind than say what it is about."""
    ordered = sorted(suspects, key=lambda s: (-s.strength, KINDS.index(s.kind), s.subject, s.reason))
    kept: dict[str, int] = defaultdict(int)
    found = []
    for suspect in ordered:
        kept[suspect.kind] += 1
        if kept[suspect.kind] <= KEPT_OF_A_KIND:
            found.append(suspect)
    return tuple(found)
