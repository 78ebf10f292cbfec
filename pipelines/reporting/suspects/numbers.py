"""The numbers of each case that are compared with those of the other cases of its entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medshard.pipelines.reporting.suspects.suspect import Facts

Side = Literal["both", "low", "high"]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One number of a case and how far it may be from the others'.

    scale: `log` compares ratios, `spread` compares with the range of the entry's images, `plain` compares as it is.
    floor: the least scatter, on that scale, that is believed of an entry. side: what is suspicious.
    words: what the number is. shown: how it is written.
    """

    name: str
    kind: str
    words: str
    scale: Literal["plain", "log", "spread"] = "plain"
    floor: float
    side: Side = "both"
    shown: Callable[[float], str] = lambda value: f"{value:.3g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    case: str
    subject: str
    layer: str | None
    feature: Feature
    value: float


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _large(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _share(name: str, kind: str, words: str, floor: float, side: Side = "both") -> Feature:
    return Feature(name=name, kind=kind, words=words, floor=floor, side=side, shown=_percent)


def _value(name: str, words: str) -> Feature:
    return Feature(name=name, kind="values", words=words, scale="spread", floor=0.05, shown=_large)


AXES = ("bottom to top", "back to front", "left to right")

_VIEW = (
    _value("low", "the lowest value is"),
    _value("high", "the highest value is"),
    _share("not_finite", "values", "not a number:", 0.001, "high"),
    _share("common", "blank", "the commonest value has", 0.05, "high"),
    _share("at_low", "values", "at the lowest value:", 0.05, "high"),
    _share("at_high", "values", "at the highest value:", 0.01, "high"),
    _share("blank_planes", "blank", "planes of one value:", 0.02, "high"),
    Feature(name="likeness", kind="blank", words="likeness of neighbours", floor=0.03, side="low"),
    Feature(name="fineness", kind="values", words="step between neighbours over the range", scale="log", floor=0.2),
    _share("border", "values", "darker than the border:", 0.1),
    Feature(name="body", kind="blank", words="body in the image", scale="log", floor=0.15, side="low", shown=_percent),
    Feature(name="text", kind="text", words="marks in a row", floor=1.5, side="high"),
)
_MIDDLES = (
    _value("p1", "the 1st percentile is"),
    _value("p50", "the median is"),
    _value("p99", "the 99th percentile is"),
)
_LEAN = Feature(name="lean", kind="values", words="median's place between the ends, -1 to 1:", floor=0.1)
_CONTRAST = Feature(
    name="contrast", kind="blank", words="range of values", scale="log", floor=0.25, side="low", shown=_large
)
_BODY_PLACES = tuple(_share(f"body_{axis}", "misplaced", f"the body lies, {axis}, at", 0.04) for axis in AXES)
_SPACING = tuple(
    Feature(name=f"spacing_{axis}", kind="grid", words=f"voxel size along {axis} (mm)", scale="log", floor=0.2)
    for axis in "zyx"
)
_SHAPE = tuple(
    Feature(name=f"shape_{axis}", kind="grid", words=f"voxels along {axis}", scale="log", floor=0.2, shown=_large)
    for axis in "zyx"
)

_ML = Feature(
    name="ml", kind="volume", words="volume", scale="log", floor=0.1, shown=lambda value: f"{_large(value)} ml"
)
_SHARE = Feature(name="share", kind="volume", words="share of the image", scale="log", floor=0.1, shown=_percent)
_EXTENT = tuple(
    Feature(
        name=f"extent_{axis}",
        kind="volume",
        words=f"length, {axis}, over the image's",
        scale="log",
        floor=0.1,
        shown=_percent,
    )
    for axis in AXES
)
_CENTRE = tuple(_share(f"centre_{axis}", "misplaced", f"centre, {axis}, at", 0.02) for axis in AXES)
_IN_BODY = tuple(_share(f"in_body_{axis}", "misplaced", f"centre in the body, {axis}, at", 0.02) for axis in AXES)
_CLASS = (
    _share("rank", "misplaced", "voxels of the image darker than the median inside:", 0.03),
    _share("off_body", "misplaced", "marked outside the body:", 0.04, "high"),
    _share("border", "misplaced", "marked at the image's border:", 0.02, "high"),
    Feature(name="drawn", kind="misplaced", words="change of the image across the rim over that beside it",
            scale="log", floor=0.1, side="low"),
    Feature(name="parts", kind="fragments", words="parts", scale="log", floor=0.7, side="high"),
)  # fmt: skip
_RING = Feature(
    name="ring", kind="misplaced", words="median inside less that around", scale="spread", floor=0.03, shown=_large
)
_TURNED = tuple(
    Feature(
        name=f"turned_{axis}",
        kind="swapped" if axis == AXES[2] else "misplaced",
        words=f"with the image run backwards {axis} the rim fits it, times as well as now,",
        floor=0.08,
        side="high",
        shown=lambda value: f"{np.exp(value):.2f}",
    )
    for axis in AXES
)

_CHANNEL = (
    _share("not_finite", "values", "not a number:", 0.001, "high"),
    _share("flat", "blank", "longest run of one value:", 0.02, "high"),
    _share("at_ends", "values", "at the lowest or highest value:", 0.01, "high"),
    Feature(name="spread", kind="values", words="range of values", scale="log", floor=0.3),
    _share("mains", "values", "power at the mains frequency:", 0.1, "high"),
)
_LEVEL = Feature(name="level", kind="values", words="middle value", scale="spread", floor=0.1)
_TISSUE = Feature(name="tissue", kind="blank", words="tissue on the slide", scale="log", floor=0.3, shown=_percent)


def numbers_of(case: str, facts: Facts) -> Iterator[Number]:
    """Every number of one case; `facts` are those of `suspicion_facts`."""
    for name, image in facts.get("images", {}).items():
        for subject, found in _of_image(name, image):
            yield from _numbers(case, subject, None, found)
    for layer, document in facts.get("labels", {}).items():
        for concept, measures in document["classes"].items():
            if measures.get("voxels"):
                found = _of_class(measures, document["trusted"])
                yield from _numbers(case, f"{layer}: {concept}", layer, found)
    for name, recording in facts.get("signals", {}).items():
        for channel, measures in zip(recording["channels"], recording["measures"], strict=False):
            found = [(feature, measures.get(feature.name)) for feature in (*_CHANNEL, _LEVEL)]
            yield from _numbers(case, f"{name}: {channel}", None, found)
    for name, slide in facts.get("slides", {}).items():
        yield from _numbers(case, name, None, [(_TISSUE, max(slide["tissue"], 1e-4))])


def subjects_of_views(name: str, image: Facts) -> Iterator[tuple[str, Facts]]:
    """What each view of an image is called, and its measures."""
    views = image["views"]
    for number, view in enumerate(views):
        yield name if len(views) == 1 else f"{name}, channel {number}", view


Found = list[tuple[Feature, Any]]


def _numbers(case: str, subject: str, layer: str | None, found: Found) -> Iterator[Number]:
    for feature, value in found:
        if value is not None and np.isfinite(value):
            yield Number(case=case, subject=subject, layer=layer, feature=feature, value=float(value))


def _of_image(name: str, image: Facts) -> Iterator[tuple[str, Found]]:
    grid = [*zip(_SHAPE, image["shape"], strict=True)]
    if image["trusted"]:
        grid += zip(_SPACING, image["spacing_mm"], strict=True)
    yield name, grid
    for subject, view in subjects_of_views(name, image):
        found: Found = [(feature, view.get(feature.name)) for feature in _VIEW]
        if "percentiles" in view:
            percentiles = view["percentiles"]
            found += zip(_MIDDLES, (percentiles[0], percentiles[3], percentiles[6]), strict=True)
            low, middle, high = percentiles[0], percentiles[3], percentiles[6]
            found.append((_CONTRAST, high - low))
            found.append((_LEAN, (2 * middle - low - high) / (high - low) if high > low else None))
            found += zip(_BODY_PLACES, (sum(side) / 2 for side in view["body_box"]), strict=True)
        yield subject, found


def _of_class(measures: Facts, trusted: bool) -> Found:
    found: Found = [(_ML if trusted else _SHARE, measures.get("ml" if trusted else "share"))]
    found += zip(_CENTRE, measures["centre"], strict=True)
    found += zip(_EXTENT, measures.get("extent", ()), strict=False)
    found += zip(_IN_BODY, measures.get("in_body", ()), strict=False)
    found += [(feature, measures.get(feature.name)) for feature in (*_CLASS, _RING)]
    drawn = measures.get("drawn")
    if drawn:
        turned = (value and np.log(value / drawn) for value in measures["turned"])
        found += zip(_TURNED, turned, strict=True)
    return found
