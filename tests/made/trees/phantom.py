"""A body that is drawn once: its labels, and the scans and pictures on which exactly these labels can be seen."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

NOISE = 2
"""Grey values that a voxel may be off its structure's own: the test compares the spread inside a mask with it."""


class Phantom:
    """Structures in a body, each a box of its own place, size and grey value.

    seed: any text; the same gives the same voxels, another one another noise. shape: (z, y, x), or (y, x) for a
    picture. values: one structure for each; every one has another count of voxels, so that exchanged labels are seen.
    labels: of that shape, the value of each voxel and 0 around. Raises AssertionError where the shape is too small.
    """

    def __init__(self, seed: str, shape: Sequence[int], values: Iterable[int] = ()) -> None:
        self.values = tuple(values)
        self.shape = tuple(shape)
        self._random = np.random.default_rng(zlib.crc32(seed.encode()))
        self.labels = _drawn(self.shape, self.values)

    def of(self, *values: int) -> NDArray[np.bool_]:
        """The voxels of these structures."""
        return np.isin(self.labels, values)

    def count(self, *values: int) -> int:
        return int(self.of(*values).sum())

    def box(self, value: int) -> tuple[tuple[int, int], ...]:
        """(first, last + 1) of a structure along each axis."""
        found = np.argwhere(self.labels == value)
        return tuple((int(low), int(high) + 1) for low, high in zip(found.min(0), found.max(0), strict=True))

    def centre(self, value: int) -> tuple[float, ...]:
        """The middle of its box, in indices."""
        return tuple((low + high - 1) / 2 for low, high in self.box(value))

    def counts(self, concepts: Mapping[int, str]) -> dict[str, int]:
        """concept -> voxels, for `Expected.labels`; values of one concept are added up."""
        counted: dict[str, int] = {}
        for value, concept in concepts.items():
            counted[concept] = counted.get(concept, 0) + self.count(value)
        return counted

    def ct(self) -> NDArray[np.int16]:
        """Hounsfield units: air, a body of soft tissue, a spine of bone, and the structures from 80 upwards."""
        return self._filled(air=-1000, body=40, bone=700, first=80, step=20).astype(np.int16)

    def mr(self) -> NDArray[np.int16]:
        """Positive, without a unit: dark air, the structures brighter than the body."""
        return self._filled(air=12, body=200, bone=90, first=300, step=20).astype(np.int16)

    def pet(self) -> NDArray[np.float32]:
        """Standardised uptake: about 1 in the body, the structures from 4 upwards."""
        return (self._filled(air=2, body=100, bone=150, first=400, step=20) / 100).astype(np.float32)

    def grey(self) -> NDArray[np.uint8]:
        """8 bit, for pictures: the structures between 120 and 245."""
        step = max(1, 120 // max(1, len(self.values)))
        return self._filled(air=10, body=70, bone=100, first=120, step=step).clip(0, 255).astype(np.uint8)

    def rgb(self) -> NDArray[np.uint8]:
        """The grey picture in reddish colours, (..., 3)."""
        grey = self.grey().astype(np.int16)
        return np.stack([grey, grey * 6 // 10, grey * 4 // 10], axis=-1).astype(np.uint8)

    def _filled(self, *, air: int, body: int, bone: int, first: int, step: int) -> NDArray[np.int32]:
        grey = np.full(self.shape, air, np.int32)
        inside = tuple(slice(size // 16, size - size // 16) for size in self.shape[-2:])
        grey[..., *inside] = body
        middle = self.shape[-1] // 2
        grey[..., -2 - self.shape[-2] // 16 : -1 - self.shape[-2] // 16, middle : middle + 2] = bone
        for number, value in enumerate(self.values):
            grey[self.labels == value] = first + step * number
        noise: NDArray[np.int32] = self._random.integers(-NOISE, NOISE + 1, self.shape, np.int32)
        return grey + noise


def _drawn(shape: tuple[int, ...], values: tuple[int, ...]) -> NDArray[np.uint16]:
    labels = np.zeros(shape, np.uint16)
    # The last rows stay free for the bone, and the outermost columns for the air.
    free = [size if len(shape) == 3 and axis == 0 else size - 4 for axis, size in enumerate(shape)]
    cells = _cells(free, len(values))
    steps = [size // count for size, count in zip(free, cells, strict=True)]
    volume = int(np.prod(steps))
    if values and volume < len(values) + 1:
        raise AssertionError(f"a phantom of {shape} is too small for {len(values)} structures: make it larger")
    places = product(*(range(count) for count in cells))
    for number, (value, place) in enumerate(zip(values, places, strict=False)):
        box = np.zeros(volume, np.uint16)
        box[: volume - number] = value
        start = [
            (0 if len(shape) == 3 and axis == 0 else 2) + at * step
            for axis, (at, step) in enumerate(zip(place, steps, strict=True))
        ]
        where = tuple(slice(low, low + step) for low, step in zip(start, steps, strict=True))
        labels[where] = box.reshape(steps)
    return labels


def _cells(free: Sequence[int], structures: int) -> list[int]:
    """How often each axis is divided, so that there is a cell for each structure: the longest cells first."""
    cells = [1] * len(free)
    while np.prod(cells) < structures + 1:
        sizes = [size / count for size, count in zip(free, cells, strict=True)]
        cells[int(np.argmax(sizes))] += 1
    return cells
