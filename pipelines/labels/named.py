"""Annotations with names of their own -> label values on the image's grid, by what the catalog calls the names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.rasterise import DrawnRegion, rasterise
from medshard.converters.annotations.segment_grid import on_image_grid
from medshard.converters.annotations.segments import OutlinedRegion, OutlineSet, Segment, SegmentedImage
from medshard.converters.grid_verdict import Grid
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Affine, Array
from medshard.errors import CaseError

Mask = NDArray[np.bool_]
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of a file becomes which value.

    values: the values in their order. names: value -> the source's own words, stars allowed; without names the number
    of a segment is its value. concepts: value -> what to call it in messages.
    threshold: of a fractional segmentation, the stored number from which on a voxel belongs to its segment.
    nested: a region that lies wholly inside another one lies over it; otherwise regions that overlap are refused.
    """

    values: tuple[int, ...]
    names: Mapping[int, tuple[str, ...]]
    concepts: Mapping[int, str]
    threshold: int | None = None
    nested: bool = False


@dataclass(frozen=True, kw_only=True)
class NamedValues:
    """array: (1, z, y, x) on the grid of `image`. absent: values that the file has no region for."""

    array: Array
    affine: Affine
    image: str | None
    absent: frozenset[int] = frozenset()
    colours: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def values_of_segments(
    found: SegmentedImage, wanted: Wanted, images: Mapping[str, Grid], *, where: str, spool: Spool
) -> NamedValues:
    """The wanted segments as values, on the first image on whose grid they lie; without images on their own.

    Raises CaseError[geometry.mismatch | annotation.overlap].
    """
    image, placed = _on_an_image(found, images, where=where, spool=spool) if images else (None, found)
    chosen, extra = _chosen(((segment.number, segment.name) for segment in placed.segments), wanted)
    threshold = wanted.threshold or _half(placed.largest)
    by_number = {segment.number: segment for segment in placed.segments}
    masks = [(value, _segment_mask(placed, by_number[number], threshold)) for number, value in chosen]
    warnings = [*placed.warnings, *_extra(extra, "segments")]
    if placed.kind == "fractional" and wanted.threshold is None:
        warnings.append(f"fractions from a half on ({threshold} of {placed.largest}) count as the segment")
    return NamedValues(
        array=_painted(masks, placed.shape, wanted, where=where, spool=spool),
        affine=placed.affine,
        image=image,
        absent=frozenset(wanted.values) - {value for _, value in chosen},
        colours={value: colour for number, value in chosen if (colour := by_number[number].colour) is not None},
        warnings=tuple(warnings),
    )


def values_of_outlines(
    found: OutlineSet, wanted: Wanted, images: Mapping[str, Grid], *, where: str, spool: Spool
) -> NamedValues:
    """The wanted outlines drawn on the image whose slices they lie in best, the first of equals.

    Best means: fewest outlines that are not drawn, then fewest between slices, then fewest slices left out between
    outlined ones. What was outlined on a CT also lies somewhere between the slices of its PET.
    Raises CaseError[annotation.no_image | geometry.mismatch | annotation.overlap].
    """
    if not images:
        raise CaseError(
            "annotation.no_image",
            where=where,
            problem="outlines need an image to be drawn on, and the case has none",
            action="Add the image to the entry's layout.",
        )
    chosen, extra = _chosen(((region.number, region.name) for region in found.regions), wanted)
    by_number = {region.number: region for region in found.regions}
    warnings = [*found.warnings, *_extra(extra, "regions")]

    def misfit(name: str) -> tuple[int, int, int]:
        reports = [_drawn(found, by_number[number], images[name], where).report for number, _ in chosen]
        undrawn = sum(report.oblique + report.outside + report.crowded for report in reports)
        return undrawn, sum(report.between for report in reports), sum(report.skipped_slices for report in reports)

    name = next(iter(images)) if len(images) == 1 or found.space == "index" else _best_fit(images, misfit)
    said: list[str] = []
    grid = images[name]
    masks = [(value, _region_mask(found, by_number[number], grid, said, where)) for number, value in chosen]
    return NamedValues(
        array=_painted(masks, grid.shape, wanted, where=where, spool=spool),
        affine=grid.affine,
        image=name,
        absent=frozenset(wanted.values) - {value for _, value in chosen},
        colours={value: colour for number, value in chosen if (colour := by_number[number].colour) is not None},
        warnings=(*warnings, *said),
    )


def any_segment(
    found: SegmentedImage, images: Mapping[str, Grid], threshold: int | None, *, where: str, spool: Spool
) -> tuple[str, Mask, Affine]:
    """Where any segment is (z, y, x), on the first image on whose grid they lie; its name is empty without images."""
    image, placed = _on_an_image(found, images, where=where, spool=spool) if images else ("", found)
    limit = threshold or (_half(placed.largest) if placed.kind == "fractional" else 1)
    mask = np.zeros(placed.shape, np.bool_)
    for channel in placed.array:
        mask |= np.asarray(channel) >= limit
    return image, mask, placed.affine


def _on_an_image(
    found: SegmentedImage, images: Mapping[str, Grid], *, where: str, spool: Spool
) -> tuple[str, SegmentedImage]:
    def placed(name: str) -> tuple[str, SegmentedImage]:
        return name, on_image_grid(found, images[name].shape, images[name].affine, spool=spool)

    return _first_that_fits(images, placed, where)


def _first_that_fits(images: Mapping[str, Grid], place: Callable[[str], Result], where: str) -> Result:
    """Raises the error about the first image where none fits, said of the case."""
    refused: list[CaseError] = []
    for name in images:
        try:
            return place(name)
        except CaseError as error:
            if not error.code.startswith("geometry."):
                raise
            refused.append(error)
    first = refused[0]
    raise CaseError(
        first.code, where=where, problem=first.problem, details=first.details, action=first.action
    ) from first


def _best_fit(images: Mapping[str, Grid], misfit: Callable[[str], tuple[int, int, int]]) -> str:
    """The image with the least misfit. Raises the error about the first image where none fits."""
    found: dict[str, tuple[int, int, int]] = {}
    refused: list[CaseError] = []
    for name in images:
        try:
            found[name] = misfit(name)
        except CaseError as error:
            refused.append(error)
            continue
        if not any(found[name]):
            return name
    if not found:
        raise refused[0]
    return min(found, key=lambda name: found[name])


def _chosen(regions: Iterable[tuple[int, str]], wanted: Wanted) -> tuple[list[tuple[int, int]], int]:
    """(number of a region, value) in the order of the values, and how many regions nobody asked for."""
    known = list(regions)
    chosen = []
    for value in wanted.values:
        patterns = wanted.names.get(value)
        if patterns is None:
            numbers = [number for number, _ in known if number == value and not wanted.names]
        else:
            numbers = [number for number, name in known if _is_called(name, patterns)]
        chosen += [(number, value) for number in numbers]
    return chosen, len(known) - len({number for number, _ in chosen})


def _is_called(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.strip(), pattern) for pattern in patterns)


def _extra(count: int, what: str) -> tuple[str, ...]:
    return (f"{count} {what} of the file are left out: the entry does not name them",) if count else ()


def _half(largest: int) -> int:
    return max(1, (largest + 1) // 2)


def _segment_mask(found: SegmentedImage, segment: Segment, threshold: int) -> Callable[[], Mask]:
    channel = found.array[segment.channel]
    if found.kind == "fractional":
        return lambda: np.asarray(channel) >= threshold
    return lambda: np.asarray(channel) == segment.value


def _drawn(found: OutlineSet, region: OutlinedRegion, grid: Grid, where: str) -> DrawnRegion:
    """Raises CaseError[geometry.mismatch], said of the case."""
    try:
        return rasterise(found, region, grid.shape, grid.affine)
    except CaseError as error:
        raise CaseError(
            error.code, where=where, problem=error.problem, details=error.details, action=error.action
        ) from error


def _region_mask(
    found: OutlineSet, region: OutlinedRegion, grid: Grid, said: list[str], where: str
) -> Callable[[], Mask]:
    def mask() -> Mask:
        drawn = _drawn(found, region, grid, where)
        said.extend(drawn.report.warnings)
        return drawn.mask

    return mask


def _painted(
    masks: list[tuple[int, Callable[[], Mask]]],
    shape: tuple[int, int, int],
    wanted: Wanted,
    *,
    where: str,
    spool: Spool,
) -> Array:
    """Several regions may share a value. Raises CaseError[annotation.overlap] where two values meet in a voxel."""
    dtype = np.min_scalar_type(max((value for value, _ in masks), default=0))
    array = spool.empty((1, *shape), dtype)
    array[...] = 0
    for value, make in masks:
        mask = make()
        below = array[0][mask]
        taken = below[(below != 0) & (below != value)]
        if taken.size:
            mask = _over_or_under(array[0], mask, (value, taken), wanted, where)
        array[0][mask] = value
        release_pages(array)
    return array


def _over_or_under(layer: Array, mask: Mask, met: tuple[int, Array], wanted: Wanted, where: str) -> Mask:
    """What of a mask may be painted where others lie: all of it inside another, none of it over what it encloses.

    Of two that are the same neither lies inside the other: one would be lost.

    met: the value of the mask, and the values of others that lie below it.
    """
    value, taken = met
    painted = mask.copy()
    for other in np.unique(taken).tolist():
        shared = int((taken == other).sum())
        covered = int((layer == other).sum())
        if wanted.nested and shared == int(mask.sum()) != covered:
            continue
        if wanted.nested and shared == covered != int(mask.sum()):
            painted &= layer != other
            continue
        raise CaseError(
            "annotation.overlap",
            where=where,
            problem="two structures of one layer lie over one another",
            details={"structures": f"{wanted.concepts[other]}, {wanted.concepts[value]}", "voxels": shared},
            action="Give each a layer of its own in the entry.",
        )
    return painted
