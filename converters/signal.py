"""A recording over time: ECG, EEG, polysomnography, physiology. Channels that share one rate are one `Signal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array, AttributeValue


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Channels of one sampling rate.

    array: (c, t), or (trial, c, t) where the source is cut into trials of one length; the source's own numbers.
    rate_hz: samples per second; None where neither the file nor the catalog states one.
    channels: names as the source writes them, one for each c. units: one for each c; "" where nothing states one.
    slope, intercept: one for each c; value in its unit = slope * stored + intercept.
    start_s: seconds from the start of the recording to the first sample. Dates and clock times are not kept.
    gaps: (start, stop) in samples, half open, where the source has no data and the array holds zeros.
    attributes: what else is worth keeping, free of anything that could name a person.
    warnings: one sentence each, for the record of the case.
    """

    array: Array
    rate_hz: float | None
    channels: tuple[str, ...]
    units: tuple[str, ...]
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    start_s: float = 0.0
    gaps: tuple[tuple[int, int], ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return int(self.array.shape[-1])

    @property
    def duration_s(self) -> float | None:
        return None if self.rate_hz is None else self.samples / self.rate_hz

    def physical(self) -> NDArray[np.float32]:
        """Values in `units`, float32, of the array's shape."""
        slope = np.asarray(self.slope, np.float64)[:, None]
        intercept = np.asarray(self.intercept, np.float64)[:, None]
        return (np.asarray(self.array, np.float64) * slope + intercept).astype(np.float32)
