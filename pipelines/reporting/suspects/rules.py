"""What is strange by itself, whatever the scatter of the other cases: nothing marked, one value, sides exchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from medshard.pipelines.reporting.suspects.numbers import subjects_of_views
from medshard.pipelines.reporting.suspects.suspect import MOST, RULE, Facts, Suspect, rarity

# Marks on one line from which writing is believed.
WRITING = 5
COMMON = 0.98


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """weight: the part of a rule's full strength that the finding has."""

    case: str
    reason: str
    weight: float = 1.0


def findings(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    """case -> facts of `suspicion_facts`, suspects of the rules, each weaker the more cases it befalls."""
    yield from _empty_classes(cases)
    yield from _views(cases)
    yield from _exchanged_sides(cases)
    yield from _recordings(cases)


def duplicates(digests: Mapping[str, Mapping[str, str]]) -> Iterator[Suspect]:
    """case -> image -> digest of its voxels; images of one value are to be left out."""
    places = defaultdict(list)
    for case, images in sorted(digests.items()):
        for name, digest in sorted(images.items()):
            places[digest].append((case, name))
    for group in places.values():
        holders = sorted({case for case, _ in group})
        if len(holders) < 2:
            continue
        first = dict(reversed(group))
        weight = rarity(len(holders) // 2, len(digests))
        more = f" and of {len(holders) - 2} more cases" if len(holders) > 2 else ""
        for case, name in group:
            other = holders[0] if case != holders[0] else holders[1]
            yield Suspect(
                case=case,
                kind="duplicate",
                subject=name,
                reason=f"the same voxels as {other}/{first[other]}{more}",
                strength=max(1.0, RULE * weight),
            )


def _weighed(kind: str, subject: str, found: list[_Finding], total: int, least: float = 0.0) -> Iterator[Suspect]:
    share = rarity(len(found), total)
    for finding in found:
        strength = min(MOST, max(least, RULE * finding.weight * share))
        if strength > 0:
            yield Suspect(case=finding.case, kind=kind, subject=subject, reason=finding.reason, strength=strength)


def _empty_classes(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    layers: dict[str, dict[str, Facts]] = defaultdict(dict)
    for case, facts in sorted(cases.items()):
        for name, layer in facts.get("labels", {}).items():
            layers[name][case] = layer["classes"]
    for layer, of_cases in sorted(layers.items()):
        nothing = [case for case, classes in of_cases.items() if not any(c["voxels"] for c in classes.values())]
        yield from _weighed(
            "empty", layer, [_Finding(case=case, reason="nothing is marked") for case in nothing], len(of_cases), 1.0
        )
        for concept in sorted({concept for classes in of_cases.values() for concept in classes}):
            missing = [
                case
                for case, c in of_cases.items()
                if concept in c and not c[concept]["voxels"] and case not in nothing
            ]
            looked = sum(concept in classes for classes in of_cases.values())
            found = [
                _Finding(case=case, reason=f"not marked; {looked - len(missing)} of {looked} cases have it", weight=0.9)
                for case in missing
            ]
            yield from _weighed("empty", f"{layer}: {concept}", found, looked)


def _views(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    seen: dict[str, list[tuple[str, Facts, Facts]]] = defaultdict(list)
    for case, facts in sorted(cases.items()):
        for name, image in facts.get("images", {}).items():
            for subject, view in subjects_of_views(name, image):
                seen[subject].append((case, image, view))
    for subject, some in sorted(seen.items()):
        total = len(some)
        blank = [_Finding(case=case, reason=why) for case, _, view in some if (why := _blank(view))]
        yield from _weighed("blank", subject, blank, total, 1.0)
        wrong = [_Finding(case=case, reason=why) for case, image, view in some if (why := _values(image, view))]
        yield from _weighed("values", subject, wrong, total, 1.0)
        written = [
            _Finding(
                case=case, reason=f"{view['text']} sharp marks of one height stand in a row", weight=_written(view)
            )
            for case, _, view in some
            if view.get("text", 0) >= WRITING
        ]
        # Writing in every case is no outlier, and no less a risk to privacy.
        yield from _weighed("text", subject, written, total, 1.5)


def _written(view: Facts) -> float:
    return min(1.0, 0.5 + 0.15 * (float(view["text"]) - WRITING))


def _blank(view: Facts) -> str | None:
    if view["not_finite"] == 1.0:
        return "no voxel is a number"
    if view["low"] == view["high"]:
        return "one value throughout"
    if view["common"] > COMMON:
        return f"{100 * view['common']:.4g} % have one value"
    return None


def _values(image: Facts, view: Facts) -> str | None:
    if 0 < view["not_finite"] < 1:
        return f"{100 * view['not_finite']:.3g} % are not a number"
    if image["unit"] != "HU" or "percentiles" not in view or view["low"] == view["high"]:
        return None
    percentiles = view["percentiles"]
    if percentiles[-1] < -300 or percentiles[0] > 400:
        return f"no tissue in HU: 1st to 99th percentile {percentiles[0]:.0f} to {percentiles[-1]:.0f}"
    if view["low"] >= 0 and percentiles[0] < 100 and percentiles[-1] > 900:
        return f"nothing below 0 HU, the 99th percentile at {percentiles[-1]:.0f}: an offset of 1024 may be missing"
    return None


def _exchanged_sides(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    """Left and right of one name. Where the file states places, anatomy decides; else the majority of the entry."""
    order: dict[tuple[str, str], dict[str, tuple[float, bool]]] = defaultdict(dict)
    for case, facts in sorted(cases.items()):
        for layer, document in facts.get("labels", {}).items():
            for left, right, name in _pairs(document["classes"]):
                apart = right["x_mm"] - left["x_mm"]
                order[layer, name][case] = (apart, document["trusted"])
    for (layer, name), of_cases in sorted(order.items()):
        usual = float(np.median([np.sign(apart) for apart, _ in of_cases.values()])) or 1.0
        found = []
        for case, (apart, trusted) in of_cases.items():
            expected = 1.0 if trusted else usual
            if apart * expected < 0:
                why = "as the header places it" if trusted else "unlike most cases"
                found.append(
                    _Finding(case=case, reason=f"left lies {abs(apart):.3g} {'mm' if trusted else 'pixels'} "
                             f"on the right-hand side of right, {why}")
                )  # fmt: skip
        yield from _weighed("swapped", f"{layer}: {name}", found, len(of_cases), 4.0)


def _pairs(classes: Mapping[str, Facts]) -> Iterator[tuple[Facts, Facts, str]]:
    for concept, measures in classes.items():
        words = concept.split()
        if "left" not in words:
            continue
        partner = classes.get(" ".join("right" if word == "left" else word for word in words))
        if partner and "x_mm" in measures and "x_mm" in partner:
            yield measures, partner, " ".join(word for word in words if word != "left")


def _recordings(cases: Mapping[str, Facts]) -> Iterator[Suspect]:
    flat: dict[str, list[_Finding]] = defaultdict(list)
    wrong: dict[str, list[_Finding]] = defaultdict(list)
    for case, facts in sorted(cases.items()):
        for name, recording in facts.get("signals", {}).items():
            for channel, measures in zip(recording["channels"], recording["measures"], strict=False):
                subject = f"{name}: {channel}"
                if measures["not_finite"] > 0:
                    share = 100 * measures["not_finite"]
                    wrong[subject].append(_Finding(case=case, reason=f"{share:.3g} % are not a number"))
                if measures.get("flat", 0) > 0.5:
                    share = 100 * measures["flat"]
                    flat[subject].append(_Finding(case=case, reason=f"one value for {share:.3g} % of the time"))
        for name, slide in facts.get("slides", {}).items():
            if slide["tissue"] < 0.001:
                flat[name].append(_Finding(case=case, reason="no tissue on the slide"))
        for name, video in facts.get("videos", {}).items():
            if video["black"] > 0.9:
                flat[name].append(_Finding(case=case, reason=f"{100 * video['black']:.3g} % of the frames are black"))
    for subject, found in sorted(flat.items()):
        yield from _weighed("blank", subject, found, len(cases), 1.0)
    for subject, found in sorted(wrong.items()):
        yield from _weighed("values", subject, found, len(cases), 1.0)
