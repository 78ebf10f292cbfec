"""A loader -> what each step of it takes, what limits, and what to change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from medshard.errors import CatalogError
from medshard.loaders import chunk_decoding
from medshard.loaders.dataset import ShardDataset
from medshard.loaders.diagnosis import machine
from medshard.loaders.diagnosis.handover import BATCHES, Handover, bytes_of, measure_calls, measure_handover, moved
from medshard.loaders.diagnosis.measurements import NOTHING, Consumer, Measurements, figure_of
from medshard.loaders.diagnosis.reading import decoding_of, read_batches, steps_of, storage_of
from medshard.loaders.diagnosis.verdict import Verdict, needed_shared_bytes, verdict_of

Batch = Any
Function = Callable[[Batch], Any]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    measured: Measurements
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict.to_json(), "measurements": self.measured.to_json()}


def diagnose(
    loader: DataLoader[Any],
    *,
    step: Function | None = None,
    consumer_s: float | None = None,
    prepare: Function | None = None,
    device: str = "cpu",
    seconds: float = 10.0,
) -> Diagnosis:
    """Measure the loader of a training, and say which step limits it.

    loader: of a `ShardDataset`, as the training has it.
    step: called with a batch on the device, what the training does with one; or consumer_s, its seconds. Without both,
        loading is judged alone. prepare: what is done to a batch before, such as `DeviceTransform`.
    device: where batches go. seconds: about as long as it may take; slow pipelines take longer.
    Nothing else may read from shards in this process meanwhile. Raises CatalogError, and what the loader raises.
    """
    dataset, batch = _checked(loader, device)
    load = machine.load()
    with _threads_of_a_worker(loader.num_workers):
        readings = read_batches(dataset, batch, loader.collate_fn, seconds=0.4 * seconds)
        storage = storage_of(dataset, readings, loader.num_workers)
        steps = steps_of(readings)
    example = loader.collate_fn(list(readings.items))
    measured = Measurements(
        batch=batch,
        workers=loader.num_workers,
        prefetch=loader.prefetch_factor or 0,
        cores=machine.cores(),
        load=load,
        steps=steps,
        storage=storage,
        decoding=decoding_of(readings, kernel=chunk_decoding.window_kernel is not None),
        pinned=loader.pin_memory,
        batch_bytes=bytes_of(example),
        shared_free=machine.shared_memory_free() if loader.num_workers else None,
        first_batch_s=readings.first_batch_s,
    )
    measured = _with_trainer(measured, example, step, consumer_s, prepare, device, seconds)
    if _has_room(measured):
        most = BATCHES if not measured.shared_free else measured.shared_free // max(1, measured.batch_bytes) - 1
        handed = measure_handover(loader, readings.items, steps["collate"], most_batches=most, seconds=0.15 * seconds)
        measured = _with_handover(measured, handed)
        use = _use_of(step, consumer_s, prepare, device)
        numbers = range(batch, batch * (readings.batches + 1))
        measured = replace(measured, observed=_observed(loader, dataset, numbers, use, seconds=0.3 * seconds))
    return Diagnosis(measured=measured, verdict=verdict_of(measured))


def _checked(loader: DataLoader[Any], device: str) -> tuple[ShardDataset, int]:
    """The data set and the items of a batch."""
    dataset = loader.dataset
    batch = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    problem, found = "", {}
    if not isinstance(dataset, ShardDataset):
        problem, found = "only loaders of a ShardDataset can be looked into", {"found": type(dataset).__name__}
    elif not isinstance(batch, int):
        problem, found = "the loader does not say how many items a batch has", {"batch_size": str(loader.batch_size)}
    elif device.startswith("cuda") and not torch.cuda.is_available():
        problem, found = "torch sees no such device here", {"device": device}
    if problem or not isinstance(dataset, ShardDataset) or not isinstance(batch, int):
        raise CatalogError("doctor.loader", where="diagnose", problem=problem, details=found)
    return dataset, batch


def _with_trainer(  # noqa: PLR0917
    measured: Measurements,
    example: Batch,
    step: Function | None,
    consumer_s: float | None,
    prepare: Function | None,
    device: str,
    seconds: float,
) -> Measurements:
    most = 0.05 * seconds
    copied, prepared = NOTHING, NOTHING
    if not device.startswith("cpu"):
        copied = measure_calls(lambda: moved(example, device), seconds=most, device=device)
    batch = moved(example, device)
    if prepare is not None:
        prepared = measure_calls(lambda: prepare(batch), seconds=most, device=device)
        batch = prepare(batch)
    consumer = None
    if consumer_s is not None:
        consumer = Consumer(seconds=figure_of([consumer_s]), stated=True)
    elif step is not None:
        taken = measure_calls(lambda: step(batch), seconds=0.1 * seconds, device=device)
        consumer = Consumer(seconds=taken.seconds, cpu_seconds=taken.cpu_seconds)
    return replace(measured, copy=copied, prepare=prepared, consumer=consumer)


def _with_handover(measured: Measurements, handed: Handover) -> Measurements:
    return replace(measured, steps={**measured.steps, "send": handed.send}, receive=handed.receive)


def _has_room(measured: Measurements) -> bool:
    return measured.shared_free is None or needed_shared_bytes(measured) <= measured.shared_free


def _use_of(step: Function | None, consumer_s: float | None, prepare: Function | None, device: str) -> Function:
    def use(batch: Batch) -> None:
        batch = moved(batch, device)
        if prepare is not None:
            batch = prepare(batch)
        if consumer_s is not None:
            time.sleep(consumer_s)
        elif step is not None:
            step(batch)

    return use


def _observed(
    loader: DataLoader[Any], dataset: ShardDataset, numbers: Sequence[int], use: Function, *, seconds: float
) -> float:
    """Batches a second of the real loader over items that were read before, once workers are as far ahead as may be."""
    started = time.perf_counter()
    batch = loader.batch_size or 1
    repeated = [*numbers] * max(1, 10_000 // len(numbers))
    real: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch,
        sampler=repeated,
        num_workers=loader.num_workers,
        prefetch_factor=loader.prefetch_factor,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory and torch.cuda.is_available(),
        multiprocessing_context=loader.multiprocessing_context,
    )
    ahead = loader.num_workers * (loader.prefetch_factor or 0)
    times = []
    for each in real:
        use(each)
        times.append(time.perf_counter())
        if len(times) > ahead + 4 and times[-1] - started > seconds:
            break
    counted = times[ahead:] if len(times) > ahead + 1 else times
    return (len(counted) - 1) / (counted[-1] - counted[0])


@contextmanager
def _threads_of_a_worker(workers: int) -> Iterator[None]:
    """torch's threads as a worker has them: one."""
    before = torch.get_num_threads()
    if workers:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
