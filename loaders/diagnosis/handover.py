"""What it takes to hand batches over to the training process, and what that process does with them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medshard.loaders.diagnosis.measurements import NOTHING, Step, figure_of, step_of

CALLS = 12
# In a row, so that a worker makes them all without the trainer.
BATCHES = 10
ROUNDS = 3
LEAST_PAUSE_S = 0.2


class _Ready(Dataset[Any]):
    """The same items over and over, at no cost."""

    def __init__(self, items: Sequence[Any], length: int) -> None:
        self.items, self.length = items, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> Any:
        return self.items[n % len(self.items)]


@dataclass(frozen=True)
class _Stamped:
    """Collating that says when it began, and what the worker had computed by then. The clock is one for all
    processes."""

    collate: Callable[[list[Any]], Any]

    def __call__(self, items: list[Any]) -> tuple[float, float, Any]:
        return time.perf_counter(), time.process_time(), self.collate(items)


@dataclass(frozen=True, kw_only=True)
class Handover:
    """send: in the worker, beyond collating in memory of its own; receive: in the training process."""

    send: Step
    receive: Step


def measure_handover(
    loader: DataLoader[Any], items: Sequence[Any], collate: Step, *, most_batches: int = BATCHES, seconds: float
) -> Handover:
    """One worker of the same kind that collates ready items, first while the trainer waits; then the trainer takes what
    is ready while the worker rests. most_batches: that may lie in shared memory at once."""
    if loader.num_workers == 0:
        return Handover(send=NOTHING, receive=NOTHING)
    sent, sent_cpu, received, received_cpu = [], [], [], []
    started = time.perf_counter()
    for _ in range(ROUNDS):
        batches = iter(_ready_loader(loader, items, max(3, min(BATCHES, most_batches))))
        stamps = [next(batches)[:2]]
        time.sleep(LEAST_PAUSE_S + 3 * BATCHES * collate.seconds.median)
        while True:
            began, began_cpu = time.perf_counter(), time.thread_time()
            batch = next(batches, None)
            if batch is None:
                break
            received.append(time.perf_counter() - began)
            received_cpu.append(time.thread_time() - began_cpu)
            stamps.append(batch[:2])
        for before, after in itertools.pairwise(stamps[1:]):  # the first one of a worker takes longer
            sent.append(max(0.0, after[0] - before[0] - collate.seconds.median))
            sent_cpu.append(max(0.0, after[1] - before[1] - collate.cpu_seconds))
        if time.perf_counter() - started > seconds:
            break
    return Handover(send=step_of(sent, sent_cpu), receive=step_of(received, received_cpu))


def measure_calls(call: Callable[[], Any], *, seconds: float, device: str = "cpu") -> Step:
    """A call after one that warms up, five times at least; what it started on a GPU is waited for."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else _nothing
    call()
    wait()
    found: list[float] = []
    found_cpu: list[float] = []
    started = time.perf_counter()
    while len(found) < 5 or (len(found) < CALLS and time.perf_counter() - started < seconds):
        began, began_cpu = time.perf_counter(), time.process_time()
        call()
        wait()
        found.append(time.perf_counter() - began)
        # Of all threads, in cores: networks use several.
        found_cpu.append(time.process_time() - began_cpu)
    return Step(seconds=figure_of(found), cpu_seconds=figure_of(found_cpu).median)


def moved(batch: Any, device: str) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, list):
        return [moved(value, device) for value in batch]
    return batch


def bytes_of(batch: Any) -> int:
    """Bytes of the tensors of a batch."""
    if isinstance(batch, Tensor):
        return batch.numel() * batch.element_size()
    if isinstance(batch, dict):
        return sum(bytes_of(value) for value in batch.values())
    if isinstance(batch, list | tuple):
        return sum(bytes_of(value) for value in batch)
    return 0


def _ready_loader(loader: DataLoader[Any], items: Sequence[Any], batches: int) -> DataLoader[Any]:
    return DataLoader(
        _Ready(items, len(items) * batches),
        batch_size=len(items),
        num_workers=1,
        prefetch_factor=batches,
        collate_fn=_Stamped(loader.collate_fn),
        multiprocessing_context=loader.multiprocessing_context,
    )


def _nothing() -> None:
    pass
