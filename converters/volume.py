"""A case in memory: named images, label layers, meshes and the rest, each with its own geometry and meaning.

Arrays are C-ordered `(c, z, y, x)`, with a leading `t` where time exists; 2-D images have `z = 1`. An affine is
`(4, 4)` float64 and maps the array index `(z, y, x, 1)` to RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.array_types import Affine, Array, AttributeValue
from medshard.converters.signal import Signal
from medshard.converters.slide import Slide
from medshard.converters.table import Table
from medshard.converters.video import Video

LayerKind = Literal["semantic", "instance", "soft"]


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """How stored numbers become physical ones: `value = slope * stored + intercept`.

    slope, intercept: one number per image, or one per z slice where the source has it.
    unit: "HU", "arbitrary", "probability", ...
    """

    slope: tuple[float, ...] = (1.0,)
    intercept: tuple[float, ...] = (0.0,)
    unit: str = "arbitrary"

    @property
    def per_slice(self) -> bool:
        return len(self.slope) > 1 or len(self.intercept) > 1

    @property
    def is_identity(self) -> bool:
        return all(s == 1.0 for s in self.slope) and all(i == 0.0 for i in self.intercept)

    def apply(self, array: Array) -> NDArray[np.float32]:
        """Physical values, float32, of a stored array `(..., z, y, x)`."""
        slope = np.asarray(self.slope, np.float64)
        intercept = np.asarray(self.intercept, np.float64)
        if self.per_slice:
            slope, intercept = slope[:, None, None], intercept[:, None, None]
        if self.is_identity:
            return array.astype(np.float32)
        return (np.asarray(array, np.float64) * slope + intercept).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class LeadingAxis:
    """What the axis before the channels counts.

    kind: `time` in seconds, `diffusion` in s/mm2, `echo` in ms of echo time, `phase` of a cycle, or `other`.
    values: one for each step, in that unit; None where the source does not say.
    """

    kind: Literal["time", "diffusion", "echo", "phase", "other"] = "time"
    values: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a case, on its own grid.

    array: (c, z, y, x) or (t, c, z, y, x), the source's own numbers, unscaled; may be a view, may lie in a file.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    leading: what t counts, where there is one.
    attributes: acquisition attributes of the allow-list (docs/de-identification.md), by their DICOM keyword.
    trusted_geometry: False where the format states no position or spacing in space (a PNG); then the affine is the
        pixel grid itself with 1 mm steps and nothing may be concluded from it.
    """

    array: Array
    affine: Affine
    rescale: Rescale = field(default_factory=Rescale)
    modality: str = ""
    sequence: str | None = None
    trusted_geometry: bool = True
    leading: LeadingAxis | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)"""
        z, y, x = self.array.shape[-3:]
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along (z, y, x)."""
        return spacing_of(self.affine)

    def with_grid(self, array: Array, affine: Affine) -> Image:
        return replace(self, array=array, affine=affine)


@dataclass(frozen=True, kw_only=True)
class LabelLayer:
    """One annotation of a case, on its own grid; several layers may overlap.

    array: (1, z, y, x) integers for `semantic` and `instance`; (c, z, y, x), one channel per class, for `soft`.
    classes: stored value (semantic), or channel number (soft), -> concept; without the background.
    examined: the concepts that somebody looked for in this case: absent and not-examined are different things.
    also: stored value -> further concepts that its voxels belong to. ignore: values of voxels that nobody judged.
    colours: stored value -> `#rrggbb`, where the entry or the source states one.
    """

    array: Array
    affine: Affine
    kind: LayerKind = "semantic"
    classes: dict[int, str]
    examined: tuple[str, ...]
    rater: str | None = None
    rescale: Rescale = field(default_factory=Rescale)
    also: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[int, ...] = ()
    colours: Mapping[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)"""
        z, y, x = self.array.shape[-3:]
        return z, y, x

    def with_grid(self, array: Array, affine: Affine) -> LabelLayer:
        return replace(self, array=array, affine=affine)


@dataclass(frozen=True, kw_only=True)
class MeshLabel:
    """A number for every vertex or every face of a surface.

    array: (n,) or (m,) integers, 0 the background; floats for kind `scalar` (thickness, curvature).
    classes: value -> concept, of kind `semantic`. examined: the concepts that somebody looked for.
    """

    array: Array
    per: Literal["vertex", "face"]
    kind: Literal["semantic", "instance", "scalar"] = "semantic"
    classes: Mapping[int, str] = field(default_factory=dict)
    examined: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """A triangle surface.

    vertices: (n, 3) float64, (x, y, z) in RAS+ mm, unless `unit` and `space` say otherwise.
    faces: (m, 3) int64, indices into vertices.
    space: `ras` of the case's images, or `own`: the scanner's own frame, which relates to no image.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    unit: str = "mm"
    space: Literal["ras", "own"] = "own"
    labels: Mapping[str, MeshLabel] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One case: one examination of one patient.

    Slides and videos are indices of sources that stay as they are; texts are tables with a column `text`, or records.
    """

    entry: str
    case: str
    patient: str
    images: dict[str, Image] = field(default_factory=dict)
    labels: dict[str, LabelLayer] = field(default_factory=dict)
    meshes: dict[str, Mesh] = field(default_factory=dict)
    slides: dict[str, Slide] = field(default_factory=dict)
    videos: dict[str, Video] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    texts: dict[str, Table] = field(default_factory=dict)
    annotations: dict[str, AnnotationTable] = field(default_factory=dict)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Length in mm of one step along z, y and x of an `(4, 4)` affine."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)


__all__ = [
    "Affine",
    "Array",
    "AttributeValue",
    "Image",
    "LabelLayer",
    "LayerKind",
    "LeadingAxis",
    "Mesh",
    "MeshLabel",
    "Rescale",
    "Volume",
    "spacing_of",
]
