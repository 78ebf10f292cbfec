"""How the modalities or channels of a plan are normalised, from the fingerprints of its cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medshard.converters.fingerprint import Facts, merge_foregrounds, rounded
from medshard.converters.plan import IntensityRule

Rules = dict[str, IntensityRule]
Reasons = dict[str, str]


def rules_of_modalities(images: Sequence[Facts]) -> tuple[Rules, Reasons]:
    """Modality -> rule. CT in HU goes by the foreground of the data set, everything else case by case."""
    return _rules(_by_modality(images), equal_cases=False, only_ct=True)


def rules_of_channels(images: Mapping[str, Sequence[Facts]]) -> tuple[Rules, Reasons]:
    """Channel -> rule, where each channel is normalised by itself; which of them is CT in HU is said as above."""
    return _rules(images, equal_cases=False, only_ct=True)


def nnunet_rules(images: Mapping[str, Sequence[Facts]]) -> tuple[Rules, Reasons]:
    """Channel -> rule of nnU-Net: images in HU are its `CTNormalization`, others its `ZScoreNormalization`.

    nnU-Net takes as many foreground voxels of each case, so every case counts the same, whatever its foreground holds.
    """
    return _rules(images, equal_cases=True, only_ct=False)


def _by_modality(images: Sequence[Facts]) -> dict[str, list[Facts]]:
    groups: dict[str, list[Facts]] = {}
    for image in images:
        groups.setdefault(image["modality"], []).append(image)
    return groups


def _rules(images: Mapping[str, Sequence[Facts]], *, equal_cases: bool, only_ct: bool) -> tuple[Rules, Reasons]:
    rules: Rules = {}
    reasons: Reasons = {}
    for name, group in sorted(images.items()):
        in_hu = bool(group) and all(
            image["unit"] == "HU" and (image["modality"] == "CT" or not only_ct) for image in group
        )
        rules[name], reasons[f"intensity.{name}"] = _rule(group, equal_cases) if in_hu else _case_rule()
    return rules, reasons


def _case_rule() -> tuple[IntensityRule, str]:
    return IntensityRule(scheme="case"), "mean and standard deviation of each case: its numbers have no common unit"


def _rule(images: Sequence[Facts], equal_cases: bool) -> tuple[IntensityRule, str]:
    foregrounds = [image["foreground"] for image in images if image["foreground"] is not None]
    merged = merge_foregrounds(foregrounds, weigh="cases" if equal_cases else "voxels")
    if merged is None or merged["std"] == 0.0:
        return _case_rule()
    what = {"labels": "labelled voxels", "body": "voxels above -500 HU"}.get(merged["source"], "voxels that are not 0")
    weighed = ", every case counting the same" if equal_cases else ""
    return (
        IntensityRule(
            scheme="dataset",
            clip=(merged["p0_5"], merged["p99_5"]),
            mean=rounded(merged["mean"]),
            std=rounded(merged["std"]),
        ),
        f"0.5th and 99.5th percentile, mean and standard deviation of the {what} of {merged['cases']} cases{weighed}",
    )
