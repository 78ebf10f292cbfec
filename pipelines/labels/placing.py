"""A label on the grid of the case's image that fits it best, and what is known of it on the way there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from medshard.converters.formats.format import Request
from medshard.converters.grid_verdict import Grid, GridVerdict, PlacedLabel, compare_grids, match_label_to_image
from medshard.converters.spooling import Spool
from medshard.converters.volume import Affine, Array, LabelLayer
from medshard.errors import CaseError
from medshard.pipelines.labels.parts import label_paths
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry.schema import LabelSpec

PLACES = ("same", "rounding", "flip", "header_only", "shift", "mismatch")
"""Verdicts, best first: of several images a label belongs to the first one with the best."""


@dataclass(frozen=True, kw_only=True)
class CaseLabel:
    """One layer, and how it came to be.

    name: of the layer: that of the label in the layout, with `-rater` behind it where the path has `{rater}`.
    counts: stored value -> voxels; of a soft layer, number of the channel from 1 -> voxels above a half.
    image: whose grid it lies on. verdict: of its grid against that image's; None where nothing was to be compared.
    repair: what was mended for that; it stands among the warnings as well.
    """

    name: str
    layer: LabelLayer
    counts: Mapping[int, int]
    image: str | None = None
    verdict: GridVerdict | None = None
    repair: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """A label of the layout that is being read."""

    payload: CasePayload
    source: str
    images: Mapping[str, Grid]
    spool: Spool

    @property
    def where(self) -> str:
        return f"{self.payload.where} label {self.source}"


@dataclass(frozen=True, kw_only=True)
class LabelValues:
    """The values of one layer before they get a meaning.

    array: (1, z, y, x). meant: stored value -> the entry's value that it stands for, where instances were counted.
    absent: values of classes that have no file or no segment. placed: whether the array lies on the grid of `image`
    already; otherwise it has to be placed there, or on that of any image where none is named.
    """

    array: Array
    affine: Affine
    trusted_geometry: bool = True
    placed: bool = False
    image: str | None = None
    verdict: GridVerdict | None = None
    repair: str | None = None
    meant: Mapping[int, int] | None = None
    absent: frozenset[int] = frozenset()
    colours: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OwnGrid:
    """The grid of a label's first file, where the case has no image to compare with."""

    shape: tuple[int, int, int]
    affine: Affine
    trusted_geometry: bool = True


def place_label(
    task: LabelTask, layer: LabelLayer, targets: Mapping[str, Grid], *, trusted_geometry: bool
) -> tuple[str, PlacedLabel]:
    """The layer on the grid that fits it best, the first of equals; the name is empty where there is no target.

    Raises CaseError[geometry.*] about the first target where none fits.
    """
    if not targets:
        return "", PlacedLabel(layer=layer)

    def rank(name: str) -> int:
        grid = targets[name]
        if not (trusted_geometry and grid.trusted_geometry):
            return PLACES.index("same" if grid.shape == layer.shape else "mismatch")
        return PLACES.index(compare_grids(grid.shape, grid.affine, layer.shape, layer.affine).kind)

    def on(name: str) -> tuple[str, PlacedLabel]:
        return name, match_label_to_image(
            targets[name],
            layer,
            where=task.where,
            trusted_geometry=trusted_geometry,
            repair_header=task.payload.repair_header,
        )

    first = next(iter(targets))
    best = min(targets, key=rank) if len(targets) > 1 else first
    try:
        return on(best)
    except CaseError:
        return on(first)


def request_of(task: LabelTask, spec: LabelSpec) -> Request:
    palette: Literal["rgb", "index"] = "index" if spec.drawn_in == "palette" else "rgb"
    return Request(
        key=spec.key,
        select=spec.select,
        grid=first_grid(task),
        spool=task.spool,
        page=task.payload.page_of(spec),
        palette=palette,
    )


def first_grid(task: LabelTask) -> tuple[tuple[int, int, int], Affine] | None:
    """The case's first image, on which outlines in pixels are drawn."""
    image = next(iter(task.images.values()), None)
    return None if image is None else (image.shape, image.affine)


def stored_value(spec: LabelSpec, value: int) -> int:
    """What a value of the entry is in a stored layer: 0 and the entry's `background` change places."""
    return {0: spec.background, spec.background: 0}.get(value, value)


def missing_label(task: LabelTask) -> CaseError:
    return CaseError(
        "annotation.missing",
        where=task.where,
        problem="no file matches the label",
        details={"looked for": ", ".join(label_paths(task.payload, task.source)[:5])},
        action="Complete the source, or declare the layer as optional.",
    )
