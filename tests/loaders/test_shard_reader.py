"""Windows read without Zarr are those that Zarr reads, in any process, and a damaged shard is named."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.plan import Plan
from medshard.converters.samples import Sample
from medshard.converters.shard_zip import node_name
from medshard.errors import StoreError
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.store import Head, ObjectRef, Store

Makers = dict[str, Callable[..., Sample]]
CASES = [("brains", "case/b"), ("noises", "one"), ("slices", "small")]


def open_with_zarr(index: SampleIndex, case: str) -> zarr.Group:
    shard = index.store.root / "objects" / index.find(case).shard[:2] / index.find(case).shard
    return zarr.open_group(zarr.storage.ZipStore(shard, mode="r"), mode="r")[node_name(case)]


def window_of(array: np.ndarray, start: tuple[int, ...], size: tuple[int, ...], pad_value: float) -> np.ndarray:
    """The window of a whole array, by an independent rule: pad everything, then cut."""
    before = [max(0, -a) for a in start]
    after = [max(0, a + n - extent) for a, n, extent in zip(start, size, array.shape[1:], strict=True)]
    padded = np.pad(array, [(0, 0), *zip(before, after, strict=True)], constant_values=pad_value)
    place = tuple(slice(a + b, a + b + n) for a, b, n in zip(start, before, size, strict=True))
    return padded[(slice(None), *place)]


@pytest.fixture(scope="module")
def whole_arrays(shard_store: Store) -> dict[tuple[str, str, str], np.ndarray]:
    """Every image and label of `CASES`, as zarr-python reads them."""
    arrays = {}
    for entry, case in CASES:
        index = SampleIndex.open(shard_store, entry)
        group = open_with_zarr(index, case)
        for name in index.find(case).arrays:
            if name.startswith(("image", "labels/")):
                arrays[entry, case, name] = group[name][...]
    return arrays


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_window_equals_that_of_zarr_python(
    shard_store: Store, whole_arrays: dict[tuple[str, str, str], np.ndarray], data: st.DataObject
) -> None:
    entry, case, name = data.draw(st.sampled_from(sorted(whole_arrays)))
    expected = whole_arrays[entry, case, name]
    start = data.draw(st.tuples(*(st.integers(-20, extent + 10) for extent in expected.shape[1:])))
    size = data.draw(st.tuples(*(st.integers(1, 70) for _ in start)))
    index = SampleIndex.open(shard_store, entry)
    window = index.read_window(index.find(case), name, start, size, pad_value=7)
    assert window.dtype == expected.dtype
    np.testing.assert_array_equal(window, window_of(expected, start, size, 7))
    converted = index.read_window(index.find(case), name, start, size, pad_value=0.5, dtype=np.float32)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, window_of(expected.astype(np.float32), start, size, 0.5))


def test_every_array_of_every_sample_equals_that_of_zarr_python(shard_store: Store) -> None:
    compared = 0
    for entry in ("brains", "slices", "noises"):
        index = SampleIndex.open(shard_store, entry)
        for case in index.cases:
            group = open_with_zarr(index, case)
            for name in index.find(case).arrays:
                np.testing.assert_array_equal(index.read_array(index.find(case), name), group[name][...])
                compared += 1
    assert compared == 3 * 3 + 1 + 2 * 4 + 2


def test_one_foreground_row_is_that_of_the_table(shard_store: Store) -> None:
    index = SampleIndex.open(shard_store, "brains")
    row = index.find("case/c")
    table = index.read_array(row, "foreground/tissue")
    assert len(table) > 1024  # more than one chunk
    for number in (0, 1023, 1024, len(table) - 1):
        assert index.read_foreground(row, "tissue", number) == tuple(table[number].tolist())


def test_a_row_says_what_its_numbers_mean(shard_store: Store) -> None:
    row = SampleIndex.open(shard_store, "brains").find("case/a")
    assert (row.name, row.slope, row.channels, row.shape) == ("brains/case/a", 0.5, 1, (30, 100, 81))
    assert row.sample_id == row.record_key[:32]
    assert row.labels["tissue"].classes == {1: "grey matter", 3: "white matter"}
    assert sum(row.labels["tissue"].foreground.values()) == row.arrays["foreground/tissue"].shape[0]


def test_an_unknown_case_or_array_is_named(shard_store: Store) -> None:
    index = SampleIndex.open(shard_store, "brains")
    with pytest.raises(StoreError, match=r"sample\.unknown.*brains/nobody"):
        index.find("nobody")
    with pytest.raises(StoreError, match=r"sample\.array.*brains/case/a.*'labels/liver'"):
        index.read_array(index.find("case/a"), "labels/liver")
    with pytest.raises(StoreError, match=r"stage\.not_built"):
        SampleIndex.open(shard_store, "nothing")


def test_an_index_crosses_pickling_after_it_was_used(shard_store: Store) -> None:
    index = SampleIndex.open(shard_store, "noises")
    expected = index.read_array(index.find("one"), "image")
    again = pickle.loads(pickle.dumps(index))
    assert again == index
    np.testing.assert_array_equal(again.read_array(again.find("one"), "image"), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_child_reads_what_its_parent_has_read_before(shard_store: Store) -> None:
    index = SampleIndex.open(shard_store, "brains")
    expected = index.read_array(index.find("case/a"), "image")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = np.array_equal(index.read_array(index.find("case/a"), "image"), expected)
        finally:
            os.write(write_end, b"same" if same else b"different")
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"same"


def test_the_reader_needs_neither_torch_nor_zarr() -> None:
    code = (
        "import sys, medshard.loaders, medshard.loaders.shard_reader, medshard.loaders.stream;"
        "print([name for name in ('torch', 'zarr', 'dagster', 'monai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def own_store(
    tmp_path: Path, publish: Callable[..., Head], sample_makers: Makers, make_plan: Callable[..., Plan]
) -> Store:
    store = Store.open(tmp_path / "store")
    publish(store, make_plan("noises"), [[sample_makers["noise"]("one")]])
    return store


def shard_path(index: SampleIndex) -> Path:
    return index.store.path(index.head.attachments["shard-00000"])


def test_a_missing_shard_is_named(own_store: Store) -> None:
    index = SampleIndex.open(own_store, "noises")
    shard_path(index).unlink()
    with pytest.raises(StoreError, match=r"shard\.missing") as caught:
        index.read_array(index.row(0), "image")
    assert caught.value.where == str(shard_path(index))


def test_a_torn_shard_is_named(own_store: Store) -> None:
    index = SampleIndex.open(own_store, "noises")
    whole = shard_path(index).read_bytes()
    shard_path(index).write_bytes(whole[:-1000])
    with pytest.raises(StoreError, match=r"shard\.torn") as caught:
        index.read_array(index.row(0), "image")
    assert caught.value.where == str(shard_path(index))
    assert caught.value.details == {"expected": f"{len(whole)} bytes", "found": f"{len(whole) - 1000} bytes"}


def test_a_shard_with_a_hole_of_zeros_is_named(own_store: Store) -> None:
    """What a crashed file system leaves behind: the right length, and nothing in it."""
    index = SampleIndex.open(own_store, "noises")
    image = index.row(0).arrays["image"]
    with shard_path(index).open("r+b") as stream:
        stream.seek(image.offset)
        stream.write(bytes(image.nbytes))
    with pytest.raises(StoreError, match=r"shard\.corrupt") as caught:
        index.read_array(index.row(0), "image")
    assert caught.value.where == str(shard_path(index))
    first, number = next((at, n) for n, at in enumerate(image.chunk_offsets.tolist()) if at != 2**64 - 1)
    begin = image.offset + first
    assert {name: caught.value.details[name] for name in ("case", "array", "chunk", "bytes")} == {
        "case": "noises/one",
        "array": "image",
        "chunk": str(number),
        "bytes": f"{begin} to {begin + int(image.chunk_nbytes[number])}",
    }


def test_half_an_index_is_named(own_store: Store) -> None:
    ref = SampleIndex.open(own_store, "noises").head.attachments["index"]
    own_store.path(ref).write_bytes(own_store.path(ref).read_bytes()[:100])
    with pytest.raises(StoreError, match=r"index\.unreadable"):
        len(SampleIndex.open(own_store, "noises"))


def test_an_index_that_points_behind_its_shard_is_refused(own_store: Store) -> None:
    index = SampleIndex.open(own_store, "noises")
    ref = index.head.attachments["shard-00000"]
    short = replace(
        index, head=replace(index.head, attachments={**index.head.attachments, "shard-00000": shorter(ref)})
    )
    with pytest.raises(StoreError, match=r"shard\.index.*outside of its shard"):
        short.row(0)


def shorter(ref: ObjectRef) -> ObjectRef:
    return replace(ref, size=1000)


def test_an_open_index_keeps_to_its_head(
    own_store: Store, publish: Callable[..., Head], sample_makers: Makers, make_plan: Callable[..., Plan]
) -> None:
    index = SampleIndex.open(own_store, "noises")
    expected = index.read_array(index.row(0), "image")
    publish(own_store, make_plan("noises"), [[sample_makers["noise"]("one"), sample_makers["noise"]("zero")]])
    again = pickle.loads(pickle.dumps(index))
    assert (len(index), len(again), len(SampleIndex.open(own_store, "noises"))) == (1, 1, 2)
    np.testing.assert_array_equal(again.read_array(again.row(0), "image"), expected)
