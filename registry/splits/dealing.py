"""Components dealt to parts: by hash within each stratum, then mended where a class would miss a part.

Two steps, so that a part has its share of everything and still hardly changes when a component is added:

1. Every component has a place in [0, 1): its rank by hash among the components of its stratum (its entries, and the
   rarest of its classes). A part takes the lowest places, as many as are due to it. With one stratum this is dealing
   in the order of the hashes; with many, each stratum gives its share, whatever its size.
2. For each label (class, entry, modality, site), rarest first as in iterative stratification (Sechidis, Tsoumakas and
   Vlahavas 2011, doi 10.1007/978-3-642-23808-6_10), a part that has too few of it swaps a component with a part that
   can spare one, without breaking what was mended before.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from medshard.registry.store.digests import sha256_json

CLASS = "class:"
ENTRY = "entry:"
# A part is mended when it has less than so much of its share of a label.
TOLERATED = 0.9
# Components that are looked at, on either side, before a swap is given up, and swaps before a label is.
TRIED = 100
GIVEN_UP = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealt:
    """A component. labels: `kind:value` of all that is to be spread evenly. fixed: the part where it must stay."""

    name: str
    labels: frozenset[str] = frozenset()
    fixed: str | None = None


def deal(components: Sequence[Dealt], quotas: Mapping[str, int], *, seed: int) -> dict[str, str]:
    """component -> part.

    quotas: part -> number of components, in the order in which the parts take theirs; they sum to their number. What is
    fixed counts, and where more is fixed than is due, the last parts get less.
    """
    table = _Table(components, quotas, seed)
    table.deal_by_place()
    table.mend()
    return dict(table.part_of)


def even_quotas(parts: Sequence[str], count: int) -> dict[str, int]:
    """As many for each part, the first ones one more where it does not come out even."""
    return {part: count // len(parts) + (number < count % len(parts)) for number, part in enumerate(parts)}


class _Table:
    """Who is where, and how many of each label each part has."""

    def __init__(self, components: Sequence[Dealt], quotas: Mapping[str, int], seed: int) -> None:
        self.quotas = dict(quotas)
        self.parts = [part for part, quota in quotas.items() if quota > 0]
        self.order = {item.name: sha256_json([seed, item.name]) for item in components}
        self.items = {item.name: item for item in sorted(components, key=lambda item: self.order[item.name])}
        self.seed = seed
        total = max(1, sum(quotas.values()))
        self.shares = {part: quota / total for part, quota in quotas.items()}
        self.sizes = Counter(label for item in components for label in item.labels)
        self.counts: dict[str, Counter[str]] = {part: Counter() for part in quotas}
        self.part_of: dict[str, str] = {}
        for item in self.items.values():
            if item.fixed is not None:
                self._put(item, item.fixed)

    def deal_by_place(self) -> None:
        strata: dict[tuple[str, ...], list[Dealt]] = defaultdict(list)
        fixed: Counter[tuple[tuple[str, ...], str]] = Counter()
        for item in self.items.values():
            if item.fixed is None:
                strata[self._stratum(item)].append(item)
            else:
                fixed[self._stratum(item), item.fixed] += 1
        waiting = {part: dict[str, float]() for part in self.parts}
        for stratum, members in strata.items():
            phase = int(sha256_json([self.seed, stratum])[:12], 16) / 16**12
            share = self._shares_left(members, {part: fixed[stratum, part] for part in self.parts})
            for rank, item in enumerate(members):
                place, start = (rank + phase) / len(members), 0.0
                for part in self.parts:
                    waiting[part][item.name] = (place - start) / max(share[part], 1e-9)
                    start += share[part]
        held = Counter(self.part_of.values())
        left = {item.name: item for members in strata.values() for item in members}
        for part in self.parts:
            due = max(0, self.quotas[part] - held[part])
            due = len(left) if part == self.parts[-1] else min(due, len(left))
            for name in self._first(left, waiting[part])[:due]:
                self._put(left.pop(name), part)

    def _first(self, names: Iterable[str], waiting: Mapping[str, float]) -> list[str]:
        return sorted(names, key=lambda name: (waiting[name], self.order[name]))

    def mend(self) -> None:
        """Rarest label first; what was mended is not spoilt again."""
        members: dict[str, list[Dealt]] = defaultdict(list)
        homes: dict[tuple[str, tuple[str, ...]], dict[str, Dealt]] = defaultdict(dict)
        for item in self.items.values():
            if item.fixed is None:
                homes[self.part_of[item.name], self._home(item)][item.name] = item
                for label in item.labels:
                    members[label].append(item)
        floors: dict[str, dict[str, int]] = {}
        for label in sorted(self.sizes, key=lambda label: (self.sizes[label], label)):
            floors[label] = self._floors(label)
            for part in self.parts:
                while self.counts[part][label] < floors[label][part]:
                    if not self._bring(label, part, members[label], floors, homes):
                        break

    def _bring(
        self,
        label: str,
        part: str,
        members: Sequence[Dealt],
        floors: Mapping[str, Mapping[str, int]],
        homes: dict[tuple[str, tuple[str, ...]], dict[str, Dealt]],
    ) -> bool:
        """One component with the label into the part, and another one back. False when there is none to be had."""
        tried = 0
        for coming in members:
            donor = self.part_of[coming.name]
            if donor == part or not self._spares(coming, donor, floors, frozenset()):
                continue
            if tried == GIVEN_UP:
                return False
            tried += 1
            going = self._exchange(coming, label, part, floors, homes)
            if going is None and not (label.startswith(CLASS) and self.counts[part][label] == 0):
                continue
            self._move(coming, part, homes)
            if going is not None:
                self._move(going, donor, homes)
            return True
        return False

    def _exchange(
        self,
        coming: Dealt,
        label: str,
        part: str,
        floors: Mapping[str, Mapping[str, int]],
        homes: Mapping[tuple[str, tuple[str, ...]], Mapping[str, Dealt]],
    ) -> Dealt | None:
        """What the part can give for it, of the same entries where it can."""
        for tried, going in enumerate(self._at_home(part, self._home(coming), homes)):
            if tried >= TRIED:
                return None
            if label not in going.labels and self._spares(going, part, floors, coming.labels):
                return going
        return None

    def _at_home(
        self,
        part: str,
        home: tuple[str, ...],
        homes: Mapping[tuple[str, tuple[str, ...]], Mapping[str, Dealt]],
    ) -> Iterator[Dealt]:
        yield from _some(homes.get((part, home), {}))
        for (there, other), items in list(homes.items()):
            if there == part and other != home:
                yield from _some(items)

    def _spares(self, item: Dealt, part: str, floors: Mapping[str, Mapping[str, int]], instead: frozenset[str]) -> bool:
        """Whether a part keeps enough of every label that was mended when a component leaves. instead: what comes."""
        counts = self.counts[part]
        return all(
            label in instead or label not in floors or counts[label] > floors[label][part] for label in item.labels
        )

    def _floors(self, label: str) -> dict[str, int]:
        """How many of a label each part has to have: a class one at least, where there are enough for all parts."""
        size = self.sizes[label]
        floors = {part: math.floor(TOLERATED * self.shares[part] * size) for part in self.parts}
        if label.startswith(CLASS) and size >= len(self.parts):
            floors = {part: max(1, floor) for part, floor in floors.items()}
        while sum(floors.values()) > size:
            largest = max(self.parts, key=lambda part: floors[part])
            floors[largest] -= 1
        return floors

    def _stratum(self, item: Dealt) -> tuple[str, ...]:
        classes = [label for label in item.labels if label.startswith(CLASS) and self.sizes[label] >= len(self.parts)]
        rarest = min(classes, key=lambda label: (self.sizes[label], label), default="")
        return (rarest, *self._home(item))

    def _home(self, item: Dealt) -> tuple[str, ...]:
        return tuple(sorted(label for label in item.labels if label.startswith(ENTRY)))

    def _shares_left(self, members: Sequence[Dealt], fixed: Mapping[str, int]) -> dict[str, float]:
        """Part -> share of the free components of a stratum that brings it to its share of all of them."""
        total = len(members) + sum(fixed.values())
        due = {part: max(0.0, self.shares[part] * total - fixed[part]) for part in self.parts}
        whole = sum(due.values()) or 1.0
        return {part: amount / whole for part, amount in due.items()}

    def _put(self, item: Dealt, part: str) -> None:
        if (before := self.part_of.get(item.name)) is not None:
            self.counts[before].subtract(item.labels)
        self.part_of[item.name] = part
        self.counts[part].update(item.labels)

    def _move(self, item: Dealt, part: str, homes: dict[tuple[str, tuple[str, ...]], dict[str, Dealt]]) -> None:
        home = self._home(item)
        del homes[self.part_of[item.name], home][item.name]
        homes[part, home][item.name] = item
        self._put(item, part)


def _some(items: Mapping[str, Dealt]) -> list[Dealt]:
    return list(islice(items.values(), TRIED))
