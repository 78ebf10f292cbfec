"""The turn or mirror that a container asks for, as one of the eight ways to lay a picture on its grid.

The display matrix holds nine numbers, row by row; with the first four that matter here, a b / c d, a pixel at (x, y)
is shown at (a x + c y, b x + d y). Source: ISO/IEC 14496-12, track header box; libavutil's display.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """turned: x and y change places; then each axis may be mirrored."""

    turned: bool = False
    mirror_y: bool = False
    mirror_x: bool = False

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(y, x, c) as it is to be shown."""
        shown = picture.swapaxes(0, 1) if self.turned else picture
        return shown[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(y, x) of the shown picture."""
        return (width, height) if self.turned else (height, width)


AS_STORED = Orientation()


def orientation_of(matrix: bytes) -> Orientation | None:
    """The orientation of a display matrix (36 bytes, native order); None where it turns by other than right angles."""
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    straight, turned = (a and d and not b and not c), (b and c and not a and not d)
    if straight and abs(a) == abs(d):
        return Orientation(turned=False, mirror_y=d < 0, mirror_x=a < 0)
    if turned and abs(b) == abs(c):
        return Orientation(turned=True, mirror_y=b < 0, mirror_x=c < 0)
    return None
