"""Loading pipelines with one step that was made far too slow, and the name under which a diagnosis has to find it.

Every plant takes many times as long as all else together, so that a machine with other work cannot hide it. What burns
computes; what sleeps waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_shards import made_sample, plan_of, publish_shards
from range_server import RangeServer
from torch.utils.data import DataLoader

from medshard.converters import shard_writer
from medshard.converters.chunk_codecs import ChunkCodec
from medshard.converters.samples import Sample
from medshard.loaders import ShardDataset, chunk_decoding, collate_samples, items
from medshard.loaders.diagnosis import diagnose, diagnosing, machine, reading
from medshard.loaders.diagnosis.diagnosing import Diagnosis
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.views import WindowView
from medshard.registry.store import Store

SECONDS = 0.5
ENTRY = "planted"
LIST_OF_NUMBERS = list(range(1_000_000))  # pickled in a worker and unpickled by the trainer, unlike tensors


def burn(seconds: float, given: Any = None) -> Any:
    """Compute for so many seconds of this thread, whatever else the machine does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return given


def wait(seconds: float, given: Any = None) -> Any:
    time.sleep(seconds)
    return given


def with_list(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "numbers": LIST_OF_NUMBERS}


def collate_burning(given: list[Any]) -> Any:
    return burn(0.08, collate_samples(given))


@dataclass(frozen=True)
class BurningView(WindowView):
    """A view that takes long to put its item together."""

    def item(self, chosen: Any, parts: Any, /) -> Any:
        return burn(0.06, super().item(chosen, parts))


class SlowDisk:
    """Reads of what the system was asked to forget wait; all readers share the bytes of a second."""

    def __init__(self, patch: pytest.MonkeyPatch, *, latency_s: float = 0.0, bytes_per_s: float = 1e12) -> None:
        self.latency_s, self.bytes_per_s = latency_s, bytes_per_s
        self.forgotten: set[tuple[int, int]] = set()
        self.busy = threading.Lock()
        self.pread, self.fadvise = os.pread, os.posix_fadvise
        patch.setattr(os, "pread", self.slow_pread)
        patch.setattr(os, "posix_fadvise", self.noting_fadvise)
        patch.setattr(reading, "memory_for_files", lambda: 1)  # so that no epoch is warm

    def noting_fadvise(self, file: int, start: int, length: int, advice: int) -> None:
        self.forgotten.add((os.fstat(file).st_ino, start))
        self.fadvise(file, start, length, advice)

    def slow_pread(self, file: int, length: int, start: int) -> bytes:
        place = (os.fstat(file).st_ino, start)
        if place in self.forgotten:
            self.forgotten.discard(place)
            time.sleep(self.latency_s)
            with self.busy:
                time.sleep(length / self.bytes_per_s)
        return self.pread(file, length, start)


@dataclass
class Ground:
    """What plants are planted in: a folder, and patches that are undone afterwards."""

    folder: Path
    patch: pytest.MonkeyPatch
    stores: dict[str, Store] = field(default_factory=dict)

    def store(self, *, shape: tuple[int, int, int] = (48, 96, 96), chunk: tuple[int, int, int] = (16, 32, 32)) -> Store:
        return self._published(f"{shape}{chunk}", [noise(shape)], chunk)

    def zstandard(self) -> Store:
        """A store of noise that Zstandard at its highest level compressed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shard_writer, "choose_codec", lambda *_: ChunkCodec("zstd", 9, "bitshuffle"))
            return self._published("zstandard", [noise((96, 128, 128))], (16, 32, 32))

    def _published(self, name: str, samples: list[Sample], chunk: tuple[int, int, int]) -> Store:
        if name not in self.stores:
            store = Store.open(self.folder / f"store-{len(self.stores)}")
            publish_shards(store, replace(plan_of(ENTRY), inner_chunk=chunk), [samples])
            self.stores[name] = store
        return self.stores[name]

    def diagnosis(
        self,
        store: Any = None,
        *,
        patch_size: tuple[int, int, int] = (16, 32, 32),
        workers: int = 0,
        collate: Callable[[list[Any]], Any] = collate_samples,
        dataset: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Diagnosis:
        samples = ShardDataset(store or self.store(), [ENTRY], patch_size=patch_size, seed=1, **(dataset or {}))
        loader: DataLoader[Any] = DataLoader(samples, batch_size=2, num_workers=workers, collate_fn=collate)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return diagnose(loader, seconds=SECONDS, **arguments)
        finally:
            torch.set_num_threads(threads)


def noise(shape: tuple[int, int, int]) -> Sample:
    """A sample whose image compresses to about half."""
    sample = made_sample(ENTRY, "case-0", shape=shape)
    voxels = np.random.default_rng(0).normal(scale=40, size=(1, *shape)).astype(np.int16)
    return replace(sample, image=voxels)


@dataclass(frozen=True)
class Plant:
    """limit: what the verdict has to name; advice: words that one of its changes has to have."""

    name: str
    limit: str
    advice: str
    run: Callable[[Ground], Diagnosis]


def _disk_with_latency(ground: Ground) -> Diagnosis:
    store = ground.store()
    SlowDisk(ground.patch, latency_s=0.03)
    return ground.diagnosis(store)


def _disk_of_few_bytes(ground: Ground) -> Diagnosis:
    store = ground.store()
    SlowDisk(ground.patch, bytes_per_s=5e6)
    return ground.diagnosis(store, patch_size=(48, 96, 96), workers=4)


def _remote(ground: Ground, cache_bytes: int | None = None, **arguments: Any) -> Diagnosis:
    with RangeServer(ground.store(shape=(96, 192, 192)).root, latency_s=0.1) as server:
        store = RemoteStore.open(server.url, cache=ground.folder / "cache", cache_bytes=cache_bytes)
        return ground.diagnosis(store, **arguments)


def _zstandard(ground: Ground, *, kernel: bool) -> Diagnosis:
    if not kernel:
        ground.patch.setattr(chunk_decoding, "window_kernel", None)
    return ground.diagnosis(ground.zstandard(), patch_size=(80, 96, 96), dataset={"labels": False})


def _over_read_of_disk(ground: Ground) -> Diagnosis:
    store = ground.store(shape=(128, 192, 192), chunk=(128, 192, 192))
    SlowDisk(ground.patch, bytes_per_s=4e7)
    return ground.diagnosis(store, patch_size=(8, 8, 8), dataset={"labels": False, "foreground": 0.0})


def _over_read_of_server(ground: Ground) -> Diagnosis:
    with RangeServer(ground.store(shape=(256, 256, 256), chunk=(256, 256, 256)).root) as server:
        store = RemoteStore.open(server.url, cache=ground.folder / "cache")
        return ground.diagnosis(store, patch_size=(8, 8, 8), dataset={"labels": False, "foreground": 0.0})


def _one_worker(ground: Ground) -> Diagnosis:
    ground.patch.setattr(machine, "cores", lambda: 16)
    return ground.diagnosis(workers=1, dataset={"transform": partial(burn, 0.06)}, consumer_s=0.03)


def _no_worker(ground: Ground) -> Diagnosis:
    ground.patch.setattr(machine, "cores", lambda: 16)
    return ground.diagnosis(dataset={"transform": partial(burn, 0.03)}, consumer_s=0.06)


def _one_core(ground: Ground) -> Diagnosis:
    ground.patch.setattr(machine, "cores", lambda: 1)
    return ground.diagnosis(workers=4, dataset={"transform": partial(burn, 0.06)}, consumer_s=0.02)


def _little_shared_memory(ground: Ground) -> Diagnosis:
    ground.patch.setattr(machine, "shared_memory_free", lambda: 1 << 20)
    return ground.diagnosis(patch_size=(32, 64, 64), workers=2)


def _slow_copy(ground: Ground) -> Diagnosis:
    ground.patch.setattr(diagnosing, "moved", lambda batch, _device: wait(0.3, batch))
    return ground.diagnosis(workers=1, device="meta", consumer_s=0.001)


def _slow_foreground(ground: Ground) -> Diagnosis:
    draw = items.draw_foreground
    ground.patch.setattr(items, "draw_foreground", lambda asked: burn(0.12, draw(asked)))
    return ground.diagnosis()


def transforming(seconds: Callable[[Any], Any], **arguments: Any) -> Callable[[Ground], Diagnosis]:
    return lambda ground: ground.diagnosis(dataset={"transform": seconds}, **arguments)


PLANTS = (
    Plant("a disk that answers late", "storage", "faster disk", _disk_with_latency),
    Plant("a disk of few bytes a second", "storage", "faster disk", _disk_of_few_bytes),
    Plant("an object store far away", "storage", "cache_bytes", _remote),
    Plant(
        "an object store far away, four workers, a fast consumer",
        "storage",
        "cache_bytes",
        partial(_remote, workers=4, consumer_s=0.01),
    ),
    Plant("a cache that is too small", "storage", "large enough", partial(_remote, cache_bytes=1_100_000)),
    Plant("no compiled reader, Zstandard", "decode", "C compiler", partial(_zstandard, kernel=False)),
    Plant("Zstandard", "decode", "build the shards again", partial(_zstandard, kernel=True)),
    Plant("huge chunks on a slow disk", "over-read", "inner_chunk", _over_read_of_disk),
    Plant("huge chunks on a server", "over-read", "inner_chunk", _over_read_of_server),
    Plant("a heavy transform", "transform", "DeviceTransform", transforming(partial(burn, 0.04))),
    Plant("a heavy transform in workers", "transform", "DeviceTransform", transforming(partial(burn, 0.1), workers=2)),
    Plant("a transform that waits", "transform", "add workers", transforming(partial(wait, 0.15))),
    Plant("a heavy transform on one core", "transform", "DeviceTransform", _one_core),
    Plant("a heavy collate", "collate", "collate_samples", lambda ground: ground.diagnosis(collate=collate_burning)),
    Plant(
        "a stated consumer",
        "consumer",
        "nothing in loading",
        lambda ground: ground.diagnosis(workers=2, consumer_s=0.5),
    ),
    Plant(
        "a measured consumer",
        "consumer",
        "nothing in loading",
        lambda ground: ground.diagnosis(workers=2, step=partial(wait, 0.5)),
    ),
    Plant("no worker", "workers", "add workers: 0 -> ", _no_worker),
    Plant("one worker", "workers", "add workers: 1 -> ", _one_worker),
    Plant("little shared memory", "shared memory", "--shm-size", _little_shared_memory),
    Plant("lists that are pickled", "transfer", "return tensors", transforming(with_list, workers=1)),
    Plant(
        "much to do for the trainer",
        "prepare",
        "in the workers",
        lambda ground: ground.diagnosis(workers=1, prepare=partial(burn, 0.15)),
    ),
    Plant("a slow way to the device", "copy", "pin_memory", _slow_copy),
    Plant("a slow draw of voxels", "foreground", "foreground", _slow_foreground),
    Plant(
        "a view that takes long",
        "assembly",
        "with_",
        lambda ground: ground.diagnosis(dataset={"view": BurningView((16, 32, 32))}),
    ),
)


def check(plant: Plant, ground: Ground) -> None:
    found = plant.run(ground)
    verdict = found.verdict
    assert verdict.limit == plant.limit, (verdict, found.measured)
    assert any(plant.advice in change.text for change in verdict.changes), verdict.changes
