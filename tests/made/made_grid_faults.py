"""Clinical grids, and what goes wrong with the grid of their masks: each fault with the verdict that it deserves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from medshard.converters.geometry import ALL_ORIENTATIONS, reorient_affine
from medshard.converters.volume import Affine, spacing_of

Shape = tuple[int, int, int]
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class MadeGrid:
    """shape: (z, y, x). affine: (4, 4), index (z, y, x, 1) -> RAS+ mm."""

    shape: Shape
    affine: Affine


@dataclass(frozen=True, kw_only=True)
class Fault:
    """plant: image grid -> mask grid. kind: the right verdict. repaired: whether the headers prove the mask's place."""

    name: str
    kind: str
    plant: Callable[[MadeGrid, Random], MadeGrid]
    repaired: bool = False


def clinical_grid(random: Random) -> MadeGrid:
    """A scan somewhere in the scanner: axial, sagittal or coronal, often oblique, anisotropic, never centred."""
    columns = int(random.choice([128, 192, 256, 320, 512]))
    shape = (int(random.integers(20, 120)), columns + int(random.choice([0, 0, 32])), columns)
    steps = np.array([random.uniform(0.8, 6.0), 0.0, 0.0])
    steps[1:] = random.uniform(0.35, 1.6)
    plane = ALL_ORIENTATIONS[int(random.integers(len(ALL_ORIENTATIONS)))]
    linear = reorient_affine(np.eye(4)[[2, 1, 0, 3]], (1, 1, 1), plane)[:3, :3]
    tilt = Rotation.from_rotvec(random.normal(size=3) * np.radians(random.choice([0.0, 4.0, 12.0]))).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ linear * steps
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[:3, 3] = random.uniform(20, 90, 3) * random.choice([-1, 1], 3) - centre
    return MadeGrid(shape=shape, affine=affine)


def oblique_grid(random: Random) -> MadeGrid:
    """As `clinical_grid`, always a few degrees off the axes of the world."""
    grid = clinical_grid(random)
    return turned_by(grid, random.uniform(5, 20), random.normal(size=3))


def turned_by(grid: MadeGrid, degrees: float, axis: np.ndarray) -> MadeGrid:
    rotation = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(degrees)).as_matrix()
    affine = grid.affine.copy()
    affine[:3, :3] = rotation @ affine[:3, :3]
    return MadeGrid(shape=grid.shape, affine=affine)


def with_linear(grid: MadeGrid, linear: np.ndarray) -> MadeGrid:
    affine = grid.affine.copy()
    affine[:3, :3] = linear
    return MadeGrid(shape=grid.shape, affine=affine)


def with_steps(grid: MadeGrid, factors: np.ndarray) -> MadeGrid:
    return with_linear(grid, grid.affine[:3, :3] * factors)


def moved(grid: MadeGrid, voxels: np.ndarray) -> MadeGrid:
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ voxels
    return MadeGrid(shape=grid.shape, affine=affine)


def with_affine(grid: MadeGrid, affine: Affine) -> MadeGrid:
    return MadeGrid(shape=grid.shape, affine=np.ascontiguousarray(affine, np.float64))


def _one_axis(random: Random) -> np.ndarray:
    return np.eye(3)[int(random.integers(3))]


def _shifted_half_mm(grid: MadeGrid, random: Random) -> MadeGrid:
    affine = grid.affine.copy()
    affine[:3, 3] += 0.5 * _one_axis(random)
    return with_affine(grid, affine)


def _reordered(grid: MadeGrid, random: Random) -> MadeGrid:
    orientation = ALL_ORIENTATIONS[int(random.integers(1, len(ALL_ORIENTATIONS)))]
    shape = tuple(grid.shape[axis] for axis in orientation.axes)
    return MadeGrid(shape=(shape[0], shape[1], shape[2]), affine=reorient_affine(grid.affine, grid.shape, orientation))


def _lost_directions(grid: MadeGrid, _: Random) -> MadeGrid:
    steps = spacing_of(grid.affine)
    nearest = np.abs(grid.affine[:3, :3] / np.array(steps)).round() * np.array(steps)
    return with_linear(grid, nearest)


def _other_slices(grid: MadeGrid, change: int) -> MadeGrid:
    return MadeGrid(shape=(grid.shape[0] + change, *grid.shape[1:]), affine=grid.affine)


def _cropped(grid: MadeGrid, random: Random) -> MadeGrid:
    first = np.array([int(random.integers(1, n // 3)) for n in grid.shape])
    z, y, x = (int(random.integers(n // 4, n // 2)) for n in grid.shape)
    return MadeGrid(shape=(z, y, x), affine=moved(grid, first).affine)


def _resampled(grid: MadeGrid, _: Random) -> MadeGrid:
    z, y, x = grid.shape
    steps = np.array([z / (z * 2), y / (y // 2), x / (x // 2)])
    other = with_steps(grid, steps)
    other.affine[:3, 3] += grid.affine[:3, :3] @ ((steps - 1) / 2)
    return MadeGrid(shape=(z * 2, y // 2, x // 2), affine=other.affine)


def _sheared(grid: MadeGrid, _: Random) -> MadeGrid:
    linear = grid.affine[:3, :3].copy()
    linear[:, 0] += linear[:, 1] * 0.3
    return with_linear(grid, linear)


def _wrong_step(grid: MadeGrid, random: Random) -> MadeGrid:
    return with_steps(grid, np.array([random.choice([0.5, 0.8, 1.25, 2.0]), 1.0, 1.0]))


def _backwards_over_the_origin(grid: MadeGrid, random: Random) -> MadeGrid:
    return with_steps(grid, 1 - 2 * _one_axis(random))


def _transposed_array(grid: MadeGrid, _: Random) -> MadeGrid:
    z, y, x = grid.shape
    return MadeGrid(shape=(x, y, z), affine=grid.affine)


FAULTS = (
    Fault(name="none", kind="same", plant=lambda grid, _: grid, repaired=True),
    Fault(
        name="origin rounded to a micrometre",
        kind="rounding",
        plant=lambda grid, random: moved(grid, 1e-3 * random.uniform(0.3, 1, 3)),
        repaired=True,
    ),
    Fault(
        name="affine with three decimals",
        kind="rounding",
        plant=lambda grid, _: with_affine(grid, grid.affine + 4.9e-4 * np.sign(grid.affine) * (np.arange(4) == 3)),
        repaired=True,
    ),
    Fault(name="axes reordered with their header", kind="flip", plant=_reordered, repaired=True),
    Fault(name="origin half a mm away", kind="shift", plant=_shifted_half_mm),
    Fault(name="corner for centre", kind="shift", plant=lambda grid, _: moved(grid, np.array([-0.5, -0.5, -0.5]))),
    Fault(
        name="origin whole voxels away",
        kind="shift",
        plant=lambda grid, random: moved(grid, _one_axis(random) * random.integers(1, 40)),
    ),
    Fault(
        name="origin lost",
        kind="shift",
        plant=lambda grid, _: with_affine(grid, np.block([[grid.affine[:3, :3], np.zeros((3, 1))], [0, 0, 0, 1]])),
    ),
    Fault(
        name="LPS taken for RAS",
        kind="header_only",
        plant=lambda grid, _: with_affine(grid, np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine),
    ),
    Fault(name="an axis backwards over the same origin", kind="header_only", plant=_backwards_over_the_origin),
    Fault(name="identity affine", kind="header_only", plant=lambda grid, _: with_affine(grid, np.eye(4)[[2, 1, 0, 3]])),
    Fault(
        name="isotropic spacing of 1 mm",
        kind="header_only",
        plant=lambda grid, _: with_steps(grid, 1 / np.array(spacing_of(grid.affine))),
    ),
    Fault(name="another step between slices", kind="header_only", plant=_wrong_step),
    Fault(
        name="centimetres",
        kind="header_only",
        plant=lambda grid, _: with_affine(grid, np.diag([0.1, 0.1, 0.1, 1.0]) @ grid.affine),
    ),
    Fault(
        name="micrometres",
        kind="header_only",
        plant=lambda grid, _: with_affine(grid, np.diag([1e3, 1e3, 1e3, 1.0]) @ grid.affine),
    ),
    Fault(
        name="rotated by one to five degrees",
        kind="header_only",
        plant=lambda grid, random: turned_by(grid, random.uniform(1, 5), random.normal(size=3)),
    ),
    Fault(name="sheared", kind="header_only", plant=_sheared),
    Fault(name="one slice missing", kind="mismatch", plant=lambda grid, _: _other_slices(grid, -1)),
    Fault(name="one slice more", kind="mismatch", plant=lambda grid, _: _other_slices(grid, 1)),
    Fault(name="cropped", kind="mismatch", plant=_cropped),
    Fault(name="resampled", kind="mismatch", plant=_resampled),
    Fault(name="array transposed under its header", kind="mismatch", plant=_transposed_array),
)

FAULTS_OF_OBLIQUE_SCANS = (Fault(name="direction cosines lost", kind="header_only", plant=_lost_directions),)
