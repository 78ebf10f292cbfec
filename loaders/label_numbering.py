"""How the labels of several entries become one numbering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Array
from medshard.errors import CatalogError
from medshard.loaders.sample_row import SampleRow, StoredLabel, parse_labels
from medshard.loaders.shard_reader import SampleIndex

IGNORED = -100
"""The number of voxels that nobody judged: what torch's losses leave out."""


@dataclass(frozen=True, kw_only=True)
class LabelNumbering:
    """Which layer is read, and which number its concepts get.

    classes: number k of the output is `classes[k - 1]`; 0 is everything else.
    layers: entry -> the layer that is read; an entry without labels is not in it.
    """

    classes: tuple[str, ...]
    layers: Mapping[str, str]

    def label_of(self, row: SampleRow) -> tuple[str, StoredLabel] | None:
        """The layer of a sample that is used, if the sample has it."""
        layer = self.layers.get(row.entry)
        return (layer, row.labels[layer]) if layer is not None and layer in row.labels else None

    def renumber(self, stored: Array, label: StoredLabel) -> NDArray[np.int64]:
        """Stored class values -> output numbers, same shape; values of other concepts become 0.

        Where a value means several concepts, it gets the number of the first of them that is among the classes, its
        main one before the others. Voxels that nobody judged become `IGNORED`.
        """
        number_of = {concept: number for number, concept in enumerate(self.classes, start=1)}
        numbers = dict.fromkeys(label.classes, 0) | dict.fromkeys(label.ignore, IGNORED)
        for value, concept in label.classes.items():
            meant = (concept, *label.also.get(value, ()))
            numbers[value] = next((number_of[each] for each in meant if each in number_of), 0)
        renumbered = np.zeros(stored.shape, np.int64)
        # Background is by far the most: looking up only the rest takes a third of the time.
        foreground = stored != 0
        values = stored[foreground].astype(np.int64)
        known = np.array(sorted(numbers), np.int64)
        if not len(known) or not len(values):
            return renumbered
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
        found = np.array([numbers[value] for value in known.tolist()], np.int64)[places]
        renumbered[foreground] = np.where(known[places] == values, found, 0)
        return renumbered

    def examined(self, label: StoredLabel | None) -> NDArray[np.bool_]:
        """(len(classes),): whether somebody looked for each class in this case."""
        concepts = label.examined if label is not None else ()
        return np.array([concept in concepts for concept in self.classes], np.bool_)


def number_labels(
    indices: Iterable[SampleIndex], layer: str | Mapping[str, str] | None, classes: Sequence[str] | None
) -> LabelNumbering:
    """Choose the label layer of each entry and the numbering of its concepts.

    layer: one name for all entries, or entry -> name. An entry that is not named takes the semantic layer that most of
        its samples have, the first by name of several: one layer for all its samples, so that two raters never mix.
    classes: the concepts in order; by default those of the chosen layers, entry by entry, by stored value. All samples
        of an entry count, selected or not, so that the parts of a split have the same numbers.
    Raises CatalogError for a layer that no sample has and for a class that is named twice.
    """
    labels_of = {index.entry: [parse_labels(text) for text in index.table["labels"].to_pylist()] for index in indices}
    _check_layer(layer, {entry: {name for labels in rows for name in labels} for entry, rows in labels_of.items()})
    concepts: dict[str, None] = {}
    layers: dict[str, str] = {}
    for entry, rows in labels_of.items():
        asked = layer if layer is None or isinstance(layer, str) else layer.get(entry)
        chosen = asked if asked is not None else _commonest_layer(rows)
        if chosen is None:
            continue
        layers[entry] = chosen
        values = {item for labels in rows if chosen in labels for item in labels[chosen].classes.items()}
        concepts.update(dict.fromkeys(concept for _, concept in sorted(values)))
    if classes is not None and len(set(classes)) != len(classes):
        raise CatalogError("dataset.classes", where="classes", problem=f"a class is named twice: {', '.join(classes)}")
    return LabelNumbering(classes=tuple(concepts) if classes is None else tuple(classes), layers=layers)


def _commonest_layer(rows: Iterable[Mapping[str, StoredLabel]]) -> str | None:
    counts = Counter(name for labels in rows for name, label in labels.items() if label.kind == "semantic")
    return min(counts, key=lambda name: (-counts[name], name), default=None)


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
