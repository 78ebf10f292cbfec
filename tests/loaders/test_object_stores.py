"""A store behind a URL reads as the folder does, in few requests, through cuts and refusals, and in forked children."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from range_server import RangeServer

from medshard.errors import StoreError
from medshard.loaders import remote_store
from medshard.loaders.block_cache import BLOCK_BYTES, SMALLEST_CAP, BlockCache
from medshard.loaders.byte_ranges import LARGEST_REQUEST, MOST_OVERREAD, coalesce, whole_blocks
from medshard.loaders.foreground import VoxelDraw, draw_foreground
from medshard.loaders.local_copies import LocalCopies
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.window_reading import read_windows
from medshard.loaders.windows import Window
from medshard.registry.store import ObjectRef, Store
from medshard.registry.store.digests import sha256_bytes

WINDOWS = [((0, 0, 0), (16, 48, 40)), ((10, 40, 30), (20, 60, 50)), ((-4, -3, 20), (12, 9, 90))]


@pytest.fixture
def server(shard_store: Store) -> Iterator[RangeServer]:
    with RangeServer(shard_store.root) as running:
        yield running


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_store, "FIRST_PAUSE_S", 0.01)


def windows_of(index: SampleIndex, case: str) -> list[Window]:
    row = index.find(case)
    return [
        Window(row=row, name=name, start=start, size=size)
        for name in row.arrays
        if name.startswith(("image", "labels/"))
        for start, size in WINDOWS
    ]


@pytest.mark.parametrize("cache_bytes", [None, 64 << 20, SMALLEST_CAP])
def test_windows_are_those_of_the_folder(
    shard_store: Store, server: RangeServer, tmp_path: Path, cache_bytes: int | None
) -> None:
    for entry, case in (("brains", "case/b"), ("noises", "one"), ("slices", "small")):
        here = SampleIndex.open(shard_store, entry)
        there = SampleIndex.open(server.url, entry, cache=tmp_path, cache_bytes=cache_bytes)
        expected = here.read_windows(windows_of(here, case))
        for _ in range(2):  # the second time out of the cache, where there is one
            for one, other in zip(there.read_windows(windows_of(there, case)), expected, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype


def test_a_bucket_reads_as_the_folder_does(shard_store: Store, tmp_path: Path) -> None:
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
        bucket = fsspec.filesystem("s3", **options)
        bucket.mkdir("shards")
        for path in sorted(shard_store.root.rglob("*")):
            if path.is_file():
                bucket.pipe_file(f"shards/a store/{path.relative_to(shard_store.root)}", path.read_bytes())
        here = SampleIndex.open(shard_store, "brains")
        there = SampleIndex.open("s3://shards/a store", "brains", cache=tmp_path, storage_options=options)
        found = there.read_windows(windows_of(there, "case/a"))
        for one, other in zip(found, here.read_windows(windows_of(here, "case/a")), strict=True):
            np.testing.assert_array_equal(one, other)
        with pytest.raises(StoreError, match=r"stage\.not_built"):
            SampleIndex.open("s3://shards/a store", "nothing", cache=tmp_path, storage_options=options)
    finally:
        server.stop()


def test_windows_of_several_entries_come_in_one_round_trip(server: RangeServer, tmp_path: Path) -> None:
    server.latency_s = 0.05
    indices = [SampleIndex.open(server.url, entry, cache=tmp_path) for entry in ("brains", "noises")]
    asked = [
        (index, window)
        for index, case in zip(indices, ("case/b", "one"), strict=True)
        for window in windows_of(index, case)
    ]
    server.forget()
    read_windows(asked)
    requests = server.forget()
    assert len(requests) >= 2
    # All are under way before the first is answered: none waits for another.
    assert max(began for *_, began, _ in requests) < min(ended for *_, ended in requests)


def test_voxels_of_many_samples_come_in_one_round_trip(shard_store: Store, server: RangeServer, tmp_path: Path) -> None:
    server.latency_s = 0.05
    here, there = SampleIndex.open(shard_store, "brains"), SampleIndex.open(server.url, "brains", cache=tmp_path)

    def draws(index: SampleIndex) -> list[tuple[SampleIndex, VoxelDraw]]:
        rows = [index.row(number) for number in range(len(index))]
        return [
            (index, VoxelDraw(row=row, layer="tissue", values=(1, 3), class_fraction=0.6, voxel_fraction=fraction))
            for row in rows
            for fraction in (0.1, 0.9)
        ]

    asked = draws(there)
    server.forget()
    assert draw_foreground(asked) == draw_foreground(draws(here))
    requests = server.forget()
    assert max(began for *_, began, _ in requests) < min(ended for *_, ended in requests)


def test_the_index_is_fetched_once_for_all_processes(server: RangeServer, shard_store: Store, tmp_path: Path) -> None:
    server.latency_s = 0.02
    digest = SampleIndex.open(shard_store, "brains").head.attachments["index"].digest
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=open_and_count, args=(server.url, tmp_path)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [3] * 4
    assert server.count(digest) == 1
    server.forget()
    assert len(SampleIndex.open(server.url, "brains", cache=tmp_path)) == 3
    assert server.count("objects") == server.count(digest) == 0


def open_and_count(url: str, cache: Path) -> None:
    os._exit(len(SampleIndex.open(url, "brains", cache=cache)))


def test_opening_an_index_that_is_here_starts_no_thread(shard_store: Store) -> None:
    before = threading.active_count()
    index = SampleIndex.open(shard_store, "brains")
    index.read_array(index.row(0), "image")
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_child_reads_after_its_parent_has_read(server: RangeServer, tmp_path: Path) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path)
    expected = index.read_array(index.find("case/a"), "image")
    for _ in range(3):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            found = b"different"
            try:
                same = np.array_equal(index.read_array(index.find("case/a"), "image"), expected)
                found = b"same" if same else found
            finally:
                os.write(write_end, found)
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            assert pipe.read() == b"same"
        os.waitpid(child, 0)
    np.testing.assert_array_equal(index.read_array(index.find("case/a"), "image"), expected)


def test_an_index_crosses_pickling(server: RangeServer, tmp_path: Path) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path, cache_bytes=8 << 20)
    again = pickle.loads(pickle.dumps(index))
    assert again == index
    np.testing.assert_array_equal(
        again.read_array(again.find("case/a"), "image"), index.read_array(index.find("case/a"), "image")
    )


@pytest.mark.parametrize("faults", [[503], [500, "reset"], ["short"], ["short", 503, "reset"]])
def test_a_fault_that_passes_is_overcome(
    server: RangeServer, shard_store: Store, tmp_path: Path, faults: list[int | str]
) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path)
    row = index.find("case/a")
    server.fail_next = list(faults)
    here = SampleIndex.open(shard_store, "brains")
    np.testing.assert_array_equal(index.read_array(row, "image"), here.read_array(here.find("case/a"), "image"))
    assert not server.fail_next


def test_a_server_that_never_recovers_is_named_with_the_range(server: RangeServer, tmp_path: Path) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path)
    row = index.find("case/a")
    server.fail_next = [503] * 100
    with pytest.raises(StoreError, match=r"store\.unreachable") as caught:
        index.read_array(row, "image")
    assert row.shard in caught.value.where
    assert caught.value.details["range"].startswith("bytes ")
    server.fail_next = ["whole"] * 100
    with pytest.raises(StoreError, match=r"shard\.range") as caught:
        index.read_array(row, "labels/tissue")
    assert row.shard in caught.value.where


def test_a_shard_that_is_gone_is_named(shard_store: Store, tmp_path: Path, server: RangeServer) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path)
    row = index.find("case/a")
    server.folder = tmp_path
    with pytest.raises(StoreError, match=r"shard\.missing") as caught:
        index.read_array(row, "image")
    assert row.shard in caught.value.where


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with RangeServer(tmp_path / "served") as server, pytest.raises(StoreError, match=r"store\.missing"):
        SampleIndex.open(server.url, "brains", cache=tmp_path)
    with pytest.raises(StoreError, match=r"store\.(unreachable|scheme)"):
        SampleIndex.open("nosuch://somewhere/else", "brains", cache=tmp_path)


def test_an_index_with_other_bytes_is_refused(shard_store: Store, tmp_path: Path, server: RangeServer) -> None:
    index = SampleIndex.open(server.url, "brains", cache=tmp_path)
    ref = index.head.attachments["index"]
    (tmp_path / "copies" / f"{ref.digest}{ref.suffix}").unlink(missing_ok=True)
    wrong = replace(ref, digest="0" * 64)
    target = tmp_path / "served" / "objects" / "00" / f"{wrong.digest}{wrong.suffix}"
    target.parent.mkdir(parents=True)
    target.write_bytes(shard_store.path(ref).read_bytes())
    server.folder = tmp_path / "served"
    head = replace(index.head, attachments={**index.head.attachments, "index": wrong})
    with pytest.raises(StoreError, match=r"object\.corrupt"):
        len(replace(index, head=head))


pieces = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 30_000)), min_size=1, max_size=60)


@given(pieces)
def test_ranges_hold_every_piece_and_stay_within_the_budget(asked: list[tuple[int, int]]) -> None:
    offsets, nbytes = (np.array(column, np.uint64) for column in zip(*asked, strict=True))
    ranges = coalesce(offsets, nbytes)
    union, reach = 0, 0
    for offset, size in sorted(asked):
        union += max(0, offset + size - max(offset, reach))
        reach = max(reach, offset + size)
    assert union <= ranges.nbytes <= MOST_OVERREAD * union + 1
    assert (ranges.starts[1:] >= ranges.ends[:-1]).all()
    read = np.concatenate([np.arange(a, b) for a, b in zip(ranges.starts, ranges.ends, strict=True)])
    for offset, size, position in zip(offsets, nbytes, ranges.positions(offsets), strict=True):
        assert (read[position], read[position + size - np.uint64(1)]) == (offset, offset + size - np.uint64(1))


def test_touching_pieces_are_one_request_and_far_ones_are_not() -> None:
    ranges = coalesce(np.array([100, 0, 50], np.uint64), np.array([50, 50, 50], np.uint64))
    assert (ranges.starts.tolist(), ranges.ends.tolist()) == ([0], [150])
    ranges = coalesce(np.array([0, 10_000_000], np.uint64), np.array([100, 100], np.uint64))
    assert len(ranges) == 2
    many = np.arange(100, dtype=np.uint64) * np.uint64(100_000)
    ranges = coalesce(many, np.full(100, 100_000, np.uint64))
    assert ranges.nbytes == 10_000_000
    assert (ranges.ends - ranges.starts).max() <= LARGEST_REQUEST


def test_blocks_cover_ranges_and_end_with_the_object() -> None:
    blocks = whole_blocks(coalesce(np.array([5, 250], np.uint64), np.array([10, 20], np.uint64)), 100, 270)
    assert list(zip(blocks.starts.tolist(), blocks.ends.tolist(), strict=True)) == [(0, 100), (200, 270)]


def test_a_cache_keeps_blocks_and_never_grows_beyond_its_cap(tmp_path: Path) -> None:
    cap = 4 * SMALLEST_CAP
    cache = BlockCache(tmp_path / "blocks", cap)
    rng = np.random.default_rng(3)
    blocks = {number: rng.bytes(BLOCK_BYTES) for number in range(200)}
    for number, block in blocks.items():
        cache.put("a" * 64, number, block)
        assert cache.get("a" * 64, number) == block
        facts = (tmp_path / "blocks").stat()
        assert facts.st_size <= cap
        assert facts.st_blocks * 512 <= cap + 8192
    kept = [number for number, block in blocks.items() if cache.get("a" * 64, number) == block]
    assert 20 < len(kept) <= 64
    assert cache.get("b" * 64, 3) is None


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "blocks", SMALLEST_CAP)
    for number in range(16):
        cache.put("a" * 64, number, b"%d" % number)
    for number in range(1, 16):
        assert cache.get("a" * 64, number) == b"%d" % number
    cache.put("a" * 64, 99, b"new")
    assert cache.get("a" * 64, 0) is None
    assert cache.get("a" * 64, 1) == b"1"


def test_a_damaged_block_counts_as_absent(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "blocks", SMALLEST_CAP)
    block = bytes(range(256)) * 10
    cache.put("a" * 64, 0, block)
    data = (tmp_path / "blocks").read_bytes()
    place = data.index(block)
    (tmp_path / "blocks").write_bytes(data[: place + 7] + b"\xff" + data[place + 8 :])
    assert cache.get("a" * 64, 0) is None


def test_a_cache_of_another_size_is_refused(tmp_path: Path) -> None:
    BlockCache(tmp_path / "blocks", SMALLEST_CAP)
    with pytest.raises(StoreError, match=r"cache\.size"):
        BlockCache(tmp_path / "blocks", 3 * SMALLEST_CAP)
    with pytest.raises(StoreError, match=r"cache\.too_small"):
        BlockCache(tmp_path / "other", 1000)


def test_many_processes_write_one_cache_and_read_only_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=use_cache, args=(path, seed)) for seed in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert path.stat().st_size <= 3 * SMALLEST_CAP


def use_cache(path: Path, seed: int) -> None:
    cache = BlockCache(path, 3 * SMALLEST_CAP)
    rng = np.random.default_rng(seed)
    wrong = 0
    for number in rng.integers(0, 120, 400).tolist():
        expected = bytes([number]) * (BLOCK_BYTES - number)
        found = cache.get("a" * 64, number)
        wrong += found is not None and found != expected
        if found is None:
            cache.put("a" * 64, number, expected)
    os._exit(min(wrong, 100))


def test_copies_stay_within_their_bytes_and_the_oldest_go(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, 250)

    def fetching(content: bytes) -> tuple[ObjectRef, Callable[[Path], str]]:
        ref = ObjectRef(digest=sha256_bytes(content), suffix=".arrow", size=len(content), kind="file")
        return ref, lambda target: (target.write_bytes(content), ref.digest)[1]

    paths = []
    for letter in b"abc":
        ref, fetch = fetching(bytes([letter]) * 100)
        paths.append(copies.path(ref, fetch, where="there"))
        assert paths[-1].read_bytes() == bytes([letter]) * 100
        os.utime(paths[-1], ns=(letter, letter))
    assert [path.exists() for path in paths] == [False, True, True]
    ref, fetch = fetching(b"d" * 300)
    with pytest.raises(StoreError, match=r"cache\.too_small"):
        copies.path(ref, fetch, where="there")
