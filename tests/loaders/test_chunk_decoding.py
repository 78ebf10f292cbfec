"""Boxes out of chunks: as zarr-python reads them, scaled as numpy scales, compiled or not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from medshard.converters.zarr_shard import shard_shape, write_zarr_shard
from medshard.loaders import chunk_decoding
from medshard.loaders.chunk_decoding import ChunkError, decode_box
from medshard.loaders.sample_row import EMPTY_CHUNK, StoredArray
from medshard.loaders.windows import Scale

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"]
SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
LAYOUTS = [((700,), (128,)), ((60, 50), (16, 24)), ((20, 33, 30), (8, 16, 16)), ((2, 19, 40, 37), (1, 16, 32, 32)),
           ((2, 2, 5, 9, 11), (1, 2, 3, 8, 8))]  # fmt: skip
HOW = ["plain", "avx2", "this processor", "numpy"]


@dataclass(frozen=True)
class Stored:
    """An array in a file as a Zarr shard, as the index describes it, and as zarr-python opens it."""

    array: StoredArray
    source: bytes
    opened: zarr.Array

    def touched(self, start: Sequence[int], stop: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        grid = [-(-size // chunk) for size, chunk in zip(self.array.shape, self.array.inner_chunk, strict=True)]
        part = tuple(
            slice(a // chunk, -(-b // chunk)) for a, b, chunk in zip(start, stop, self.array.inner_chunk, strict=True)
        )
        if len(self.array.chunk_nbytes) == 0:
            nothing = np.full(grid, EMPTY_CHUNK, np.uint64)[part].ravel()
            return nothing, nothing
        return (
            self.array.chunk_offsets.reshape(grid)[part].ravel(),
            self.array.chunk_nbytes.reshape(grid)[part].ravel(),
        )

    def read(self, start: Sequence[int], stop: Sequence[int], dtype: Any = None, scale: Scale | None = None) -> Any:
        out = np.empty([b - a for a, b in zip(start, stop, strict=True)], dtype or self.array.dtype)
        decode_box(self.source, *self.touched(start, stop), self.array, start, stop, out, scale)
        return out


def store(
    values: np.ndarray, inner_chunk: tuple[int, ...], folder: Path, *, cname: str = "lz4", shuffle: str = "bitshuffle"
) -> Stored:
    opened = zarr.create_array(
        zarr.storage.LocalStore(folder),
        shape=values.shape,
        dtype=values.dtype,
        chunks=inner_chunk,
        shards=shard_shape(values.shape, inner_chunk),
        compressors=[BloscCodec(typesize=values.dtype.itemsize, cname=cname, clevel=5, shuffle=shuffle)],
        fill_value=0,
    )
    path = folder.joinpath("c", *("0" for _ in values.shape))
    write_zarr_shard(values, inner_chunk, Blosc(cname, 5, SHUFFLES[shuffle]), path)
    source = path.read_bytes() if path.exists() else b""
    chunks = math.prod(-(-size // chunk) for size, chunk in zip(values.shape, inner_chunk, strict=True))
    table = np.frombuffer(source[-16 * chunks - 4 : -4], "<u8").reshape(-1, 2)
    array = StoredArray(
        name="image", dtype=values.dtype, shape=values.shape, inner_chunk=inner_chunk, offset=0, nbytes=len(source),
        chunk_offsets=table[:, 0], chunk_nbytes=table[:, 1],
    )  # fmt: skip
    return Stored(array, source, opened)


def voxels(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Noise on structure: long matches, short ones, literals and empty chunks."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        values = rng.normal(0, 100, shape).astype(dtype)
        values.flat[:: max(1, values.size // 50)] = [np.nan, -0.0, np.inf, 0.0, -np.inf][seed % 5]
    else:
        values = (rng.integers(0, 5, shape) * rng.integers(0, 60, shape)).astype(dtype)
    ramp = np.indices(shape).sum(axis=0)
    return np.where(ramp // 7 % 3 == 0, values, (ramp // 16 % 100).astype(dtype) * (ramp // 20 % 2).astype(dtype))


def box_in(shape: Sequence[int], rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    edges = [sorted(rng.choice(size + 1, 2, replace=False).tolist()) for size in shape]
    return tuple(a for a, _ in edges), tuple(b for _, b in edges)


@pytest.fixture(params=HOW)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every way in which this machine can decode."""
    if request.param == "numpy":
        monkeypatch.setattr(chunk_decoding, "window_kernel", None)
        yield request.param
        return
    if chunk_decoding.window_kernel is None:
        pytest.skip("the window kernel was not compiled")
    chunk_decoding.window_kernel.limit_processor(HOW.index(request.param))
    yield request.param
    chunk_decoding.window_kernel.limit_processor(2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_boxes_have_the_bytes_that_zarr_python_reads(dtype: str, tmp_path: Path, reader: str) -> None:
    rng = np.random.default_rng(DTYPES.index(dtype))
    for number, ((shape, inner_chunk), shuffle) in enumerate(itertools.product(LAYOUTS, SHUFFLES)):
        cname = ["lz4", "lz4hc"][number % 2]
        stored = store(voxels(dtype, shape, number), inner_chunk, tmp_path / str(number), cname=cname, shuffle=shuffle)
        for _ in range(2):
            start, stop = box_in(shape, rng)
            expected = np.asarray(stored.opened[tuple(map(slice, start, stop))])
            assert stored.read(start, stop).tobytes() == expected.tobytes(), (shape, shuffle, start, stop)


@pytest.mark.parametrize("cname", ["zstd", "zlib", "blosclz"])
def test_other_compressors_of_blosc_are_read_too(cname: str, tmp_path: Path, reader: str) -> None:
    stored = store(voxels("int16", (20, 40, 40), 1), (8, 16, 16), tmp_path, cname=cname)
    start, stop = (3, 5, 7), (20, 30, 39)
    expected = np.asarray(stored.opened[tuple(map(slice, start, stop))])
    np.testing.assert_array_equal(stored.read(start, stop), expected)
    scale = Scale(mean=10.0, std=3.0)
    np.testing.assert_array_equal(
        stored.read(start, stop, np.float32, scale), (expected.astype(np.float32) - np.float32(10)) / np.float32(3)
    )


def scaled_by_numpy(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The formula of `Scale`, number by number and step by step, in float32."""
    f = np.float32
    with np.errstate(all="ignore"):
        result = values.astype(f)
        if (scale.slope, scale.intercept) != (1.0, 0.0):
            result = (result * f(scale.slope)).astype(f) + f(scale.intercept)
        if scale.low is not None:
            result = np.where(result < f(scale.low), f(scale.low), result)
        if scale.high is not None:
            result = np.where(result > f(scale.high), f(scale.high), result)
        if (scale.mean, scale.std) != (0.0, 1.0):
            result = (result - f(scale.mean)).astype(f) / f(scale.std)
    return result.astype(f)


SCALES = [
    Scale(),
    Scale(low=-5.0, high=50.5),
    Scale(high=7.25),
    Scale(slope=0.1, intercept=-1024.0),
    Scale(slope=1.0, intercept=-0.3, low=-0.0),
    Scale(mean=13.7, std=3.3),
    Scale(slope=0.37, intercept=5.1, low=0.0, high=100.0, mean=40.0, std=7.7),
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_boxes_have_the_bytes_of_the_formula(dtype: str, tmp_path: Path, reader: str) -> None:
    rng = np.random.default_rng(1)
    shape = (2, 19, 40, 37)
    for number, scale in enumerate(SCALES):
        shuffle = list(SHUFFLES)[number % 3]
        stored = store(voxels(dtype, shape, number), (1, 16, 32, 32), tmp_path / str(number), shuffle=shuffle)
        start, stop = box_in(shape, rng)
        expected = scaled_by_numpy(np.asarray(stored.opened[tuple(map(slice, start, stop))]), scale)
        assert stored.read(start, stop, np.float32, scale).tobytes() == expected.tobytes(), scale


def test_the_processors_numbers_agree_on_what_rounds_and_what_does_not(tmp_path: Path, reader: str) -> None:
    # Large integers round to float32; a product fused into a sum would round once instead of twice.
    values = np.random.default_rng(3).integers(-(2**62), 2**62, (4, 64, 64))
    stored = store(values, (4, 32, 32), tmp_path)
    scale = Scale(slope=1.1e-9, intercept=0.37, mean=1.7, std=0.3)
    got = stored.read((0, 0, 0), values.shape, np.float32, scale)
    assert got.tobytes() == scaled_by_numpy(values, scale).tobytes()


@pytest.mark.parametrize(
    ("stored_as", "wanted"),
    [("uint8", "int64"), ("uint8", "int16"), ("uint16", "int32"), ("int8", "int16"), ("uint32", "int64"),
     ("uint8", "uint16"), ("int16", "float64"), ("bool", "uint8"), ("bool", "int64")],
)  # fmt: skip
def test_numbers_widen(stored_as: str, wanted: str, tmp_path: Path, reader: str) -> None:
    values = voxels(stored_as, (9, 40, 40), 2)
    stored = store(values, (8, 16, 16), tmp_path)
    got = stored.read((1, 2, 3), (9, 40, 37), wanted)
    assert got.dtype == wanted
    np.testing.assert_array_equal(got, values[1:9, 2:40, 3:37].astype(wanted))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_layout_of_any_array_reads_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple))
    inner_chunk = tuple(data.draw(st.integers(1, size)) for size in shape)
    values = voxels(data.draw(st.sampled_from(DTYPES)), shape, data.draw(st.integers(0, 99)))
    shuffle = data.draw(st.sampled_from(list(SHUFFLES)))
    stored = store(values, inner_chunk, tmp_path_factory.mktemp("any"), shuffle=shuffle)
    start = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    stop = tuple(data.draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True))
    assert stored.read(start, stop).tobytes() == values[tuple(map(slice, start, stop))].tobytes()


def test_an_array_of_zeros_has_no_bytes_and_reads_as_scaled_zeros(tmp_path: Path, reader: str) -> None:
    stored = store(np.zeros((3, 20, 20), np.int16), (2, 16, 16), tmp_path)
    assert stored.source == b""
    got = stored.read((0, 1, 2), (3, 20, 19), np.float32, Scale(low=5.0, mean=1.0, std=2.0))
    np.testing.assert_array_equal(got, np.full((3, 19, 17), 2.0, np.float32))


def test_chunks_may_lie_anywhere_in_a_larger_buffer(tmp_path: Path, reader: str) -> None:
    values = voxels("int16", (20, 40, 40), 5)
    stored = store(values, (8, 16, 16), tmp_path)
    offsets, nbytes = stored.touched((0, 0, 0), values.shape)
    pieces = [stored.source[a : a + n] for a, n in zip(offsets.tolist(), nbytes.tolist(), strict=True)]
    order = np.random.default_rng(0).permutation(len(pieces))
    places = np.zeros(len(pieces), np.uint64)
    buffer = bytearray(b"before")
    for number in order:
        places[number] = len(buffer)
        buffer += pieces[number]
    out = np.empty(values.shape, np.int16)
    decode_box(memoryview(buffer), places, nbytes, stored.array, (0, 0, 0), values.shape, out)
    np.testing.assert_array_equal(out, values)


Damage = Callable[[bytearray, int, int], None]


def no_header(source: bytearray, offset: int, nbytes: int) -> None:
    source[offset + 4] ^= 1


def other_length(source: bytearray, offset: int, nbytes: int) -> None:
    source[offset + 12] ^= 1


def wild_blocks(source: bytearray, offset: int, nbytes: int) -> None:
    source[offset + 16 : offset + 20] = b"\xff\xff\xff\x7f"


def wild_stream(source: bytearray, offset: int, nbytes: int) -> None:
    source[offset + 20 : offset + 24] = b"\xff\xff\xff\xff"


def short_stream(source: bytearray, offset: int, nbytes: int) -> None:
    source[offset + 24 : offset + nbytes] = bytes(nbytes - 24)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(no_header, "another header"), (other_length, "another header"), (wild_blocks, "cannot be decompressed"),
     (wild_stream, "cannot be decompressed"), (short_stream, "cannot be decompressed")],
)  # fmt: skip
def test_a_damaged_chunk_is_named_by_its_number_in_the_box(
    damage: Damage, reason: str, tmp_path: Path, reader: str
) -> None:
    stored = store(voxels("int16", (20, 40, 40), 5) + 1, (8, 16, 16), tmp_path)
    start, stop = (8, 0, 0), (20, 40, 40)
    offsets, nbytes = stored.touched(start, stop)
    source = bytearray(stored.source)
    damage(source, int(offsets[5]), int(nbytes[5]))
    out = np.empty((12, 40, 40), np.int16)
    with pytest.raises(ChunkError) as caught:
        decode_box(source, offsets, nbytes, stored.array, start, stop, out)
    assert (caught.value.number, caught.value.reason) == (5, reason)


def test_a_chunk_beyond_the_end_is_named(tmp_path: Path, reader: str) -> None:
    stored = store(voxels("int16", (8, 16, 40), 5) + 1, (8, 16, 16), tmp_path)
    offsets, nbytes = stored.touched((0, 0, 0), (8, 16, 40))
    for far in (len(stored.source) - int(nbytes[1]) + 1, 2**63, 2**64 - 2):
        places = offsets.copy()
        places[1] = far
        with pytest.raises(ChunkError) as caught:
            decode_box(stored.source, places, nbytes, stored.array, (0, 0, 0), (8, 16, 40), np.empty((8, 16, 40), "i2"))
        assert (caught.value.number, caught.value.reason) == (1, "outside of the bytes")


@pytest.mark.parametrize(
    ("out", "scale", "problem"),
    [
        (np.empty((8, 16), np.int16), None, "box's shape"),
        (np.empty((8, 16, 80), np.int16)[:, :, ::2], None, "C-contiguous"),
        (np.empty((8, 16, 40), np.uint8), None, "int16 is not read into uint8"),
        (np.empty((8, 16, 40), np.int16), Scale(std=2.0), "with a scale"),
    ],
)
def test_what_does_not_fit_is_refused(
    out: np.ndarray, scale: Scale | None, problem: str, tmp_path: Path, reader: str
) -> None:
    stored = store(voxels("int16", (8, 16, 40), 5), (8, 16, 16), tmp_path)
    places = stored.touched((0, 0, 0), (8, 16, 40))
    with pytest.raises(ValueError, match=problem):
        decode_box(stored.source, *places, stored.array, (0, 0, 0), (8, 16, 40), out, scale)


def test_a_box_outside_of_the_array_and_chunks_that_are_missing_are_refused(tmp_path: Path) -> None:
    stored = store(voxels("int16", (8, 16, 40), 5), (8, 16, 16), tmp_path)
    offsets, nbytes = stored.touched((0, 0, 0), (8, 16, 40))
    with pytest.raises(ValueError, match="not inside"):
        decode_box(stored.source, offsets, nbytes, stored.array, (0, 0, 0), (8, 16, 41), np.empty((8, 16, 41), "i2"))
    with pytest.raises(ValueError, match="touches 3 chunks"):
        decode_box(
            stored.source, offsets[:2], nbytes[:2], stored.array, (0, 0, 0), (8, 16, 40), np.empty((8, 16, 40), "i2")
        )


def test_a_box_of_nothing_is_nothing(tmp_path: Path, reader: str) -> None:
    stored = store(voxels("int16", (8, 16, 40), 5), (8, 16, 16), tmp_path)
    nothing = np.zeros(0, np.uint64)
    out = np.empty((0, 16, 40), np.int16)
    decode_box(stored.source, nothing, nothing, stored.array, (3, 0, 0), (3, 16, 40), out)
