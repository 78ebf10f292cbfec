"""The watch on the reader changes nothing of what is read, and counts what is there to count."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from made_shards import made_sample, plan_of, publish_shards
from range_server import RangeServer

from medshard.errors import StoreError
from medshard.loaders import ShardDataset, collate_samples, items, window_reading
from medshard.loaders.diagnosis.machine import memory_for_files, shared_memory_free
from medshard.loaders.diagnosis.reading import read_batches, steps_of, storage_of
from medshard.loaders.diagnosis.watching import watching
from medshard.loaders.remote_store import RemoteStore
from medshard.registry.store import Store

NOTED_AFTER_S = 0.3  # the server notes a request once it has been answered


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "store")
    publish_shards(made, plan_of("organs"), [[made_sample("organs", f"case-{n}", seed=n)] for n in range(2)])
    return made


def dataset(store: Store | RemoteStore) -> ShardDataset:
    return ShardDataset(store, ["organs"], patch_size=(16, 32, 32), foreground=1.0)


def test_items_are_the_same_under_watch(store: Store) -> None:
    plain = dataset(store).__getitems__(range(6))
    with watching() as seen:
        watched = dataset(store).__getitems__(range(6))
    for one, other in zip(plain, watched, strict=True):
        assert one.keys() == other.keys()
        assert all(
            torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
            for key in one
        )
    assert seen.codecs <= {"lz4"}
    assert seen.used_bytes == 6 * 3 * 16 * 32 * 32  # int16 and uint8
    assert seen.touched_bytes > seen.used_bytes
    assert seen.foreground_s > 0


def test_the_reader_is_as_before_even_after_an_error() -> None:
    before = window_reading.find_bytes, window_reading.decode_box, items.draw_foreground
    with suppress(ZeroDivisionError), watching():
        assert window_reading.find_bytes is not before[0]
        raise ZeroDivisionError
    assert (window_reading.find_bytes, window_reading.decode_box, items.draw_foreground) == before


def test_a_shard_that_is_cut_off_or_gone_is_reported_as_by_the_reader(store: Store) -> None:
    (first, *others) = sorted((store.root / "objects").glob("*/*.zip"))
    first.chmod(0o644)
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(StoreError) as raised, watching():
        dataset(store).__getitems__(range(8))
    assert raised.value.code == "shard.torn"
    for path in (first, *others):
        path.unlink()
    with pytest.raises(StoreError) as raised, watching():
        dataset(store).__getitems__(range(8))
    assert raised.value.code == "shard.missing"


def test_bytes_and_round_trips_are_those_that_a_server_counts(store: Store, tmp_path: Path) -> None:
    with RangeServer(store.root) as server:
        remote = RemoteStore.open(server.url, cache=tmp_path / "cache")
        samples = dataset(remote)
        samples[0]
        time.sleep(NOTED_AFTER_S)
        server.forget()
        with watching() as seen:
            samples.__getitems__(range(1, 5))
        time.sleep(NOTED_AFTER_S)
        requests = [request for request in server.forget() if request[0].endswith(".zip")]
    assert seen.read_bytes == sum(end - start for _, start, end, *_ in requests)
    assert seen.needed_bytes <= seen.read_bytes
    assert seen.waits == 2  # labelled voxels, then voxels


def test_steps_add_up_to_what_reading_takes(store: Store) -> None:
    samples = dataset(store)
    readings = read_batches(samples, 2, collate_samples, seconds=0.2)
    assert readings.batches >= 5
    steps = steps_of(readings)
    assert steps["decode"].seconds.median > 0
    assert steps["transform"].seconds.median < steps["assembly"].seconds.median
    for step in steps.values():
        assert 0 <= step.cpu_seconds <= step.seconds.median
    storage = storage_of(samples, readings, workers=2)
    assert storage.dataset_bytes == sum(path.stat().st_size for path in store.root.glob("objects/*/*.zip"))
    assert storage.waits >= 2
    assert storage.together_s > 0
    assert np.isfinite(storage.request_s)


def test_the_machine_is_asked(tmp_path: Path) -> None:
    facts = tmp_path / "meminfo"
    facts.write_text("MemTotal:       24000000 kB\nMemAvailable:   10000000 kB\n")
    assert memory_for_files(facts) == 10_240_000_000
    assert memory_for_files(tmp_path / "nothing") is None
    assert shared_memory_free(tmp_path / "nothing") is None
    assert (shared_memory_free(tmp_path) or 0) > 0
