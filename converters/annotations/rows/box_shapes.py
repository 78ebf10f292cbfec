"""The ways in which a row states a box: corners, a corner and a size, a centre and a size, a centre and a radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medshard.registry.schema.annotations import Role

SHAPES: tuple[tuple[Role, ...], ...] = (
    ("corners",),
    ("box",),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x_centre", "y_centre", "width", "height"),
    ("x", "y", "diameter"),
    ("x", "y", "radius"),
    ("x", "y", "width", "height"),
)
"""Which roles together are a box, in the order in which they are tried."""

DEEP: tuple[Role, ...] = ("z", "z_min", "z_max", "z_centre", "depth")


@dataclass(frozen=True)
class Ball:
    """A circle (z is None) or a sphere, as the source counts."""

    x: float
    y: float
    z: float | None
    radius: float


@dataclass(frozen=True)
class Block:
    """A rectangle (depth is None) or a cuboid: (x, y) of both corners and z of both ends, as the source counts.

    on_slice: depth names one slice twice.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    depth: tuple[float, float] | None
    on_slice: bool = False

    def has_area(self, *, inclusive: bool) -> bool:
        """Whether no side is turned inside out, or of no length; a side over one inclusive pixel has one."""
        ends = [*zip(self.low, self.high, strict=True), *([self.depth] if self.depth and not self.on_slice else [])]
        return all(start <= end if inclusive else start < end for start, end in ends)


def source_box(shape: tuple[Role, ...], values: Mapping[Role, list[float]], *, inclusive: bool) -> Block | Ball:
    """shape: one of `SHAPES`, every role of which has its numbers in `values`.

    inclusive: the greater corner is the last pixel, so a size counts one pixel less from the first to the last; a size
    around a centre is the distance between the two.
    """
    one = {role: numbers[0] for role, numbers in values.items()}
    if shape[-1] in ("diameter", "radius"):
        radius = one["radius"] if shape[-1] == "radius" else one["diameter"] / 2
        return Ball(one["x"], one["y"], one.get("z"), radius)
    less = 1.0 if inclusive else 0.0
    depth, on_slice = _depth(one, less)
    if shape[0] in ("corners", "box"):
        numbers = values[shape[0]]
        half = len(numbers) // 2
        low, high = numbers[:half], numbers[half:]
        if shape[0] == "box":
            high = [start + size - less for start, size in zip(low, high, strict=True)]
        if half == 3:
            depth, on_slice = (low[2], high[2]), False
        return Block((low[0], low[1]), (high[0], high[1]), depth, on_slice)
    if shape[0] == "x_min":
        return Block((one["x_min"], one["y_min"]), (one["x_max"], one["y_max"]), depth, on_slice)
    width, height = one["width"], one["height"]
    if shape[0] == "x_centre":
        x, y = one["x_centre"], one["y_centre"]
        return Block((x - width / 2, y - height / 2), (x + width / 2, y + height / 2), depth, on_slice)
    low_corner = (one["x"], one["y"])
    return Block(low_corner, (one["x"] + width - less, one["y"] + height - less), depth, on_slice)


def _depth(one: Mapping[Role, float], less: float) -> tuple[tuple[float, float] | None, bool]:
    """z of both ends, and whether they are one slice; None where the row names none."""
    if "z_min" in one and "z_max" in one:
        return (one["z_min"], one["z_max"]), False
    if "z_centre" in one and "depth" in one:
        return (one["z_centre"] - one["depth"] / 2, one["z_centre"] + one["depth"] / 2), False
    if "z" in one and "depth" in one:
        return (one["z"], one["z"] + one["depth"] - less), False
    return ((one["z"], one["z"]), True) if "z" in one else (None, False)
