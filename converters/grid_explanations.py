"""What probably happened to a header that disagrees with the image's: words for the evidence, no ground for a repair.

Headers alone cannot tell which of two is wrong, nor whether an array was turned along with its header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Affine, spacing_of

UNIT_FACTORS = {10.0: "10", 100.0: "100", 1000.0: "1000", 0.1: "1/10", 0.01: "1/100", 0.001: "1/1000"}
CLOSE = 1e-3


def explain_header(affine_a: Affine, affine_b: Affine, agrees: Callable[[Affine], bool]) -> str:
    """Why affine b, over an array of the same shape, is not a. agrees: whether a candidate is a, up to rounding."""
    whole = (*_other_signs(affine_b, agrees), *_other_unit(affine_a, affine_b, agrees))
    origin_mm = float(np.linalg.norm(affine_b[:3, 3] - affine_a[:3, 3]))
    found = next(iter(whole), None)
    if found is not None:
        return found
    found = next(_other_axes(affine_a, affine_b), "nothing simple explains it")
    return found if origin_mm <= CLOSE else f"{found}; the origin is {origin_mm:.3f} mm away"


def explain_mismatch(
    shape_a: Sequence[int],
    shape_b: Sequence[int],
    first: NDArray[np.float64],
    *,
    on_raster: bool,
    inside: bool,
) -> str:
    """How b, with voxels like those of a, lies in it. first: where its first voxel lies, in voxels (z, y, x) of a."""
    if not on_raster:
        z, y, x = first
        return (
            f"equal voxels that begin {x:+.2f}, {y:+.2f}, {z:+.2f} of the image's voxels along x, y, z from its first"
        )
    if inside:
        ranges = (
            f"{axis} {round(low)} to {round(low) + n - 1}"
            for axis, low, n in reversed(list(zip("zyx", first, shape_b, strict=True)))
        )
        return f"by its header the mask covers {', '.join(ranges)} of the image: a crop, or slices are missing"
    contains = all(low <= 0 and low + n >= size for low, n, size in zip(np.rint(first), shape_b, shape_a, strict=True))
    return f"by the headers the mask {'goes beyond' if contains else 'covers a part of, and goes beyond,'} the image"


def _other_signs(affine_b: Affine, agrees: Callable[[Affine], bool]) -> Iterator[str]:
    for signs in list(product((1.0, -1.0), repeat=3))[1:]:
        if agrees(np.diag([*signs, 1.0]) @ affine_b):
            named = " and ".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
            lps = ", as when LPS is taken for RAS" if named == "x and y" else ""
            yield f"{named} of the world have the other sign{lps}"


def _other_unit(affine_a: Affine, affine_b: Affine, agrees: Callable[[Affine], bool]) -> Iterator[str]:
    for factor, named in UNIT_FACTORS.items():
        everything, steps = affine_b.copy(), affine_b.copy()
        everything[:3] /= factor
        steps[:3, :3] /= factor
        steps[:3, 3] = affine_a[:3, 3]
        if agrees(everything):
            yield f"all lengths are {named} of the image's: another unit"
        elif agrees(steps):
            yield f"the steps are {named} of the image's: another unit"


def _other_axes(affine_a: Affine, affine_b: Affine) -> Iterator[str]:
    """In descending order of how much is explained."""
    steps_a, steps_b = np.array(spacing_of(affine_a)), np.array(spacing_of(affine_b))
    cosines_a, cosines_b = affine_a[:3, :3] / steps_a, affine_b[:3, :3] / steps_b
    same_steps = bool(np.allclose(steps_a, steps_b, rtol=CLOSE))
    along_world = bool(np.allclose(np.abs(cosines_b).max(axis=0), 1.0, atol=CLOSE))
    if np.allclose(steps_b, 1.0, rtol=CLOSE) and along_world and not same_steps:
        yield "steps of 1 mm along the axes of the world: the header was lost"
    if np.allclose(cosines_a, cosines_b, atol=CLOSE):
        yield _steps(steps_a, steps_b)
    signs = np.sign((cosines_a * cosines_b).sum(axis=0))
    if np.allclose(cosines_a, cosines_b * signs, atol=CLOSE):
        backwards = ", ".join("zyx"[axis] for axis in range(3) if signs[axis] < 0)
        yield f"{backwards} of the array runs the other way" + ("" if same_steps else f"; {_steps(steps_a, steps_b)}")
    for axes in list(permutations(range(3)))[1:]:
        products = (cosines_a * cosines_b[:, axes]).sum(axis=0)
        if np.allclose(np.abs(products), 1.0, atol=CLOSE**2):
            yield f"the axes stand in another order: (z, y, x) like ({', '.join('zyx'[axis] for axis in axes)})"
    if along_world:
        yield "the directions lie along the axes of the world, those of the image do not: they were lost"
    turn = cosines_b @ np.linalg.inv(cosines_a)
    if np.allclose(turn @ turn.T, np.eye(3), atol=CLOSE) and np.linalg.det(turn) > 0:
        degrees = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
        yield f"it is rotated by {degrees:.2f} degrees" + ("" if same_steps else f"; {_steps(steps_a, steps_b)}")
    yield "its axes are sheared against the image's"


def _steps(steps_a: NDArray[np.float64], steps_b: NDArray[np.float64]) -> str:
    if np.allclose(sorted(steps_a), sorted(steps_b), rtol=CLOSE):
        return "the spacings stand in another order"
    changed = [
        f"{axis} {b:.4g} instead of {a:.4g} mm"
        for axis, a, b in zip("zyx", steps_a, steps_b, strict=True)
        if abs(b - a) > CLOSE * a
    ]
    return f"spacing {', '.join(reversed(changed))}" if changed else "spacings that differ by less than 0.1 %"
