"""Origin, spacing and direction as a text header states them, LPS mm, made into an affine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.geometry import affine_from_itk
from medshard.converters.volume import Affine

# A thousand kilometres: no scanner and no rounding makes such a number, and its square still is one.
LARGEST_MM = 1e9


def lps_affine(path: Path, origin: Sequence[float], spacing: Sequence[float], direction: Sequence[float]) -> Affine:
    """As `geometry.affine_from_itk`. Raises CaseError[geometry.singular] for nan, infinity, and absurd numbers."""
    stated = np.array([*origin, *spacing, *direction], np.float64)
    if not (np.abs(stated) <= LARGEST_MM).all():
        raise bad_file(
            "geometry.singular",
            path,
            "a number of the geometry is not finite, or absurdly large",
            details={"largest": f"{LARGEST_MM:g} mm"},
        )
    return affine_from_itk(origin, spacing, direction)
