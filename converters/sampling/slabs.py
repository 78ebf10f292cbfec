"""Images of integers, resampled and stored as integers again without ever being whole as floats."""

from __future__ import annotations

import numpy as np

from medshard.converters.plan import Plan, Shape
from medshard.converters.quantisation import Quantised, in_steps, integer_step
from medshard.converters.resampling import resample_slabs
from medshard.converters.spooling import release_pages
from medshard.converters.volume import Image


def stored_in_slabs(image: Image, shape: Shape, plan: Plan, where: str) -> Quantised | None:
    """What `quantise` makes of an image on the grid with the same outer edges, or None where that needs all values.

    Resampling stays inside of the range of an image, so the step can be chosen by the range before it.
    """
    if image.array.dtype.kind not in "iu" or image.rescale.per_slice:
        return None
    resampled = shape != image.shape
    if not resampled and image.array.dtype == np.uint8 and image.rescale.is_identity:
        return Quantised(array=image.array)
    slope, intercept = image.rescale.slope[0], image.rescale.intercept[0]
    ends = [slope * float(end) + intercept for end in (image.array.min(), image.array.max())]
    step = integer_step([image], max(abs(end) for end in ends), resampled=resampled)
    if step is None:
        return None
    out = np.empty((image.array.shape[0], *shape), np.int16)
    for slab in resample_slabs(image.array, shape, kernel=plan.kernel, antialias=plan.antialias, where=where):
        values = slab.values
        if not image.rescale.is_identity:
            np.multiply(values, np.float32(slope), out=values)
            np.add(values, np.float32(intercept), out=values)
        out[:, slab.start : slab.start + values.shape[1]] = in_steps(values, step.slope)
        release_pages(image.array)
    return Quantised(array=out, slope=step.slope, error=step.error)
