"""VTK's XML surfaces `.vtp`: polygons and triangle strips, with the single numbers of points and cells as labels.

Numbers stand in text, in base64, or appended behind the XML (raw or in base64), plain or in zlib blocks. LZ4 and LZMA,
and the other kinds of VTK's XML files, are refused by name. Vertices and lines of the file are passed over; several
pieces follow one another. Source: Kitware, "VTK File Formats", XML formats; the block headers as in "VTK XML Formats"
of the VTK wiki. As in the legacy files, nothing states a unit or a coordinate system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_surface import COLOURS_LOST, Data, Per, Surface, Triangles, fans, surface
from medshard.converters.formats.mesh_vtp_arrays import Arrays, open_vtp
from medshard.converters.formats.mesh_xml import count_of
from medshard.converters.formats.vtk_cells import Integers, cells_of_triangles, strips_as_triangles
from medshard.converters.volume import Array

# The order in which the cells of a piece, and so their data, are numbered.
CELL_ORDER = ("Verts", "Lines", "Polys", "Strips")
VECTORS_LOST = "data with several numbers for each vertex or face, such as vectors, are not kept"
PASSED_OVER = ("normals", "tcoords", "texturecoordinates")


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """cells: how many of all kinds. data: by name and by what it is of."""

    vertices: NDArray[np.float64]
    triangles: Triangles
    cells: int
    data: dict[tuple[Per, str], Array]


def read_vtp(path: Path) -> Surface:
    """Raises CaseError[read.unreadable | read.truncated | read.unsupported | read.too_large], ValueError."""
    arrays, root = open_vtp(path)
    pieces = [_piece(path, arrays, piece) for piece in root.iterfind("PolyData/Piece")]
    if not pieces:
        raise bad_file("read.unreadable", path, "the file holds no surface")
    vertices = np.concatenate([piece.vertices for piece in pieces])
    first = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    cells = np.cumsum([0, *(piece.cells for piece in pieces)])
    triangles = Triangles(
        faces=np.concatenate([piece.triangles.faces + at for piece, at in zip(pieces, first[:-1], strict=True)]),
        cell=np.concatenate([piece.triangles.cell + at for piece, at in zip(pieces, cells[:-1], strict=True)]),
        warnings=tuple(said for piece in pieces for said in piece.triangles.warnings),
    )
    return surface(path, vertices, triangles, data=_joined(pieces))


def _piece(path: Path, arrays: Arrays, piece: ET.Element) -> _Piece:
    points = count_of(path, piece, "NumberOfPoints")
    places = piece.find("Points/DataArray")
    if places is None or places.get("NumberOfComponents", "3").strip() != "3":
        raise bad_file("read.unreadable", path, "the points have no three coordinates")
    vertices = arrays.read(places, 3 * points).astype(np.float64).reshape(-1, 3)
    counts = {kind: count_of(path, piece, f"NumberOf{kind}", default=0) for kind in CELL_ORDER}
    polygons = fans(*_cells(path, arrays, piece, "Polys", counts["Polys"]))
    strip_offsets, strip_corners = _cells(path, arrays, piece, "Strips", counts["Strips"])
    before = counts["Verts"] + counts["Lines"]
    strips = cells_of_triangles(strip_offsets) + before + counts["Polys"]
    faces = np.concatenate([polygons.faces, strips_as_triangles(strip_offsets, strip_corners)])
    if len(faces) and (faces.min() < 0 or faces.max() >= points):
        # Said here, because the numbers of a later piece are moved behind those of an earlier one.
        raise bad_file("read.unreadable", path, "a face names a vertex that is not there")
    lost: list[str] = []
    cells = sum(counts.values())
    sections: tuple[tuple[Per, str, int], ...] = (("vertex", "PointData", points), ("face", "CellData", cells))
    data = {
        (per, name): array
        for per, section, count in sections
        for name, array in _data(arrays, piece.find(section), count, lost)
    }
    return _Piece(
        vertices=vertices,
        triangles=Triangles(
            faces=faces,
            cell=np.concatenate([polygons.cell + before, strips]),
            warnings=(*polygons.warnings, *lost),
        ),
        cells=cells,
        data=data,
    )


def _cells(path: Path, arrays: Arrays, piece: ET.Element, kind: str, count: int) -> tuple[Integers, Integers]:
    """Offsets, one more than cells, and the vertex numbers of all cells."""
    if not count:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    named = {each.get("Name"): each for each in piece.iterfind(f"{kind}/DataArray")}
    if "offsets" not in named or "connectivity" not in named:
        raise bad_file("read.unreadable", path, "cells stand without offsets or connectivity")
    ends = arrays.read(named["offsets"], count).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    if (np.diff(offsets) < 0).any():
        raise bad_file("read.unreadable", path, "the cells are not as long as they say")
    corners = arrays.read(named["connectivity"], int(ends[-1]))
    if corners.dtype.kind == "f":
        raise bad_file("read.unreadable", path, "the cells name vertices by what is no integer")
    return offsets, corners.astype(np.int64)


def _data(arrays: Arrays, group: ET.Element | None, count: int, lost: list[str]) -> Iterator[tuple[str, Array]]:
    """The arrays with one number for each vertex or cell; what is left out is said in `lost`."""
    for each in () if group is None else group.iterfind("DataArray"):
        name = each.get("Name", "")
        if each.get("NumberOfComponents", "1").strip() == "1":
            yield name, arrays.read(each, count)
        elif "colo" in name.lower() or "rgb" in name.lower():
            lost.append(COLOURS_LOST)
        elif name.lower() not in PASSED_OVER:
            lost.append(VECTORS_LOST)


def _joined(pieces: list[_Piece]) -> list[Data]:
    """What every piece has, in the order of the first one."""
    return [
        Data(name=name, per=per, array=np.concatenate([piece.data[per, name] for piece in pieces]))
        for per, name in pieces[0].data
        if all((per, name) in piece.data for piece in pieces)
    ]
