"""How physical values become small integers without losing what a scanner measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.volume import Array, Image

LARGEST_INT16 = 32767
# Steps that a float image is divided into on either side of zero.
FLOAT_STEPS = 32000
# A source step is halved at most this often, so that rounding adds little to what interpolation made.
MOST_HALVINGS = 3
# Largest step of a float image, as a share of its noise: the variance added, step^2 / 12, is then below 0.04 % of it.
STEP_PER_NOISE = 1 / 16
NOISE_PLANES = 16


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """array: (c, z, y, x); value = slope * array + intercept, at most `error` away from what was given.

    0 stays 0 where the intercept is 0, as it is for physical values.
    """

    array: Array
    slope: float = 1.0
    intercept: float = 0.0
    error: float = 0.0
    warnings: tuple[str, ...] = ()


def quantise(values: NDArray[np.float32], *, sources: Sequence[Image], resampled: bool) -> Quantised:
    """Physical values `(c, z, y, x)` in the smallest type that keeps them; the first rule that applies.

    1. Not resampled uint8 without rescale: as it is.
    2. Hounsfield units within int16: int16 in steps of 1 HU.
    3. Images stored as integers with a common step: int16 in that step when they were not resampled, else in the step
       divided by the largest of 8, 4, 2 and 1 that fits.
    4. Others: int16 in steps of 1/32000 of the largest magnitude, where such a step is at most 1/16 of the noise (see
       `noise_std`) in every channel.
    5. Else float32, with a warning that says so.

    sources: the images that the channels come from. The intercept is always 0.
    """
    if not resampled and all(image.array.dtype == np.uint8 and image.rescale.is_identity for image in sources):
        return Quantised(array=values.astype(np.uint8))
    peak = _peak(values)
    known = integer_step(sources, peak, resampled=resampled)
    if known is not None:
        return Quantised(array=in_steps(values, known.slope), slope=known.slope, error=known.error)
    return _by_noise(values, peak)


@dataclass(frozen=True)
class Step:
    """slope: what a stored 1 is worth. error: the largest possible difference to the value."""

    slope: float
    error: float


def integer_step(sources: Sequence[Image], peak: float, *, resampled: bool) -> Step | None:
    """Rules 2 and 3 of `quantise`, for values whose magnitude is at most `peak`; None where neither applies."""
    steps = {source_step(image) for image in sources}
    step = steps.pop() if len(steps) == 1 else None
    if all(image.rescale.unit == "HU" for image in sources) and peak <= LARGEST_INT16:
        exact = not resampled and step is not None and step.is_integer()
        return Step(1.0, 0.0 if exact else 0.5)
    if step is not None:
        for halvings in range(MOST_HALVINGS if resampled else 0, -1, -1):
            slope = step / 2**halvings
            if peak <= LARGEST_INT16 * slope:
                return Step(slope, slope / 2 if resampled else 0.0)
    return None


def quantise_normalised(
    values: NDArray[np.float32], steps: Sequence[float | None], *, intercept: float = 0.0
) -> Quantised:
    """Normalised values `(c, z, y, x)` as int16 in one step for all channels; the first rule that applies.

    1. The smallest of `steps`, what the channels' sources were stored in, or twice, four or eight times it.
    2. As rule 4 and 5 of `quantise`, where a channel has no step (None) or none of these fits into int16.

    intercept: the value that a stored 0 stands for, of images that hit their raster with it.
    """
    known = [step for step in steps if step is not None]
    if len(known) == len(steps):
        low, high = float(values.min()), float(values.max())
        peak = max(abs(low - intercept), abs(high - intercept))
        for halvings in range(MOST_HALVINGS + 1):
            slope = min(known) * 2**halvings
            if peak <= LARGEST_INT16 * slope:
                stored = in_steps(values, slope, intercept)
                return Quantised(array=stored, slope=slope, intercept=intercept, error=slope / 2)
    return _by_noise(values, _peak(values))


def _by_noise(values: NDArray[np.float32], peak: float) -> Quantised:
    if peak == 0.0:
        return Quantised(array=np.zeros(values.shape, np.int16))
    slope, noise = peak / FLOAT_STEPS, min(noise_std(channel) for channel in values)
    if slope <= noise * STEP_PER_NOISE:
        return Quantised(array=in_steps(values, slope), slope=slope, error=slope / 2)
    warning = f"kept as float32: a step of {slope:.3g} is more than 1/16 of the noise of {noise:.3g}"
    return Quantised(array=values, warnings=(warning,))


def _peak(values: NDArray[np.float32]) -> float:
    """The largest magnitude, without a copy."""
    return max(abs(float(values.min())), abs(float(values.max())))


def source_step(image: Image) -> float | None:
    """The distance between neighbouring physical values of an image; None where 0 and the values share no raster."""
    if image.array.dtype.kind not in "iub":
        return None
    slopes = {abs(slope) for slope in image.rescale.slope}
    step = slopes.pop()
    if slopes or step == 0.0 or any(intercept % step != 0.0 for intercept in image.rescale.intercept):
        return None
    return step


def noise_std(channel: NDArray[np.float32]) -> float:
    """Standard deviation of the noise of a `(z, y, x)` array, of at most 16 planes of it.

    The difference of two Laplacians cancels edges and slopes (Immerkær, "Fast noise variance estimation", Computer
    Vision and Image Understanding 64(2), 1996); its median deviation resists what structure is left. Voxels of exactly
    0 are background without noise and do not count.
    """
    if min(channel.shape[1:]) < 3:
        return 0.0
    mask = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0])
    planes = np.unique(np.linspace(0, len(channel) - 1, NOISE_PLANES).astype(np.intp))
    residuals = []
    for plane in channel[planes]:
        residual = ndimage.convolve(plane.astype(np.float64), mask)[1:-1, 1:-1]
        residuals.append(np.abs(residual[plane[1:-1, 1:-1] != 0.0]))
    deviations = np.concatenate(residuals)
    # 6 is the norm of the mask, 0.6745 the median deviation of a normal distribution.
    return float(np.median(deviations)) / (6.0 * 0.6745) if deviations.size else 0.0


def in_steps(values: NDArray[np.float32], slope: float, intercept: float = 0.0) -> NDArray[np.int16]:
    """The integers nearest to `(value - intercept) / slope`."""
    steps = np.empty(values.shape, np.int16)
    # Dividing by a power of two is exact in float32, in a third of the time.
    exact = not intercept and values.dtype == np.float32 and math.frexp(slope)[0] == 0.5
    room = np.empty(values.shape[2:], np.float32)
    for channel, target in zip(values, steps, strict=True):
        for z, plane in enumerate(channel):
            if exact:
                np.rint(np.multiply(plane, np.float32(1.0 / slope), out=room), out=room)
                target[z] = room
            else:
                # Without an intercept it is one pass less, and the same numbers.
                moved = plane - np.float64(intercept) if intercept else plane
                target[z] = np.rint(moved / np.float64(slope))
    return steps
