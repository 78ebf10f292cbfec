"""What one case becomes under one plan, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.plan import Shape
from medshard.converters.signal import Signal
from medshard.converters.table import Table
from medshard.converters.volume import Affine, Array, Mesh

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half open, in voxels along (z, y, x)."""


@dataclass(frozen=True, kw_only=True)
class IntensityStatistics:
    """Of the resampled image, in the sample's unit, over the voxels that are not exactly zero (all, if none is)."""

    mean: float
    std: float
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class SampleLabel:
    """One label layer on the sample's grid.

    array: (1, z, y, x) unsigned integers; soft layers have become the class of largest probability.
    classes: stored value -> concept, without the background 0.
    examined: the concepts that somebody looked for in this case.
    also: stored value -> further concepts that its voxels belong to. ignore: values of voxels that nobody judged.
    volume_ratio: concept -> foreground volume after resampling over before; 0.0 where a class vanished.
    component_ratio: likewise, of the number of connected components.
    """

    array: Array
    kind: Literal["semantic", "instance"]
    classes: Mapping[int, str]
    examined: tuple[str, ...]
    also: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[int, ...] = ()
    volume_ratio: Mapping[str, float] = field(default_factory=dict)
    component_ratio: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceGrid:
    """The grid of an image of the case before resampling, in its canonical orientation.

    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm. crop: what of it the sample shows.
    slices: the axis (0, 1, 2) along which slices were resampled one by one.
    """

    shape: Shape
    affine: Affine
    crop: Box | None = None
    slices: int | None = None


@dataclass(frozen=True, kw_only=True)
class ChannelScale:
    """What one channel of a sample of normalised values was: physical value = slope * normalised + intercept.

    clip: (low, high) in physical units that were applied, or None. masked: whether zeros around the body stayed 0.
    """

    image: str
    modality: str
    unit: str
    slope: float
    intercept: float
    clip: tuple[float, float] | None = None
    masked: bool = False


@dataclass(frozen=True, kw_only=True)
class SampleView:
    """A further image of the case on a grid of its own; fields are as those of a sample."""

    image: Array
    modality: str
    unit: str
    slope: float
    intercept: float
    quantisation_error: float
    affine: Affine
    labels: Mapping[str, SampleLabel] = field(default_factory=dict)
    statistics: IntensityStatistics | None = None
    spacing_before_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one case becomes under one plan.

    image: (c, z, y, x) stored numbers, int16 or uint8 where the quantisation step allows it, else float32; value =
        slope * stored + intercept, physical or, where the plan says so, normalised (unit `normalised`; `channels` say
        what they were). None for a case without an image (a mesh alone).
    affine: (4, 4) float64, index (z, y, x, 1) of image and labels -> RAS+ mm.
    quantisation_error: largest possible difference to the resampled value, in the unit of the sample.
    foreground: layer -> (n, 4) int32 rows (class value, z, y, x), at most FOREGROUND_PER_CLASS a class, sorted.
    masks: name -> (1, z, y, x) uint8; `not_finite` marks voxels that had no number and were filled.
    places: where z counts tiles of a slide or frames of a video, one row for each: what it shows of the source.
    views: further images on grids of their own.
    grids: image -> the grid that places of its annotations count on; the reference where the sample shows a part of it.
    signals, tables, texts, annotations: as they are in the volume. Places of annotations are indices of the volume's
        image, not of the sample's grid.
    spacing_before_mm: (z, y, x) of the reference image as it was; None where its geometry is not trusted.
    synthetic: whether the case was made up. group: of the entry. split: the part of the split as shipped, if any.
    """

    entry: str
    case: str
    patient: str
    modality: str
    unit: str
    image: Array | None
    slope: float = 1.0
    intercept: float = 0.0
    quantisation_error: float = 0.0
    affine: Affine
    channels: tuple[ChannelScale, ...] = ()
    labels: Mapping[str, SampleLabel] = field(default_factory=dict)
    foreground: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    masks: Mapping[str, Array] = field(default_factory=dict)
    meshes: Mapping[str, Mesh] = field(default_factory=dict)
    places: pa.Table | None = None
    views: Mapping[str, SampleView] = field(default_factory=dict)
    grids: Mapping[str, SourceGrid] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    texts: Mapping[str, Table] = field(default_factory=dict)
    annotations: Mapping[str, AnnotationTable] = field(default_factory=dict)
    statistics: IntensityStatistics | None = None
    spacing_before_mm: tuple[float, float, float] | None = None
    synthetic: bool = False
    group: str = ""
    split: str | None = None
    warnings: tuple[str, ...] = ()
