"""`SampleStream`: which numbers of the stream a rank reads, epoch after epoch, and where a run goes on.

The numbers reach the data set through the sampler, so workers that outlive an epoch need not be told of the next one.
The state is the number that comes next: a run resumes at any step at once, on as many ranks and workers as there are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from medshard.errors import CatalogError
from medshard.loaders.stream import Stream

State = dict[str, Any]


class SampleStream:
    """A sampler for torch's `DataLoader` and torchdata's `StatefulDataLoader`.

    Global batch b is the numbers [b * global_batch, (b + 1) * global_batch), whatever the number of ranks. Rank r takes
    the r-th, (r + world_size)-th, ... of them, `batch_size` in all. Where `world_size` does not divide the global
    batch, the ranks that would come short take its first numbers once more, so that all ranks do equally many steps and
    no number is lost; those few samples count double in that step.

    An epoch is `len(dataset) // global_batch` global batches, and the next epoch goes on behind it: no number comes
    twice. Every `iter()` begins the next epoch, also after one that was broken off, like torch's random sampler;
    `set_epoch` begins a certain one.

        stream = SampleStream(len(dataset), stream=dataset.stream, global_batch=8)
        loader = StatefulDataLoader(dataset, sampler=stream, batch_size=stream.batch_size, num_workers=4)

    `loader.state_dict()` then counts what the training has taken, not what workers have read ahead. With torch's own
    loader, save `stream.state_dict(batches_done=...)`.
    """

    def __init__(
        self,
        samples: int,
        *,
        global_batch: int = 1,
        stream: Stream | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        """samples: numbers per epoch; those that fill no global batch are left for the next epoch.

        stream: what the numbers mean; a state of other numbers is then refused.
        rank, world_size: by default those of torch.distributed, or of the environment of torchrun, or 0 and 1.
        """
        if rank is None and world_size is None:
            rank, world_size = this_rank()
        elif rank is None or world_size is None:
            raise _refused("batch", "`rank` and `world_size` belong together", {"rank": rank, "world_size": world_size})
        _check_batches(samples, global_batch, rank, world_size, stream)
        self.global_batch = global_batch
        self.rank = rank
        self.world_size = world_size
        self.stream = stream
        self.batches_per_epoch = samples // global_batch
        self._start = 0
        self._taken = 0
        self._latest: SampleNumbers | None = None

    @property
    def batch_size(self) -> int:
        """Samples that one rank takes of a global batch."""
        return -(-self.global_batch // self.world_size)

    @property
    def epoch(self) -> int:
        """The epoch that is being read, or is read next."""
        return self._now()[0] // self._per_epoch

    def __len__(self) -> int:
        """Numbers that one rank takes in a whole epoch."""
        return self.batches_per_epoch * self.batch_size

    def __iter__(self) -> SampleNumbers:
        if self._latest is not None and self._latest.moved:
            self._start, self._taken = self._latest.end, 0
        self._latest = SampleNumbers(self, self._start, self._taken)
        return self._latest

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch. Needed only to repeat one, or to leave some out."""
        if epoch < 0:
            raise _refused("epoch", f"there is no epoch {epoch}", {})
        self._start, self._taken, self._latest = epoch * self._per_epoch, 0, None

    def state_dict(self, *, batches_done: int | None = None) -> State:
        """Where to go on.

        batches_done: steps that the training has done since the latest `iter()`. Without it, what was handed out
        counts, which runs ahead of the training when torch's own `DataLoader` has workers.
        """
        if batches_done is None:
            return self.state_at(*self._now()) if self._latest is None else self._latest.state_dict()
        if self._taken:
            raise _refused("state", "steps are counted from inside of a global batch", {"taken": self._taken})
        return self.state_at(self._start + batches_done * self.global_batch, 0)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` says; the number of ranks may differ.

        Raises CatalogError[stream.state] when the global batch or the meaning of the numbers has changed in between.
        """
        self._start, self._taken = self.position_of(state)
        self._latest = None

    def state_at(self, next_number: int, taken: int) -> State:
        """next_number: where a global batch begins, of which this rank has `taken` numbers already."""
        state: State = {"next": next_number, "global_batch": self.global_batch}
        if taken:
            state["taken"] = {"numbers": taken, "world_size": self.world_size}
        if self.stream is not None:
            state["stream"] = {"digest": self.stream.digest, **self.stream.described}
        return state

    def position_of(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """(next_number, taken) of a state. Raises CatalogError[stream.state] when it is not of this stream."""
        next_number, taken = state["next"], state.get("taken")
        if state["global_batch"] != self.global_batch or next_number % self.global_batch or next_number < 0:
            raise _refused(
                "state",
                "the stream cannot go on with a global batch of another size",
                {"state": f"number {next_number}, batches of {state['global_batch']}", "here": self.global_batch},
                action="Resume with the global batch that the run began with; the number of ranks may differ.",
            )
        if taken is not None and taken["world_size"] != self.world_size:
            raise _refused(
                "state",
                "the state lies inside of a global batch, which another number of ranks would divide otherwise",
                {"state": f"{taken['numbers']} numbers by each of {taken['world_size']}", "here": self.world_size},
                action="Save the state behind a whole global batch: `batch_size=stream.batch_size`.",
            )
        self._check_meaning(state.get("stream"))
        return next_number, 0 if taken is None else taken["numbers"]

    def _check_meaning(self, saved: Mapping[str, Any] | None) -> None:
        if saved is None or self.stream is None:
            if (saved is None) != (self.stream is None):
                which = "the state" if saved is None else "this sampler"
                raise _refused("state", f"{which} does not say what its numbers mean", {}, "Give both their `stream`.")
            return
        if saved["digest"] == self.stream.digest:
            return
        different = dict(_differences(saved, self.stream.described))
        raise _refused(
            "state",
            "the numbers of the state mean other samples than those of this stream",
            {name: f"was {was}, is {now}" for name, (was, now) in list(different.items())[:8]},
            action="Resume with the seed, entries, cases and mixture that the run began with, or begin a new run.",
        )

    @property
    def _per_epoch(self) -> int:
        return self.batches_per_epoch * self.global_batch

    def end_of_epoch(self, number: int) -> int:
        """The first number of the epoch behind the one that a number is of."""
        return (number // self._per_epoch + 1) * self._per_epoch

    def _now(self) -> tuple[int, int]:
        return (self._start, self._taken) if self._latest is None else self._latest.position


class SampleNumbers(Iterator[int]):
    """The numbers of one epoch of one rank, with a state of its own for torchdata's loader."""

    def __init__(self, sampler: SampleStream, start: int, taken: int) -> None:
        self._sampler = sampler
        self._batch = start
        self._taken = taken
        self.end = sampler.end_of_epoch(start)
        self.moved = False

    @property
    def position(self) -> tuple[int, int]:
        """(where the global batch begins that is next, numbers that were taken of it)."""
        return self._batch, self._taken

    def __next__(self) -> int:
        if self._batch >= self.end:
            raise StopIteration
        sampler = self._sampler
        number = self._batch + (sampler.rank + self._taken * sampler.world_size) % sampler.global_batch
        self.moved = True
        self._taken += 1
        if self._taken == sampler.batch_size:
            self._batch, self._taken = self._batch + sampler.global_batch, 0
        return number

    def state_dict(self) -> State:
        state = self._sampler.state_at(*self.position)
        # Told apart from the beginning of the next epoch: there is nothing to come from these numbers.
        return {**state, "ended": True} if self._batch >= self.end else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batch, self._taken = self._sampler.position_of(state)
        self.end = self._batch if state.get("ended") else self._sampler.end_of_epoch(self._batch)


def this_rank() -> tuple[int, int]:
    """(rank, world_size) of torch.distributed if it is in use, else of torchrun's environment, else (0, 1)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _check_batches(samples: int, global_batch: int, rank: int, world_size: int, stream: Stream | None) -> None:
    details = {"samples": samples, "global_batch": global_batch, "rank": rank, "world_size": world_size}
    if not (global_batch >= 1 and 0 <= rank < world_size):
        raise _refused("batch", "the ranks or the global batch make no sense", details)
    if samples < global_batch:
        raise _refused("batch", "an epoch has fewer samples than one global batch", details)
    for name in ("forced_batch", "grouped_batch"):
        wanted = getattr(stream, name, None)
        if wanted not in (None, global_batch):
            details[name] = wanted
            raise _refused("batch", "the stream was made for a global batch of another size", details)


def _differences(was: Any, now: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """(name, (was, now)) of what differs in two JSON documents."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in [*was, *(key for key in now if key not in was)]:
            if key == "digest":
                continue
            yield from _differences(
                was.get(key, "not there"), now.get(key, "not there"), f"{name}.{key}" if name else key
            )
    elif was != now:
        yield name, (was, now)


def _refused(name: str, problem: str, details: dict[str, Any], action: str = "") -> CatalogError:
    return CatalogError(f"stream.{name}", where="SampleStream", problem=problem, details=details, action=action)
