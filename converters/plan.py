"""The frozen recipe that turns volumes into samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from medshard.errors import StoreError
from medshard.registry.store.digests import sha256_json
from medshard.registry.store.objects import ObjectRef, Store

FORMAT_VERSION = 1

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Kind = Literal["volume", "nnunet", "isotropic", "native", "slices2d", "tiles", "frames", "clips", "pairs"]
Relation = Literal["registration", "views", "grids"]


@dataclass(frozen=True, kw_only=True)
class IntensityRule:
    """How one modality, or one channel, is normalised: clip, then `(value - mean) / std`.

    scheme: `dataset` uses the numbers here (CT, where HU mean the same in every scan); `case` uses each sample's
        own mean and standard deviation (MR and the rest).
    clip: (low, high) in physical units, or None.
    """

    scheme: Literal["dataset", "case"]
    clip: tuple[float, float] | None = None
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class TileRule:
    """How a slide becomes samples.

    size: side of a tile in pixels. microns_per_pixel: wanted pixel size; the slide's finest where it states none.
    least_tissue: share of a tile that has to be tissue.
    """

    size: int = 256
    microns_per_pixel: float = 0.5
    least_tissue: float = 0.25


@dataclass(frozen=True, kw_only=True)
class FrameRule:
    """Which frames of a video become samples. rate_hz: about so many of each second; None takes them all.

    Of a video without times every frame is taken. most: of one video; evenly spaced ones are kept.
    """

    rate_hz: float | None = 1.0
    most: int = 4096


@dataclass(frozen=True, kw_only=True)
class ClipRule:
    """Which runs of consecutive frames of a video become samples.

    length: frames of a clip. rate_hz: frames per second of a clip; None takes them as they are, and a video without
    times is taken so too. most: clips of one video; evenly spread ones are kept. An image with a time axis is one clip
    for each slice.
    """

    length: int = 16
    rate_hz: float | None = None
    most: int = 256


@dataclass(frozen=True, kw_only=True)
class PairRule:
    """Images of one case that belong together.

    relation: `grids` of one body in one position (PET and CT): all are channels on the grid of the first.
        `registration` and `views`: the images do not match voxel by voxel (before and after; two projections).
    others: the images that keep a grid of their own beside the reference, as views of the sample.
    """

    relation: Relation
    others: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A named, frozen recipe for one entry; its digest names it.

    kind: the rules that it was resolved by (docs/plans.md).
    recipe_digest: digest of the declaration that it was resolved from; the plan stays while the declaration does,
        also when cases are added.
    channels: names of the images that are stacked as channels, all on the grid of the first.
    spacing_mm: target voxel size (z, y, x); None keeps each case's own grid.
    antialias: low-pass before sampling along axes that get coarser.
    patch_size: (z, y, x) that the inner chunks are tied to.
    inner_chunk: (z, y, x) of the smallest unit that a reader decodes.
    shard_bytes: size that a shard is closed at.
    intensity: by modality; by name of the channel where `stored` is `normalised`.
    tiles, frames, clips: where the first channel is a slide or a video. The z axis of the sample then counts tiles or
        frames. pairs: see there.
    stored: `physical` values, which the loader normalises; or `normalised` ones, each channel by its own rule.
    slice_axis: 0, 1 or 2 of (z, y, x), the axis that is never resampled: its steps are slices.
    crop_to_nonzero: cut away the margin in which all channels are 0. mask_zeros: statistics of `case` channels leave
        out the background of zeros around the body, and it stays 0 when they are normalised.
    transpose: the order of (z, y, x) that nnU-Net would bring the axes into. Nothing is transposed here.
    reasons: field -> where its value comes from, for people; no part of the digest.
    """

    name: str
    entry: str
    recipe_digest: str
    channels: tuple[str, ...]
    spacing_mm: Triple | None
    kernel: Literal["cubic", "linear", "nearest"] = "cubic"
    antialias: bool = True
    patch_size: Shape = (32, 96, 96)
    inner_chunk: Shape = (16, 32, 32)
    shard_bytes: int = 512 << 20
    intensity: Mapping[str, IntensityRule] = field(default_factory=dict)
    tiles: TileRule | None = None
    frames: FrameRule | None = None
    kind: Kind = "volume"
    stored: Literal["physical", "normalised"] = "physical"
    slice_axis: int | None = None
    crop_to_nonzero: bool = False
    mask_zeros: bool = False
    transpose: tuple[int, int, int] | None = None
    clips: ClipRule | None = None
    pairs: PairRule | None = None
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        return sha256_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """What the plan says, without its reasons."""
        document = asdict(self)
        del document["reasons"]
        document["intensity"] = {modality: asdict(rule) for modality, rule in sorted(self.intensity.items())}
        # Left out where they say nothing: plans keep the digest that they were frozen with.
        silent = {**_SILENT, "kind": _kind_of_rules(self)}
        document = {name: value for name, value in document.items() if name not in silent or value != silent[name]}
        return {"format_version": FORMAT_VERSION, **document}

    def to_document(self) -> dict[str, Any]:
        """What is stored when the plan is frozen: `to_json` with the reasons."""
        return {**self.to_json(), **({"reasons": dict(self.reasons)} if self.reasons else {})}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Raises StoreError[plan.format_version] for a plan with fields that this medshard does not know."""
        fields = {name: value for name, value in document.items() if name != "format_version"}
        if unknown := sorted(fields.keys() - cls.__dataclass_fields__.keys()):
            raise StoreError(
                "plan.format_version",
                where=f"{document.get('entry')}@{document.get('name')}",
                problem="the frozen plan has fields that this medshard does not know",
                details={"fields": ", ".join(unknown)},
                action="Install the medshard that froze it, or a newer one.",
            )
        for name in ("channels", "patch_size", "inner_chunk", "transpose"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        if fields["spacing_mm"] is not None:
            fields["spacing_mm"] = tuple(fields["spacing_mm"])
        fields["intensity"] = {
            modality: IntensityRule(**{**rule, "clip": tuple(rule["clip"]) if rule["clip"] else None})
            for modality, rule in document["intensity"].items()
        }
        for name, rule in (("tiles", TileRule), ("frames", FrameRule), ("clips", ClipRule)):
            if fields.get(name):
                fields[name] = rule(**fields[name])
        if fields.get("pairs"):
            fields["pairs"] = PairRule(**{**fields["pairs"], "others": tuple(fields["pairs"]["others"])})
        plan = cls(**fields)
        return plan if "kind" in fields else replace(plan, kind=_kind_of_rules(plan))


_SILENT: Mapping[str, Any] = {
    "tiles": None,
    "frames": None,
    "clips": None,
    "pairs": None,
    "stored": "physical",
    "slice_axis": None,
    "crop_to_nonzero": False,
    "mask_zeros": False,
    "transpose": None,
}


def _kind_of_rules(plan: Plan) -> Kind:
    """What a plan is where it does not say so."""
    return "tiles" if plan.tiles else "frames" if plan.frames else "volume"


def declaration_digest(declaration: Mapping[str, Any]) -> str:
    """What a plan remembers of the declaration that it was resolved from."""
    return sha256_json(_plain(declaration))


def read_plan(store: Store, ref: ObjectRef) -> Plan:
    return Plan.from_json(json.loads(store.read_bytes(ref)))


def _plain(value: Any) -> Any:
    """JSON of a declaration, so that a tuple and a list are the same recipe."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
