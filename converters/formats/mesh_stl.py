"""STL, binary and text: a soup of triangles, each with three vertices of its own.

The vertices stay as many as the file states, three for each triangle; who needs to know which triangles touch welds
those that are equal to the last bit (`converters.meshes.welding`). Normals are passed over: the order of the corners
says where outside is. Several solids of a text file are numbered in order of appearance, as `solid`; their names, the
80 bytes of a binary header and its colour words are free text or nobody's standard, and are not kept. Source: 3D
Systems, "StereoLithography Interface Specification".
"""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.mesh_surface import COLOURS_LOST, Data, Surface, plain_triangles, surface
from medshard.converters.formats.mesh_text import decimal

HEADER = 84
FACET = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])
WORDS = frozenset({b"facet", b"endfacet", b"outer", b"endloop", b"endsolid", b"solid", b"vertex", b"color"})


def is_binary_stl(path: Path, start: bytes) -> bool:
    """Whether the file is as long as the count of triangles in its header says."""
    return len(start) >= HEADER and path.stat().st_size == HEADER + FACET.itemsize * _count(start)


def read_stl(path: Path) -> Surface:
    """Raises CaseError[read.truncated | read.unreadable], ValueError for what is no number."""
    start = first_bytes(path, 1 << 12)
    if not is_binary_stl(path, start) and start.lstrip()[:5].lower() == b"solid" and b"\x00" not in start[:80]:
        return _text(path)
    return _binary(path, start)


def _count(start: bytes) -> int:
    return int(struct.unpack_from("<I", start, 80)[0])


def _binary(path: Path, start: bytes) -> Surface:
    expected = HEADER + FACET.itemsize * _count(start) if len(start) >= HEADER else HEADER
    found = path.stat().st_size
    if found != expected:
        code, problem = (
            ("read.truncated", "the file holds fewer triangles than its header promises")
            if found < expected
            else ("read.unreadable", "the file is longer than the count of its triangles says")
        )
        raise bad_file(code, path, problem, details={"expected": f"{expected} bytes", "found": f"{found} bytes"})
    facets = np.fromfile(path, FACET, offset=HEADER)
    warnings = [COLOURS_LOST] if facets["attribute"].any() else []
    return _soup(path, facets["vertices"].reshape(-1, 3).astype(np.float64), [], warnings)


def _text(path: Path) -> Surface:
    coordinates, solids = array("d"), array("i")
    lines = [words for line in path.read_bytes().splitlines() if (words := line.split())]
    if lines[-1][0].lower() != b"endsolid":
        raise bad_file("read.truncated", path, "the file ends before its solid does")
    solid, corners = 0, 0
    for words in lines:
        word = words[0].lower()
        if word == b"vertex":
            x, y, z = words[1:]
            coordinates.extend((decimal(x), decimal(y), decimal(z)))
            corners += 1
        elif word == b"solid":
            solid += 1
        elif word == b"facet":
            corners = 0
        elif word == b"endfacet":
            if corners != 3:
                raise bad_file("read.unreadable", path, "a facet has other than three vertices")
            solids.append(solid)
        elif word not in WORDS:
            raise bad_file("read.unreadable", path, "a line is not one that the format has")
    if len(coordinates) != 9 * len(solids):
        raise bad_file("read.unreadable", path, "vertices and facets do not fit together")
    data = [Data(name="solid", per="face", array=np.asarray(solids, np.int32), kind="instance")]
    return _soup(path, np.asarray(coordinates, np.float64).reshape(-1, 3), data if len(set(solids)) > 1 else [], [])


def _soup(path: Path, vertices: NDArray[np.float64], data: list[Data], warnings: list[str]) -> Surface:
    faces = np.arange(len(vertices), dtype=np.int64).reshape(-1, 3)
    return surface(path, vertices, plain_triangles(faces), data=data, warnings=warnings)
