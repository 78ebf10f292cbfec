"""The shared stream of voxels: what the standard library's codecs write comes back; what is cut or changed does not."""

from __future__ import annotations

import bz2
import gzip
import resource
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.formats.format import narrowed
from medshard.converters.formats.voxel_stream import fill_voxels, read_voxels, surplus_bytes
from medshard.converters.spooling import Spool, is_spooled
from medshard.errors import CaseError

COMPRESS = {"raw": bytes, "gzip": lambda b: gzip.compress(b, 1), "zlib": zlib.compress, "bzip2": bz2.compress}
ENCODINGS = tuple(COMPRESS)
COMPRESSED = ENCODINGS[1:]


def noise(shape: tuple[int, ...], dtype: str = "<i2") -> np.ndarray:
    return np.random.default_rng(5).integers(0, 100, shape).astype(dtype)


def refused(path: Path, **arguments) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_voxels(path, **arguments)
    assert error.value.where == path.name
    return error.value


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple),
    dtype=st.sampled_from(["u1", "<i2", ">i2", "<u4", ">f4", "<f8", ">i8"]),
    encoding=st.sampled_from(ENCODINGS),
    lengths=st.tuples(st.integers(0, 600), st.integers(0, 600), st.integers(0, 40)),
)
def test_what_was_written_comes_back_in_native_order(tmp_path_factory, shape, dtype, encoding, lengths):
    offset, skip, surplus = lengths
    array = noise(shape, dtype)
    path = tmp_path_factory.mktemp("v") / "voxels"
    path.write_bytes(b"h" * offset + COMPRESS[encoding](b"s" * skip + array.tobytes() + b"x" * surplus))
    read = read_voxels(path, offset=offset, encoding=encoding, shape=shape, dtype=dtype, skip=skip)
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative
    assert read.flags.c_contiguous


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_many_blocks_go_into_a_spooled_array(tmp_path, encoding, dtype):
    array = noise((3, 600, 901), dtype)
    path = tmp_path / "voxels"
    path.write_bytes(COMPRESS[encoding](b"head" + array.tobytes()))
    spool = Spool(folder=tmp_path, limit_bytes=1)
    place = {"offset": 4, "skip": 0} if encoding == "raw" else {"offset": 0, "skip": 4}
    read = read_voxels(path, encoding=encoding, shape=array.shape, dtype=dtype, spool=spool, **place)
    assert is_spooled(read)
    np.testing.assert_array_equal(read, array)


def test_slices_in_files_of_their_own_fill_one_array(tmp_path):
    array = noise((3, 5, 4), ">u2")
    whole = np.empty(array.shape, np.uint16)
    for number, part in enumerate(array):
        path = tmp_path / f"slice{number}"
        path.write_bytes(part.tobytes())
        fill_voxels(path, whole[number], offset=0, encoding="raw", dtype=">u2")
    np.testing.assert_array_equal(whole, array)


class TestGzip:
    def test_members_follow_each_other(self, tmp_path):
        array = noise((40, 50, 60))
        raw = array.tobytes()
        path = tmp_path / "voxels.gz"
        path.write_bytes(b"".join(gzip.compress(raw[at : at + 7777]) for at in range(0, len(raw), 7777)))
        read = read_voxels(path, offset=0, encoding="gzip", shape=array.shape, dtype="<i2")
        np.testing.assert_array_equal(read, array)

    @pytest.mark.parametrize("padding", [b"\0" * 1000, b"no gzip member"])
    def test_what_pads_the_file_is_not_looked_at(self, tmp_path, padding):
        array = noise((4, 5, 6))
        path = tmp_path / "voxels.gz"
        path.write_bytes(gzip.compress(array.tobytes()) + padding)
        np.testing.assert_array_equal(
            read_voxels(path, offset=0, encoding="gzip", shape=array.shape, dtype="<i2"), array
        )

    def test_zlib_may_be_gzip(self, tmp_path):
        array = noise((4, 5, 6))
        path = tmp_path / "voxels.zraw"
        path.write_bytes(gzip.compress(array.tobytes()))
        np.testing.assert_array_equal(
            read_voxels(path, offset=0, encoding="zlib", shape=array.shape, dtype="<i2"), array
        )

    @pytest.mark.parametrize("at", [-1, -5], ids=["length", "CRC"])
    def test_length_and_checksum_behind_the_voxels_are_verified(self, tmp_path, at):
        array = noise((4, 5, 6))
        stored = bytearray(gzip.compress(array.tobytes() + bytes(5_000_000)))
        stored[at] ^= 1
        path = tmp_path / "voxels.gz"
        path.write_bytes(stored)
        error = refused(path, offset=0, encoding="gzip", shape=array.shape, dtype="<i2")
        assert error.code == "read.unreadable"


@pytest.mark.parametrize("encoding", COMPRESSED)
class TestBrokenStreams:
    array = noise((20, 30, 40))

    def refuse(self, tmp_path, encoding, stored) -> CaseError:
        path = tmp_path / "voxels"
        path.write_bytes(stored)
        return refused(path, offset=0, encoding=encoding, shape=self.array.shape, dtype="<i2")

    @pytest.mark.parametrize("cut", [1, 4, 9, 5000])
    def test_a_cut_stream_is_truncated(self, tmp_path, encoding, cut):
        stored = COMPRESS[encoding](self.array.tobytes())
        assert self.refuse(tmp_path, encoding, stored[:-cut]).code == "read.truncated"

    def test_no_flipped_bit_ever_gives_other_voxels(self, tmp_path, encoding):
        whole = COMPRESS[encoding](self.array.tobytes())
        path = tmp_path / "voxels"
        rng = np.random.default_rng(3)
        for place in rng.integers(0, len(whole) * 8, 80):
            stored = bytearray(whole)
            stored[place // 8] ^= 1 << (place % 8)
            path.write_bytes(stored)
            try:
                read = read_voxels(path, offset=0, encoding=encoding, shape=self.array.shape, dtype="<i2")
            except CaseError:
                continue
            # A name or a time in gzip's header says nothing about the voxels.
            np.testing.assert_array_equal(read, self.array)

    def test_too_few_voxels_are_truncated(self, tmp_path, encoding):
        stored = COMPRESS[encoding](self.array.tobytes()[:-2])
        assert self.refuse(tmp_path, encoding, stored).code == "read.truncated"

    def test_sixty_gigabytes_out_of_a_kilobyte_are_refused_before_anything_is_allocated(self, tmp_path, encoding):
        path = tmp_path / "voxels"
        path.write_bytes(COMPRESS[encoding](bytes(1000 if encoding == "gzip" else 100_000)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tracemalloc.start()
        error = refused(path, offset=0, encoding=encoding, shape=(60_000, 1000, 1000), dtype="u1")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert error.code == "read.truncated"
        assert peak < 20 << 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_an_empty_mask_of_a_million_to_one_is_read(tmp_path):
    path = tmp_path / "voxels.bz2"
    path.write_bytes(bz2.compress(bytes(50_000_000)))
    assert path.stat().st_size < 200
    assert not read_voxels(path, offset=0, encoding="bzip2", shape=(50, 1000, 1000), dtype="u1").any()


@pytest.mark.parametrize(("offset", "skip"), [(-1, 0), (0, -1)])
def test_voxels_before_the_file_are_refused(tmp_path, offset, skip):
    path = tmp_path / "voxels"
    path.write_bytes(bytes(10))
    error = refused(path, offset=offset, skip=skip, encoding="raw", shape=(2,), dtype="u1")
    assert error.code == "read.unreadable"


def test_surplus_is_what_lies_behind_the_voxels(tmp_path):
    path = tmp_path / "voxels"
    path.write_bytes(bytes(30))
    assert surplus_bytes(path, offset=4, shape=(2, 3), dtype="<i4") == 2
    assert surplus_bytes(path, offset=4, shape=(2, 4), dtype="<i4") == -6


class TestNarrowed:
    @pytest.mark.parametrize("reuse", [False, True])
    @pytest.mark.parametrize("source", ["<f8", ">f8", "<f4", ">f4"])
    @pytest.mark.parametrize(
        ("add", "kept"), [(0, "uint8"), (-5, "int16"), (40000, "uint16"), (-70000, "int32"), (0.5, "float32")]
    )
    def test_floats_become_the_smallest_type_that_holds_them(self, source, reuse, add, kept):
        values = noise((2, 9, 300, 200), "f8") + add
        array = narrowed(values.astype(source), reuse=reuse)
        assert array.dtype == np.dtype(kept)
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, values)

    @pytest.mark.parametrize(
        ("values", "kept"),
        [
            (np.array([1.5, np.nan]), "float32"),
            (np.array([1.0, np.inf]), "float32"),
            (np.array([1.0, 1e300]), "float64"),
            (np.array([1.0, 3e9]), "float32"),
            (np.array([0.5, 1.0], "f2"), "float16"),
            (np.array([-3.0, 40000.0], "f2"), "float16"),
            (np.array([0.0, 7.0], "f2"), "uint8"),
            (np.array([], "f4"), "float32"),
            (np.array([1, 2], "u8"), "uint64"),
        ],
    )
    def test_other_numbers(self, values, kept):
        array = narrowed(values.reshape(1, 1, -1))
        assert array.dtype == np.dtype(kept)
        np.testing.assert_array_equal(array.ravel(), values.astype(kept))

    def test_the_argument_is_only_overwritten_where_that_is_allowed(self):
        values = noise((1, 4, 500, 500), "f4") - 5
        kept = values.copy()
        narrowed(values)
        np.testing.assert_array_equal(values, kept)
        assert np.shares_memory(narrowed(values, reuse=True), values)

    def test_at_most_a_third_more_memory_is_held(self):
        for add in (0.0, -5.0, 0.5):
            values = noise((1, 16, 500, 500), "f8") + add
            tracemalloc.start()
            narrowed(values, reuse=True)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 0.33 * values.nbytes

    def test_a_spooled_array_stays_in_a_file(self, tmp_path):
        spool = Spool(folder=tmp_path, limit_bytes=1)
        values = spool.empty((1, 30, 300, 300), "f4")
        values[...] = noise((1, 30, 300, 300), "f4") - 3
        array = narrowed(values, spool)
        assert is_spooled(array)
        assert array.dtype == np.int16
        np.testing.assert_array_equal(array, values)
