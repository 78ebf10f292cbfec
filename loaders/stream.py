"""The sample stream: what sample number n is, as a pure function of (seed, n, mixture).

Random numbers come from Philox4x64-10, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"), with the key (seed, n): sample n needs no other sample before it, so that workers, ranks and resumed runs
agree without talking to each other. Entries are mixed on indices, before any file is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.errors import CatalogError
from medshard.loaders.class_balance import ClassBalance
from medshard.loaders.mixture import Mixture
from medshard.loaders.schedule import UNITS, Schedule, keyed, permuted, units_of
from medshard.registry.store.digests import sha256_bytes, sha256_json

# 3: the occurrences of a component or class are in the order of the numbers, so that passes are whole in a mixture too.
STREAM_VERSION = 3

Sampling = Literal["permuted", "independent"]

_WORDS = 9
# What a key is for: each purpose has an order of its own.
_FOREGROUND, _COMPONENT, _PLACE, _CLASS, _CLASS_COMPONENT, _CLASS_PLACE = range(6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """What the numbers mean.

    seed: 0 <= seed < 2**64.
    mixture: what is drawn from, and how often. rows: for each of its entries, the row of the index of each sample;
        None: sample k is row k.
    foreground: share of the windows that are placed on a labelled voxel.
    forced_batch: where given, the foreground windows are the last ones of every global batch of this size, as nnU-Net
        has it (`oversample_foreground_percent`), instead of any.
    grouped_batch: where given, all samples of a global batch of this size are of one component of the mixture, which
        are then dealt batch by batch: for components whose items cannot be in one batch.
    sampling: "permuted": the draws of a component go through its samples in a new order each time, every sample once
        before one comes twice; of N draws (or grouped batches) each share is kept to within log2(N) + 1.
        "independent": every draw is on its own, as with replacement.
    balance: where given, a foreground window is placed on a class that is chosen first, in a sample that has it; the
        other windows follow the mixture.
    sources: for each entry what its rows are rows of, such as the digest of the index; only compared on resume.
    """

    seed: int
    mixture: Mixture
    rows: Sequence[NDArray[np.int64]] | None = None
    foreground: float = 0.0
    forced_batch: int | None = None
    grouped_batch: int | None = None
    sampling: Sampling = "permuted"
    balance: ClassBalance | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problem = ""
        if not 0 <= self.seed < 2**64:
            problem = f"seed {self.seed} is not in [0, 2**64)"
        elif not 0.0 <= self.foreground <= 1.0:
            problem = f"foreground {self.foreground} is not a share"
        elif any(batch is not None and batch < 1 for batch in (self.forced_batch, self.grouped_batch)):
            problem = f"a global batch of {self.forced_batch or self.grouped_batch} has no samples"
        elif self.grouped_batch is not None and self.balance is not None:
            problem = "a batch of one component cannot have classes that are balanced over all of them"
        elif self.sampling not in ("permuted", "independent"):
            problem = f"sampling {self.sampling!r} is neither 'permuted' nor 'independent'"
        elif self.rows is not None and tuple(map(len, self.rows)) != self.mixture.sizes:
            problem = f"{tuple(map(len, self.rows))} rows are not those of the samples {self.mixture.sizes}"
        elif self.balance is not None and self.balance.component_sizes != tuple(
            component.size for component in self.mixture.components
        ):
            problem = "the class balance was made for another mixture"
        if problem:
            raise CatalogError("stream.mixture", where="Stream", problem=problem)

    @cached_property
    def described(self) -> dict[str, Any]:
        """JSON that two streams share only if all their numbers mean the same."""
        rows = self.rows or ()
        return {
            "version": STREAM_VERSION,
            "seed": self.seed,
            "sampling": self.sampling,
            "foreground": self.foreground,
            "forced_batch": self.forced_batch,
            "grouped_batch": self.grouped_batch,
            "mixture": self.mixture.describe(),
            "rows": [sha256_bytes(np.asarray(numbers, "<i8").tobytes()) for numbers in rows],
            "sources": list(self.sources),
            "balance": None if self.balance is None else self.balance.describe(),
        }

    @cached_property
    def digest(self) -> str:
        return sha256_json(self.described)

    @cached_property
    def _foreground_schedule(self) -> Schedule:
        shares = units_of((1.0 - self.foreground, self.foreground))
        return Schedule(shares, keyed(self.seed, _FOREGROUND))

    @cached_property
    def _mixture_schedule(self) -> Schedule:
        shares = tuple(component.share for component in self.mixture.components)
        return Schedule(shares, keyed(self.seed, _COMPONENT))

    @cached_property
    def _class_schedule(self) -> Schedule:
        shares = () if self.balance is None else self.balance.shares
        return Schedule(shares, keyed(self.seed, _CLASS))

    @cached_property
    def _class_components(self) -> dict[int, tuple[Schedule, list[int]]]:
        # Filled class by class: 200 classes of 130 components take a while.
        return {}


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Sample number n, before any file is opened.

    entry_index: which entry; sample_index: which of its selected samples; row: number of its row in the entry's index.
    foreground: whether the window is to be placed on a labelled voxel.
    class_number: 1-based number of `LabelNumbering.classes` that the voxel is to be of, which the sample has; None
        where balancing chose none: one of those that are present, by `class_fraction`.
    class_fraction, voxel_fraction: in [0, 1): which class, and which of its voxels.
    window_fractions: in [0, 1): where the window lies among the places it may have along (z, y, x).
    augmentation_seed: in [0, 2**32), for the transforms.
    """

    seed: int
    number: int
    entry_index: int
    sample_index: int
    row: int
    foreground: bool
    class_number: int | None
    class_fraction: float
    voxel_fraction: float
    window_fractions: tuple[float, float, float]
    augmentation_seed: int

    def fractions(self, count: int, *, lane: int = 0) -> NDArray[np.float64]:
        """(count,) further numbers in [0, 1) of this draw: the first ones of a longer list are those of a shorter one.

        lane: 0 <= lane < 2**64; each has numbers of its own, so that crops do not change with the augmentation.
        """
        bits = np.random.Philox(key=np.array([self.seed, self.number], np.uint64), counter=[0, 1, lane, 0])
        return _in_unit_interval(bits.random_raw(count))


def draw(stream: Stream, n: int) -> Draw:
    """Sample number n, 0 <= n < 2**63, of a stream: the same on every machine and in every process."""
    raw = np.random.Philox(key=np.array([stream.seed, n], np.uint64)).random_raw(_WORDS)
    of_component, of_place, of_foreground, of_class, of_voxel, z, y, x = _in_unit_interval(raw[:-1]).tolist()
    foreground, occurrence = _foreground(stream, n, of_foreground)
    choose = _permuted if stream.sampling == "permuted" else _independent
    balanced = stream.balance if foreground else None
    # Where no class is balanced, the passes through the samples do not care which windows are on foreground.
    index = n if stream.balance is None else occurrence
    class_number, component, place = choose(stream, balanced, index, (of_class, of_component, of_place))
    entry_index, sample_index = stream.mixture.components[component].locate(place)
    return Draw(
        seed=stream.seed,
        number=n,
        entry_index=entry_index,
        sample_index=sample_index,
        row=sample_index if stream.rows is None else int(stream.rows[entry_index][sample_index]),
        foreground=foreground,
        class_number=class_number,
        class_fraction=of_class,
        voxel_fraction=of_voxel,
        window_fractions=(z, y, x),
        augmentation_seed=int(raw[-1] >> np.uint64(32)),
    )


def _foreground(stream: Stream, n: int, fraction: float) -> tuple[bool, int]:
    """Whether number n is a foreground window, and how many numbers before it are of the same sort."""
    if stream.forced_batch is not None:
        batch, place = divmod(n, stream.forced_batch)
        first_forced = round(stream.forced_batch * (1.0 - stream.foreground))
        if place >= first_forced:
            return True, batch * (stream.forced_batch - first_forced) + place - first_forced
        return False, batch * first_forced + place
    if stream.sampling == "independent":
        return fraction < stream.foreground, n
    kind, occurrence = stream._foreground_schedule.at(n)
    return kind == 1, occurrence


def _permuted(
    stream: Stream, balance: ClassBalance | None, index: int, _: tuple[float, float, float]
) -> tuple[int | None, int, int]:
    """(class_number, component, place in it) of draw number `index` among those of its sort."""
    if balance is None:
        component, occurrence = _component(stream, index)
        size = stream.mixture.components[component].size
        times, place = divmod(occurrence, size)
        return None, component, permuted(place, size, keyed(stream.seed, _PLACE, component, times))
    kind, occurrence = stream._class_schedule.at(index)
    class_number = kind + 1
    schedule, ranks = _class_components(stream, balance, class_number)
    component, occurrence = schedule.at(occurrence)
    size = ranks[component + 1] - ranks[component]
    times, place = divmod(occurrence, size)
    rank = permuted(place, size, keyed(stream.seed, _CLASS_PLACE, class_number, component, times))
    return class_number, *balance.split_place(balance.place_of(class_number, ranks[component] + rank))


def _component(stream: Stream, index: int) -> tuple[int, int]:
    if stream.grouped_batch is None:
        return stream._mixture_schedule.at(index)
    batch, place = divmod(index, stream.grouped_batch)
    component, occurrence = stream._mixture_schedule.at(batch)
    return component, occurrence * stream.grouped_batch + place


def _independent(
    stream: Stream, balance: ClassBalance | None, index: int, fractions: tuple[float, float, float]
) -> tuple[int | None, int, int]:
    """(class_number, component, place in it) by (class, component, place) fractions in [0, 1)."""
    of_class, of_component, of_place = fractions
    if balance is None:
        # One number for all draws of a batch that is of one component.
        batch = None if stream.grouped_batch is None else index // stream.grouped_batch
        unit = int(of_component * UNITS) if batch is None else keyed(stream.seed, _COMPONENT, batch) % UNITS
        component = stream._mixture_schedule.kind_at(unit)
        return None, component, pick(of_place, stream.mixture.components[component].size)
    class_number = 1 + stream._class_schedule.kind_at(int(of_class * UNITS))
    schedule, ranks = _class_components(stream, balance, class_number)
    component = schedule.kind_at(int(of_component * UNITS))
    rank = ranks[component] + pick(of_place, ranks[component + 1] - ranks[component])
    return class_number, *balance.split_place(balance.place_of(class_number, rank))


def _class_components(stream: Stream, balance: ClassBalance, class_number: int) -> tuple[Schedule, list[int]]:
    known = stream._class_components
    if class_number not in known:
        key = keyed(stream.seed, _CLASS_COMPONENT, class_number)
        known[class_number] = Schedule(balance.component_chances(class_number), key), balance.ranks(class_number)
    return known[class_number]


def _in_unit_interval(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The upper 53 bits of each word: an exact double in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


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
