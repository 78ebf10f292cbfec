"""Batches of a data set, made step by step in this process with a watch on each step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from medshard.loaders.dataset import ShardDataset
from medshard.loaders.diagnosis.file_ranges import Asked, read_ranges, seconds_of_requests, seconds_together
from medshard.loaders.diagnosis.machine import memory_for_files
from medshard.loaders.diagnosis.measurements import Decoding, Step, StepName, Storage, figure_of, step_of
from medshard.loaders.diagnosis.watching import Watched, watching
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.shard_bytes import AnyStore
from medshard.loaders.tensors import transformed

Item = dict[str, Any]
Collate = Callable[[list[Any]], Any]

LEAST_BATCHES = 5
MOST_BATCHES = 40
# A cache that answers a cold read as quickly as a warm one was not emptied.
COLD_AGAINST_WARM = 1.5


@dataclass
class Readings:
    """Seconds and computing seconds of each batch, by step; what was seen in each; and the last batch of items."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    seen: list[Watched] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    first_batch_s: float = 0.0

    @property
    def batches(self) -> int:
        return len(self.seen)

    def add(self, name: str, seconds: float, cpu: float) -> None:
        self.seconds.setdefault(name, []).append(max(0.0, seconds))
        self.cpu.setdefault(name, []).append(max(0.0, cpu))

    def step(self, name: str) -> Step:
        return step_of(self.seconds.get(name, []), self.cpu.get(name, []))


def read_batches(dataset: ShardDataset, batch: int, collate: Collate, *, seconds: float) -> Readings:
    """Batches 1, 2, ... for so many seconds, `LEAST_BATCHES` at least; the first is only timed as a whole."""
    untransformed = copy.copy(dataset)
    untransformed.transform = None
    readings = Readings()
    began = time.perf_counter()
    _read_batch(dataset, untransformed, range(batch), collate, Readings())
    readings.first_batch_s = time.perf_counter() - began
    began = time.perf_counter()
    while readings.batches < LEAST_BATCHES or (
        readings.batches < MOST_BATCHES and time.perf_counter() - began < seconds
    ):
        first = (readings.batches + 1) * batch
        _read_batch(dataset, untransformed, range(first, first + batch), collate, readings)
    return readings


def steps_of(readings: Readings) -> dict[StepName, Step]:
    """The steps that are measured in this process; sending is not among them."""
    names: tuple[StepName, ...] = ("foreground", "decode", "assembly", "transform", "collate")
    return {name: readings.step(name) for name in names}


def decoding_of(readings: Readings, *, kernel: bool) -> Decoding:
    largest = max(
        (seen.largest for seen in readings.seen if seen.largest), key=lambda each: _volume(each[0]), default=None
    )
    patch, chunk = largest or ((1, 1, 1), (1, 1, 1))
    return Decoding(
        kernel=kernel,
        codecs=tuple(sorted({codec for seen in readings.seen for codec in seen.codecs})),
        used_bytes=_median([seen.used_bytes for seen in readings.seen]),
        touched_bytes=_median([seen.touched_bytes for seen in readings.seen]),
        patch=_triple(patch),
        inner_chunk=_triple(chunk),
    )


def storage_of(dataset: ShardDataset, readings: Readings, workers: int) -> Storage:
    """What one reader saw, and as many at once as there are workers. Leaves the ranges in the cache."""
    cold, warm = readings.step("cold"), readings.step("warm")
    remote = isinstance(dataset.store, RemoteStore)
    batches = _asked_of(readings)
    requests = [seconds for store, asked in batches.items() for seconds in seconds_of_requests(store, asked)]
    together = _together(batches, workers) if workers > 1 else cold.seconds.median
    return Storage(
        cold=cold,
        warm=warm,
        together_s=together,
        remote=remote,
        cold_is_cold=remote or cold.seconds.median >= COLD_AGAINST_WARM * warm.seconds.median,
        waits=_median([seen.waits for seen in readings.seen]),
        request_s=figure_of(requests).median,
        needed_bytes=_median([seen.needed_bytes for seen in readings.seen]),
        read_bytes=_median([seen.read_bytes for seen in readings.seen]),
        dataset_bytes=sum(
            ref.size
            for index in dataset.indices
            for name, ref in index.head.attachments.items()
            if name.startswith("shard-")
        ),
        cache_bytes=dataset.store.cache_bytes if isinstance(dataset.store, RemoteStore) else memory_for_files(),
    )


def _read_batch(
    dataset: ShardDataset, untransformed: ShardDataset, numbers: Sequence[int], collate: Collate, readings: Readings
) -> None:
    with watching() as seen:
        began, began_cpu = time.perf_counter(), time.thread_time()
        items = untransformed.__getitems__(numbers)
        whole, whole_cpu = time.perf_counter() - began, time.thread_time() - began_cpu
    readings.seen.append(seen)
    readings.add("cold", seen.cold_s, seen.cold_cpu_s)
    readings.add("warm", seen.warm_s, seen.warm_cpu_s)
    readings.add("decode", seen.decode_s, seen.decode_cpu_s)
    readings.add("foreground", seen.foreground_s, seen.foreground_cpu_s)
    inside, inside_cpu = seen.inner_s + seen.foreground_s, seen.inner_cpu_s + seen.foreground_cpu_s
    readings.add("assembly", whole - inside, whole_cpu - inside_cpu)
    began, began_cpu = time.perf_counter(), time.thread_time()
    if dataset.transform is not None:
        items = [transformed(item, dataset.transform, int(item["augmentation_seed"])) for item in items]
    readings.add("transform", time.perf_counter() - began, time.thread_time() - began_cpu)
    began, began_cpu = time.perf_counter(), time.thread_time()
    collate(items)
    readings.add("collate", time.perf_counter() - began, time.thread_time() - began_cpu)
    readings.items = items


def _asked_of(readings: Readings) -> dict[AnyStore, list[list[Asked]]]:
    """For each store what every batch asked it for."""
    by_store: dict[AnyStore, list[list[Asked]]] = {}
    for seen in readings.seen:
        of_batch: dict[AnyStore, list[Asked]] = {}
        for store, wanted in seen.asked:
            of_batch.setdefault(store, []).extend(wanted)
        for store, asked in of_batch.items():
            by_store.setdefault(store, []).append(asked)
    return by_store


def _together(by_store: dict[AnyStore, list[list[Asked]]], workers: int) -> float:
    seconds = sum(seconds_together(store, batches, workers) for store, batches in by_store.items())
    for store, batches in by_store.items():
        if not isinstance(store, RemoteStore):
            for batch in batches:
                read_ranges(store, batch)
    return seconds


def _median(values: Sequence[float]) -> int:
    return round(figure_of(values).median)


def _volume(size: Sequence[int]) -> int:
    z, y, x = size
    return z * y * x


def _triple(size: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = size
    return z, y, x
