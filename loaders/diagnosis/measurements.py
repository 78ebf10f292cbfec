"""What was measured of loading: plain numbers, from which everything else follows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StepName = Literal["storage", "foreground", "decode", "assembly", "transform", "collate", "send"]
STEPS: tuple[StepName, ...] = ("storage", "foreground", "decode", "assembly", "transform", "collate", "send")
"""What is done for a batch before the training process has it, in this order. Without workers nothing is sent."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Repeated readings of one quantity. low, high: its quartiles."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def figure_of(readings: Sequence[float]) -> Figure:
    """Median and quartiles; of a single reading three times itself, of none zeros."""
    if len(readings) < 2:
        value = readings[0] if readings else 0.0
        return Figure(median=value, low=value, high=value, count=len(readings))
    low, median, high = statistics.quantiles(readings, n=4, method="inclusive")
    return Figure(median=median, low=low, high=high, count=len(readings))


@dataclass(frozen=True, kw_only=True)
class Step:
    """Seconds that a step takes for one batch, and how many of them it computes; the others it waits."""

    seconds: Figure
    cpu_seconds: float

    def scaled(self, factor: float) -> Step:
        """The step where it takes `factor` times as long."""
        figure = self.seconds
        return Step(
            seconds=Figure(
                median=figure.median * factor, low=figure.low * factor, high=figure.high * factor, count=figure.count
            ),
            cpu_seconds=self.cpu_seconds * factor,
        )


def step_of(seconds: Sequence[float], cpu_seconds: Sequence[float]) -> Step:
    figure = figure_of(seconds)
    return Step(seconds=figure, cpu_seconds=min(figure_of(cpu_seconds).median, figure.median))


NOTHING = Step(seconds=Figure(median=0.0, low=0.0, high=0.0, count=0), cpu_seconds=0.0)


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where the bytes come from.

    cold: the reads of a batch where no cache of this machine has the bytes; warm: where one has. together_s: seconds
        a batch while as many readers as there are workers read cold at the same time.
    remote: behind a URL. cold_is_cold: whether the machine lets go of what it has read; else `cold` may be too fast.
    waits: requests of a batch that wait for each other: round trips to a URL, or ranges of a file; request_s: a cold
        one of hardly any bytes.
    needed_bytes, read_bytes: of a batch, as stored; what lies between chunks is read but not needed. dataset_bytes: of
        all shards. cache_bytes: of memory for files, or of the cache for a URL; None without one.
    """

    cold: Step
    warm: Step
    together_s: float
    remote: bool = False
    cold_is_cold: bool = True
    waits: int = 1
    request_s: float = 0.0
    needed_bytes: int = 0
    read_bytes: int = 0
    dataset_bytes: int = 0
    cache_bytes: int | None = None

    @property
    def waiting_share(self) -> float:
        """Share of a cold reading that does not depend on how many bytes it has."""
        cold = self.cold.seconds.median
        return min(1.0, self.waits * self.request_s / cold) if cold else 0.0

    @property
    def settles_warm(self) -> bool:
        """Whether all shards stay in the cache, so that only the first epoch is cold."""
        return self.cache_bytes is not None and self.dataset_bytes <= self.cache_bytes


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """kernel: whether the compiled reader is there. codecs: Blosc's names of the compressors that were met.

    used_bytes, touched_bytes: decoded bytes of a batch that are in its windows, and of all chunks these touch.
    patch, inner_chunk: (z, y, x) of the largest window of an image and of the chunks that it lies in.
    """

    kernel: bool = True
    codecs: tuple[str, ...] = ()
    used_bytes: int = 0
    touched_bytes: int = 0
    patch: tuple[int, int, int] = (1, 1, 1)
    inner_chunk: tuple[int, int, int] = (1, 1, 1)

    @property
    def over_read(self) -> float:
        return self.touched_bytes / self.used_bytes if self.used_bytes else 1.0


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """What uses a batch. stated: its time was given, not measured."""

    seconds: Figure
    cpu_seconds: float = 0.0
    stated: bool = False


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """One pipeline.

    batch: items; workers: 0 for the training process itself; prefetch: batches that each worker is ahead; cores: that
        this process may use; load: how many processes wanted one during the minute before.
    steps: of one batch in one worker; storage is told apart below.
    receive, prepare, copy: in the training process: taking a batch from a worker; what is done to it there; its way to
        the device. pinned: whether a thread of its own pins memory.
    consumer: None where nothing is known of it.
    batch_bytes: of its tensors; shared_free: bytes left in the memory that workers share with the trainer, None
        where there is no such limit.
    first_batch_s: until the first batch was there. observed: batches a second of the real loader, None where it was
        not run; there everything was warm.
    """

    batch: int
    workers: int
    prefetch: int
    cores: int
    load: float = 0.0
    steps: Mapping[StepName, Step]
    storage: Storage
    decoding: Decoding = field(default_factory=Decoding)
    receive: Step = NOTHING
    prepare: Step = NOTHING
    copy: Step = NOTHING
    pinned: bool = False
    consumer: Consumer | None = None
    batch_bytes: int = 0
    shared_free: int | None = None
    first_batch_s: float = 0.0
    observed: float | None = None

    def step(self, name: StepName, *, warm: bool | None = None) -> Step:
        """A step of a worker; of storage as it is in the long run, or as said by `warm`."""
        if name == "storage":
            is_warm = self.storage.settles_warm if warm is None else warm
            return self.storage.warm if is_warm else self.storage.cold
        if name == "send" and self.workers == 0:
            return NOTHING
        return self.steps.get(name, NOTHING)

    @property
    def batches_in_flight(self) -> int:
        """Most batches that lie in shared memory at once: ahead of the trainer, and the one that it uses."""
        return self.workers * self.prefetch + 1 if self.workers else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
