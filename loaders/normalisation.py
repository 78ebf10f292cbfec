"""Stored numbers -> what a network sees, by the plan's intensity rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.volume import Array
from medshard.errors import StoreError
from medshard.loaders.sample_row import SampleRow


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """`(clip(slope * stored + intercept) - mean) / std` of one sample, in float32.

    outside: the physical value of voxels outside of the volume.
    """

    slope: float
    intercept: float
    clip: tuple[float, float] | None
    mean: float
    std: float
    outside: float

    def apply(self, values: Array) -> Array:
        """Normalise stored numbers that were read as float32, in place."""
        if (self.slope, self.intercept) != (1.0, 0.0):
            np.multiply(values, np.float32(self.slope), out=values)
            np.add(values, np.float32(self.intercept), out=values)
        return self._scale(values)

    @property
    def padding(self) -> float:
        """What `outside` becomes: rounded exactly like a voxel of that value."""
        return float(self._scale(np.array([self.outside], np.float32))[0])

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
    Raises StoreError when the plan's rule or the sample lacks the numbers that the scheme needs.
    """
    rule = plan.intensity.get(row.modality, IntensityRule(scheme="case"))
    smallest = min(row.statistics.minimum if row.statistics is not None else 0.0, 0.0)
    lower_clip = smallest if rule.clip is None else rule.clip[0]
    if not normalise:
        outside = min(lower_clip, smallest)
        return Normalisation(slope=row.slope, intercept=row.intercept, clip=None, mean=0.0, std=1.0, outside=outside)
    source = rule if rule.scheme == "dataset" else row.statistics
    if source is None or source.mean is None or source.std is None:
        raise StoreError(
            "plan.intensity",
            where=row.name,
            problem=f"the intensity scheme {rule.scheme!r} has no mean and standard deviation",
            details={"plan": plan.name, "modality": row.modality},
            action="Build the fingerprint and the plan again.",
        )
    std = source.std if source.std > 0.0 else 1.0  # a constant image stays constant
    return Normalisation(
        slope=row.slope, intercept=row.intercept, clip=rule.clip, mean=source.mean, std=std, outside=lower_clip
    )
