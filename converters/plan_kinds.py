"""What each kind of plan takes from an entry's fingerprints: its grid, its windows and how it is normalised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from medshard.converters.fingerprint import Facts
from medshard.converters.plan import ClipRule, FrameRule, Kind, PairRule, Shape, TileRule, Triple
from medshard.converters.plan_intensity import nnunet_rules, rules_of_channels, rules_of_modalities
from medshard.converters.plan_spacing import SPACING_DECIMALS, isotropic_spacing, median_spacing, nnunet_spacing

Fields = dict[str, Any]
"""Fields of a `Plan` that a kind decides; `reasons` among them."""

AXES = ("z", "y", "x")
# nnU-Net normalises inside the body alone when the crop leaves less than this of the median volume.
NNUNET_SMALL_CROP = 0.75
# Windows are cubes while no voxel is longer than this many times its breadth.
NEARLY_CUBIC = 2.0
HOUSE_WINDOW = "the house default"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """given: what the declaration says. fingerprints: case -> facts of `fingerprint_volume`."""

    given: Mapping[str, Any]
    channels: tuple[str, ...]
    fingerprints: Mapping[str, Facts]

    @property
    def references(self) -> list[Facts]:
        """The first channel of every case that has it."""
        return self.images(self.channels[:1])

    @property
    def in_space(self) -> list[Facts]:
        """The references that say something of voxel size in three dimensions."""
        return [image for image in self.references if image["trusted_geometry"] and image["shape"][0] > 1]

    def images(self, channels: Sequence[str]) -> list[Facts]:
        return [
            facts["images"][name]
            for _, facts in sorted(self.fingerprints.items())
            for name in channels
            if name in facts["images"]
        ]


def _volume(asked: Asked) -> Fields:
    spacing, why = _median_or_stated(asked)
    flat = bool(asked.references) and all(image["shape"][0] == 1 for image in asked.references)
    patch, chunk = ((1, 256, 256), (1, 64, 64)) if flat else ((32, 96, 96), (16, 32, 32))
    window = "all images are 2-D" if flat else HOUSE_WINDOW
    return _joined({"spacing_mm": (spacing, why), "patch_size": (patch, window), "inner_chunk": (chunk, window)}, asked)


def _native(asked: Asked) -> Fields:
    fields = _volume(Asked(given={"spacing_mm": "native"}, channels=asked.channels, fingerprints=asked.fingerprints))
    return {**fields, "reasons": {**fields["reasons"], "spacing_mm": "a native plan keeps the grid of each case"}}


def _isotropic(asked: Asked) -> Fields:
    stated = asked.given.get("spacing_mm", "median")
    if stated == "median":
        count = len(asked.in_space)
        spacing: Triple | None = isotropic_spacing([image["spacing_mm"] for image in asked.in_space])
        why = f"median in-plane voxel size of {count} cases, along all axes"
    else:
        step = round(float(stated), SPACING_DECIMALS)
        spacing, why = (step, step, step), "stated"
    window = {"patch_size": ((96, 96, 96), "voxels are cubes"), "inner_chunk": ((16, 32, 32), HOUSE_WINDOW)}
    return _joined({"spacing_mm": (spacing, why), **window}, asked)


def _slices(asked: Asked) -> Fields:
    spacing, why = _median_or_stated(asked)
    axis, why_axis = _slice_axis(asked, spacing)
    along = f"one slice along {AXES[axis]}"
    facts: dict[str, tuple[Any, str]] = {
        "spacing_mm": (spacing, why if spacing is None else f"{why}; {AXES[axis]} is not resampled"),
        "slice_axis": (axis, why_axis),
        "patch_size": (_with_one(axis, 256), along),
        "inner_chunk": (_with_one(axis, 128), along),
    }
    return _joined(facts, asked)


def _nnunet(asked: Asked) -> Fields:
    cases = _training_cases(asked)
    images = {name: [facts["images"][name] for facts in cases if name in facts["images"]] for name in asked.channels}
    kept = [_crop_of(facts, asked.channels) for facts in cases if asked.channels[0] in facts["images"]]
    references = [
        (image, crop) for image, crop in zip(images[asked.channels[0]], kept, strict=True) if image["trusted_geometry"]
    ]
    spacing, why = _nnunet_spacing(asked, references)
    shares = sorted(
        math.prod(crop) / math.prod(image["shape"]) for image, crop in zip(images[asked.channels[0]], kept, strict=True)
    )
    share = _median(shares)
    rules, reasons = nnunet_rules(images)
    coarsest = max(range(3), key=lambda axis: (spacing[axis], -axis)) if spacing is not None else 0
    first, *rest = (coarsest, *(axis for axis in range(3) if axis != coarsest))
    facts: dict[str, tuple[Any, str]] = {
        "spacing_mm": (spacing, why),
        "patch_size": _window(spacing, coarsest),
        "inner_chunk": ((16, 32, 32), HOUSE_WINDOW),
        "crop_to_nonzero": (True, f"nnU-Net's rule; the median case keeps {share:.1%} of its voxels"),
        "mask_zeros": (share < NNUNET_SMALL_CROP, f"nnU-Net's rule: yes below {NNUNET_SMALL_CROP:.0%} of the voxels"),
        "transpose": ((first, rest[0], rest[1]), "the coarsest axis first, as nnU-Net has it; axes stay as they are"),
    }
    fields = _with_reasons(facts)
    fields |= {"kernel": "cubic", "antialias": False, "stored": "normalised", "intensity": rules}
    fields["reasons"] |= {"kernel": "nnU-Net's", "antialias": "nnU-Net has none", **reasons}
    return fields


def _pairs(asked: Asked) -> Fields:
    relation = asked.given["relation"]
    others = () if relation == "grids" else asked.channels[1:]
    fields = _volume(asked)
    if others:
        fields = _joined(
            {name: (fields[name], fields["reasons"][name]) for name in ("spacing_mm", "patch_size", "inner_chunk")},
            Asked(given=asked.given, channels=asked.channels[:1], fingerprints=asked.fingerprints),
        )
        # Views go by their modality; so does the reference, unless its channels are normalised each by itself.
        rules, reasons = rules_of_modalities(asked.images(asked.channels))
        if fields.get("stored") == "normalised":
            rules, reasons = {**rules, **fields["intensity"]}, {**reasons, **fields["reasons"]}
        fields |= {"channels": asked.channels[:1], "intensity": rules}
        fields["reasons"] |= reasons
    return {**fields, "pairs": PairRule(relation=relation, others=others)}


def _tiles(asked: Asked) -> Fields:
    names = {"tile_size": "size", "microns_per_pixel": "microns_per_pixel", "least_tissue": "least_tissue"}
    rule = TileRule(**{names[key]: asked.given[key] for key in names if key in asked.given})
    tile = (1, rule.size, rule.size)
    return {**_stack(asked, tile, tile, "one tile"), "tiles": rule}


def _frames(asked: Asked) -> Fields:
    rate = asked.given.get("frames_hz", FrameRule.rate_hz)
    rule = FrameRule(rate_hz=None if rate == "all" else rate, most=asked.given.get("most_frames", FrameRule.most))
    return {**_stack(asked, (1, 256, 256), (1, 64, 64), "256 x 256 of one frame"), "frames": rule}


def _clips(asked: Asked) -> Fields:
    names = {"clip_frames": "length", "clip_hz": "rate_hz", "most_clips": "most"}
    rule = ClipRule(**{names[key]: asked.given[key] for key in names if key in asked.given})
    patch, chunk = (rule.length, 128, 128), (min(rule.length, 8), 64, 64)
    fields = _stack(asked, patch, chunk, f"{rule.length} frames of one clip")
    if asked.references:
        spacing, why = _median_or_stated(asked)
        facts = {"spacing_mm": (spacing, why if spacing is None else f"{why}; in the plane only")}
        fields |= {name: value for name, (value, _) in facts.items()}
        fields["reasons"] |= {name: why for name, (_, why) in facts.items()}
    return {**fields, "clips": rule, "slice_axis": 0}


RULES: Mapping[Kind, Callable[[Asked], Fields]] = MappingProxyType(
    {
        "volume": _volume,
        "nnunet": _nnunet,
        "isotropic": _isotropic,
        "native": _native,
        "slices2d": _slices,
        "tiles": _tiles,
        "frames": _frames,
        "clips": _clips,
        "pairs": _pairs,
    }
)


def _with_reasons(facts: Mapping[str, tuple[Any, str]]) -> Fields:
    fields: Fields = {name: value for name, (value, _) in facts.items()}
    fields["reasons"] = {name: why for name, (_, why) in facts.items()}
    return fields


def _joined(facts: Mapping[str, tuple[Any, str]], asked: Asked) -> Fields:
    """With how the channels are normalised: together by their modality, or each by itself where there are several."""
    fields = _with_reasons(facts)
    # Three channels of a photograph are one colour; those of an image in space are measurements of their own.
    measured = any(image["channels"] > 1 and image["trusted_geometry"] for image in asked.references)
    if len(asked.channels) > 1 or measured:
        rules, reasons = rules_of_channels({name: asked.images([name]) for name in asked.channels})
        fields["stored"] = "normalised"
    else:
        rules, reasons = rules_of_modalities(asked.images(asked.channels))
    fields["intensity"] = rules
    fields["reasons"] |= reasons
    return fields


def _stack(asked: Asked, patch: Shape, chunk: Shape, window: str) -> Fields:
    rules, reasons = rules_of_modalities(asked.images(asked.channels))
    return {
        "spacing_mm": None,
        "patch_size": patch,
        "inner_chunk": chunk,
        "intensity": rules,
        "reasons": {"patch_size": window, "inner_chunk": window, **reasons},
    }


def _median_or_stated(asked: Asked) -> tuple[Triple | None, str]:
    spacing = asked.given.get("spacing_mm", "median")
    if spacing == "native":
        return None, "stated: native"
    if not isinstance(spacing, str):
        z, y, x = (round(float(step), SPACING_DECIMALS) for step in spacing)
        return (z, y, x), "stated"
    known = asked.in_space
    if not known:
        return None, "no image has a trusted voxel size and more than one slice: each keeps its own grid"
    shapes = [image["shape"] for image in known]
    return median_spacing([image["spacing_mm"] for image in known], shapes), f"median of {len(known)} cases"


def _slice_axis(asked: Asked, spacing: Triple | None) -> tuple[int, str]:
    if "slice_axis" in asked.given:
        return AXES.index(asked.given["slice_axis"]), "stated"
    if spacing is None or len(set(spacing)) == 1:
        return 0, "no axis has longer voxels than the others"
    return max(range(3), key=lambda axis: (spacing[axis], -axis)), "the axis with the longest voxels"


def _training_cases(asked: Asked) -> list[Facts]:
    """nnU-Net's fingerprint is that of the training cases: the labelled ones, where there are any."""
    cases = [facts for _, facts in sorted(asked.fingerprints.items())]
    return [facts for facts in cases if facts["labels"]] or cases


def _nnunet_spacing(asked: Asked, references: Sequence[tuple[Facts, Sequence[int]]]) -> tuple[Triple | None, str]:
    stated = asked.given.get("spacing_mm", "median")
    if not isinstance(stated, str):
        z, y, x = (float(step) for step in stated)
        return (z, y, x), "stated"
    if not references:
        return None, "no image has a trusted voxel size: each keeps its own grid"
    spacing = nnunet_spacing([image["spacing_mm"] for image, _ in references], [crop for _, crop in references])
    return spacing, f"nnU-Net's rule on {len(references)} cases: median, 10th percentile along thick slices"


def _crop_of(facts: Facts, channels: Sequence[str]) -> tuple[int, ...]:
    """Voxels (z, y, x) of the first channel after the crop to what is not 0 in any channel on its grid."""
    reference = facts["images"][channels[0]]
    boxes = [
        facts["images"][name]["nonzero_box"]
        for name in channels
        if name in facts["images"] and facts["images"][name]["shape"] == reference["shape"]
    ]
    known = [box for box in boxes if box is not None]
    if not known:
        return tuple(reference["shape"])
    return tuple(max(box[axis][1] for box in known) - min(box[axis][0] for box in known) for axis in range(3))


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    if not values:
        return 1.0
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _window(spacing: Triple | None, coarsest: int) -> tuple[Shape, str]:
    if spacing is not None and max(spacing) <= NEARLY_CUBIC * min(spacing):
        return (96, 96, 96), "voxels are nearly cubes"
    return _with_one(coarsest, 96, 32), "fewer along the coarsest axis"


def _with_one(axis: int, others: int, along: int = 1) -> Shape:
    z, y, x = (along if number == axis else others for number in range(3))
    return z, y, x
