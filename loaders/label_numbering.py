"""How the labels of several entries become one numbering, united by concept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medshard.converters.volume import Array
from medshard.errors import CatalogError
from medshard.loaders.label_meaning import LabelMeaning, read_meaning
from medshard.loaders.sample_row import SampleRow, StoredLabel, parse_labels
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.concepts import Vocabulary, load_concepts

IGNORED = -100
"""The number of voxels that nobody judged: what torch's losses leave out."""

MEANINGS_KEPT = 4096


@dataclass(frozen=True, kw_only=True)
class LabelNumbering:
    """Which layer is read, and which number its concepts get.

    classes: number k of the output is `classes[k - 1]`; 0 is everything else.
    layers: entry -> the layer that is read; an entry without labels is not in it.
    wider: concept that is no class -> the classes that its voxels are of, the nearest first.
    parts: class -> sets of concepts, each of which covers it: who looked for all of one set looked for the class.
    """

    classes: tuple[str, ...]
    layers: Mapping[str, str]
    wider: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def label_of(self, row: SampleRow) -> tuple[str, StoredLabel] | None:
        """The layer of a sample that is used, if the sample has it."""
        layer = self.layers.get(row.entry)
        return (layer, row.labels[layer]) if layer is not None and layer in row.labels else None

    def renumber(self, stored: Array, label: StoredLabel, dtype: DTypeLike = np.int64) -> Array:
        """Stored class values -> output numbers, same shape; values of other concepts become 0.

        Where a value means several concepts, it gets the number of the first of them that is among the classes, its
        main one before the others, then that of a wider concept. Voxels that nobody judged become `IGNORED`.
        """
        return self._meaning(label).renumber(stored, dtype)

    def lut_of(self, label: StoredLabel, dtype: np.dtype[Any]) -> NDArray[np.int16] | None:
        """Table (256,) or (65536,): output number of every stored value, for arrays of one or two bytes a voxel.

        Signed arrays look their values up as unsigned ones of the same bits. None for wider types.
        """
        return self._meaning(label).lut(dtype)

    def values_of(self, label: StoredLabel, class_number: int | None = None) -> tuple[int, ...]:
        """The stored values whose voxels get this number, or the number of any class, ascending."""
        return self._meaning(label).values_of(class_number)

    def examined(self, label: StoredLabel | None) -> NDArray[np.bool_]:
        """(len(classes),): whether somebody looked for each class in this case."""
        return np.zeros(len(self.classes), np.bool_) if label is None else self._meaning(label).examined.copy()

    def present(self, index: SampleIndex, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(sample, class_number), each pair once: which of `rows` (ascending) have listed voxels of which class.

        sample: the position in `rows`.
        """
        layer = self.layers.get(index.entry)
        if layer is None or not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        listed, values, _ = index.foreground(layer)
        samples = np.minimum(np.searchsorted(rows, listed), len(rows) - 1)
        chosen = rows[samples] == listed
        samples, values = samples[chosen], values[chosen]
        codes, texts = index.distinct("labels")
        codes = codes[rows[samples]]
        numbers = np.zeros(len(samples), np.int64)
        order = np.argsort(codes, kind="stable")
        # One look-up for all samples whose labels mean the same.
        for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if len(group):
                label = parse_labels(texts[codes[group[0]]])[layer]
                numbers[group] = self._meaning(label).numbers_at(values[group])
        pairs = np.unique(np.stack([samples, numbers], axis=1)[numbers > 0], axis=0)
        return pairs[:, 0], pairs[:, 1]

    @cached_property
    def _meanings(self) -> dict[tuple[int, ...], tuple[tuple[object, ...], LabelMeaning]]:
        return {}

    def _meaning(self, label: StoredLabel) -> LabelMeaning:
        # Samples whose labels mean the same share the objects, so that comparing 200 names each time is not needed.
        facts = (label.kind, label.classes, label.also, label.ignore, label.examined)
        key = tuple(map(id, facts))
        known = self._meanings.get(key)
        if known is not None and all(one is other for one, other in zip(known[0], facts, strict=True)):
            return known[1]
        meaning = read_meaning(label, self.classes, self.wider, self.parts, ignored=IGNORED)
        if len(self._meanings) >= MEANINGS_KEPT:
            self._meanings.clear()
        self._meanings[key] = facts, meaning
        return meaning


def number_labels(
    indices: Iterable[SampleIndex],
    layer: str | Mapping[str, str] | None,
    classes: Sequence[str] | None,
    *,
    unions: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Vocabulary | None = None,
) -> LabelNumbering:
    """Choose the label layer of each entry and the numbering of its concepts.

    layer: one name for all entries, or entry -> name. An entry that is not named takes the semantic layer that most of
        its samples have, the first by name of several: one layer for all its samples, so that two raters never mix.
    classes: the concepts in order; by default those of the chosen layers, entry by entry, by stored value. All samples
        of an entry count, selected or not, so that the parts of a split have the same numbers. A concept that is not
        named is of the nearest wider one that is ("left kidney" of "kidney").
    unions: class -> the finer concepts that make it up: their voxels get its number, and where all of them were looked
        for, so was the class. Left and right of a concept are known to.
    vocabulary: of concepts, by default the one of medshard; read only where a concept is not among the classes.
    Raises CatalogError for a layer that no sample has and for a class that is named twice.
    """
    labels_of = {index.entry: _labels_of(index) for index in indices}
    _check_layer(layer, {entry: {name for labels, _ in rows for name in labels} for entry, rows in labels_of.items()})
    concepts: dict[str, None] = {}
    layers: dict[str, str] = {}
    for entry, rows in labels_of.items():
        asked = layer if layer is None or isinstance(layer, str) else layer.get(entry)
        chosen = asked if asked is not None else _commonest_layer(rows)
        if chosen is None:
            continue
        layers[entry] = chosen
        values = {item for labels, _ in rows if chosen in labels for item in labels[chosen].classes.items()}
        concepts.update(dict.fromkeys(concept for _, concept in sorted(values)))
    if classes is None:
        return LabelNumbering(classes=tuple(concepts), layers=layers)
    _check_classes(classes, unions or {})
    finer = [concept for concept in concepts if concept not in classes]
    known = vocabulary if vocabulary is not None or not finer else load_concepts()
    wider = _wider(finer, classes, unions or {}, known)
    also = {concept for rows in labels_of.values() for labels, _ in rows for concept in _further(labels.values())}
    _check_some_known(classes, {*concepts, *also, *(name for names in wider.values() for name in names)})
    return LabelNumbering(
        classes=tuple(classes),
        layers=layers,
        wider=wider,
        parts=_parts(classes, unions or {}, known),
    )


def _further(labels: Iterable[StoredLabel]) -> Iterator[str]:
    return (concept for label in labels for concepts in label.also.values() for concept in concepts)


def _check_some_known(classes: Sequence[str], known: Collection[str]) -> None:
    """Some may be missing, since one numbering may serve several data sets; all of them missing is a slip."""
    if classes and known and not set(classes) & set(known):
        raise CatalogError(
            "dataset.classes",
            where="classes",
            problem="none of the classes is a concept of these entries",
            details={"classes": ", ".join(classes), "concepts": ", ".join(sorted(known))},
        )


def _wider(
    finer: Iterable[str],
    classes: Sequence[str],
    unions: Mapping[str, Sequence[str]],
    vocabulary: Vocabulary | None,
) -> dict[str, tuple[str, ...]]:
    found = {}
    for concept in finer:
        named = [name for name in classes if concept in unions.get(name, ())]
        above = vocabulary.ancestors(concept) if vocabulary is not None and concept in vocabulary else ()
        meant = dict.fromkeys([*named, *(name for name in above if name in classes)])
        if meant:
            found[concept] = tuple(meant)
    return found


def _parts(
    classes: Sequence[str], unions: Mapping[str, Sequence[str]], vocabulary: Vocabulary | None
) -> dict[str, tuple[tuple[str, ...], ...]]:
    found = {}
    for name in classes:
        covers = [tuple(unions[name])] if name in unions else []
        sides = (f"left {name}", f"right {name}")
        if vocabulary is not None and all(side in vocabulary and vocabulary.get(side).parent == name for side in sides):
            covers.append(sides)
        # A part with a number of its own is no voxel of the class in the output: it would be taught to be absent there.
        covers = [cover for cover in covers if not set(cover) & set(classes)]
        if covers:
            found[name] = tuple(covers)
    return found


LabelsOfSamples = list[tuple[Mapping[str, StoredLabel], int]]
"""What labels mean, and how many samples have them so."""


def _labels_of(index: SampleIndex) -> LabelsOfSamples:
    codes, texts = index.distinct("labels")
    counts = np.bincount(codes[codes >= 0], minlength=len(texts)).tolist()
    return [(parse_labels(text), count) for text, count in zip(texts, counts, strict=True)]


def _commonest_layer(rows: LabelsOfSamples) -> str | None:
    counts: Counter[str] = Counter()
    for labels, samples in rows:
        counts.update({name: samples for name, label in labels.items() if label.kind == "semantic"})
    return min(counts, key=lambda name: (-counts[name], name), default=None)


def _check_classes(classes: Sequence[str], unions: Mapping[str, Sequence[str]]) -> None:
    if len(set(classes)) != len(classes):
        raise CatalogError("dataset.classes", where="classes", problem=f"a class is named twice: {', '.join(classes)}")
    strangers = sorted(set(unions) - set(classes))
    if strangers:
        raise CatalogError(
            "dataset.classes",
            where="unions",
            problem=f"no class is called {', '.join(strangers)}",
            details={"classes": ", ".join(classes)},
        )


def _check_layer(layer: str | Mapping[str, str] | None, layers_of: Mapping[str, set[str]]) -> None:
    if layer is None:
        return
    if isinstance(layer, str):
        found = any(layer in names for names in layers_of.values())
    else:
        found = all(name in layers_of.get(entry, ()) for entry, name in layer.items())
    if not found:
        raise CatalogError(
            "dataset.layer",
            where=f"layer={layer!r}",
            problem="no sample has this label layer",
            details={entry: ", ".join(sorted(names)) or "no labels" for entry, names in layers_of.items()},
        )
