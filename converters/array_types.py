"""What the arrays of the converters are typed as."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Affine = NDArray[np.float64]

AttributeValue = str | float | int | bool | tuple[str, ...] | tuple[float, ...]
"""What an acquisition attribute can be; several numbers or words where it differs along the leading axis."""
