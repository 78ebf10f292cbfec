"""The label layers of a case as one integer map, where a voxel may belong to several concepts at once.

A layer says of each voxel which concepts it belongs to (`classes` and `also`), that it is background, or that nobody
judged it. Several layers together give each voxel a set of concepts; the sets that occur are numbered from 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Affine, Array, LabelLayer
from medshard.errors import CaseError

Concepts = frozenset[str]
NOTHING: Concepts = frozenset()
# No concept can be called so: concepts are identifiers.
IGNORED = "*ignored*"
_LARGEST_TABLE = 1 << 13
# A grid is the same when no corner is farther off than this part of a voxel.
SAME_GRID = 1e-3


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """codes: (z, y, x), index into `sets`. sets: the concepts of a voxel, with IGNORED where nobody judged."""

    codes: NDArray[np.uint16]
    sets: tuple[Concepts, ...]

    def counts(self) -> Counter[Concepts]:
        voxels = np.bincount(self.codes.ravel(), minlength=len(self.sets))
        return Counter({some: int(count) for some, count in zip(self.sets, voxels.tolist(), strict=True) if count})


@dataclass
class Seen:
    """What the layers of many cases hold. voxels: set of concepts -> how many. stated: concepts of their classes."""

    voxels: Counter[Concepts] = field(default_factory=Counter)
    stated: set[str] = field(default_factory=set)

    def add(self, layers: Iterable[LabelLayer], meaning: Meaning) -> None:
        self.voxels += meaning.counts()
        self.stated |= {concept for layer in layers for concept in concepts_of(layer)}


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """Numbers of sets of concepts, from 1; 0 is background.

    labels: concept -> the numbers of the sets that have it, one of them unless concepts overlap. ignore: the highest
    number, where voxels are not judged. order: the number that stands for each concept alone, in the order of `labels`.
    absent: concepts that have no voxel in any case, where numbers go to sets that occur.
    """

    numbers: Mapping[Concepts, int]
    labels: Mapping[str, tuple[int, ...]]
    ignore: int | None
    absent: tuple[str, ...] = ()
    order: tuple[int, ...] = ()

    @property
    def overlapping(self) -> bool:
        return any(len(numbers) > 1 for numbers in self.labels.values())

    def apply(self, meaning: Meaning) -> Array:
        """(z, y, x) uint8 or uint16, as small as the numbers allow."""
        highest = max([0, *self.numbers.values(), self.ignore or 0])
        table = np.zeros(len(meaning.sets), np.uint8 if highest < 256 else np.uint16)
        for code in np.unique(meaning.codes).tolist():  # a set without a voxel may have no number
            some = meaning.sets[code]
            if IGNORED in some:
                table[code] = self.ignore or 0
            elif some:
                table[code] = self.numbers[some]
        return table[meaning.codes]


def concepts_of(layer: LabelLayer) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*layer.classes.values(), *(name for more in layer.also.values() for name in more)]))


def same_grid(shape: Sequence[int], affine: Affine, other_shape: Sequence[int], other_affine: Affine) -> bool:
    """Whether two grids (z, y, x) are one, but for rounding."""
    if tuple(shape) != tuple(other_shape):
        return False
    corners = np.array([[*corner, 1.0] for corner in np.ndindex(2, 2, 2)]).T
    corners[:3] *= np.array(shape)[:, None] - 1
    off = np.linalg.norm(((affine - other_affine) @ corners)[:3], axis=0).max()
    return bool(off <= SAME_GRID * np.linalg.norm(affine[:3, :3], axis=0).min())


def first_readings(layers: Mapping[str, LabelLayer]) -> tuple[dict[str, LabelLayer], dict[str, str]]:
    """The layers of which one map can be made, and why the others are left out.

    Of several raters of the same concepts, the first by name is kept; probabilities are no map.
    """
    kept: dict[str, LabelLayer] = {}
    left_out: dict[str, str] = {}
    taken: set[tuple[str, ...]] = set()
    for name, layer in sorted(layers.items(), key=lambda item: (item[1].rater or "", item[0])):
        concepts = tuple(sorted(concepts_of(layer)))
        if layer.kind == "soft":
            left_out[name] = "it holds probabilities"
        elif layer.rater is not None and concepts in taken:
            left_out[name] = "another rater of the same concepts is kept"
        else:
            kept[name] = layer
            taken.add(concepts)
    return {name: kept[name] for name in layers if name in kept}, left_out


def meaning_of(layers: Iterable[LabelLayer], wanted: frozenset[str] | None = None, *, where: str = "") -> Meaning:
    """The concepts of each voxel. layers: at least one, on one grid. wanted: other concepts count as background.

    Raises CaseError[export.too_many_labels] where more than 65,535 sets occur.
    """
    codes: NDArray[np.intp] | None = None
    sets: list[Concepts] = []
    for layer in layers:
        of_layer, sets_of_layer = _layer_codes(layer, wanted)
        if codes is None:
            codes, sets = of_layer, sets_of_layer
        else:
            codes, sets = _together(codes, sets, of_layer, sets_of_layer, where)
    if codes is None:
        raise ValueError("no layer")
    if len(sets) > np.iinfo(np.uint16).max:
        raise _too_many(where)
    return Meaning(codes=codes.astype(np.uint16), sets=tuple(sets))


def number_concepts(seen: Seen, concepts: Sequence[str]) -> Numbering:
    """Consecutive numbers. Without overlaps one for each concept that the layers name, in the order of `concepts`."""
    place = {concept: number for number, concept in enumerate(concepts)}
    judged = {some for some in seen.voxels if some and IGNORED not in some}
    has_ignored = any(IGNORED in some for some in seen.voxels)
    if all(len(some) == 1 for some in judged):
        named = sorted(seen.stated & place.keys(), key=place.__getitem__)
        numbers = {frozenset([concept]): number for number, concept in enumerate(named, start=1)}
        alone: dict[str, tuple[int, ...]] = {concept: (number,) for number, concept in enumerate(named, start=1)}
        return Numbering(numbers=numbers, labels=alone, ignore=len(numbers) + 1 if has_ignored else None)
    ordered = sorted(judged, key=lambda some: (len(some), sorted(place[concept] for concept in some)))
    numbers = {some: number for number, some in enumerate(ordered, start=1)}
    voxels = {concept: sum(seen.voxels[some] for some in ordered if concept in some) for concept in concepts}
    # The largest first: a map that is painted in this order has the small ones on top.
    present = sorted(
        (concept for concept in concepts if voxels[concept]), key=lambda name: (-voxels[name], place[name])
    )
    labels = {concept: tuple(numbers[some] for some in ordered if concept in some) for concept in present}
    return Numbering(
        numbers=numbers,
        labels=labels,
        ignore=len(numbers) + 1 if has_ignored else None,
        absent=tuple(sorted((seen.stated & place.keys()) - set(present), key=place.__getitem__)),
        order=tuple(numbers[0] for numbers in labels.values()),
    )


def _layer_codes(layer: LabelLayer, wanted: frozenset[str] | None) -> tuple[NDArray[np.intp], list[Concepts]]:
    stored = layer.array[0]
    lowest, highest = int(stored.min(initial=0)), int(stored.max(initial=0))
    if highest - lowest >= _LARGEST_TABLE:
        values, inverse = np.unique(stored, return_inverse=True)
        shifted, present = inverse.reshape(stored.shape), values.tolist()
    else:
        shifted, present = stored.astype(np.intp) - lowest, range(lowest, highest + 1)
    sets: list[Concepts] = [NOTHING]
    table = np.zeros(len(present), np.intp)
    for number, value in enumerate(present):
        some = _concepts_at(layer, int(value))
        if wanted is not None:
            some = some & (wanted | {IGNORED})
        if some not in sets:
            sets.append(some)
        table[number] = sets.index(some)
    return table[shifted], sets


def _concepts_at(layer: LabelLayer, value: int) -> Concepts:
    """Numbers of instances are all of the layer's one concept, unless they are named."""
    if value in layer.ignore:
        return frozenset([IGNORED])
    if value in layer.classes:
        return frozenset([layer.classes[value], *layer.also.get(value, ())])
    if layer.kind == "instance" and value != 0 and len(layer.classes) == 1:
        ((stated, concept),) = layer.classes.items()
        return frozenset([concept, *layer.also.get(stated, ())])
    return NOTHING


def _together(
    codes: NDArray[np.intp], sets: list[Concepts], others: NDArray[np.intp], other_sets: list[Concepts], where: str
) -> tuple[NDArray[np.intp], list[Concepts]]:
    pairs = codes * len(other_sets) + others
    occurring = np.flatnonzero(np.bincount(pairs.ravel(), minlength=len(sets) * len(other_sets)))
    united: list[Concepts] = [NOTHING]
    table = np.zeros(len(sets) * len(other_sets), np.intp)
    index = {NOTHING: 0}
    for pair in occurring.tolist():
        some = sets[pair // len(other_sets)] | other_sets[pair % len(other_sets)]
        if some not in index:
            index[some] = len(united)
            united.append(some)
        table[pair] = index[some]
    if len(united) > np.iinfo(np.uint16).max:
        raise _too_many(where)
    return table[pairs], united


def _too_many(where: str) -> CaseError:
    return CaseError(
        "export.too_many_labels", where=where, problem="more sets of concepts occur than numbers exist for"
    )
