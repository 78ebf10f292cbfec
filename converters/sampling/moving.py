"""Images with a time axis as stacks of frames: one clip for each slice."""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa

from medshard.converters.plan import Plan
from medshard.converters.quantisation import quantise
from medshard.converters.resampling import Floats
from medshard.converters.sampling.channels import grid_under, on_grid
from medshard.converters.sampling.statistics import image_statistics
from medshard.converters.sampling.voxels import Fields
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Image, Volume
from medshard.errors import CaseError

MOVING_COLUMNS = pa.schema(
    [("frame", pa.int64()), ("time_s", pa.float64()), ("clip", pa.int64()), ("slice", pa.int64())]
)


def moving_fields(volume: Volume, plan: Plan, spool: Spool, where: str) -> Fields:
    """An image `(t, c, z, y, x)` as `(c, z * t, y, x)`: all frames of the first slice, then of the next.

    `places` has a row for each frame: its number, its time (null where the source states none), its clip and its slice,
    which are the same number. The plane is resampled as the plan says; slices and frames stay what they are. Label
    layers have no time axis: they are left out, with a warning.
    Raises CaseError[plan.missing_channel] and [plan.no_time_axis].
    """
    name = plan.channels[0]
    image = _moving_image(volume, name, where)
    frames, _, slices = image.array.shape[:3]
    still = image.with_grid(image.array[0], image.affine)
    grid = grid_under(plan, still)
    values = cast(Floats, spool.empty((image.array.shape[1], slices * frames, *grid[0][1:]), np.float32))
    for frame in range(frames):
        moment = image.with_grid(image.array[frame], image.affine)
        values[:, frame::frames] = on_grid(moment, moment, grid, plan, f"{where} frame {frame}")
        release_pages(image.array)
        release_pages(values)
    stored = quantise(values, sources=[still], resampled=grid[0] != still.shape)
    warnings = [f"layer {layer} has no time axis and is left out" for layer in sorted(volume.labels)]
    warnings += [f"{other} is not in the sample: it has the channel {name} alone" for other in plan.channels[1:]]
    return {
        "modality": image.modality,
        "unit": image.rescale.unit,
        "image": stored.array,
        "slope": stored.slope,
        "intercept": stored.intercept,
        "quantisation_error": stored.error,
        "affine": grid[1],
        "places": _places(image, frames, slices),
        "statistics": image_statistics(stored),
        "spacing_before_mm": image.spacing_mm if image.trusted_geometry else None,
        "warnings": (*stored.warnings, *warnings),
    }


def _moving_image(volume: Volume, name: str, where: str) -> Image:
    image = volume.images.get(name)
    if image is None:
        raise CaseError(
            "plan.missing_channel",
            where=where,
            problem=f"the case has no image {name}",
            details={"case": ", ".join(volume.images) or "-"},
            action="The case is excluded. Name another channel in the plan if that is not meant.",
        )
    if image.array.ndim != 5:
        raise CaseError(
            "plan.no_time_axis",
            where=where,
            problem=f"image {name} has no time axis, and a plan of the kind clips needs one",
            details={"shape": image.array.shape},
            action="The case is excluded. Plans of other kinds take it.",
        )
    return image


def _places(image: Image, frames: int, slices: int) -> pa.Table:
    leading = image.leading
    known = leading.values if leading is not None and leading.kind == "time" else None
    times = [float(time) for time in known] if known is not None else [None] * frames
    numbers = np.repeat(np.arange(slices), frames)
    columns = [np.tile(np.arange(frames), slices), times * slices, numbers, numbers]
    return pa.table(dict(zip(MOVING_COLUMNS.names, columns, strict=True)), schema=MOVING_COLUMNS)
