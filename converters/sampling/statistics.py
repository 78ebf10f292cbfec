"""Mean, deviation and range of a sample's image, the same on every machine."""

from __future__ import annotations

import math

import numpy as np

from medshard.converters.fingerprint import rounded
from medshard.converters.quantisation import Quantised
from medshard.converters.sampling.sample import IntensityStatistics


def image_statistics(stored: Quantised) -> IntensityStatistics:
    """Over the voxels that are not stored as exactly zero, or over all if none is, in the unit of the sample."""
    if stored.array.dtype == np.float32:
        values = stored.array[stored.array != 0]
        values = values if values.size else stored.array
        return IntensityStatistics(
            mean=rounded(float(values.mean(dtype=np.float64))),
            std=rounded(float(values.std(dtype=np.float64))),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )
    # Sums of integers are exact, so these figures do not depend on the order of a sum.
    low, high = int(stored.array.min()), int(stored.array.max())
    counts = np.zeros(high - low + 1, np.int64)
    for plane in stored.array.reshape(-1, *stored.array.shape[-2:]):
        counts += np.bincount((plane.astype(np.int64) - low).ravel(), minlength=len(counts))
    values = np.arange(low, high + 1)
    kept = (counts > 0) & ((values != 0) | (counts.sum() == counts[values == 0].sum()))
    values, counts = values[kept], counts[kept]
    n, total, squares = int(counts.sum()), int((counts * values).sum()), int((counts * values**2).sum())
    return IntensityStatistics(
        mean=stored.slope * total / n + stored.intercept,
        std=stored.slope * math.sqrt(n * squares - total**2) / n,
        minimum=stored.slope * int(values[0]) + stored.intercept,
        maximum=stored.slope * int(values[-1]) + stored.intercept,
    )
