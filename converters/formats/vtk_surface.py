"""Surfaces in VTK's legacy files: `DATASET POLYDATA`, in ASCII or in big-endian binary.

Polygons and triangle strips become triangles; vertices and lines are passed over. Single numbers of points and cells
become labels (`vtk_data`). Cells of files from version 5 on are offsets and connectivity.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_surface import Per, Surface, Triangles, fans, surface
from medshard.converters.formats.vtk_cells import cells_of_triangles, strips_as_triangles
from medshard.converters.formats.vtk_data import read_data
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

# The order in which the cells, and so their data, are numbered.
CELL_ORDER = (b"VERTICES", b"LINES", b"POLYGONS", b"TRIANGLE_STRIPS")
NO_CELLS = (np.zeros(1, np.int64), np.zeros(0, np.int64))
DATA = (b"POINT_DATA", b"CELL_DATA")


def read_surface(path: Path) -> Surface:
    """The surface as the file states it: nothing is merged or reordered; polygons and strips become triangles."""
    start = preamble(path)
    vertices = np.empty((0, 3))
    cells = dict.fromkeys(CELL_ORDER, NO_CELLS)
    with path.open("rb") as file:
        file.seek(start.offset)
        while (words := next_line(file, path)) and words[0] not in DATA:
            if words[0] == b"POINTS":
                count, dtype = count_at(path, words, 1), dtype_at(path, words, 2)
                vertices = numbers(path, file, start, (count, 3), dtype).astype(np.float64)
            elif words[0] in cells:
                if cells[words[0]] is not NO_CELLS:
                    raise broken(path, "the surface has one kind of cells twice")
                cells[words[0]] = _cells(path, file, start, words)
            elif words[0] == b"FIELD":
                _skip_field(path, file, start, words)
            elif words[0] == b"METADATA":
                skip_to_blank(file)
            else:
                raise broken(path, "a line of the surface is not one that the format has")
        counts: dict[Per, int] = {
            "vertex": len(vertices),
            "face": sum(len(offsets) - 1 for offsets, _ in cells.values()),
        }
        data, said = read_data(path, file, start, words, counts)
    if start.space == "LPS":
        vertices[:, :2] *= -1
    return surface(
        path,
        vertices,
        _triangles(cells),
        data=data,
        unit="mm" if start.space else "unknown",
        space="ras" if start.space else "own",
        warnings=said,
    )


def _triangles(cells: dict[bytes, tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Triangles:
    """Of polygons and strips, with the number of each one's cell among all of the file."""
    first = np.cumsum([0, *(len(cells[kind][0]) - 1 for kind in CELL_ORDER)])
    polygons, strips = fans(*cells[b"POLYGONS"]), cells[b"TRIANGLE_STRIPS"]
    return Triangles(
        faces=np.concatenate([polygons.faces, strips_as_triangles(*strips)]),
        cell=np.concatenate([polygons.cell + first[2], cells_of_triangles(strips[0]) + first[3]]),
        warnings=polygons.warnings,
    )


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
    if not len(offsets):
        return NO_CELLS
    if offsets[0] != 0 or offsets[-1] != len(corners) or (steps < 0).any():
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
