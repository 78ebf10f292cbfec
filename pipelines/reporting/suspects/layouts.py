"""Images whose coarse layout is that of the others run backwards, or its negative."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.pipelines.reporting.suspects.comparing import FEWEST_CASES, LEAST, scatters, strength_of
from medshard.pipelines.reporting.suspects.numbers import AXES, subjects_of_views
from medshard.pipelines.reporting.suspects.suspect import RULE, Facts, Suspect, rarity

# Of bodies that are asymmetrical in one way, this is the least that the asymmetries of most cases have in common, and
# from -REVERSED on one is taken for the reverse. The least scatter of that correlation that is believed.
CONSISTENT, REVERSED = 0.3, 0.2
FLOOR = 0.1
OPPOSITE = -0.4

Floats = NDArray[np.float64]


def odd_layouts(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    """case -> facts of `suspicion_facts`. The usual layout is the median over the cases that have an image."""
    layouts: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = defaultdict(dict)
    for case, facts in sorted(cases.items()):
        for name, image in facts.get("images", {}).items():
            for subject, view in subjects_of_views(name, image):
                if "layout" in view:
                    layouts[subject, tuple(view["cells"])][case] = view["layout"]
    for (subject, cells), of_cases in sorted(layouts.items()):
        if len(of_cases) < FEWEST_CASES:
            continue
        array = np.array(list(of_cases.values()), np.float64).reshape(-1, *cells)
        usual = np.median(array, axis=0)
        yield from _negatives(subject, list(of_cases), _likeness(array, usual))
        for axis in range(3):
            lopsided = _likeness(array - np.flip(array, axis + 1), usual - np.flip(usual, axis))
            yield from _turned(subject, list(of_cases), lopsided, axis)


def _negatives(subject: str, cases: list[str], likeness: Floats) -> Iterator[Suspect]:
    if np.median(likeness) < -OPPOSITE:
        return
    weight = rarity(int(np.count_nonzero(likeness < OPPOSITE)), len(cases))
    for case, like in zip(cases, likeness, strict=True):
        if like < OPPOSITE and weight:
            yield Suspect(
                case=case,
                kind="values",
                subject=subject,
                reason=f"dark where the others are bright (correlation of the layouts {like:.2f})",
                strength=RULE * weight,
            )


def _turned(subject: str, cases: list[str], lopsided: Floats, axis: int) -> Iterator[Suspect]:
    """lopsided: correlation of what each image has more of at one end of the axis with what the usual one has."""
    usual = float(np.median(lopsided))
    if usual < CONSISTENT:
        return
    for case, like, score in zip(cases, lopsided, scatters(lopsided, FLOOR), strict=True):
        if like < -REVERSED and score <= -LEAST:
            yield Suspect(
                case=case,
                kind="swapped" if AXES[axis] == "left to right" else "misplaced",
                subject=subject,
                reason=f"the image seems to run backwards {AXES[axis]}: its asymmetry has a correlation of {like:.2f} "
                f"with the usual one, most others have {usual:.2f}",
                strength=strength_of(-float(score)),
            )


def _likeness(layouts: Floats, usual: Floats) -> Floats:
    """Correlation of each of (n, z, y, x) with (z, y, x); 0 of what is the same throughout."""
    away = (layouts - layouts.mean(axis=(1, 2, 3), keepdims=True)).reshape(len(layouts), -1)
    ideal = (usual - usual.mean()).ravel()
    size = np.linalg.norm(away, axis=1) * np.linalg.norm(ideal)
    return np.divide(away @ ideal, size, out=np.zeros(len(layouts)), where=size > 0)
