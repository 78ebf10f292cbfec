"""What the stored values of one label layer mean in the numbering of a data set, ready for the hot path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medshard.converters.volume import Array
from medshard.loaders.sample_row import StoredLabel


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMeaning:
    """values, numbers: stored value -> output number, ascending by value; 0 and every other value become 0.

    examined: bool (classes,), whether somebody looked for each class.
    others: number of the values above 0 that are not listed: instances of a layer's one concept.
    """

    values: NDArray[np.int64]
    numbers: NDArray[np.int64]
    examined: NDArray[np.bool_]
    others: int = 0

    def renumber(self, stored: Array, dtype: DTypeLike = np.int64) -> Array:
        """Output numbers of the same shape, of a type that holds them."""
        table = self._table(stored.dtype)
        if table is None:
            return self.numbers_at(stored).astype(dtype, copy=False)
        bits = stored.view(f"u{stored.dtype.itemsize}")
        # Most windows hold nothing, or classes that keep their value; finding the largest takes a fiftieth of looking
        # all of them up.
        if int(bits.max(initial=0)) <= self._kept(stored.dtype):
            return bits.view(dtype) if np.dtype(dtype).itemsize == bits.itemsize else bits.astype(dtype)
        return np.take(self._table_of(stored.dtype, np.dtype(dtype)), bits)

    def numbers_at(self, stored: Array) -> NDArray[np.int64]:
        """Same shape, for any integers."""
        if not len(self.values):
            return np.zeros(stored.shape, np.int64)
        places = np.minimum(np.searchsorted(self.values, stored), len(self.values) - 1)
        unlisted = np.where(np.greater(stored, 0), self.others, 0) if self.others else 0
        return np.where(self.values[places] == stored, self.numbers[places], unlisted)

    def lut(self, dtype: np.dtype[Any]) -> NDArray[np.int16] | None:
        """The number of every value of a type of one or two bytes, by its bits as an unsigned number."""
        table = self._table(dtype)
        return None if table is None else table.astype(np.int16)

    def values_of(self, class_number: int | None) -> tuple[int, ...]:
        """The values that get this number, or the number of any class."""
        chosen = self.numbers > 0 if class_number is None else self.numbers == class_number
        return tuple(self.values[chosen].tolist())

    def _kept(self, dtype: np.dtype[Any]) -> int:
        """The largest value for which it and all before it are their own numbers."""
        if dtype not in self._kept_values:
            table = self._table(dtype)
            assert table is not None
            changed = np.flatnonzero(table != np.arange(len(table)))
            self._kept_values[dtype] = int(changed[0]) - 1 if len(changed) else len(table) - 1
        return self._kept_values[dtype]

    def _table_of(self, dtype: np.dtype[Any], output: np.dtype[Any]) -> Array:
        key = dtype, output
        if key not in self._output_tables:
            table = self._table(dtype)
            assert table is not None
            self._output_tables[key] = table.astype(output)
        return self._output_tables[key]

    @cached_property
    def _kept_values(self) -> dict[np.dtype[Any], int]:
        return {}

    @cached_property
    def _output_tables(self) -> dict[tuple[np.dtype[Any], np.dtype[Any]], Array]:
        return {}

    @cached_property
    def _tables(self) -> dict[np.dtype[Any], NDArray[np.int64]]:
        return {}

    def _table(self, dtype: np.dtype[Any]) -> NDArray[np.int64] | None:
        if dtype.itemsize > 2:
            return None
        if dtype not in self._tables:
            bits = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
            values = bits != 0 if dtype == np.bool_ else bits.view(dtype.newbyteorder("="))
            self._tables[dtype] = self.numbers_at(values.astype(np.int64))
        return self._tables[dtype]


def read_meaning(
    label: StoredLabel,
    classes: Sequence[str],
    wider: Mapping[str, Sequence[str]],
    parts: Mapping[str, Sequence[Sequence[str]]],
    *,
    ignored: int,
) -> LabelMeaning:
    """wider: concept -> further classes that its voxels are of. parts: class -> sets of concepts that cover it.

    ignored: number of the values that nobody judged. Value 0 is always 0. Where one concept names every instance, all
    values above 0 are of it.
    """
    number_of = {concept: number for number, concept in enumerate(classes, start=1)}
    numbers = dict.fromkeys(label.ignore, ignored)
    for value, concept in label.classes.items():
        stated = (concept, *label.also.get(value, ()))
        meant = (*stated, *(name for each in stated for name in wider.get(each, ())))
        numbers[value] = next((number_of[each] for each in meant if each in number_of), 0)
    numbers.pop(0, None)
    alike = [*label.classes] if label.kind == "instance" and len(label.classes) == 1 else []
    values = sorted(numbers)
    examined = frozenset(label.examined)
    return LabelMeaning(
        values=np.array(values, np.int64),
        numbers=np.array([numbers[value] for value in values], np.int64),
        examined=np.array(
            [
                concept in examined or any(examined.issuperset(cover) for cover in parts.get(concept, ()))
                for concept in classes
            ],
            np.bool_,
        ),
        others=numbers[alike[0]] if alike else 0,
    )
