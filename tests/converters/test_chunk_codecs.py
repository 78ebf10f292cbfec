"""The codec of an array is found by trial: small first, cheap to read where that costs little, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medshard.converters.chunk_codecs import ChunkCodec, choose_codec

CHUNK = (1, 16, 32, 32)
SHAPE = (1, 48, 96, 96)


def noise(levels: int, dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, SHAPE).astype(dtype)


def whole_size(array: np.ndarray, codec: ChunkCodec) -> int:
    """Bytes of all chunks under a codec; the arrays here have whole chunks."""
    split = array.reshape(1, 1, 3, 16, 3, 32, 3, 32).transpose(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, *CHUNK)
    return sum(len(codec.blosc.encode(np.ascontiguousarray(chunk))) for chunk in split)


def test_noisy_integers_take_bit_shuffle_as_only_their_lower_bits_are_noise() -> None:
    assert choose_codec(noise(100, "int16"), CHUNK, "windows") == ChunkCodec("lz4", 5, "bitshuffle")


def test_numbers_that_do_not_compress_are_not_shuffled() -> None:
    random = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    assert choose_codec(random, CHUNK, "windows") == ChunkCodec("lz4", 5, "noshuffle")


def test_smooth_floats_take_a_shuffle() -> None:
    z, y, x = np.indices(SHAPE[1:], np.float32)
    smooth = np.exp(-((z - 20) ** 2 + (y - 40) ** 2 + (x - 50) ** 2) / 900)[None]
    chosen = choose_codec(smooth, CHUNK, "windows")
    assert chosen.shuffle != "noshuffle"
    assert whole_size(smooth, chosen) < 0.95 * whole_size(smooth, ChunkCodec(chosen.cname, chosen.clevel, "noshuffle"))


def test_lz4hc_is_taken_only_where_it_saves_a_fifth() -> None:
    z, y, x = np.indices(SHAPE[1:])
    steps = ((x // 5 + y // 7 + z // 3) % 4).astype(np.uint8)[None]  # the longest match is not the latest one
    assert choose_codec(steps, CHUNK, "windows") == ChunkCodec("lz4hc", 5, "bitshuffle")
    noisy = steps * noise(2, "uint8")
    fast, thorough = ChunkCodec("lz4", 5, "bitshuffle"), ChunkCodec("lz4hc", 5, "bitshuffle")
    assert 0.8 < whole_size(noisy, thorough) / whole_size(noisy, fast) < 1.0
    assert choose_codec(noisy, CHUNK, "windows") == fast


def test_what_is_read_whole_and_rarely_takes_zstandard() -> None:
    rows = np.frombuffer(b"the quick brown fox " * 5000, np.uint8)
    assert choose_codec(rows, (65536,), "whole").cname == "zstd"
    vertices = np.random.default_rng(0).normal(0, 1, (5000, 3)).astype(np.float32).astype(np.float64)
    assert choose_codec(vertices, (5000, 3), "whole").shuffle != "noshuffle"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_an_array_without_anything_still_gets_a_codec(dtype: str) -> None:
    assert choose_codec(np.zeros(SHAPE, dtype), CHUNK, "windows").cname == "lz4"
    assert choose_codec(np.zeros((0, 4), dtype), (1, 4), "windows").cname == "lz4"


@settings(max_examples=30, deadline=None)
@given(
    array=npst.arrays(
        st.sampled_from(["uint8", "int16", "uint32", "float32"]),
        npst.array_shapes(min_dims=1, max_dims=4, max_side=20),
        elements={"min_value": 0, "max_value": 100, "allow_nan": False},
    ),
    data=st.data(),
)
def test_layout_in_memory_and_values_of_bytes_outside_do_not_matter(array: np.ndarray, data: st.DataObject) -> None:
    inner_chunk = tuple(data.draw(st.integers(1, size)) for size in array.shape)
    expected = choose_codec(array, inner_chunk, "windows")
    assert choose_codec(np.asfortranarray(array), inner_chunk, "windows") == expected
    assert choose_codec(array[..., ::-1].copy()[..., ::-1], inner_chunk, "windows") == expected
    assert choose_codec(array.astype(array.dtype.newbyteorder(">")), inner_chunk, "windows") == expected


def test_a_filter_that_costs_more_has_to_save_a_twentieth() -> None:
    """The sizes decide, and they alone: the rule on sizes that were measured here."""
    kinds = [(3, "uint8"), (60, "uint8"), (250, "uint8"), (9, "int16"), (5000, "int16")]
    for seed, (levels, dtype) in enumerate(kinds):
        array = noise(levels, dtype, seed)
        chosen = choose_codec(array, CHUNK, "windows")
        plain = whole_size(array, ChunkCodec("lz4", 5, "noshuffle"))
        if chosen.shuffle != "noshuffle":
            assert whole_size(array, ChunkCodec("lz4", 5, chosen.shuffle)) <= 0.96 * plain
        else:
            assert whole_size(array, ChunkCodec("lz4", 5, "bitshuffle")) >= 0.94 * plain
