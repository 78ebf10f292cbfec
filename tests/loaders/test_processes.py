"""An index in the workers of a `DataLoader`: every way to start them, after the parent has read, and without a hang."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from made_shards import made_sample, plan_of, publish_shards
from range_server import RangeServer
from reading_dataset import Windows
from torch.utils.data import DataLoader

from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.workers import worker_context
from medshard.registry.store import Store

LENGTH = 24
# A worker that hangs is an error and no wait for ever.
PATIENCE_S = 60
WAYS = ("fork", "forkserver", "spawn")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the platform has no fork"),
    # Python warns of forking a process with threads; that it goes well is what is tested.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("processes") / "store")
    publish_shards(store, plan_of("organs"), [[made_sample("organs", f"case-{n}", seed=n) for n in range(3)]])
    return store


@pytest.fixture(scope="module")
def expected(organs: Store) -> list[str]:
    windows = Windows(SampleIndex.open(organs, "organs"), LENGTH)
    return [windows[n] for n in range(LENGTH)]


def context_of(way: str) -> Any:
    return worker_context() if way == "forkserver" else way


def read_all(index: SampleIndex, way: str, workers: int) -> list[str]:
    loader = DataLoader(
        Windows(index, LENGTH),
        batch_size=4,
        num_workers=workers,
        multiprocessing_context=context_of(way) if workers else None,
        timeout=PATIENCE_S if workers else 0,
    )
    return [digest for batch in loader for digest in batch]


# Twenty runs; each spawned worker imports torch anew, which takes seconds, so it has the fewest.
RUNS = [
    *itertools.product(["fork"], [0, 1, 2, 3, 4], [False, True]),
    *itertools.product(["forkserver"], [1, 2, 4], [False, True]),
    *itertools.product(["spawn"], [1], [False, True]),
    ("fork", 4, True),
    ("forkserver", 4, True),
]


@pytest.mark.parametrize(("way", "workers", "parent_reads_first"), RUNS)
def test_workers_read_what_one_process_reads(
    organs: Store, expected: list[str], way: str, workers: int, parent_reads_first: bool
) -> None:
    index = SampleIndex.open(organs, "organs")
    if parent_reads_first:
        assert Windows(index, LENGTH)[5] == expected[5]
    assert read_all(index, way, workers) == expected


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_five_hundred_runs_without_a_hang(organs: Store, expected: list[str]) -> None:
    ways = itertools.cycle(itertools.product(WAYS, [0, 1, 2, 3, 4], [False, True]))
    for way, workers, parent_reads_first in itertools.islice(ways, 500):
        test_workers_read_what_one_process_reads(organs, expected, way, workers, parent_reads_first)


@pytest.mark.parametrize("way", ["fork", "forkserver"])
def test_workers_read_a_remote_store_after_their_parent_has(
    organs: Store, expected: list[str], tmp_path: Path, way: str
) -> None:
    with RangeServer(organs.root) as server:
        index = SampleIndex.open(server.url, "organs", cache=tmp_path, cache_bytes=8 << 20)
        for _ in range(2):
            assert Windows(index, LENGTH)[3] == expected[3]
            assert read_all(index, way, 2) == expected


@pytest.mark.parametrize("way", ["fork", "forkserver"])
def test_a_damaged_chunk_is_named_across_the_boundary_of_the_worker(tmp_path: Path, way: str) -> None:
    store = Store.open(tmp_path / "store")
    publish_shards(store, plan_of("organs"), [[made_sample("organs", "case-0")]])
    index = SampleIndex.open(store, "organs")
    image = index.row(0).arrays["image"]
    shard = store.path(index.head.attachments["shard-00000"])
    data = bytearray(shard.read_bytes())
    places = [offset for offset in image.chunk_offsets.tolist() if offset != 2**64 - 1]
    for offset in places:
        data[image.offset + offset + 12] ^= 0xFF  # the stored size in the header of the chunk
    shard.write_bytes(data)
    loader = DataLoader(
        Windows(index, LENGTH), num_workers=1, multiprocessing_context=context_of(way), timeout=PATIENCE_S
    )
    with pytest.raises(Exception, match=r"shard\.corrupt") as caught:
        next(iter(loader))
    message = str(caught.value)
    for part in (str(shard), "organs/case-0", "image", "chunk", "bytes"):
        assert part in message
