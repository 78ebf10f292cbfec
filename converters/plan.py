"""The frozen recipe that turns volumes into samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medshard.registry.store.digests import sha256_json
from medshard.registry.store.objects import ObjectRef, Store

FORMAT_VERSION = 1

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class IntensityRule:
    """How the loader normalises one modality: clip, then `(value - mean) / std`.

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
class Plan:
    """A named, frozen recipe for one entry; its digest names it.

    recipe_digest: digest of the declaration that it was resolved from; the plan stays while the declaration does,
        also when cases are added.
    channels: names of the images that are stacked as channels, all on the grid of the first.
    spacing_mm: target voxel size (z, y, x); None keeps each case's own grid.
    antialias: low-pass before sampling along axes that get coarser.
    patch_size: (z, y, x) that the inner chunks are tied to.
    inner_chunk: (z, y, x) of the smallest unit that a reader decodes.
    shard_bytes: size that a shard is closed at.
    tiles, frames: where the first channel is a slide or a video. The z axis of the sample then counts tiles or frames.
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

    @property
    def digest(self) -> str:
        return sha256_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        document["intensity"] = {modality: asdict(rule) for modality, rule in sorted(self.intensity.items())}
        # Left out where it says nothing: plans of volumes keep the digest that they were frozen with.
        for name in ("tiles", "frames"):
            if document[name] is None:
                del document[name]
        return {"format_version": FORMAT_VERSION, **document}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        fields = {name: value for name, value in document.items() if name != "format_version"}
        for name in ("channels", "patch_size", "inner_chunk"):
            fields[name] = tuple(fields[name])
        if fields["spacing_mm"] is not None:
            fields["spacing_mm"] = tuple(fields["spacing_mm"])
        fields["intensity"] = {
            modality: IntensityRule(**{**rule, "clip": tuple(rule["clip"]) if rule["clip"] else None})
            for modality, rule in document["intensity"].items()
        }
        if fields.get("tiles"):
            fields["tiles"] = TileRule(**fields["tiles"])
        if fields.get("frames"):
            fields["frames"] = FrameRule(**fields["frames"])
        return cls(**fields)


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
