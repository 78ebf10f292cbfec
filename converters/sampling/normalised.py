"""Channels that are stored normalised, each by its own rule: in nnU-Net's order, or after they were resampled.

Normalisation is `(clip(value) - mean) / std`. What it was stands in the `ChannelScale`s of the sample, so that physical
values come back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.quantisation import (
    MOST_HALVINGS,
    Quantised,
    quantise_normalised,
    source_step,
)
from medshard.converters.resampling import Floats
from medshard.converters.sampling.sample import ChannelScale
from medshard.converters.volume import Image

STATISTICS_DIGITS = 9
CASE_RULE = IntensityRule(scheme="case")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of an image of the plan: `name` is that of the image."""

    name: str
    image: Image
    rule: IntensityRule


def array_channels(names: Sequence[str], images: Sequence[Image], plan: Plan) -> list[Channel]:
    """The channels of the stacked array, in order; an image may have several, which share its rule."""
    return [
        Channel(name=name, image=image, rule=plan.intensity.get(name, CASE_RULE))
        for name, image in zip(names, images, strict=True)
        for _ in range(image.array.shape[-4])
    ]


def normalise_channels(
    values: Floats, channels: Sequence[Channel], chosen: NDArray[np.bool_] | None, *, masked: bool = False
) -> tuple[ChannelScale, ...]:
    """Normalise `(c, z, y, x)` in place.

    chosen: (z, y, x), the voxels that statistics of `case` channels are taken of; without it those that are not exactly
    zero, channel by channel, or all if none is. masked: `case` channels become 0 outside of `chosen`.
    """
    return tuple(_normalise(plane, channel, chosen, masked) for plane, channel in zip(values, channels, strict=True))


def quantised_channels(
    values: Floats, channels: Sequence[Channel], scales: Sequence[ChannelScale], *, resampled: bool
) -> Quantised:
    """Normalised channels as integers of one step, no coarser than what their sources were stored in.

    Hounsfield units keep steps of 1 HU, and a single CT whole ones: its stored 0 is the integer next to the mean.
    """
    steps = [
        _wanted_step(channel.image, scale, resampled=resampled) for channel, scale in zip(channels, scales, strict=True)
    ]
    intercept = 0.0
    if len(channels) == 1 and channels[0].image.rescale.unit == "HU":
        mean, std = scales[0].intercept, scales[0].slope
        intercept = (round(mean) - mean) / std
    return quantise_normalised(values, steps, intercept=intercept)


def nonzero_voxels(values: Floats) -> NDArray[np.bool_]:
    """(z, y, x): where any channel of `(c, z, y, x)` is not 0."""
    nonzero = values[0] != 0
    for channel in values[1:]:
        nonzero |= channel != 0
    return nonzero


def body_of(nonzero: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is not 0, with the holes in it, as nnU-Net 2.8.1 has it (`create_nonzero_mask`)."""
    return np.asarray(ndimage.binary_fill_holes(nonzero), np.bool_)


def _normalise(values: Floats, channel: Channel, chosen: NDArray[np.bool_] | None, masked: bool) -> ChannelScale:
    rule = channel.rule
    if rule.scheme == "dataset" and rule.mean is not None and rule.std is not None:
        mean, std, masked = rule.mean, rule.std, False
    else:
        mean, std = _mean_and_std(values, chosen)
    if rule.clip is not None:
        np.clip(values, *rule.clip, out=values)
    np.subtract(values, np.float32(mean), out=values)
    np.divide(values, np.float32(std), out=values)
    if masked and chosen is not None:
        values[~chosen] = 0.0
    return ChannelScale(
        image=channel.name,
        modality=channel.image.modality,
        unit=channel.image.rescale.unit,
        slope=std,
        intercept=mean,
        clip=rule.clip,
        masked=masked,
    )


def _mean_and_std(values: Floats, chosen: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Of `(z, y, x)`, plane by plane so that no copy of all is made; a constant image has the deviation 1."""

    def planes() -> Iterator[Floats]:
        if chosen is not None:
            yield from (plane[mask] for plane, mask in zip(values, chosen, strict=True))
        elif nothing:
            yield from values
        else:
            yield from (plane[plane != 0] for plane in values)

    nothing = chosen is None and not values.any()
    count = sum(plane.size for plane in planes())
    mean = math.fsum(float(plane.sum(dtype=np.float64)) for plane in planes()) / count
    squares = math.fsum(float(np.square(plane.astype(np.float64) - mean).sum()) for plane in planes())
    std = _digits(math.sqrt(squares / count))
    return _digits(mean), std if std > 0.0 else 1.0


def _wanted_step(image: Image, scale: ChannelScale, *, resampled: bool) -> float | None:
    """The step of a channel's source in normalised units, finer by the same halvings as `quantise` has."""
    if scale.unit == "HU":
        return 1.0 / scale.slope
    step = source_step(image)
    if step is None:
        return None
    return step / scale.slope / (2**MOST_HALVINGS if resampled else 1)


def _digits(value: float) -> float:
    """Few enough that the order of a sum on another processor does not show."""
    return float(f"{value:.{STATISTICS_DIGITS}g}")
