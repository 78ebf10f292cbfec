"""The compiled reader on hostile bytes: it says what is wrong or decodes what numcodecs decodes; it never goes astray.

For a run under AddressSanitizer, build the kernel with `-fsanitize=address,undefined` and preload libasan.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numcodecs import Blosc, blosc

from medshard.loaders import chunk_decoding
from medshard.loaders.chunk_decoding import ChunkError, decode_box
from medshard.loaders.sample_row import StoredArray

pytestmark = pytest.mark.skipif(chunk_decoding.window_kernel is None, reason="the window kernel was not compiled")

CANARY = 0xA5
EDGE = 256


def made_chunk(rng: np.random.Generator) -> tuple[np.ndarray, bytes]:
    """A chunk of any type, filter and compressibility, and what Blosc makes of it."""
    dtype = np.dtype(str(rng.choice(["u1", "i2", "u4", "f4", "i8", "f8"])))
    shape = tuple(int(size) for size in rng.integers(1, 20, 3))
    values = rng.integers(0, int(rng.choice([2, 6, 120])), shape).astype(dtype)
    if rng.random() < 0.5:
        values = np.sort(values, axis=None).reshape(shape)
    codec = Blosc(str(rng.choice(["lz4", "lz4hc"])), int(rng.integers(1, 10)), int(rng.integers(0, 3)),
                  int(rng.choice([0, 0, 64, 512])))  # fmt: skip
    return values, bytes(codec.encode(values))


def damaged(chunk: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, mostly such that headers and lengths still look right."""
    changed = bytearray(chunk)
    for _ in range(int(rng.integers(1, 5))):
        begin = 0 if rng.random() < 0.2 else min(16, len(changed) - 1)
        place = int(rng.integers(begin, len(changed)))
        changed[place] = int(rng.choice([0, 1, 0x0F, 0xF0, 0xFF, rng.integers(256)]))
    return bytes(changed)


def decoded_by_kernel(chunk: bytes, values: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The chunk, or None where the kernel refuses. Raises AssertionError when it wrote outside of its array."""
    room = np.full(values.nbytes + 2 * EDGE, CANARY, np.uint8)
    out = room[EDGE:-EDGE].view(values.dtype).reshape(values.shape)
    array = StoredArray(name="image", dtype=values.dtype, shape=values.shape, inner_chunk=values.shape, offset=0,
                        nbytes=len(chunk), chunk_offsets=np.zeros(1, np.uint64),
                        chunk_nbytes=np.array([len(chunk)], np.uint64))  # fmt: skip
    # The source ends where the chunk ends: a sanitizer sees every byte that is read beyond.
    source = np.frombuffer(chunk, np.uint8).copy()
    try:
        decode_box(source, array.chunk_offsets, array.chunk_nbytes, array, (0, 0, 0), values.shape, out)
        low = [int(rng.integers(0, size)) for size in values.shape]
        part = np.empty([size - begin for begin, size in zip(low, values.shape, strict=True)], values.dtype)
        decode_box(source, array.chunk_offsets, array.chunk_nbytes, array, low, values.shape, part)
        assert part.tobytes() == out[tuple(slice(begin, None) for begin in low)].tobytes()
    except ChunkError:
        out = None
    assert (room[:EDGE] == CANARY).all()
    assert (room[-EDGE:] == CANARY).all()
    return out


def decoded_by_numcodecs(chunk: bytes, values: np.ndarray) -> np.ndarray | None:
    decoded = np.empty_like(values)
    try:
        blosc.decompress(chunk, decoded)
    except RuntimeError:
        return None
    return decoded


def check_many(seed: int, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    refused = agreed = 0
    for _ in range(rounds):
        values, chunk = made_chunk(rng)
        assert decoded_by_kernel(chunk, values, rng).tobytes() == values.tobytes()  # type: ignore[union-attr]
        broken = damaged(chunk, rng)
        got = decoded_by_kernel(broken, values, rng)
        refused += got is None
        sizes = np.frombuffer(broken, "<u4", 4)
        if got is not None and (sizes[1], sizes[3]) == (values.nbytes, len(broken)):
            expected = decoded_by_numcodecs(broken, values)
            if expected is not None:
                agreed += 1
                assert got.tobytes() == expected.tobytes()
    assert refused > rounds // 10
    assert agreed > rounds // 10


@pytest.fixture(params=[0, 1, 2], ids=["plain", "avx2", "this processor"])
def level(request: pytest.FixtureRequest) -> Iterator[int]:
    chunk_decoding.window_kernel.limit_processor(request.param)
    yield request.param
    chunk_decoding.window_kernel.limit_processor(2)


def test_damaged_chunks_are_refused_or_decoded_as_numcodecs_does(level: int) -> None:
    check_many(level, 1500)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_damaged_chunks(seed: int, level: int) -> None:
    check_many(1000 + 3 * seed + level, 50_000)


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_chunk_that_was_cut_short_is_refused(cut: int) -> None:
    rng = np.random.default_rng(cut)
    values = rng.integers(0, 7, (8, 9, 10)).astype(np.int16)
    chunk = bytearray(Blosc("lz4", 5, Blosc.BITSHUFFLE).encode(values)[: -1 - cut])
    chunk[12:16] = len(chunk).to_bytes(4, "little")
    assert decoded_by_kernel(bytes(chunk), values, rng) is None


def test_arguments_that_lie_about_sizes_are_refused() -> None:
    kernel = chunk_decoding.window_kernel
    one, numbers = np.zeros(1, np.uint8), np.zeros(1, np.uint64)
    huge = np.array([[2**31, 2**31], [0, 0], [2**40, 2**40]], np.int64)
    scale = (0, 0, 0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for geometry in (huge, huge[:, :1].copy(), np.zeros((3, 2), np.int64), np.array([[1, 1], [0, 0], [1, 2]], "i8")):
        with pytest.raises(ValueError, match="do not fit"):
            kernel.decode(one, numbers, numbers, geometry, 1, 1, np.zeros(1, np.uint8), one.copy(), *scale)
    fitting = np.array([[1, 1], [0, 0], [1, 1]], np.int64)
    for stored, wanted in ((-1, 1), (1, 10), (1, 1000), (9, 6), (3, 2)):
        with pytest.raises(ValueError, match="do not fit"):
            kernel.decode(one, numbers, numbers, fitting, stored, wanted, np.zeros(8, np.uint8), one.copy(), *scale)
