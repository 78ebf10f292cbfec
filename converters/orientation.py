"""How the axes of an array are permuted and flipped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """A permutation and flips of the three spatial array axes.

    axes: for each new axis, the old axis that it was.
    flipped: for each new axis, whether it runs backwards.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @property
    def is_identity(self) -> bool:
        return self.axes == (0, 1, 2) and not any(self.flipped)
