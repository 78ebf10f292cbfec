"""Stored numbers -> what a network sees, by the plan's intensity rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.volume import Array
from medshard.errors import StoreError
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.windows import Scale


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """`(clip(slope * stored + intercept) - mean) / std` of one sample, in float32.

    outside: the value of voxels outside of the volume before that is subtracted and divided.
    channels: None, or a slope and an intercept for each channel, which bring what comes out to physical units: of
        samples that are stored normalised, each channel by itself.
    outside_of: the values of voxels outside of the volume after `finish`, where there are `channels`.
    """

    slope: float
    intercept: float
    clip: tuple[float, float] | None
    mean: float
    std: float
    outside: float
    channels: tuple[tuple[float, float], ...] | None = None
    outside_of: tuple[float, ...] | None = None

    @property
    def scale(self) -> Scale:
        """The same as a reader is asked for it; `finish` does what is left where there are `channels`."""
        low, high = self.clip or (None, None)
        return Scale(slope=self.slope, intercept=self.intercept, low=low, high=high, mean=self.mean, std=self.std)

    def apply(self, values: Array) -> Array:
        """Normalise stored numbers `(c, z, y, x)` that were read as float32, in place."""
        if (self.slope, self.intercept) != (1.0, 0.0):
            np.multiply(values, np.float32(self.slope), out=values)
            np.add(values, np.float32(self.intercept), out=values)
        return self.finish(self._scale(values))

    def finish(self, values: Array) -> Array:
        """What no `Scale` can say, in place: a slope and an intercept for each channel of `(c, z, y, x)`."""
        if self.channels is not None:
            for channel, (slope, intercept) in zip(values, self.channels, strict=True):
                np.multiply(channel, np.float32(slope), out=channel)
                np.add(channel, np.float32(intercept), out=channel)
        return values

    @property
    def padding(self) -> float:
        """What `outside` becomes before `finish`: rounded exactly like a voxel of that value."""
        return float(self._scale(np.array([self.outside], np.float32))[0])

    @property
    def missing(self) -> float:
        """What a channel shows that the sample does not have, after `finish`: as outside, the smallest of several."""
        return self.padding if self.outside_of is None else min(self.outside_of)

    def _scale(self, values: Array) -> Array:
        if self.clip is not None:
            np.clip(values, *self.clip, out=values)
        if (self.mean, self.std) != (0.0, 1.0):
            np.subtract(values, np.float32(self.mean), out=values)
            np.divide(values, np.float32(self.std), out=values)
        return values


def normalisation_of(row: SampleRow, plan: Plan, *, normalise: bool = True) -> Normalisation:
    """How a sample is normalised: by the plan's rule for its modality, or by `case` where the plan has none.

    Outside of the volume lies what the modality shows where nothing is: the lower clip value (air, in CT), else the
    sample's smallest value or zero, whichever is smaller. With `normalise=False` values are physical and outside of
    the volume is the smallest of these three.
    Samples that are stored normalised are so already; their outside is the smallest of all channels, and 0 under a
    plan of the kind nnunet, which pads so. Physical, each channel has its own (`outside_of`).
    Raises StoreError when the plan's rule or the sample lacks the numbers that the scheme needs, and
    StoreError[sample.masked] for physical values of a sample whose background was set to the normalised 0: that is the
    number of a voxel of the mean too, and next to the body resampling mixed the two.
    """
    if plan.stored == "normalised" and row.unit == "normalised":
        return _of_normalised(row, plan, normalise)
    return _of_physical(
        _Values(
            name=row.name,
            modality=row.modality,
            slope=row.slope,
            intercept=row.intercept,
            mean=row.statistics.mean if row.statistics is not None else None,
            std=row.statistics.std if row.statistics is not None else None,
            minimum=row.statistics.minimum if row.statistics is not None else None,
        ),
        plan,
        normalise,
    )


def view_normalisation(row: SampleRow, view: str, plan: Plan, *, normalise: bool = True) -> Normalisation:
    """How `views/<view>` of a sample is normalised: as an image of its modality. Raises as `normalisation_of`."""
    facts: Mapping[str, Any] = row.contents["views"][view]
    statistics: Mapping[str, float] = facts["statistics"] or {}
    values = _Values(
        name=f"{row.name} {view}",
        modality=facts["modality"],
        slope=facts["slope"],
        intercept=facts["intercept"],
        mean=statistics.get("mean"),
        std=statistics.get("std"),
        minimum=statistics.get("minimum"),
    )
    return _of_physical(values, plan, normalise)


@dataclass(frozen=True, kw_only=True)
class _Values:
    """What is known of the stored numbers of an image: value = slope * stored + intercept, and its statistics."""

    name: str
    modality: str
    slope: float
    intercept: float
    mean: float | None
    std: float | None
    minimum: float | None


def _of_normalised(row: SampleRow, plan: Plan, normalise: bool) -> Normalisation:
    smallest = min(row.statistics.minimum if row.statistics is not None else 0.0, 0.0)
    channels, outside_of = None, None
    if not normalise:
        facts = [row.contents["channels"][str(number)] for number in range(row.channels)]
        if any(channel.get("masked") for channel in facts):
            raise _masked(row, plan)
        channels = tuple((float(channel["slope"]), float(channel["intercept"])) for channel in facts)
        outside_of = tuple(_outside_of(channel, smallest) for channel in facts)
    return Normalisation(
        slope=row.slope,
        intercept=row.intercept,
        clip=None,
        mean=0.0,
        std=1.0,
        outside=0.0 if plan.kind == "nnunet" else smallest,
        channels=channels,
        outside_of=outside_of,
    )


def _outside_of(channel: Mapping[str, Any], smallest: float) -> float:
    """The physical value outside of the volume: the least of the lower clip value, `smallest` (normalised) and 0."""
    lower_clip = [] if channel.get("clip") is None else [float(channel["clip"][0])]
    return min(0.0, float(channel["slope"]) * smallest + float(channel["intercept"]), *lower_clip)


def _masked(row: SampleRow, plan: Plan) -> StoreError:
    return StoreError(
        "sample.masked",
        where=row.name,
        problem="its background was set to the normalised 0, so physical values cannot be told from what is stored",
        details={"plan": plan.name, "kind": plan.kind},
        action="Read it normalised, or take physical values from a plan of another kind (volume).",
    )


def _of_physical(values: _Values, plan: Plan, normalise: bool) -> Normalisation:
    rule = plan.intensity.get(values.modality, IntensityRule(scheme="case"))
    smallest = min(values.minimum if values.minimum is not None else 0.0, 0.0)
    lower_clip = smallest if rule.clip is None else rule.clip[0]
    slope, intercept = values.slope, values.intercept
    if not normalise:
        outside = min(lower_clip, smallest)
        return Normalisation(slope=slope, intercept=intercept, clip=None, mean=0.0, std=1.0, outside=outside)
    mean, std = (rule.mean, rule.std) if rule.scheme == "dataset" else (values.mean, values.std)
    if mean is None or std is None:
        raise StoreError(
            "plan.intensity",
            where=values.name,
            problem=f"the intensity scheme {rule.scheme!r} has no mean and standard deviation",
            details={"plan": plan.name, "modality": values.modality},
            action="Build the fingerprint and the plan again.",
        )
    std = std if std > 0.0 else 1.0  # a constant image stays constant
    return Normalisation(slope=slope, intercept=intercept, clip=rule.clip, mean=mean, std=std, outside=lower_clip)
