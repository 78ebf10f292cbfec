"""A small model of loading: steps of a worker follow each other, workers and the trainer go on at the same time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medshard.loaders.diagnosis.measurements import STEPS, Measurements


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Most batches a second that each part gives; the smallest is what comes out.

    workers: all of them, each on a core of its own. cores: of the machine, where all that computes shares them.
    storage: where all workers read at once. trainer: takes batches and uses them; infinite where nothing is known of
    it. Without workers all is done by the trainer, and its rate is the only one.
    """

    workers: float
    cores: float
    storage: float
    trainer: float

    @property
    def result(self) -> float:
        return min(self.workers, self.cores, self.storage, self.trainer)

    @property
    def binding(self) -> str:
        return min(("trainer", "storage", "workers", "cores"), key=lambda name: float(getattr(self, name)))


def rates_of(measured: Measurements, *, warm: bool | None = None) -> Rates:
    """warm: whether the bytes are in a cache of this machine; by default as it is in the long run."""
    own, computing = worker_seconds(measured, warm=warm)
    in_trainer, computing_there = trainer_seconds(measured)
    if measured.workers == 0:
        return Rates(workers=math.inf, cores=math.inf, storage=math.inf, trainer=_rate(own + in_trainer))
    is_warm = measured.storage.settles_warm if warm is None else warm
    return Rates(
        workers=measured.workers * _rate(own),
        cores=measured.cores * _rate(computing + computing_there),
        storage=math.inf if is_warm else _rate(measured.storage.together_s),
        trainer=_rate(in_trainer),
    )


def worker_seconds(measured: Measurements, *, warm: bool | None = None) -> tuple[float, float]:
    """(seconds, computing seconds) that one worker takes for a batch."""
    steps = [measured.step(name, warm=warm) for name in STEPS]
    return sum(step.seconds.median for step in steps), sum(step.cpu_seconds for step in steps)


def trainer_seconds(measured: Measurements) -> tuple[float, float]:
    """(seconds, computing seconds) that the training process takes for a batch, from its arrival to its end."""
    steps = [measured.prepare, measured.copy]
    if measured.workers:
        steps.append(measured.receive)
    consumer = measured.consumer
    return (
        sum(step.seconds.median for step in steps) + (consumer.seconds.median if consumer else 0.0),
        sum(step.cpu_seconds for step in steps) + (consumer.cpu_seconds if consumer else 0.0),
    )


def _rate(seconds: float) -> float:
    return 1.0 / seconds if seconds > 0 else math.inf
