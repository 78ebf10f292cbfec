"""What one channel of a recording looks like: flat, cut off, missing, humming."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from medshard.converters.signal import Signal

MOST_SAMPLES = 1 << 21
MOST_CHANNELS = 64
MAINS_HZ = (50.0, 60.0)


def channel_measures(signal: Signal) -> list[dict[str, Any]]:
    """For each of the first `MOST_CHANNELS` channels, of its first `MOST_SAMPLES` samples:

    not_finite: share. flat: longest run of one value as a share; at_ends: share of samples at the lowest or the highest
    value; level, spread: median and range between the 5th and the 95th percentile, in the channel's unit; mains:
    share of the power within 1 Hz of 50 or 60 Hz (Welch's periodogram), None where the rate is too low or unknown.
    """
    array = signal.array if signal.array.ndim == 2 else signal.array[0]
    found = []
    for number in range(min(array.shape[0], MOST_CHANNELS)):
        stored = np.asarray(array[number, :MOST_SAMPLES], np.float64)
        found.append(_channel(stored * signal.slope[number] + signal.intercept[number], signal.rate_hz))
    return found


def _channel(values: NDArray[np.float64], rate_hz: float | None) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"not_finite": 1.0}
    low, middle, high = np.percentile(finite, (5, 50, 95))
    ends = (finite == finite.min()) | (finite == finite.max())
    changes = np.flatnonzero(np.diff(finite) != 0)
    longest = int(np.diff([-1, *changes.tolist(), finite.size - 1]).max())
    return {
        "not_finite": 1 - finite.size / values.size,
        "flat": longest / finite.size,
        "at_ends": float(ends.mean()),
        "level": float(middle),
        "spread": float(high - low),
        "mains": _mains_share(finite, rate_hz),
    }


def _mains_share(values: NDArray[np.float64], rate_hz: float | None) -> float | None:
    if rate_hz is None or rate_hz <= 2 * MAINS_HZ[1] + 4 or values.size < 4 * rate_hz:
        return None
    frequencies, power = dsp.welch(values, rate_hz, nperseg=int(2 * rate_hz))
    total = float(power[frequencies > 0.5].sum())
    if total <= 0:
        return None
    return max(float(power[np.abs(frequencies - mains) <= 1].sum()) for mains in MAINS_HZ) / total
