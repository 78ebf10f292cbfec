"""What an entry, or a user, says about a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from medshard.registry.schema.facts import Fraction
from medshard.registry.schema.model import Model, Name

PlanKind = Literal["volume", "nnunet", "isotropic", "native", "slices2d", "tiles", "frames", "clips", "pairs"]

KINDS_OF_FIELD: Mapping[str, tuple[PlanKind, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("tile_size", "microns_per_pixel", "least_tissue"), ("volume", "tiles")),
        **dict.fromkeys(("frames_hz", "most_frames"), ("volume", "frames")),
        **dict.fromkeys(("clip_frames", "clip_hz", "most_clips"), ("clips",)),
        "relation": ("pairs",),
        "slice_axis": ("slices2d",),
        "spacing_mm": ("volume", "nnunet", "isotropic", "slices2d", "clips", "pairs"),
        "kernel": ("volume", "isotropic", "slices2d", "clips", "pairs"),
        "antialias": ("volume", "isotropic", "slices2d", "clips", "pairs"),
    }
)
"""Fields that belong to some kinds only. A `volume` plan of slides or videos makes tiles or frames."""


class PlanDeclaration(Model):
    """What an entry says about a plan; the rest follows from the fingerprint. Axis order is (z, y, x).

    kind: the rules that it follows, docs/plans.md; by default `volume`, or `tiles` and `frames` of slides and videos.
    spacing_mm: `isotropic` takes one number. slice_axis: of `slices2d`, the axis that is never resampled.
    tile_size, microns_per_pixel, least_tissue: of the tiles of slides. frames_hz: frames of a video to take from each
    second, or `all` of them; most_frames: of one video. clip_frames, clip_hz, most_clips: frames of a clip, frames per
    second in it, clips of one video. relation: of the images of a `pairs` plan, the first of which is the reference.
    """

    kind: PlanKind | None = None
    channels: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    spacing_mm: Literal["median", "native"] | PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (
        "median"
    )
    kernel: Literal["cubic", "linear", "nearest"] = "cubic"
    antialias: StrictBool = True
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    inner_chunk: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    shard_mib: Annotated[int, Field(ge=1)] = 512
    slice_axis: Literal["z", "y", "x"] | None = None
    tile_size: PositiveInt | None = None
    microns_per_pixel: PositiveFloat | None = None
    least_tissue: Fraction | None = None
    frames_hz: PositiveFloat | Literal["all"] | None = None
    most_frames: PositiveInt | None = None
    clip_frames: PositiveInt | None = None
    clip_hz: PositiveFloat | None = None
    most_clips: PositiveInt | None = None
    relation: Literal["registration", "views", "grids"] | None = None

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Self:
        kind = self.kind or "volume"
        for name in sorted(self.model_fields_set):
            kinds = KINDS_OF_FIELD.get(name)
            if kinds is not None and kind not in kinds and getattr(self, name) is not None:
                raise _fault(name, f"`{name}` belongs to plans of the kind {' or '.join(kinds)}; this one is {kind}")
        if isinstance(self.spacing_mm, float) and kind != "isotropic":
            raise _fault("spacing_mm", "one number is for the kind isotropic; other kinds take three, (z, y, x)")
        if kind == "isotropic" and (self.spacing_mm == "native" or isinstance(self.spacing_mm, tuple)):
            raise _fault("spacing_mm", "the kind isotropic takes `median` or one number")
        if kind == "nnunet" and self.spacing_mm == "native":
            raise _fault("spacing_mm", "the kind nnunet has one spacing for all cases; the kind native keeps the grids")
        if kind == "pairs" and self.relation is None:
            raise _fault("relation", "a plan of the kind pairs says what relates its images")
        if kind == "pairs" and len(self.channels or ()) < 2:
            raise _fault("channels", "a plan of the kind pairs names two or more images, the reference first")
        return self

    def stated(self) -> dict[str, Any]:
        """Only what the entry says; what it leaves out follows from the fingerprint."""
        return self.model_dump(mode="json", exclude_unset=True)


def _fault(field: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("plan_field", "{message}", {"field": field, "message": message})
