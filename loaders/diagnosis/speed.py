"""How fast items of an entry are read: every kind of view that its plan is for, repeated and interleaved."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from medshard.converters.plan import Plan, Shape
from medshard.loaders import chunk_decoding
from medshard.loaders.collate import collate_samples
from medshard.loaders.dataset import ShardDataset
from medshard.loaders.diagnosis.file_ranges import forget_objects
from medshard.loaders.diagnosis.measurements import Figure, figure_of
from medshard.loaders.diagnosis.sizes import Sizes, sizes_of
from medshard.loaders.diagnosis.watching import watching
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.shard_bytes import AnyStore
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.views import ClipView, CropsView, SliceView, TilesView, View, WholeView, WindowView

REPETITIONS = 7
FIRST_READINGS = 5
LEAST_ITEMS, MOST_ITEMS = 3, 512


@dataclass(frozen=True, kw_only=True)
class ViewSpeed:
    """One kind of item, one after the other in one process, everything in memory.

    items: of one repetition. items_per_s: by the clock; cpu_ms: computing time of an item, which other processes of the
    machine do not change much. decoded_mb_s, stored_mb_s: 10**6 bytes a second of voxels in items, as stored and as
    compressed. over_read: voxels in the chunks that an item touches, over those in it. with_workers: items a second of
    a loader with workers; None where none were asked for.
    """

    view: str
    items: int
    items_per_s: Figure
    cpu_ms: Figure
    decoded_mb_s: float
    stored_mb_s: float
    over_read: float
    with_workers: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """first_cold_ms, first_warm_ms: from opening the index to the first window, in new processes that have imported
    everything; without and with the index and the shards in memory."""

    entry: str
    plan: str
    kernel: bool
    workers: int
    sizes: Sizes
    first_cold_ms: Figure
    first_warm_ms: Figure
    views: tuple[ViewSpeed, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_speed(
    store: AnyStore, entry: str, plan: str, patch: Shape | None, *, workers: int = 0, seconds: float = 10.0
) -> Speed:
    """Read items of every view for about so many seconds, after the first windows of new processes."""
    index = SampleIndex.open(store, entry, plan)  # maps nothing yet
    first = _First(store, entry, plan, patch)
    cold = figure_of([first.seconds(cold=True) * 1e3 for _ in range(FIRST_READINGS)])
    warm = figure_of([first.seconds(cold=False) * 1e3 for _ in range(FIRST_READINGS)])
    runs = [
        _Run(name, ShardDataset(store, [entry], plan, view=view))
        for name, view in views_for(index.plan, patch or index.plan.patch_size).items()
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in runs:
            run.prepare(seconds / REPETITIONS / len(runs))
        for _ in range(REPETITIONS):  # interleaved, so that other work of the machine meets all of them
            for run in runs:
                run.repeat(workers)
    finally:
        torch.set_num_threads(threads)
    return Speed(
        entry=entry,
        plan=plan,
        kernel=chunk_decoding.window_kernel is not None,
        workers=workers,
        sizes=sizes_of(index),
        first_cold_ms=cold,
        first_warm_ms=warm,
        views=tuple(run.result() for run in runs),
    )


def views_for(plan: Plan, patch: Shape) -> Mapping[str, View]:
    """The kinds of items that a plan is for."""
    _, rows, columns = patch
    if plan.kind in ("tiles", "frames"):
        return {"one": SliceView(), "16 of a case": TilesView(16)}
    if plan.kind == "clips":
        return {"clip": ClipView(plan.clips.length if plan.clips else 16), "frame": SliceView()}
    if plan.kind == "slices2d":
        return {"slice": SliceView(), "slice, patch": SliceView(size=(rows, columns))}
    half = tuple(max(1, size // 2) for size in patch)
    return {
        "window": WindowView(patch),
        "axial slice": SliceView(),
        "2 + 6 crops": CropsView(global_size=patch, local_size=(half[0], half[1], half[2])),
        "whole volume": WholeView(),
    }


class _Run:
    """The repetitions of one view."""

    def __init__(self, name: str, dataset: ShardDataset) -> None:
        self.name, self.dataset = name, dataset
        self.items = LEAST_ITEMS
        self.decoded = self.stored = self.touched = 0
        self.rates: list[float] = []
        self.cpu_ms: list[float] = []
        self.with_workers: list[float] = []

    def prepare(self, seconds: float) -> None:
        """Choose how many items a repetition has, read them all once, and count their bytes."""
        self.dataset[0]
        began = time.perf_counter()
        for n in range(LEAST_ITEMS):
            self.dataset[n]
        each = (time.perf_counter() - began) / LEAST_ITEMS
        self.items = min(MOST_ITEMS, max(LEAST_ITEMS, int(seconds / each)))
        with watching() as seen:
            for n in range(self.items):
                self.dataset[n]
        self.decoded, self.stored, self.touched = seen.used_bytes, seen.needed_bytes, seen.touched_bytes
        for n in range(self.items):
            self.dataset[n]

    def repeat(self, workers: int) -> None:
        began, began_cpu = time.perf_counter(), time.thread_time()
        for n in range(self.items):
            self.dataset[n]
        self.rates.append(self.items / (time.perf_counter() - began))
        self.cpu_ms.append(1e3 * (time.thread_time() - began_cpu) / self.items)
        if workers:
            self.with_workers.append(_rate_with_workers(self.dataset, self.items, workers))

    def result(self) -> ViewSpeed:
        rate = figure_of(self.rates)
        return ViewSpeed(
            view=self.name,
            items=self.items,
            items_per_s=rate,
            cpu_ms=figure_of(self.cpu_ms),
            decoded_mb_s=1e-6 * self.decoded / self.items * rate.median,
            stored_mb_s=1e-6 * self.stored / self.items * rate.median,
            over_read=self.touched / self.decoded if self.decoded else 1.0,
            with_workers=figure_of(self.with_workers) if self.with_workers else None,
        )


def _rate_with_workers(dataset: ShardDataset, items: int, workers: int) -> float:
    """Items a second, from when each worker may have sent its first one."""
    sampler = [*range(items)] * -(-(items + 4 * workers) // items)
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=1, sampler=sampler, num_workers=workers, collate_fn=collate_samples
    )
    times = [time.perf_counter() for _ in loader][2 * workers :]
    return (len(times) - 1) / (times[-1] - times[0])


@dataclass(frozen=True)
class _First:
    """A first window in a new process, forked, so that imports are done and nothing of the store is open."""

    store: AnyStore
    entry: str
    plan: str
    patch: Shape | None

    def seconds(self, *, cold: bool) -> float:
        if "fork" not in multiprocessing.get_all_start_methods():
            return self._timed(cold)
        context = multiprocessing.get_context("fork")
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sending.send(self._timed(cold)))
        child.start()
        sending.close()
        try:
            seconds: float = receiving.recv()
        except EOFError:
            return self._timed(cold)  # which raises here what the child met
        finally:
            child.join()
        return seconds

    def _timed(self, cold: bool) -> float:
        if not cold:
            return self._read(self.store)
        if isinstance(self.store, RemoteStore):
            with tempfile.TemporaryDirectory(prefix="medshard-bench-") as folder:
                return self._read(replace(self.store, cache=Path(folder)))
        forget_objects(self.store, self.entry, self.plan)
        return self._read(self.store)

    def _read(self, store: AnyStore) -> float:
        began = time.perf_counter()
        index = SampleIndex.open(store, self.entry, self.plan)
        patch = self.patch or index.plan.patch_size
        views = views_for(index.plan, patch)
        view = next(iter(views.values()))
        ShardDataset(store, [self.entry], self.plan, view=view)[0]
        return time.perf_counter() - began
