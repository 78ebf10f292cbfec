"""The values of masks: counted, thresholded, read off colours and renumbered, slab by slab: any mask may lie in a file.

Masks are `(c, z, y, x)`. What is returned lies where the spool says, in the smallest unsigned type that holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medshard.converters.spooling import IN_MEMORY, Spool, release_pages
from medshard.converters.volume import Array, Image
from medshard.errors import CaseError

SLAB_VOXELS = 1 << 22
COUNTED_DIRECTLY = 1 << 16
"""Values below this are counted in a table of their own; larger ones are sorted first."""

MOST_VALUES = 1 << 18
"""A mask with more different values is a picture or a damaged file; their counts would fill the memory."""

Slab = tuple[int, slice]


def slabs(array: Array) -> Iterator[Slab]:
    """Channel and range of z of consecutive parts with about SLAB_VOXELS voxels, at least one slice each."""
    plane = max(1, array.shape[-1] * array.shape[-2])
    step = max(1, SLAB_VOXELS // plane)
    for channel in range(array.shape[0]):
        for first in range(0, array.shape[1], step):
            yield channel, slice(first, first + step)


def value_counts(array: Array, *, where: str = "mask") -> dict[int, int]:
    """Value -> number of voxels of an integer array (c, z, y, x), for those that occur, in ascending order.

    Raises CaseError[annotation.not_a_mask] beyond MOST_VALUES different ones.
    """
    counts: Counter[int] = Counter()
    for channel, part in slabs(array):
        slab = array[channel, part]
        if slab.dtype.kind == "b" or (int(slab.min()) >= 0 and int(slab.max()) < COUNTED_DIRECTLY):
            table = np.bincount(slab.ravel())
            values = np.flatnonzero(table)
            found = table[values]
        else:
            values, found = np.unique(slab, return_counts=True)
        release_pages(array)
        if len(values) <= MOST_VALUES:
            counts.update(dict(zip(values.tolist(), found.tolist(), strict=True)))
        if max(len(values), len(counts)) > MOST_VALUES:
            raise CaseError(
                "annotation.not_a_mask",
                where=where,
                problem=f"the file holds more than {MOST_VALUES} different values",
                details={"found": f"{array.dtype} {array.shape}"},
                action="The case is excluded. Check that the layout names the mask, not the image.",
            )
    return dict(sorted(counts.items()))


def whole_values(mask: Image, *, where: str, spool: Spool = IN_MEMORY) -> Array:
    """The values of a mask; negative ones keep a signed type and fail validation.

    A mask with a scale factor in its header means the scaled values: they count when they are whole numbers.
    Raises CaseError[annotation.not_a_mask] where there is a time axis or no integer, and CaseError[annotation.scaled].
    """
    array = mask.array
    if array.ndim != 4 or (array.dtype.kind not in "iub" and mask.rescale.is_identity):
        raise CaseError(
            "annotation.not_a_mask",
            where=where,
            problem="the file holds no mask of integers without a time axis",
            details={"found": f"{array.dtype} {array.shape}"},
            action="Declare the layer as `soft`, or mend the layout.",
        )
    if not mask.rescale.is_identity:
        array = _scaled(mask, where=where, spool=spool)
    return smallest_type(array, spool)


def smallest_type(array: Array, spool: Spool = IN_MEMORY) -> Array:
    """The same integers in the smallest unsigned type; unchanged where one is negative."""
    low, high = 0, 0
    for channel, part in slabs(array):
        slab = array[channel, part]
        low, high = min(low, int(slab.min())), max(high, int(slab.max()))
        release_pages(array)
    wanted = np.min_scalar_type(high)
    if low < 0 or wanted == array.dtype:
        return array
    return mapped(array, lambda slab: slab, wanted, spool)


def mapped(
    array: Array, change: Callable[[NDArray[np.generic]], Array], dtype: DTypeLike, spool: Spool = IN_MEMORY
) -> Array:
    """`change` of every slab `(z, y, x)`, which keeps its shape."""
    result = spool.empty(array.shape, dtype)
    for channel, part in slabs(array):
        result[channel, part] = change(array[channel, part])
        release_pages(array)
        release_pages(result)
    return result


def marked(array: Array, *, threshold: int | None, background: int, value: int = 1, spool: Spool = IN_MEMORY) -> Array:
    """`value` where a mask of one thing marks it, 0 elsewhere.

    That is on the other side of the threshold than the background, or without a threshold wherever it is not the
    background.
    """
    dtype = np.min_scalar_type(value)

    def change(slab: NDArray[np.generic]) -> Array:
        values: NDArray[Any] = np.asarray(slab)
        found = values != background if threshold is None else (values >= threshold) != (background >= threshold)
        return found.astype(dtype) * dtype.type(value)

    return mapped(array, change, dtype, spool)


def kept_from(array: Array, threshold: int, background: int = 0, spool: Spool = IN_MEMORY) -> Array:
    """The values that reach the threshold, the background elsewhere."""
    dtype = np.promote_types(array.dtype, np.min_scalar_type(background))
    return mapped(array, lambda slab: np.where(np.asarray(slab) >= threshold, slab, background), dtype, spool)


def exchanged(array: Array, one: int, other: int, spool: Spool = IN_MEMORY) -> Array:
    """The array with two of its values in each other's place."""

    def change(slab: Array) -> Array:
        result = slab.astype(dtype)
        result[slab == one], result[slab == other] = other, one
        return result

    dtype = np.promote_types(array.dtype, np.min_scalar_type(max(one, other)))
    return mapped(array, change, dtype, spool)


def grey(array: Array, spool: Spool = IN_MEMORY) -> Array:
    """A picture's grey values (1, z, y, x): the mean of red, green and blue, rounded down; alpha has no say."""
    if array.shape[0] not in {3, 4}:
        return array
    result = spool.empty((1, *array.shape[1:]), array.dtype)
    for _, part in slabs(result):
        result[0, part] = array[:3, part].mean(axis=0, dtype=np.float64)
        release_pages(array)
        release_pages(result)
    return result


def values_of_colours(
    array: Array, colours: Mapping[str, int], *, background: int, where: str, spool: Spool = IN_MEMORY
) -> Array:
    """The values (1, z, y, x) that the colours of a picture stand for; a grey picture has three equal channels.

    colours: `#rrggbb` -> value. Black is the background where neither it nor the background is among them.
    Raises CaseError[annotation.not_a_picture | annotation.unknown_colours].
    """
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[0] not in {1, 3, 4}:
        raise CaseError(
            "annotation.not_a_picture",
            where=where,
            problem="`colours` wants a picture with one, three or four channels of 8 bits",
            details={"found": f"{array.dtype} {array.shape}"},
        )
    meanings = {int(colour[1:], 16): value for colour, value in colours.items()}
    if background not in meanings.values():
        meanings.setdefault(0, background)
    known = np.array(sorted(meanings), np.uint32)
    values = np.array([meanings[int(colour)] for colour in known], np.min_scalar_type(max(meanings.values())))
    result = spool.empty((1, *array.shape[1:]), values.dtype)
    unknown: Counter[int] = Counter()
    for _, part in slabs(result):
        packed = _packed(array[:, part])
        places = np.searchsorted(known, packed).clip(max=len(known) - 1)
        strange = packed[known[places] != packed]
        colours_found, counts = np.unique(strange, return_counts=True)
        unknown.update(dict(zip(colours_found.tolist(), counts.tolist(), strict=True)))
        result[0, part] = values[places]
        release_pages(array)
        release_pages(result)
    if unknown:
        raise _unknown_colours(unknown, where)
    return result


def _packed(slab: Array) -> NDArray[np.uint32]:
    red, green, blue = (slab[channel].astype(np.uint32) for channel in ((0, 1, 2) if len(slab) > 1 else (0, 0, 0)))
    packed: NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _unknown_colours(unknown: Counter[int], where: str) -> CaseError:
    examples = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:5]
    return CaseError(
        "annotation.unknown_colours",
        where=where,
        problem="the picture has colours that `colours` does not name",
        details={
            "colours": len(unknown),
            "voxels": sum(unknown.values()),
            "examples": ", ".join(f"#{colour:06x} ({count})" for colour, count in examples),
        },
        action="Name them in the entry, or use `threshold` where the picture was stored with loss.",
    )


def _scaled(mask: Image, *, where: str, spool: Spool) -> Array:
    def change(slab: Array, part: slice) -> Array:
        slope, intercept = (
            np.asarray(numbers if len(numbers) == 1 else numbers[part], np.float64)[:, None, None]
            for numbers in (mask.rescale.slope, mask.rescale.intercept)
        )
        scaled = np.asarray(slab, np.float64) * slope + intercept
        whole = np.rint(scaled)
        if not np.array_equal(scaled.astype(np.float32), whole.astype(np.float32)) or np.abs(whole).max() > 2**31:
            raise CaseError(
                "annotation.scaled",
                where=where,
                problem="the header scales the mask to values that are no whole numbers",
                details={"slope": mask.rescale.slope[0], "intercept": mask.rescale.intercept[0]},
                action="Repair the header at the source.",
            )
        return whole

    result = spool.empty(mask.array.shape, np.int64)
    for channel, part in slabs(mask.array):
        result[channel, part] = change(mask.array[channel, part], part)
        release_pages(mask.array)
        release_pages(result)
    return result
