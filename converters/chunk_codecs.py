"""Which codec the chunks of an array get: by trial on a few of its own chunks, by their sizes alone.

Measured on real scans in 16x32x32 chunks: KiB, and s to compress on one core.

    61x512x512 CT, int16    LZ4 5, bit shuffle 15,798, 0.1; byte shuffle 17,987, 0.1; none 27,452, 0.1
                            LZ4HC 5, bit shuffle 15,052, 0.4; Zstandard 3, bit shuffle 14,178, 0.5
    the same at 1 mm        LZ4 5 32,862 (bits), 36,673 (bytes), 55,439 (none); LZ4HC 5 30,354; Zstandard 3 28,948
    197x233x189 map, uint8  LZ4 5 388 (bits), 670 (none); LZ4HC 5 300 and 307; Zstandard 3 190 and 170

`loaders/window_kernel.c` reads windows of the CT at 1 mm in two thirds of the time with bit shuffle as with byte
shuffle, as the noise of the lower bits is then copied and not searched for matches. So LZ4 is the rule, with the filter
that the trial finds. Its level 9 saves 3 % and reads 4 % slower. LZ4HC takes several times as long to write and has to
be worth it. What is read rarely and whole takes Zstandard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numcodecs import Blosc

from medshard.converters.volume import Array
from medshard.converters.zarr_shard import chunk_grid, copy_chunk

Shuffle = Literal["noshuffle", "shuffle", "bitshuffle"]
Reading = Literal["windows", "whole"]

_SHUFFLES: Mapping[Shuffle, int] = {  # by what they cost when read
    "noshuffle": Blosc.NOSHUFFLE,
    "shuffle": Blosc.SHUFFLE,
    "bitshuffle": Blosc.BITSHUFFLE,
}
# A filter that costs more has to save 1/20, LZ4HC in place of LZ4 1/5.
FILTER_SAVES = 20
LZ4HC_SAVES = 5
_TRIED_AXES = 3


@dataclass(frozen=True)
class ChunkCodec:
    """Compressor, level and filter of Blosc, by the names that Zarr has for them."""

    cname: Literal["lz4", "lz4hc", "zstd"]
    clevel: int
    shuffle: Shuffle

    @property
    def blosc(self) -> Blosc:
        return Blosc(self.cname, self.clevel, _SHUFFLES[self.shuffle])


def choose_codec(array: Array, inner_chunk: Sequence[int], reading: Reading) -> ChunkCodec:
    """The codec for an array whose chunks are read one by one, or all at once and rarely.

    Nothing but the array decides, and of it at most nine chunks: the middle one and those half way to the corners. An
    array without anything in them gets what suits most arrays.
    """
    cname, level = ("lz4", 5) if reading == "windows" else ("zstd", 3)
    shuffles: tuple[Shuffle, ...] = ("noshuffle", "bitshuffle") if array.itemsize == 1 else tuple(_SHUFFLES)
    candidates = [ChunkCodec(cname, level, shuffle) for shuffle in shuffles]  # type: ignore[arg-type]
    chunks = [chunk for chunk in _tried_chunks(array, inner_chunk) if chunk.any()]
    if not chunks:
        return candidates[0] if array.itemsize == 1 else candidates[-1]
    best, size = candidates[0], _size(chunks, candidates[0])
    for candidate in candidates[1:]:
        candidate_size = _size(chunks, candidate)
        if _saves(candidate_size, size, FILTER_SAVES):
            best, size = candidate, candidate_size
    thorough = ChunkCodec("lz4hc", 5, best.shuffle)
    return thorough if cname == "lz4" and _saves(_size(chunks, thorough), size, LZ4HC_SAVES) else best


def _saves(size: int, before: int, share: int) -> bool:
    """Whether at least 1/share is saved; in integers, so that it is the same everywhere."""
    return (before - size) * share >= before


def _size(chunks: Sequence[Array], codec: ChunkCodec) -> int:
    blosc = codec.blosc
    return sum(len(blosc.encode(chunk)) for chunk in chunks)


def _tried_chunks(array: Array, inner_chunk: Sequence[int]) -> Iterator[Array]:
    """The chunk in the middle of the grid, and along its longest axes those at one and three quarters."""
    grid = chunk_grid(array.shape, inner_chunk)
    middle = tuple(size // 2 for size in grid)
    longest = sorted(range(len(grid)), key=lambda axis: -grid[axis])[:_TRIED_AXES]
    quarters = [(size // 4, 3 * size // 4) if axis in longest else (size // 2,) for axis, size in enumerate(grid)]
    if array.size:
        for place in sorted({middle, *itertools.product(*quarters)}):
            chunk: Array = np.empty(tuple(inner_chunk), array.dtype.newbyteorder("<"))
            copy_chunk(array, place, chunk)
            yield chunk
