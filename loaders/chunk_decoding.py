"""Boxes of arrays out of their compressed chunks, cast and scaled on the way.

The compiled `window_kernel` makes a window in one pass: LZ4, both shuffles, cast and scale, without the GIL. What it
does not know (Blosc's other compressors, numbers of 16 bytes), and all on machines without it, goes through numcodecs
and numpy chunk by chunk, with the same bytes as the result.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from medshard.converters.volume import Array
from medshard.loaders.sample_row import EMPTY_CHUNK, StoredArray
from medshard.loaders.windows import Scale

window_kernel: ModuleType | None
try:
    from medshard.loaders import window_kernel
except ImportError:  # no C compiler when it was installed
    window_kernel = None

_HEADER_BYTES = 16
_BLOSC_SIZES = struct.Struct("<4xI4xI")  # of the header: bytes when decoded, bytes as stored
# As the kernel numbers them.
_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
_WIDER = ("i2", "i4", "i8", "f4")
_MOST_AXES = 8
_UNSUPPORTED = 1
_OUTSIDE, _HEADER, _CORRUPT = "outside of the bytes", "another header", "cannot be decompressed"
_REASONS = {2: _OUTSIDE, 3: _HEADER, 4: _CORRUPT}
_UNSCALED = Scale()

# A chunk is far too small to gain from Blosc's own threads, and a pool of them does not survive `fork`.
blosc.use_threads = False


class ChunkError(ValueError):
    """A chunk that is not what the index says: (number among the chunks that the box touches, reason)."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


@dataclass(frozen=True)
class _Request:
    """What `decode_box` is asked."""

    source: Any
    offsets: NDArray[np.uint64]
    nbytes: NDArray[np.uint64]
    array: StoredArray
    start: Sequence[int]
    stop: Sequence[int]
    out: Array
    scale: Scale | None


def decode_box(  # noqa: PLR0917 (the contract with the reader, which calls it by place)
    source: Any,
    offsets: NDArray[np.uint64],
    nbytes: NDArray[np.uint64],
    array: StoredArray,
    start: Sequence[int],
    stop: Sequence[int],
    out: Array,
    scale: Scale | None = None,
) -> None:
    """Fill `out` with the box [start, stop) of an array.

    source: a buffer of bytes. offsets, nbytes: of the chunks that the box touches, in C order of the touched part of
    the chunk grid, as places in `source`; `EMPTY_CHUNK` where a chunk is not stored, which reads as zeros.
    out: writable, C-contiguous, of the box's shape; of the stored type, float32 or a type that holds all stored ones.
    scale: only with float32. Bytes that the box does not need may stay undecoded, so faults in them unseen.
    Raises ChunkError for a chunk that is damaged, ValueError where the arguments do not fit each other.
    """
    request = _Request(source, offsets, nbytes, array, start, stop, out, scale)
    _check(request)
    if out.size == 0:
        return
    stored, wanted = _type_number(array.dtype), _type_number(out.dtype)
    if window_kernel is None or stored is None or len(array.shape) > _MOST_AXES or not out.flags.aligned:
        _decode_unsupported(request, np.full(len(offsets), _UNSUPPORTED, np.uint8))
    elif wanted is not None and (stored == wanted or _TYPES[wanted] in _WIDER):
        _decode_unsupported(request, _decode_compiled(request, stored, wanted))
    else:
        plain: Array = np.empty(out.shape, array.dtype)
        decode_box(source, offsets, nbytes, array, start, stop, plain)
        out[...] = plain


def apply_scale(values: Array, scale: Scale) -> None:
    """`scale` on float32 numbers, in place: each step rounds to float32. A NaN stays one."""
    with np.errstate(all="ignore"):
        if (scale.slope, scale.intercept) != (1.0, 0.0):
            np.multiply(values, np.float32(scale.slope), out=values)
            np.add(values, np.float32(scale.intercept), out=values)
        # Not numpy's minimum and maximum, which leave open which zero of -0.0 and 0.0 they give.
        if scale.low is not None:
            np.copyto(values, np.float32(scale.low), where=values < np.float32(scale.low))
        if scale.high is not None:
            np.copyto(values, np.float32(scale.high), where=values > np.float32(scale.high))
        if (scale.mean, scale.std) != (0.0, 1.0):
            np.subtract(values, np.float32(scale.mean), out=values)
            np.divide(values, np.float32(scale.std), out=values)


def _check(request: _Request) -> None:
    array, start, stop, out = request.array, request.start, request.stop, request.out
    spans = list(zip(start, stop, array.shape, array.inner_chunk, strict=True))
    touched = math.prod((b - 1) // chunk - a // chunk + 1 for a, b, _, chunk in spans)
    problem = None
    if not all(0 <= a <= b <= size for a, b, size, _ in spans):
        problem = f"the box {tuple(start)} to {tuple(stop)} is not inside of {array.shape}"
    elif out.shape != tuple(b - a for a, b, _, _ in spans) or not (out.flags.c_contiguous and out.flags.writeable):
        problem = f"`out` is not a writable C-contiguous array of the box's shape: {out.shape}"
    elif out.size and not len(request.offsets) == len(request.nbytes) == touched:
        problem = (
            f"the box touches {touched} chunks, not {len(request.offsets)} (places), {len(request.nbytes)} (bytes)"
        )
    elif out.dtype != np.float32 and (request.scale is not None or not np.can_cast(array.dtype, out.dtype)):
        problem = f"{array.dtype} is not read into {out.dtype}{' with a scale' if request.scale else ''}"
    if problem is not None:
        raise ValueError(problem)


def _type_number(dtype: np.dtype[Any]) -> int | None:
    """The kernel's number of a type; None for one that it has not, or of big-endian numbers."""
    if dtype.kind == "b":
        return _TYPES.index("u1")
    name = dtype.str[1:]
    return _TYPES.index(name) if name in _TYPES and dtype.str[0] in "<|" else None


def _decode_compiled(request: _Request, stored: int, wanted: int) -> NDArray[np.uint8]:
    """What the kernel says of each touched chunk: done or unsupported. Raises ChunkError for anything else."""
    assert window_kernel is not None
    statuses = np.zeros(len(request.offsets), np.uint8)
    scale = request.scale or _UNSCALED
    worst = window_kernel.decode(
        request.source,
        np.ascontiguousarray(request.offsets, np.uint64),
        np.ascontiguousarray(request.nbytes, np.uint64),
        _geometry(request.array.inner_chunk, request.start, request.stop),
        stored,
        wanted,
        request.out,
        statuses,
        request.scale is not None,
        (scale.slope, scale.intercept) != (1.0, 0.0),
        (scale.mean, scale.std) != (0.0, 1.0),
        scale.slope,
        scale.intercept,
        -math.inf if scale.low is None else scale.low,
        math.inf if scale.high is None else scale.high,
        scale.mean,
        scale.std,
    )
    if worst > _UNSUPPORTED:
        number = int(np.argmax(statuses > _UNSUPPORTED))
        raise ChunkError(number, _REASONS[int(statuses[number])])
    return statuses


def _geometry(inner_chunk: Sequence[int], start: Sequence[int], stop: Sequence[int]) -> NDArray[np.int64]:
    """(3, axes); the kernel wants two axes at least."""
    missing = max(0, 2 - len(inner_chunk))
    return np.array(
        [(1,) * missing + tuple(inner_chunk), (0,) * missing + tuple(start), (1,) * missing + tuple(stop)], np.int64
    )


def _decode_unsupported(request: _Request, statuses: NDArray[np.uint8]) -> None:
    """The chunks that the kernel left, by numcodecs and numpy."""
    if not (statuses == _UNSUPPORTED).any():
        return
    for number, (part, place) in enumerate(_parts(request.array.inner_chunk, request.start, request.stop)):
        if statuses[number] != _UNSUPPORTED:
            continue
        decoded = _decoded(request, number)
        with np.errstate(all="ignore"):
            values: Array = decoded[part].astype(request.out.dtype)
        if request.scale is not None:
            apply_scale(values, request.scale)
        request.out[place] = values


def _decoded(request: _Request, number: int) -> Array:
    """A whole chunk, as stored."""
    offset, nbytes = int(request.offsets[number]), int(request.nbytes[number])
    if nbytes == EMPTY_CHUNK:
        return np.zeros(request.array.inner_chunk, request.array.dtype)
    decoded: Array = np.empty(request.array.inner_chunk, request.array.dtype)
    chunk = memoryview(request.source).cast("B")[offset : offset + nbytes]
    if len(chunk) != nbytes:
        raise ChunkError(number, _OUTSIDE)
    if nbytes < _HEADER_BYTES or _BLOSC_SIZES.unpack_from(chunk) != (decoded.nbytes, nbytes):
        raise ChunkError(number, _HEADER)
    try:
        blosc.decompress(chunk, decoded)
    except RuntimeError as error:
        raise ChunkError(number, _CORRUPT) from error
    return decoded


def _parts(
    inner_chunk: Sequence[int], start: Sequence[int], stop: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """(part of the chunk, part of the box) of each touched chunk, in C order."""
    axes = []
    for chunk, begin, end in zip(inner_chunk, start, stop, strict=True):
        spans = []
        for origin in range(begin // chunk * chunk, end, chunk):
            low, high = max(begin, origin), min(end, origin + chunk)
            spans.append((slice(low - origin, high - origin), slice(low - begin, high - begin)))
        axes.append(spans)
    for parts in itertools.product(*axes):
        yield tuple(part for part, _ in parts), tuple(place for _, place in parts)
