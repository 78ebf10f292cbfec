"""Windows and boxes of arrays out of the bytes of their chunks, for any number of indices at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medshard.converters.volume import Array
from medshard.errors import StoreError
from medshard.loaders.chunk_decoding import ChunkError, decode_box
from medshard.loaders.sample_row import EMPTY_CHUNK, SampleRow, StoredArray
from medshard.loaders.shard_bytes import AnyStore, Found, Pieces, find_bytes, place_of
from medshard.loaders.windows import Scale, Window
from medshard.registry.store.objects import ObjectRef

if TYPE_CHECKING:
    from medshard.loaders.shard_reader import SampleIndex


@dataclass(frozen=True, kw_only=True)
class Box:
    """The part [start, stop) of an array, which lies inside of it."""

    store: AnyStore
    shard: ObjectRef
    row: SampleRow
    array: StoredArray
    start: tuple[int, ...]
    stop: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: Scale | None = None


def read_windows(asked: Sequence[tuple[SampleIndex, Window]]) -> list[Array]:
    """The windows (c, *size), each a new array; those of one remote store come in one round trip.

    Raises StoreError naming the case, the array, the shard and the bytes.
    """
    boxes = [_box_of(index, window) for index, window in asked]
    inside = iter(read_boxes([box for box in boxes if box is not None]))
    return [
        _placed(window, box, next(inside) if box is not None else None)
        for (_, window), box in zip(asked, boxes, strict=True)
    ]


def read_boxes(boxes: Sequence[Box]) -> list[Array]:
    """The boxes, each a new array."""
    pieces = [_pieces_of(box) for box in boxes]
    by_store: dict[AnyStore, list[int]] = {}
    for number, box in enumerate(boxes):
        by_store.setdefault(box.store, []).append(number)
    found: dict[int, Found] = {}
    for store, numbers in by_store.items():
        found |= zip(numbers, find_bytes(store, [pieces[number] for number in numbers]), strict=True)
    return [_decoded(box, pieces[number], found[number]) for number, box in enumerate(boxes)]


def array_of(row: SampleRow, name: str) -> StoredArray:
    """Raises StoreError[sample.array] when the sample has no such array."""
    array = row.arrays.get(name)
    if array is None:
        raise StoreError(
            "sample.array",
            where=row.name,
            problem=f"the sample has no array {name!r}",
            details={"arrays": ", ".join(row.arrays)},
        )
    return array


def _box_of(index: SampleIndex, window: Window) -> Box | None:
    """The part of a window that lies inside of its array; None when nothing does."""
    array = array_of(window.row, window.name)
    low = [max(0, begin) for begin in window.start]
    high = [
        min(extent, begin + length)
        for begin, length, extent in zip(window.start, window.size, array.shape[1:], strict=True)
    ]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    return index.box(
        window.row,
        array,
        (0, *low),
        (array.shape[0], *high),
        dtype=_dtype_of(window, array),
        scale=window.scale,
    )


def _dtype_of(window: Window, array: StoredArray) -> DTypeLike:
    if window.dtype is not None:
        return window.dtype
    return array.dtype if window.scale is None else np.float32


def _placed(window: Window, box: Box | None, inside: Array | None) -> Array:
    """The window around its inside, padded where the array ends."""
    if box is None or inside is None:
        array = array_of(window.row, window.name)
        return np.full((array.shape[0], *window.size), window.pad_value, _dtype_of(window, array))
    if inside.shape[1:] == tuple(window.size):
        return inside
    placed: Array = np.full((inside.shape[0], *window.size), window.pad_value, inside.dtype)
    place = [slice(a - begin, b - begin) for a, b, begin in zip(box.start[1:], box.stop[1:], window.start, strict=True)]
    placed[(slice(None), *place)] = inside
    return placed


def touched_chunks(array: StoredArray, start: Sequence[int], stop: Sequence[int]) -> NDArray[np.int64]:
    """Numbers in the chunk table of the chunks that a box touches, in C order."""
    axes = zip(start, stop, array.inner_chunk, array.shape, strict=True)
    spans = [(begin // chunk, (end - 1) // chunk + 1, -(-extent // chunk)) for begin, end, chunk, extent in axes]
    first, numbers = 0, None
    for low, high, count in spans:
        first *= count
        numbers = numbers * count if numbers is not None else None
        if high - low == 1:  # as all axes of one row of a table: numpy would take longer than the rest
            first += low
        else:
            along = np.arange(low, high)
            numbers = along if numbers is None else (numbers[:, None] + along).ravel()
    return np.array([first]) if numbers is None else numbers + first


def _pieces_of(box: Box) -> Pieces:
    array = box.array
    numbers = touched_chunks(array, box.start, box.stop)
    if len(array.chunk_nbytes) == 0:
        empty = np.full(len(numbers), EMPTY_CHUNK, np.uint64)
        return Pieces(box.shard, np.zeros_like(empty), empty)
    offsets, nbytes = array.chunk_offsets[numbers], array.chunk_nbytes[numbers]
    outside = offsets + nbytes > np.uint64(array.nbytes)
    if outside.any() and (outside & (nbytes != EMPTY_CHUNK)).any():
        raise StoreError(
            "shard.index",
            where=box.row.name,
            problem=f"the index gives a chunk of {array.name!r} a place outside of the array",
            details={"shard": place_of(box.store, box.shard), "chunk": numbers[outside][0]},
            action="Build the shards stage again.",
        )
    # Of chunks that are not stored this is no place, and nobody goes there.
    return Pieces(box.shard, offsets + np.uint64(array.offset), nbytes)


def _decoded(box: Box, pieces: Pieces, found: Found) -> Array:
    source, positions = found
    shape = [b - a for a, b in zip(box.start, box.stop, strict=True)]
    is_direct = box.dtype in (box.array.dtype, np.float32) or (
        box.array.dtype.kind in "iu" and box.dtype.kind in "iu" and np.can_cast(box.array.dtype, box.dtype)
    )
    out: Array = np.empty(shape, box.dtype if is_direct else np.float32 if box.scale else box.array.dtype)
    try:
        decode_box(source, positions, pieces.nbytes, box.array, box.start, box.stop, out, box.scale)
    except ChunkError as error:
        raise _corrupt(box, pieces, error) from error
    return out if is_direct else out.astype(box.dtype)


def _corrupt(box: Box, pieces: Pieces, error: ChunkError) -> StoreError:
    begin, nbytes = int(pieces.offsets[error.number]), int(pieces.nbytes[error.number])
    return StoreError(
        "shard.corrupt",
        where=place_of(box.store, box.shard),
        problem="a chunk is not what the index says",
        details={
            "case": box.row.name,
            "array": box.array.name,
            "chunk": touched_chunks(box.array, box.start, box.stop)[error.number],
            "bytes": f"{begin} to {begin + nbytes}",
            "reason": error.reason,
        },
        action="`medshard verify` lists all that is damaged; remove the shard and build the shards stage again.",
    )
