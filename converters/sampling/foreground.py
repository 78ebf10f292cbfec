"""A sample of the labelled voxels of each class, for loaders that place windows on them."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from medshard.converters.label_resampling import Labels, class_boxes
from medshard.converters.sampling.sample import SampleLabel

FOREGROUND_PER_CLASS = 1024


def foreground_rows(label: SampleLabel) -> NDArray[np.int32]:
    """Rows `(class value, z, y, x)` of at most `FOREGROUND_PER_CLASS` voxels of each class, sorted.

    They are evenly spaced in raster order. Where one concept names every instance its value stands for all of them;
    values without a concept are left out.
    """
    labels = cast(Labels, label.array[0])
    values = list(label.classes)
    if label.kind == "instance" and len(values) == 1:
        labels = np.where(labels > 0, values[0], 0).astype(np.min_scalar_type(values[0]))
    rows = [
        _spread(labels[box] == value, value, box)
        for value, box in class_boxes(labels).items()
        if value in label.classes
    ]
    return np.concatenate(rows) if rows else np.empty((0, 4), np.int32)


def _spread(marked: NDArray[np.bool_], value: int, box: tuple[slice, slice, slice]) -> NDArray[np.int32]:
    places = np.flatnonzero(marked)
    kept = min(len(places), FOREGROUND_PER_CLASS)
    chosen = places[np.arange(kept) * len(places) // kept]
    offsets = [part.start for part in box]
    rows = np.empty((kept, 4), np.int32)
    rows[:, 0] = value
    rows[:, 1:] = np.stack(np.unravel_index(chosen, marked.shape), axis=1) + offsets
    return rows
