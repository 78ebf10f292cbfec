"""Surfaces in VTK's legacy files: `DATASET POLYDATA`, in ASCII or in big-endian binary.

Polygons and triangle strips become triangles; vertices and lines are passed over, and so are attributes of points and
cells. Cells of files from version 5 on are offsets and connectivity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.vtk_cells import polygons_as_triangles, strips_as_triangles
from medshard.converters.formats.vtk_lines import (
    Preamble,
    broken,
    count_at,
    dtype_at,
    next_line,
    numbers,
    preamble,
    skip_to_blank,
)
from medshard.converters.volume import Mesh

CELLS: dict[bytes, Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]] = {
    b"POLYGONS": polygons_as_triangles,
    b"TRIANGLE_STRIPS": strips_as_triangles,
}


def read_surface(path: Path) -> Mesh:
    """The surface as the file states it: nothing is merged or reordered; polygons and strips become triangles."""
    start = preamble(path)
    vertices = np.empty((0, 3))
    faces = [np.empty((0, 3), np.int64)]
    with path.open("rb") as file:
        file.seek(start.offset)
        while (words := next_line(file, path)) and words[0] not in (b"POINT_DATA", b"CELL_DATA"):
            if words[0] == b"POINTS":
                count, dtype = count_at(path, words, 1), dtype_at(path, words, 2)
                vertices = numbers(path, file, start, (count, 3), dtype).astype(np.float64)
            elif words[0] in CELLS:
                faces.append(CELLS[words[0]](*_cells(path, file, start, words)))
            elif words[0] in (b"VERTICES", b"LINES"):
                _cells(path, file, start, words)
            elif words[0] == b"FIELD":
                _skip_field(path, file, start, words)
            elif words[0] == b"METADATA":
                skip_to_blank(file)
            else:
                raise broken(path, "a line of the surface is not one that the format has")
    triangles = np.concatenate(faces)
    if not len(vertices) or not len(triangles):
        raise broken(path, "the file holds no surface")
    if start.space == "LPS":
        vertices[:, :2] *= -1
    return Mesh(vertices=vertices, faces=triangles, unit="mm" if start.space else "unknown")


def _cells(
    path: Path, file: IO[bytes], start: Preamble, words: list[bytes]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets, one more than cells, and the vertex numbers of all cells one after the other."""
    first, second = count_at(path, words, 1), count_at(path, words, 2)
    at = file.tell()
    if start.version >= 5 and (line := next_line(file, path))[:1] == [b"OFFSETS"]:
        offsets = numbers(path, file, start, (first,), dtype_at(path, line, 1)).astype(np.int64)
        line = next_line(file, path)
        if line[:1] != [b"CONNECTIVITY"]:
            raise broken(path, "offsets of cells stand without connectivity")
        corners = numbers(path, file, start, (second,), dtype_at(path, line, 1)).astype(np.int64)
    else:
        file.seek(at)
        stored = numbers(path, file, start, (second,), np.dtype(">i4")).astype(np.int64)
        offsets, corners = _split_cells(path, stored, first)
    steps = np.diff(offsets)
    if len(offsets) and (offsets[0] != 0 or offsets[-1] != len(corners) or (steps < 0).any()):
        raise broken(path, "the cells are not as long as they say")
    return offsets, corners


def _split_cells(path: Path, stored: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of cells that each begin with their own length."""
    if count and len(stored) == 4 * count and (stored[::4] == 3).all():
        return np.arange(count + 1) * 3, stored.reshape(count, 4)[:, 1:].reshape(-1)
    starts, at = [], 0
    for _ in range(count):
        if at >= len(stored) or stored[at] < 0:
            raise broken(path, "the cells are not as long as they say")
        starts.append(at)
        at += int(stored[at]) + 1
    if at != len(stored):
        raise broken(path, "the cells are not as long as they say")
    kept = np.ones(len(stored), bool)
    kept[starts] = False
    return np.concatenate([[0], np.cumsum(stored[starts])]).astype(np.int64), stored[kept]


def _skip_field(path: Path, file: IO[bytes], start: Preamble, words: list[bytes]) -> None:
    """Arrays about the whole file: each has a line `name components tuples type`."""
    for _ in range(count_at(path, words, 2)):
        line = next_line(file, path)
        if line[3:] == [b"string"]:
            raise bad_file("read.unsupported", path, "the file has text among its fields")
        numbers(path, file, start, (count_at(path, line, 1), count_at(path, line, 2)), dtype_at(path, line, 3))
