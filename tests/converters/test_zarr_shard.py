"""A Zarr shard written here is one for every other reader of Zarr v3."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from medshard.converters import zarr_shard
from medshard.converters.spooling import Spool
from medshard.converters.zarr_shard import chunk_grid, shard_shape, window_order, write_zarr_shard

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


def test_a_chunk_of_negative_zeros_keeps_its_sign(tmp_path: Path) -> None:
    zeros = np.full((4, 6), -0.0, np.float32)
    assert np.signbit(write_both(zeros, (2, 3), tmp_path / "f")[...]).all()


def scan() -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 500, (1, 37, 50, 61)).astype(np.int16)
    array[:, :16, :20] = 0
    return array


def shard_of(array: np.ndarray, path: Path, threads: int) -> bytes:
    write_zarr_shard(array, (1, 8, 16, 16), Blosc("zstd", 1, Blosc.BITSHUFFLE), path, threads=threads)
    return path.read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_make_no_difference(tmp_path: Path, threads: int) -> None:
    assert shard_of(scan(), tmp_path / "c" / "0", threads) == shard_of(scan(), tmp_path / "d" / "0", 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_a_file_that_lies_across_is_read_along_and_stored_in_c_order(
    tmp_path: Path, axes: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_shard, "RELEASE_BYTES", 9000)
    source = scan().transpose(0, *axes)
    spooled = Spool(folder=tmp_path, limit_bytes=1).empty(source.shape, source.dtype)
    spooled[...] = source
    back = spooled.transpose(0, *(1 + axes.index(axis) for axis in (1, 2, 3)))
    np.testing.assert_array_equal(back, scan())
    assert shard_of(back, tmp_path / "c" / "0", threads) == shard_of(scan(), tmp_path / "d" / "0", 1)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["0"]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "float64", ">i2", ">f4"])
@pytest.mark.parametrize("columns", [48, 61])
def test_rows_that_run_backwards_are_stored_like_their_copy(tmp_path: Path, dtype: str, columns: int) -> None:
    array = scan()[..., :columns].astype(dtype)
    for axes in ((-1,), (-1, -2), (-1, -3)):
        turned = np.flip(array, axes)
        name = "-".join(map(str, axes))
        view = shard_of(turned, tmp_path / name / "view", 2)
        assert view == shard_of(turned.copy(order="C"), tmp_path / f"{name}-again" / "copy", 1)


def test_big_endian_numbers_are_stored_little_endian(tmp_path: Path) -> None:
    big = scan().astype(">i2")
    assert shard_of(big, tmp_path / "c" / "0", 2) == shard_of(scan(), tmp_path / "d" / "0", 1)


def test_few_chunks_are_in_memory_at_a_time(tmp_path: Path) -> None:
    """While the first chunk is not done, at most six others are begun by two threads."""
    begun: list[int] = []
    begun_meanwhile: list[int] = []

    class SlowAtFirst:
        def encode(self, chunk: np.ndarray) -> bytes:
            begun.append(int(chunk[0]))
            if chunk[0] == 1:
                threading.Event().wait(0.3)
                begun_meanwhile.append(len(begun) - 1)
            return b"blob"

    write_zarr_shard(np.arange(1, 201), (1,), SlowAtFirst(), tmp_path / "c" / "0", threads=2)
    assert sorted(begun) == list(range(1, 201))
    assert begun_meanwhile[0] <= 6


def table_of(path: Path, chunks: int) -> np.ndarray:
    """(offset, bytes) of each inner chunk, in C order of the grid."""
    return np.frombuffer(path.read_bytes()[-16 * chunks - 4 : -4], "<u8").reshape(-1, 2)


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_lie_in_the_order_that_is_asked_for_and_read_back(spooled: bool, threads: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (2, 9, 20, 30)).astype(np.int16)
    inner = (1, 4, 8, 8)
    # A spooled array is read in the order of its file, which is neither C order nor that of the curve.
    spool = Spool(folder=tmp_path, limit_bytes=1 if spooled else 1 << 30)
    kept = spool.empty((30, 2, 20, 9), array.dtype).transpose(1, 3, 2, 0)
    kept[...] = array
    order = window_order(array.shape, inner)
    opened = write_both(array, inner, tmp_path / "zarr")
    path = tmp_path / "zarr" / "c" / "0" / "0" / "0" / "0"
    bytes_in_c_order = path.stat().st_size
    shutil.rmtree(tmp_path / "zarr" / "c")
    write_zarr_shard(kept, inner, Blosc("lz4hc", 5, Blosc.BITSHUFFLE), path, order=order, threads=threads)
    np.testing.assert_array_equal(opened[...], array)
    assert path.stat().st_size == bytes_in_c_order
    offsets = table_of(path, len(order))[:, 0]
    assert np.argsort(offsets).tolist() == order.tolist()


def test_neighbours_on_the_curve_are_boxes_of_two_by_two_by_two() -> None:
    order = window_order((1, 64, 128, 128), (1, 16, 32, 32))  # 4x4x4 chunks
    places = np.stack(np.unravel_index(order, (1, 4, 4, 4)), axis=1)
    for eight in places.reshape(8, 8, 4):
        assert (np.ptp(eight, axis=0) == [0, 1, 1, 1]).all()
    assert sorted(order.tolist()) == list(range(64))


def test_slices_tiles_and_frames_stay_together_with_their_channels() -> None:
    order = window_order((3, 5, 256, 256), (1, 1, 128, 128))
    channels, slices, _, _ = np.unravel_index(order, (3, 5, 2, 2))
    assert (np.diff(slices) >= 0).all()
    assert channels[:3].tolist() == [0, 1, 2]


@given(st.tuples(st.integers(1, 3), *[st.integers(1, 40)] * 3), st.tuples(st.just(1), *[st.integers(1, 9)] * 3))
def test_the_curve_goes_through_every_chunk_once(
    shape: tuple[int, int, int, int], inner: tuple[int, int, int, int]
) -> None:
    order = window_order(shape, inner)
    assert sorted(order.tolist()) == list(range(int(np.prod(chunk_grid(shape, inner)))))
