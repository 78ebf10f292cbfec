"""How far a number of one case is from the same number of the other cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medshard.pipelines.reporting.suspects.numbers import AXES, Feature, Number
from medshard.pipelines.reporting.suspects.suspect import MOST, Suspect

# Fewer cases than this say nothing about each other.
FEWEST_CASES = 8
# Scatters from the middle below which nothing is suspected.
LEAST = 2.5
# Tails of real measures are far heavier than a normal distribution's: Student's t of this many degrees of freedom.
FREEDOM = 4
# Up to this share of cases may be faulty at one end without hiding each other.
TAIL = 0.08
# From so many classes on, a layer is also judged as a whole.
CLASSES_OF_A_LAYER = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One number of all cases that have it; scores: signed distance in scatters."""

    subject: str
    layer: str | None
    feature: Feature
    cases: Sequence[str]
    values: Floats
    scores: Floats


def compared(numbers: Iterable[Number], spreads: Mapping[str, float]) -> Iterator[Group]:
    """Numbers of one subject and feature, each with its distance from the others.

    spreads: subject -> the usual range of its image, for features of scale `spread`.
    """
    groups: dict[tuple[str, str], list[Number]] = defaultdict(list)
    for number in numbers:
        groups[number.subject, number.feature.name].append(number)
    for key in sorted(groups):
        group = groups[key]
        if len(group) < FEWEST_CASES:
            continue
        feature, subject = group[0].feature, group[0].subject
        values = np.array([number.value for number in group])
        yield Group(
            subject=subject,
            layer=group[0].layer,
            feature=feature,
            cases=[number.case for number in group],
            values=values,
            scores=scatters(_on_scale(values, feature, spreads.get(subject, 1.0)), feature.floor),
        )


def scatters(values: Floats, floor: float) -> Floats:
    """Signed distance of each value from the median, in units of the scatter on its own side of it.

    The scatter is the largest of 1.4826 times the median distance (a normal distribution's deviation), the deviation of
    the normal distribution whose 92nd percentile lies where that side's does, and the floor.
    """
    middle = float(np.median(values))
    away = values - middle
    usual = 1.4826 * float(np.median(np.abs(away)))
    tail = stats.norm.ppf(1 - TAIL)
    up = max(usual, float(np.quantile(away, 1 - TAIL)) / tail, floor)
    down = max(usual, -float(np.quantile(away, TAIL)) / tail, floor)
    return np.where(away > 0, away / up, away / down)


def outliers(group: Group, classes: int = 1) -> Iterator[Suspect]:
    """Cases whose number is far from the others'. classes: how many were looked at: one of many is odd by chance."""
    side = group.feature.side
    for case, value, score in zip(group.cases, group.values, group.scores, strict=True):
        wrong_side = (side == "low" and score > 0) or (side == "high" and score < 0)
        if wrong_side or abs(score) < LEAST or not _counts(group.feature, value):
            continue
        strength = strength_of(abs(score)) - np.log10(classes) / 2
        if strength > 0:
            yield Suspect(
                case=case,
                kind=group.feature.kind,
                subject=group.subject,
                reason=_sentence(group, value),
                strength=float(strength),
            )


def outlying_layers(groups: Iterable[Group]) -> Iterator[Suspect]:
    """Cases of which most classes of a layer are a little off: the layer as a whole is shifted, or turned."""
    by_layer: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        if group.layer is not None:
            by_layer[group.layer, group.feature.name].append(group)
    for (layer, _), some in sorted(by_layer.items()):
        if len(some) < CLASSES_OF_A_LAYER:
            continue
        scores: dict[str, list[float]] = defaultdict(list)
        for group in some:
            for case, score in zip(group.cases, group.scores, strict=True):
                scores[case].append(float(score))
        feature = some[0].feature
        cases = [case for case in sorted(scores) if len(scores[case]) >= CLASSES_OF_A_LAYER]
        if len(cases) < FEWEST_CASES:
            continue
        middles = np.array([abs(np.median(scores[case])) for case in cases])
        for case, middle, score in zip(cases, middles, scatters(middles, 0.25), strict=True):
            if score >= LEAST and middle >= 1:
                yield Suspect(
                    case=case,
                    kind=feature.kind,
                    subject=layer,
                    reason=f"{feature.words} typically {middle:.1f} scatters from the other cases', "
                    f"over all {len(scores[case])} classes",
                    strength=strength_of(float(score)),
                )


def strength_of(score: float) -> float:
    """-log10 of the probability of so many scatters or more to either side, at most `MOST`."""
    return min(MOST, -float(np.log10(2 * stats.t.sf(score, FREEDOM))))


def _counts(feature: Feature, value: float) -> bool:
    """A rim that fits better turned is odd only where it does fit better."""
    return not feature.name.startswith("turned_") or value > 0


def _on_scale(values: Floats, feature: Feature, spread: float) -> Floats:
    if feature.scale == "log":
        return np.log(np.maximum(values, 1e-9))
    if feature.scale == "spread":
        return np.arcsinh(values / spread)
    return values


def _sentence(group: Group, value: float) -> str:
    others = np.quantile(group.values, (0.05, 0.95))
    low, high = (group.feature.shown(float(other)) for other in others)
    between = low if low == high else f"{low} to {high}"
    return f"{group.feature.words} {group.feature.shown(value)}; nine tenths of {len(group.values)} cases: {between}"


__all__ = ["AXES", "FEWEST_CASES", "Group", "compared", "outliers", "outlying_layers", "scatters", "strength_of"]
