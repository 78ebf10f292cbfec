"""One case under one plan: resampled to the plan's grid and quantised, ready to be packed into a shard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.plan import Plan
from medshard.converters.sampling.foreground import FOREGROUND_PER_CLASS, foreground_rows
from medshard.converters.sampling.moving import moving_fields
from medshard.converters.sampling.pairs import pair_fields
from medshard.converters.sampling.sample import (
    ChannelScale,
    IntensityStatistics,
    Sample,
    SampleLabel,
    SampleView,
    SourceGrid,
)
from medshard.converters.sampling.stacks import stack_fields
from medshard.converters.sampling.voxels import Fields, voxel_fields
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Volume

__all__ = [
    "FOREGROUND_PER_CLASS",
    "ChannelScale",
    "IntensityStatistics",
    "Sample",
    "SampleLabel",
    "SampleView",
    "SourceGrid",
    "foreground_rows",
    "make_sample",
]


def make_sample(
    volume: Volume, plan: Plan, *, files: Mapping[str, Path] | None = None, spool: Spool = IN_MEMORY
) -> Sample:
    """What a volume becomes under a plan.

    files: path in the raw tree -> place on disk, of the slides and videos that are decoded now. spool: for their tiles
    and frames, and for the frames of images with a time axis.

    The plan's channels are brought to physical units and to the plan's grid, laid over the first channel with the same
    outer edges (its own grid where the plan names no spacing or the geometry is not trusted), stacked, and quantised as
    `quantise` says. Label layers go to the same grid as `resample_labels` says. Meshes stay as they are, in RAS mm. The
    kinds of plans differ from this as docs/plans.md says. The result depends on nothing but volume and plan: not on
    threads, slabs or the order of dictionaries.

    Raises CaseError: plan.missing_channel, plan.time_axis, plan.no_time_axis, plan.channel_grid, image.nothing_finite,
    image.not_finite (of views and of images with a time axis), and those of `resample_labels`.
    """
    fields = _fields(volume, plan, files or {}, spool, f"{volume.entry}/{volume.case}")
    grids = {**_annotated_grids(volume), **fields.pop("grids", {})}
    return Sample(
        **{
            **_case_fields(volume),
            "modality": "",
            "unit": "",
            "image": None,
            "affine": np.eye(4),
            "grids": grids,
            **fields,
        }
    )


def _fields(volume: Volume, plan: Plan, files: Mapping[str, Path], spool: Spool, where: str) -> Fields:
    """What the plan makes of the pictures of a case."""
    first = plan.channels[0] if plan.channels else None
    if first is not None and (first in volume.slides or first in volume.videos):
        return stack_fields(volume, plan, files, spool, where)
    pictured = volume.images or volume.slides or volume.videos
    if not pictured and (volume.meshes or any(_contents(volume).values())):
        return {}
    if plan.clips is not None:
        return moving_fields(volume, plan, spool, where)
    if plan.pairs is not None and plan.pairs.others:
        return pair_fields(volume, plan, plan.pairs.others, where)
    return voxel_fields(volume, plan, volume.labels, where)


def _case_fields(volume: Volume) -> Fields:
    return {
        "entry": volume.entry,
        "case": volume.case,
        "patient": volume.patient,
        "meshes": dict(volume.meshes),
        **_contents(volume),
    }


def _contents(volume: Volume) -> dict[str, Any]:
    """What a sample takes over from its volume as it is."""
    return {kind: dict(getattr(volume, kind)) for kind in ("signals", "tables", "texts", "annotations")}


def _annotated_grids(volume: Volume) -> dict[str, SourceGrid]:
    """Of the images that rows with places lie on; where rows name none, of the only one."""
    only = next(iter(volume.images)) if len(volume.images) == 1 else None
    named = {annotation.image or only for annotation in volume.annotations.values()}
    return {
        name: SourceGrid(shape=image.shape, affine=image.affine)
        for name, image in sorted(volume.images.items())
        if name in named
    }
