"""In which proportion entries, or groups of their samples, are mixed: shares that are settled before a file is opened.

A rule says what is wanted (weights, a temperature, caps and floors); `mix` resolves it on the numbers of samples into
a `Mixture`, whose shares are whole numbers. It is computed with exact or decimal arithmetic, so it is the same on every
machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.errors import CatalogError
from medshard.loaders.schedule import UNITS, units_of
from medshard.registry.store.digests import sha256_bytes

_DECIMALS = Context(prec=50)
EVERYTHING = "all samples"


@dataclass(frozen=True, kw_only=True)
class MixtureRule:
    """What the shares of components (entries, or groups) should be.

    weights: component -> relative frequency; 0 leaves one out. None: the numbers of samples.
    temperature: the share of a component is proportional to weight ** (1 / temperature): 1 keeps the weights, more
        draws small components more often, infinity makes all equal (Conneau et al. 2020, arXiv:1911.02116, section 3.1,
        whose alpha is 1 / temperature).
    most, least: the largest and smallest share of every component, or of those that are named; the rest of the shares
        keep their proportions.
    most_per_case: a component's cases are drawn at most so many times each while as many samples are drawn as the
        mixture has; keeps a tiny entry from being learnt by heart.
    """

    weights: Mapping[str, float] | None = None
    temperature: float = 1.0
    most: float | Mapping[str, float] = 1.0
    least: float | Mapping[str, float] = 0.0
    most_per_case: float | None = None


BY_NUMBER = MixtureRule()


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of one entry that belong to a component. members: their numbers, ascending; None if it is all."""

    entry_index: int
    size: int
    members: NDArray[np.int32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """Samples that are drawn equally often. share: of the whole mixture, in `UNITS`."""

    name: str
    parts: tuple[Part, ...]
    share: int

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(part.size for part in self.parts))

    @property
    def size(self) -> int:
        return self._ends[-1] if self.parts else 0

    def locate(self, place: int) -> tuple[int, int]:
        """(entry_index, sample_index) of a sample by its place in this component, 0 <= place < size."""
        number = bisect_right(self._ends, place)
        part = self.parts[number]
        within = place - self._ends[number] + part.size
        return part.entry_index, within if part.members is None else int(part.members[within])


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """What is mixed, resolved. sizes: number of samples of each entry; shares of the components sum to `UNITS`."""

    entries: tuple[str, ...]
    sizes: tuple[int, ...]
    components: tuple[Component, ...]

    @property
    def size(self) -> int:
        return sum(component.size for component in self.components)

    def shares(self) -> dict[str, float]:
        """component -> its share of all draws."""
        return {component.name: component.share / UNITS for component in self.components}

    def entry_shares(self) -> dict[str, float]:
        """entry -> its share of all draws."""
        shares = dict.fromkeys(self.entries, 0.0)
        for component in self.components:
            for part in component.parts:
                shares[self.entries[part.entry_index]] += component.share / UNITS * part.size / component.size
        return shares

    def describe(self) -> dict[str, Any]:
        """JSON that two mixtures share only if they draw the same samples equally often."""
        return {
            "entries": dict(zip(self.entries, self.sizes, strict=True)),
            "components": {
                component.name: {
                    "share": component.share,
                    "samples": [
                        [
                            self.entries[part.entry_index],
                            part.size if part.members is None else sha256_bytes(part.members.astype("<i4").tobytes()),
                        ]
                        for part in component.parts
                    ],
                }
                for component in self.components
            },
        }


def mix(
    entries: Sequence[str],
    sizes: Sequence[int],
    rule: MixtureRule | None = None,
    *,
    groups: Mapping[str, str] | Sequence[Sequence[str]] | None = None,
    within: MixtureRule | None = None,
) -> Mixture:
    """Resolve a rule on the numbers of samples.

    rule: between the entries, or between the groups if there are any. Without one, every sample is equally likely.
    groups: entry -> group; or for each entry the group of each of its samples (such as the column `modality`).
    within: between the entries inside each group; without one, every sample of a group is equally likely.
    Raises CatalogError[mixture.*] for what makes no sense or has no solution.
    """
    entries, sizes = tuple(entries), tuple(int(size) for size in sizes)
    if len(set(entries)) != len(entries) or len(entries) != len(sizes) or not sum(sizes) or min(sizes) < 0:
        raise _refused(
            "empty", "the entries have no samples, or are named twice", dict(zip(entries, sizes, strict=False))
        )
    pools = _by_entry(entries, sizes) if groups is None else _grouped(entries, sizes, groups)
    if rule in (None, BY_NUMBER) and within is None:
        # One pool, so that a pass over it has every sample once and not only nearly so.
        parts = tuple(part for pool in pools.values() for part in pool)
        return Mixture(entries=entries, sizes=sizes, components=(Component(name=EVERYTHING, parts=parts, share=UNITS),))
    shares = resolve_shares({name: _size(parts) for name, parts in pools.items()}, rule or BY_NUMBER)
    if within is not None:
        pools, shares = _divided(entries, pools, shares, within)
    components = tuple(
        Component(name=name, parts=parts, share=units)
        for (name, parts), units in zip(pools.items(), units_of(list(shares.values())), strict=True)
    )
    return Mixture(entries=entries, sizes=sizes, components=components)


def resolve_shares(sizes: Mapping[str, int], rule: MixtureRule) -> dict[str, Fraction]:
    """component -> share; they sum to 1.

    sizes: component -> number of samples. Between its bounds every share is the same multiple of its wanted weight; the
    multiple is found as CSS lays out flexible boxes: fix all that break a bound on the side that weighs more, and share
    the rest anew (CSS Flexible Box Layout, section 9.7).
    """
    _check_rule(sizes, rule)
    wanted = {name: _tempered(rule, name, size) for name, size in sizes.items()}
    total = sum(sizes.values())
    most, least = {}, {}
    for name, size in sizes.items():
        most[name] = _bound(rule.most, name, 1.0)
        if rule.most_per_case is not None:
            most[name] = min(most[name], _exact(rule.most_per_case) * size / total)
        least[name] = _bound(rule.least, name, 0.0) if wanted[name] else Fraction(0)
    drawn = {name: weight for name, weight in wanted.items() if weight}
    if not drawn:
        raise _refused("empty", "no component has both a weight and a sample", sizes)
    impossible = {name: f"at least {float(least[name])}, at most {float(most[name])}" for name in drawn}
    if (
        sum(most[name] for name in drawn) < 1
        or sum(least.values()) > 1
        or any(least[name] > most[name] for name in drawn)
    ):
        raise _refused("bounds", "no shares that sum to 1 keep to these bounds", impossible)
    return dict.fromkeys(sizes, Fraction(0)) | _between(drawn, least, most)


def _between(
    wanted: Mapping[str, Fraction], least: Mapping[str, Fraction], most: Mapping[str, Fraction]
) -> dict[str, Fraction]:
    settled: dict[str, Fraction] = {}
    free = dict(wanted)
    while free:
        left, weight = 1 - sum(settled.values()), sum(free.values())
        shares = {name: left * each / weight for name, each in free.items()}
        bounded = {name: min(max(share, least[name]), most[name]) for name, share in shares.items()}
        excess = sum(bounded.values()) - left
        if excess == 0:
            return settled | bounded
        settled |= {
            name: bound
            for name, bound in bounded.items()
            if (bound > shares[name] if excess > 0 else bound < shares[name])
        }
        free = {name: each for name, each in free.items() if name not in settled}
    return settled


def _tempered(rule: MixtureRule, name: str, size: int) -> Fraction:
    weight = Decimal(size) if rule.weights is None else Decimal(repr(float(rule.weights[name])))
    if not weight or rule.temperature == 1:
        return Fraction(weight)
    return power(Fraction(weight), 0.0 if math.isinf(rule.temperature) else 1 / rule.temperature)


def power(base: Fraction | int, exponent: float) -> Fraction:
    """base ** exponent to 50 digits, equal on every machine: powers of a C library differ in their last digit."""
    base = Fraction(base)
    decimal = _DECIMALS.divide(Decimal(base.numerator), Decimal(base.denominator))
    return Fraction(_DECIMALS.power(decimal, Decimal(repr(float(exponent)))))


def _bound(bounds: float | Mapping[str, float], name: str, otherwise: float) -> Fraction:
    return _exact(bounds.get(name, otherwise) if isinstance(bounds, Mapping) else bounds)


def _exact(number: float) -> Fraction:
    """0.1 as one tenth, as it was written."""
    return Fraction(repr(float(number)))


def _check_rule(sizes: Mapping[str, int], rule: MixtureRule) -> None:
    named = {"weights": rule.weights, "most": rule.most, "least": rule.least}
    for field, values in named.items():
        if not isinstance(values, Mapping):
            continue
        unknown = sorted(set(values) - set(sizes))
        missing = sorted(set(sizes) - set(values)) if field == "weights" else []
        if unknown or missing:
            raise _refused(
                field,
                f"`{field}` does not fit what is mixed",
                {"not mixed": ", ".join(unknown) or "none", "not named": ", ".join(missing) or "none"},
                action="Give one weight per component; 0 leaves one out.",
            )
    numbers = [
        *((rule.weights or {}).values()),
        *(
            value
            for bound in (rule.most, rule.least)
            for value in (bound.values() if isinstance(bound, Mapping) else (bound,))
        ),
        *(() if rule.most_per_case is None else (rule.most_per_case,)),
    ]
    if not all(math.isfinite(number) and number >= 0 for number in numbers) or not rule.temperature > 0:
        raise _refused(
            "numbers", "a number is negative or not finite, or the temperature is not above 0", {"rule": rule}
        )
    empty = [name for name, weight in (rule.weights or {}).items() if weight and not sizes[name]]
    if empty:
        raise _refused("weights", "a component without samples has a weight", {"components": ", ".join(empty)})


def _by_entry(entries: Sequence[str], sizes: Sequence[int]) -> dict[str, tuple[Part, ...]]:
    return {entry: (Part(number, size),) for number, (entry, size) in enumerate(zip(entries, sizes, strict=True))}


def _grouped(
    entries: Sequence[str], sizes: Sequence[int], groups: Mapping[str, str] | Sequence[Sequence[str]]
) -> dict[str, tuple[Part, ...]]:
    """group -> its parts, groups by name."""
    pools: dict[str, list[Part]] = {}
    for number, (entry, size) in enumerate(zip(entries, sizes, strict=True)):
        if isinstance(groups, Mapping):
            if entry not in groups:
                raise _refused("groups", f"{entry!r} has no group", {"groups": ", ".join(sorted(groups))})
            pools.setdefault(groups[entry], []).append(Part(number, size))
            continue
        names, codes = np.unique(np.asarray(groups[number], str), return_inverse=True)
        if len(codes) != size:
            raise _refused("groups", f"{entry!r} has {size} samples, and groups for {len(codes)}", {})
        for code, name in enumerate(names.tolist()):
            members = np.flatnonzero(codes == code).astype(np.int32)
            part = Part(number, size) if len(members) == size else Part(number, len(members), members)
            pools.setdefault(name, []).append(part)
    return {name: tuple(pools[name]) for name in sorted(pools)}


def _divided(
    entries: Sequence[str],
    pools: Mapping[str, tuple[Part, ...]],
    shares: Mapping[str, Fraction],
    within: MixtureRule,
) -> tuple[dict[str, tuple[Part, ...]], dict[str, Fraction]]:
    """Each group divided among its entries: `group/entry` -> part, and its share of everything."""
    _check_within(entries, within)
    divided: dict[str, tuple[Part, ...]] = {}
    of_all: dict[str, Fraction] = {}
    for group, parts in pools.items():
        sizes = {entries[part.entry_index]: part.size for part in parts}
        inside = (
            resolve_shares(sizes, _restricted(within, sizes)) if shares[group] else dict.fromkeys(sizes, Fraction(0))
        )
        for part in parts:
            name = f"{group}/{entries[part.entry_index]}"
            divided[name] = (part,)
            of_all[name] = shares[group] * inside[entries[part.entry_index]]
    return divided, of_all


def _check_within(entries: Sequence[str], within: MixtureRule) -> None:
    named = [bound for bound in (within.weights, within.most, within.least) if isinstance(bound, Mapping)]
    unknown = sorted({name for bound in named for name in bound} - set(entries))
    if unknown:
        raise _refused("within", "the rule within the groups names what is not mixed", {"names": ", ".join(unknown)})


def _restricted(rule: MixtureRule, names: Mapping[str, int]) -> MixtureRule:
    def only(values: Any) -> Any:
        return (
            {name: value for name, value in values.items() if name in names} if isinstance(values, Mapping) else values
        )

    return MixtureRule(
        weights=only(rule.weights),
        temperature=rule.temperature,
        most=only(rule.most),
        least=only(rule.least),
        most_per_case=rule.most_per_case,
    )


def _size(parts: Sequence[Part]) -> int:
    return sum(part.size for part in parts)


def _refused(name: str, problem: str, details: Mapping[str, Any], action: str = "") -> CatalogError:
    return CatalogError(f"mixture.{name}", where="mixture", problem=problem, details=dict(details), action=action)
