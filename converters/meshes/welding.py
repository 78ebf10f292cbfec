"""Which vertices of a surface are one.

STL, and some writers of other formats, give each triangle corners of its own. Two vertices are one where all three
coordinates are equal to the last bit, 0 and -0 alike; no distance is used, since any would close real gaps or not close
others. What is stored keeps the vertices of the file: welding serves topology, not storage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Mesh


def welded_faces(mesh: Mesh) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces (m, 3) by the number of the first vertex at each place, and those first numbers (n,) for every vertex."""
    points = mesh.vertices + 0.0
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0]))
    ordered = points[order]
    starts = np.ones(len(points), bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    # lexsort is stable: within a place the smallest number comes first.
    first = np.empty(len(points), np.int64)
    first[order] = order[starts][np.cumsum(starts) - 1]
    return first[mesh.faces], first
