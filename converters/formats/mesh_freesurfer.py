"""FreeSurfer's binary surfaces (`lh.pial`, `rh.white`): big-endian triangles in mm.

nibabel is the oracle; it allocates what the counts in the header say. The kind with quadrangles is refused. Places are
FreeSurfer's surface coordinates, RAS about the centre of the scan, so the space is the surface's own. The line that
says who made the file and when is passed over. Source: FreeSurfer wiki, "Surface file format".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_surface import Surface, plain_triangles, surface

MAGIC = b"\xff\xff\xfe"
LONGEST_LINE = 1 << 12
OWN_SPACE = "FreeSurfer's surface coordinates are centred on the scan, not placed in its space"


def read_freesurfer(path: Path) -> Surface:
    """Raises CaseError[read.truncated | read.unreadable]."""
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        made, blank = file.readline(LONGEST_LINE), file.readline(LONGEST_LINE)
        if not made.endswith(b"\n") or blank != b"\n":
            raise bad_file("read.unreadable", path, "the header has no end")
        offset = file.tell() + 8
        counts = file.read(8)
    vertices, faces = (int.from_bytes(counts[at : at + 4], "big") for at in (0, 4))
    expected = offset + 12 * (vertices + faces)
    if path.stat().st_size < expected:
        raise bad_file(
            "read.truncated",
            path,
            "the file holds fewer vertices and faces than it counts",
            details={"expected": f"{expected} bytes", "found": f"{path.stat().st_size} bytes"},
        )
    places = np.fromfile(path, ">f4", 3 * vertices, offset=offset).astype(np.float64)
    corners = np.fromfile(path, ">i4", 3 * faces, offset=offset + 12 * vertices).astype(np.int64)
    return surface(
        path,
        places.reshape(-1, 3),
        plain_triangles(corners.reshape(-1, 3)),
        unit="mm",
        warnings=[OWN_SPACE],
    )
