"""Wavefront OBJ: `v`, `f`, groups and materials.

trimesh is the oracle but does not read it: it makes vertices of its own for each group and material, may renumber
vertices to pair them with texture coordinates, and takes numbers that count backwards from the end of the file instead
of from their line. Source: the OBJ format, "Vertex data" and "Elements", appendix B1 of Wavefront's Advanced Visualizer
manual.

Textures and normals are passed over, and so are lines and points. The faces of groups and materials are numbered in
order of appearance, where there is more than one; their names, which are free text, are not kept. Six or seven numbers
of a vertex are its place and a colour, as scanners of teeth write it; a fourth one is its weight, which must be 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_surface import COLOURS_LOST, Data, Surface, fans, surface
from medshard.converters.formats.mesh_text import decimal, whole

# Statements that make shapes which are no polygons, or that bring in other files.
NO_POLYGONS = frozenset({b"cstype", b"curv", b"curv2", b"surf", b"vp", b"call", b"csh", b"bzp", b"bsp", b"cdc", b"res"})
COLOUR_LENGTHS = (7, 8)
PLAIN_LENGTHS = (4, 5)


@dataclass(kw_only=True)
class _Parts:
    """What has been read so far; numbers only, since their words would take ten times the memory."""

    coordinates: array[float] = field(default_factory=lambda: array("d"))
    corners: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    part_of_face: dict[str, array[int]] = field(default_factory=lambda: {"group": array("q"), "material": array("q")})
    coloured: bool = False


def read_obj(path: Path) -> Surface:
    """Raises CaseError[read.unreadable | read.unsupported], ValueError for what is no number."""
    parts = _Parts()
    numbers: dict[str, dict[bytes, int]] = {"group": {}, "material": {}}
    current = {"group": 0, "material": 0}
    for line in _lines(path.read_bytes()):
        word, _, rest = line.lstrip().partition(b" ")
        if word == b"v":
            _add_vertex(path, parts, line)
        elif word == b"f":
            _add_face(path, parts, line)
            for name, number in current.items():
                parts.part_of_face[name].append(number)
        elif word in (b"g", b"o", b"usemtl"):
            named = numbers["material" if word == b"usemtl" else "group"]
            current["material" if word == b"usemtl" else "group"] = named.setdefault(rest.strip(), len(named) + 1)
        elif word in NO_POLYGONS:
            raise bad_file("read.unsupported", path, "the file has free-form shapes or calls another file")
    sizes = np.asarray(parts.sizes, np.int64)
    return surface(
        path,
        np.asarray(parts.coordinates, np.float64).reshape(-1, 3),
        fans(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), np.asarray(parts.corners, np.int64)),
        data=[
            Data(name=name, per="face", array=np.asarray(of_face, np.int32), kind="instance")
            for name, of_face in parts.part_of_face.items()
            if len(set(of_face)) > 1
        ],
        warnings=[COLOURS_LOST] if parts.coloured else [],
    )


def _lines(content: bytes) -> Iterator[bytes]:
    """Lines without comments, put together where one ends with a backslash, blanks for tabs."""
    for line in content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").replace(b"\t", b" ").splitlines():
        yield line.partition(b"#")[0] if b"#" in line else line


def _add_vertex(path: Path, parts: _Parts, line: bytes) -> None:
    words = line.split()
    x, y, z = decimal(words[1]), decimal(words[2]), decimal(words[3])
    if len(words) not in PLAIN_LENGTHS:
        if len(words) not in COLOUR_LENGTHS:
            raise bad_file("read.unreadable", path, "a vertex has neither 3, 4, 6 nor 7 numbers")
        parts.coloured = True
    if len(words) == PLAIN_LENGTHS[1] and decimal(words[4]) != 1:
        raise bad_file("read.unsupported", path, "a vertex has a weight other than 1")
    parts.coordinates.extend((x, y, z))


def _add_face(path: Path, parts: _Parts, line: bytes) -> None:
    words = line.split()[1:]
    if b"/" in line:
        words = [word.partition(b"/")[0] for word in words]
    count = len(parts.coordinates) // 3
    for word in words:
        number = whole(word)
        # A negative number counts back from the latest vertex; 0 stands for none, and is refused as -1.
        parts.corners.append(number - 1 if number >= 0 else _counted_back(path, count, number))
    parts.sizes.append(len(words))


def _counted_back(path: Path, count: int, number: int) -> int:
    if count + number < 0:
        raise bad_file("read.unreadable", path, "a face counts back beyond the first vertex")
    return count + number
