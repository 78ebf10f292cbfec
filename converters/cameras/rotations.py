"""Rotations, and what speaks against one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

TOLERANCE = 1e-3


def rotation_of_quaternion(x: float, y: float, z: float, w: float) -> Matrix:
    """(3, 3) of a quaternion with the real part w (Hamilton's product, active rotation of column vectors).

    Source: Shuster, A survey of attitude representations, 1993. Raises ValueError unless its length is 1 to 1e-3.
    """
    length = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not abs(length - 1) <= TOLERANCE:
        raise ValueError(f"a quaternion of length {length:.6g} is no rotation")
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def pose_matrix(rotation: Matrix, translation: Sequence[float]) -> Matrix:
    """(4, 4) of a (3, 3) and three numbers."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def axes_matrix(axes: Sequence[str]) -> Matrix:
    """(4, 4) that takes a point of the source to the wanted axes. Raises ValueError unless each axis comes once."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for row, axis in enumerate(axes):
        name = axis.lstrip("+-")
        if len(axes) != 3 or name not in {"x", "y", "z"}:
            raise ValueError(f"{tuple(axes)} are not three of x, y and z with signs")
        matrix[row, "xyz".index(name)] = -1 if axis.startswith("-") else 1
    if abs(np.linalg.det(matrix)) != 1:
        raise ValueError(f"{tuple(axes)} name an axis twice")
    return matrix


def fault_of(matrix: Matrix, *, affine: bool) -> str | None:
    """What speaks against a (4, 4) as a pose: None, or what is wrong with it."""
    if not np.isfinite(matrix).all():
        return "it holds numbers that are not finite"
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        return "its last row is not 0 0 0 1"
    linear = matrix[:3, :3]
    if affine:
        return None if abs(np.linalg.det(linear)) > np.finfo(float).tiny else "it is singular"
    deviation = float(np.abs(linear.T @ linear - np.eye(3)).max())
    if deviation > TOLERANCE:
        return f"its rotation is not orthonormal: off by {deviation:.3g}, allowed {TOLERANCE:g}"
    return None if np.linalg.det(linear) > 0 else "its rotation mirrors"
