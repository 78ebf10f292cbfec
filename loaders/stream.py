"""The sample stream: what sample number n is, as a pure function of (seed, n, mixture).

Random numbers come from Philox4x64-10, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"), with the key (seed, n): sample n needs no other sample before it, so that workers, ranks and resumed runs
agree without talking to each other. Entries are mixed on indices, before any file is opened.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from medshard.converters.plan import Shape
from medshard.errors import CatalogError

_WORDS = 9


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A mixture of entries.

    seed: 0 <= seed < 2**64.
    sizes: number of samples of each entry.
    weights: relative frequency of each entry; need not sum to 1.
    foreground: probability that a window is placed on a labelled voxel.
    """

    seed: int
    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    foreground: float = 0.0

    def __post_init__(self) -> None:
        problem = ""
        if not 0 <= self.seed < 2**64:
            problem = f"seed {self.seed} is not in [0, 2**64)"
        elif len(self.weights) != len(self.sizes) or not all(np.isfinite(self.weights)) or min(self.weights) < 0:
            problem = f"weights {self.weights} are not one finite number >= 0 for each of {len(self.sizes)} entries"
        elif not any(weight and size for weight, size in zip(self.weights, self.sizes, strict=True)):
            problem = "no entry has both a weight and a sample"
        elif any(weight and not size for weight, size in zip(self.weights, self.sizes, strict=True)):
            problem = "an entry without samples has a weight"
        elif not 0.0 <= self.foreground <= 1.0:
            problem = f"foreground {self.foreground} is not a probability"
        if problem:
            raise CatalogError("stream.mixture", where="Stream", problem=problem)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Sample number n, before any file is opened.

    entry_index: which entry; sample_index: which of its samples.
    foreground: whether the window is to be placed on a labelled voxel.
    class_fraction, voxel_fraction: in [0, 1): which class, and which of its voxels.
    window_fractions: in [0, 1): where the window lies among the places it may have along (z, y, x).
    augmentation_seed: in [0, 2**32), for the transforms.
    """

    number: int
    entry_index: int
    sample_index: int
    foreground: bool
    class_fraction: float
    voxel_fraction: float
    window_fractions: tuple[float, float, float]
    augmentation_seed: int


def draw(stream: Stream, n: int) -> Draw:
    """Sample number n >= 0 of a stream: the same on every machine and in every process."""
    raw = np.random.Philox(key=np.array([stream.seed, n], np.uint64)).random_raw(_WORDS)
    # The upper 53 bits: each value is an exact double in [0, 1).
    entry, sample, foreground, of_class, of_voxel, z, y, x = ((raw[:-1] >> np.uint64(11)) * 2.0**-53).tolist()
    bounds = list(accumulate(stream.weights))
    # Rounding may carry the product up to the total itself, behind the last entry that has a weight.
    below_total = math.nextafter(bounds[-1], 0.0)
    entry_index = bisect_right(bounds, min(entry * bounds[-1], below_total))
    return Draw(
        number=n,
        entry_index=entry_index,
        sample_index=pick(sample, stream.sizes[entry_index]),
        foreground=foreground < stream.foreground,
        class_fraction=of_class,
        voxel_fraction=of_voxel,
        window_fractions=(z, y, x),
        augmentation_seed=int(raw[-1] >> np.uint64(32)),
    )


def pick(fraction: float, count: int) -> int:
    """One of `count` equally likely things, by a fraction in [0, 1)."""
    return min(int(fraction * count), count - 1)


def place_window(drawn: Draw, shape: Shape, patch_size: Shape, voxel: Shape | None = None) -> Shape:
    """First voxel (z, y, x) of the window of a draw, in a volume of `shape` (z, y, x).

    The window stays inside of the volume along an axis that is at least as long as the patch, and is centred, which
    makes its start negative, along a shorter one. With a voxel, every such window that holds it is equally likely;
    without, every such window is.
    """
    start = []
    for axis, (size, patch) in enumerate(zip(shape, patch_size, strict=True)):
        if size <= patch:
            start.append(-((patch - size) // 2))
            continue
        low, high = 0, size - patch
        if voxel is not None:
            low, high = max(low, voxel[axis] - patch + 1), min(high, voxel[axis])
        start.append(low + pick(drawn.window_fractions[axis], high - low + 1))
    return start[0], start[1], start[2]


class SampleStream:
    """A sampler for torch's `DataLoader` that deals sample numbers to ranks and resumes from one number.

    The global batch b is the numbers [b * global_batch, (b + 1) * global_batch), whatever the number of ranks. Rank r
    takes the r-th, (r + world_size)-th, ... of them, `batch_size` in all. Where `world_size` does not divide the global
    batch, the ranks that would come short take its first numbers once more, so that all ranks do equally many steps and
    no number is lost; those few samples count double in that step. Numbers that fill no global batch at the end are
    left for the next stream, which starts at `end`.

        stream = SampleStream(len(dataset), global_batch=8, rank=rank, world_size=world_size)
        loader = DataLoader(dataset, sampler=stream, batch_size=stream.batch_size)
    """

    def __init__(
        self, samples: int, *, global_batch: int = 1, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        """samples: the stream ends before this number. start: the first number, a multiple of `global_batch`."""
        if not (global_batch >= 1 and 0 <= rank < world_size):
            raise CatalogError(
                "stream.batch",
                where="SampleStream",
                problem="the ranks or the global batch make no sense",
                details={"global_batch": global_batch, "rank": rank, "world_size": world_size},
            )
        self.samples = samples
        self.global_batch = global_batch
        self.rank = rank
        self.world_size = world_size
        self.start = start
        self.load_state_dict({"next": start, "global_batch": global_batch})

    @property
    def batch_size(self) -> int:
        """Samples that one rank takes of a global batch."""
        return -(-self.global_batch // self.world_size)

    @property
    def end(self) -> int:
        """The number behind the last global batch."""
        return self.samples // self.global_batch * self.global_batch

    def __len__(self) -> int:
        return max(0, self.end - self.start) // self.global_batch * self.batch_size

    def __iter__(self) -> Iterator[int]:
        for batch_start in range(self.start, self.end, self.global_batch):
            self._next = batch_start + self.global_batch
            for place in range(self.rank, self.batch_size * self.world_size, self.world_size):
                yield batch_start + place % self.global_batch

    def state_dict(self, *, batches_done: int | None = None) -> dict[str, int]:
        """Where to go on.

        batches_done: steps that the training has done with this stream since `start`. Without it, what was handed out
        counts, which runs ahead of the training when the `DataLoader` has workers.
        """
        done = self._next if batches_done is None else self.start + batches_done * self.global_batch
        return {"next": done, "global_batch": self.global_batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where `state_dict` says. Raises CatalogError when the global batch has changed in between."""
        if state["global_batch"] != self.global_batch or state["next"] % self.global_batch or state["next"] < 0:
            raise CatalogError(
                "stream.state",
                where="SampleStream",
                problem="the stream cannot go on inside of a global batch, or with one of another size",
                details={"state": dict(state), "global_batch": self.global_batch},
                action="Resume with the global batch that the run began with; the number of ranks may differ.",
            )
        self.start = self._next = state["next"]


def entry_weights(
    entries: Sequence[str], sizes: Sequence[int], weights: Mapping[str, float] | None
) -> tuple[float, ...]:
    """The weight of each entry: those given, else the numbers of samples, so that all samples are equally likely."""
    if weights is None:
        return tuple(float(size) for size in sizes)
    if set(weights) != set(entries):
        raise CatalogError(
            "stream.weights",
            where="weights",
            problem="the weights are not those of the entries",
            details={"entries": ", ".join(entries), "weights": ", ".join(weights)},
            action="Give one weight per entry; 0 leaves an entry out.",
        )
    return tuple(float(weights[entry]) for entry in entries)
