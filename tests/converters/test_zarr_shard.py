"""A Zarr shard written here is one for every other reader of Zarr v3."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from medshard.converters.zarr_shard import shard_shape, write_zarr_shard

DTYPES = ["uint8", "int16", "uint32", "float32", "float64", "int64"]


def write_both(array: np.ndarray, inner: tuple[int, ...], folder: Path) -> zarr.Array:
    codec = BloscCodec(typesize=array.dtype.itemsize, cname="lz4hc", clevel=5, shuffle="bitshuffle")
    described = zarr.create_array(
        zarr.storage.LocalStore(folder),
        shape=array.shape,
        dtype=array.dtype,
        chunks=inner,
        shards=shard_shape(array.shape, inner),
        compressors=[codec],
        fill_value=0,
    )
    path = folder.joinpath("c", *("0" for _ in array.shape))
    write_zarr_shard(array, inner, Blosc("lz4hc", 5, Blosc.BITSHUFFLE), path)
    return described


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_zarr_python_reads_any_array_back(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    inner = tuple(data.draw(st.integers(1, size)) for size in shape)
    # No more than a few hundred chunks.
    inner = tuple(max(chunk, -(-size // 5)) for chunk, size in zip(inner, shape, strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = rng.integers(0, 200, shape).astype(data.draw(st.sampled_from(DTYPES)))
    array[rng.integers(0, 2, shape[0]).astype(bool)] = 0  # so that some chunks are empty
    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(write_both(array, inner, Path(folder) / "a.zarr")[...], array)


def test_negative_and_extreme_numbers_survive(tmp_path: Path) -> None:
    floats = np.array([[-1.5, np.inf, 3e38, 1e-45, -0.0, np.pi]], np.float32)
    np.testing.assert_array_equal(write_both(floats, (1, 4), tmp_path / "f")[...], floats)
    integers = np.array([-32768, 32767, -1], np.int16)
    np.testing.assert_array_equal(write_both(integers, (2,), tmp_path / "i")[...], integers)


def test_an_array_of_zeros_or_of_nothing_is_no_file(tmp_path: Path) -> None:
    for name, array in {"zeros": np.zeros((5, 6), np.int16), "nothing": np.zeros((0, 3), np.float64)}.items():
        written = write_both(array, (2, 3), tmp_path / name)
        assert not (tmp_path / name / "c").exists()
        np.testing.assert_array_equal(written[...], array)


def test_chunks_lie_in_c_order_and_empty_ones_take_no_bytes(tmp_path: Path) -> None:
    array = np.zeros((4, 6), np.uint8)
    array[0, 0], array[3, 5] = 1, 2
    write_zarr_shard(array, (2, 3), Blosc("zstd", 3, Blosc.NOSHUFFLE), tmp_path / "c" / "0")
    data = (tmp_path / "c" / "0").read_bytes()
    table = np.frombuffer(data[-4 - 64 : -4], "<u8").reshape(4, 2)
    assert table[0, 0] == 0
    assert table[3, 0] == table[0, 1]
    assert table[0, 1] + table[3, 1] == len(data) - 68
    assert (table[1:3] == 2**64 - 1).all()
