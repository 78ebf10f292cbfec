"""What an augmentation does to one item, as numbers that its seed gives: no item depends on the rest of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.errors import CatalogError

Range = tuple[float, float]
Matrix = NDArray[np.float64]
_NUMBERS = 16
_LANE = 0xA06


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of an item; each kind has a probability of its own, and 0 leaves it out.

    rotation_degrees: largest angle about the axes (z, y, x), in millimetres' space, so that voxels need not be cubes.
    scaling: (least, most) factor of size, equal for all axes. affine_probability: of rotation with scaling.
    flips: axes 0, 1, 2 of (z, y, x), each mirrored in half of the items.
    noise: largest standard deviation; brightness: (least, most) factor of the values; gamma: (least, most) exponent of
        the values between the item's smallest and largest; all in the units of the normalised image.
    Slices and tiles are volumes of one z: give them angles about z only.
    """

    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scaling: Range = (1.0, 1.0)
    affine_probability: float = 0.3
    flips: tuple[int, ...] = ()
    noise: float = 0.0
    noise_probability: float = 0.15
    brightness: Range = (1.0, 1.0)
    brightness_probability: float = 0.15
    gamma: Range = (1.0, 1.0)
    gamma_probability: float = 0.3

    def __post_init__(self) -> None:
        problem = ""
        ranges = (self.scaling, self.brightness, self.gamma)
        chances = (self.affine_probability, self.noise_probability, self.brightness_probability, self.gamma_probability)
        if any(not 0.0 < low <= high for low, high in ranges):
            problem = "a range is (least, most), both above 0"
        elif any(not 0.0 <= chance <= 1.0 for chance in chances):
            problem = "a probability lies between 0 and 1"
        elif not {*self.flips} <= {0, 1, 2} or self.noise < 0.0:
            problem = "flips are axes 0, 1, 2; noise is at least 0"
        if problem:
            raise CatalogError("dataset.augmentation", where="Augmentation", problem=problem, details={"found": self})


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to one item.

    linear: (3, 3), maps a place of the result, relative to the middle and in voxels (z, y, x), to the place of the
        source that it shows; None when the places stay, apart from `flips`. noise, brightness, gamma: 0.0, 1.0 and 1.0
        when nothing happens.
    """

    linear: Matrix | None
    flips: tuple[int, ...]
    noise: float
    brightness: float
    gamma: float


NO_CHANGE = Change(linear=None, flips=(), noise=0.0, brightness=1.0, gamma=1.0)


def change_of(augmentation: Augmentation, seed: int, spacing: Sequence[float]) -> Change:
    """The change that a seed stands for. spacing: of the item's voxels, (z, y, x), in any one unit."""
    raw = np.random.Philox(key=np.array([seed, _LANE], np.uint64)).random_raw(_NUMBERS)
    numbers = ((raw >> np.uint64(11)) * 2.0**-53).tolist()
    mirrored = tuple(axis for axis in range(3) if axis in augmentation.flips and numbers[axis] < 0.5)
    linear = None
    if numbers[3] < augmentation.affine_probability:
        angles = [
            np.radians((2.0 * u - 1.0) * most)
            for u, most in zip(numbers[4:7], augmentation.rotation_degrees, strict=True)
        ]
        linear = _linear(angles, _between(augmentation.scaling, numbers[7]), mirrored, np.asarray(spacing, np.float64))
    return Change(
        linear=linear,
        flips=mirrored,
        noise=augmentation.noise * numbers[9] if numbers[8] < augmentation.noise_probability else 0.0,
        brightness=_between(augmentation.brightness, numbers[11])
        if numbers[10] < augmentation.brightness_probability
        else 1.0,
        gamma=_between(augmentation.gamma, numbers[13]) if numbers[12] < augmentation.gamma_probability else 1.0,
    )


def index_matrix(change: Change, size: Sequence[int]) -> Matrix:
    """(4, 4): index (z, y, x, 1) of the changed item -> index of the item before, for volumes of `size`."""
    linear = (
        np.diag([-1.0 if axis in change.flips else 1.0 for axis in range(3)])
        if change.linear is None
        else change.linear
    )
    middle = (np.asarray(size, np.float64) - 1.0) / 2.0
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = middle - (linear * middle).sum(axis=1)
    return matrix


def _between(bounds: Range, fraction: float) -> float:
    low, high = bounds
    return low + (high - low) * fraction


def _linear(angles: Sequence[float], scaling: float, mirrored: Sequence[int], spacing: NDArray[np.float64]) -> Matrix:
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        rotation = (rotation[:, :, None] * turn[None]).sum(axis=1)
    signs = np.array([-1.0 if axis in mirrored else 1.0 for axis in range(3)])
    # Voxels -> millimetres, turned and scaled there, and back; mirrored last.
    linear: Matrix = rotation * (spacing[None, :] / spacing[:, None]) / scaling * signs[:, None]
    return linear
