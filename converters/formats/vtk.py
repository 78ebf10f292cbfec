"""VTK's legacy files `.vtk`: surfaces (POLYDATA) and images (STRUCTURED_POINTS), in ASCII or in big-endian binary.

trimesh does not read them, and SimpleITK reads the images only; it is their oracle. Source: Kitware, "VTK File
Formats", simple legacy formats; cells of files from version 5 on are offsets and connectivity.

VTK has no convention for the body. Images are taken as LPS mm, as SimpleITK takes them, with a warning. Vertices keep
the numbers of the file and a unit of `unknown`, as those of the other mesh formats, unless the title says `SPACE=RAS`
or `SPACE=LPS`, as 3D Slicer writes it: then they are RAS+ mm. Nothing else of the title is looked at. Of an
image the first scalars or vectors are read; of a surface, single numbers of points and cells become labels
(`vtk_data`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import (
    ANY,
    Files,
    Format,
    Header,
    Request,
    first_bytes,
    installed_versions,
    narrowed,
)
from medshard.converters.formats.lps_geometry import lps_affine
from medshard.converters.formats.mesh import surface_header
from medshard.converters.formats.text_numbers import read_text_numbers
from medshard.converters.formats.voxel_stream import read_voxels, require_voxels
from medshard.converters.formats.vtk_lines import broken, count_at, dtype_at, next_line, preamble, skip_to_blank
from medshard.converters.formats.vtk_surface import read_surface
from medshard.converters.spooling import Spool
from medshard.converters.volume import Affine, Array, Image, Mesh
from medshard.errors import CaseError

MAGIC = b"# vtk DataFile Version "
NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
LPS_ASSUMED = "VTK states no coordinate system: position and axes are taken as LPS mm"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An image as its lines say. offset: of the first number."""

    shape: tuple[int, int, int, int]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    dtype: np.dtype[np.generic]
    binary: bool
    offset: int


def sniff_mesh(files: Files) -> bool:
    return _dataset(files) == b"POLYDATA"


def sniff_image(files: Files) -> bool:
    return _dataset(files) == b"STRUCTURED_POINTS"


def read_mesh_header(files: Files, request: Request = ANY) -> Header:
    """Counts of vertices and faces; reads the whole file, since polygons become triangles."""
    return surface_header(read_surface(files[0]), MESH_FORMAT.name)


def read_mesh(files: Files, request: Request = ANY) -> Mesh:
    """The surface as the file states it: nothing is merged or reordered; polygons and strips become triangles."""
    return read_surface(files[0]).mesh


def read_image_header(files: Files, request: Request = ANY) -> Header:
    """Header of an image of structured points."""
    path = files[0]
    grid = _grid(path)
    *shape, channels = grid.shape
    return Header(
        format=IMAGE_FORMAT.name,
        shape=(shape[0], shape[1], shape[2]),
        channels=channels,
        affine=_affine(path, grid),
        dtype=grid.dtype.newbyteorder("=").name,
        warnings=(LPS_ASSUMED,),
    )


def read_image(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, (c, z, y, x)."""
    path = files[0]
    grid = _grid(path)
    array = narrowed(_voxels(path, grid, request.spool), request.spool, reuse=True)
    return Image(array=np.moveaxis(array, -1, 0), affine=_affine(path, grid))


def _affine(path: Path, grid: Grid) -> Affine:
    return lps_affine(path, grid.origin, grid.spacing, np.eye(3).ravel().tolist())


def _voxels(path: Path, grid: Grid, spool: Spool) -> Array:
    if grid.binary:
        return read_voxels(path, offset=grid.offset, encoding="raw", shape=grid.shape, dtype=grid.dtype, spool=spool)
    array = spool.empty(grid.shape, grid.dtype.newbyteorder("="))
    with path.open("rb") as file:
        file.seek(grid.offset)
        read_text_numbers(file, path, array)
    return array


def _dataset(files: Files) -> bytes | None:
    if len(files) != 1 or first_bytes(files[0], len(MAGIC)).lower() != MAGIC.lower():
        return None
    try:
        return preamble(files[0]).dataset
    except CaseError:
        return None


def _grid(path: Path) -> Grid:
    start = preamble(path)
    fields: dict[bytes, list[bytes]] = {}
    with path.open("rb") as file:
        file.seek(start.offset)
        while (words := next_line(file, path)) and words[0] not in (b"SCALARS", b"VECTORS", b"COLOR_SCALARS"):
            if words[0] == b"METADATA":
                skip_to_blank(file)
            elif words[0] in fields or words[0] in (b"CELL_DATA", b"FIELD", b"TENSORS", b"NORMALS", b"LOOKUP_TABLE"):
                raise bad_file("read.unsupported", path, "the image has no scalars or vectors at its points")
            else:
                fields[words[0]] = words
        dtype, channels = _samples(path, words, binary=start.binary)
        offset = file.tell()
        table = next_line(file, path) if words[:1] == [b"SCALARS"] else []
        if table[:1] == [b"LOOKUP_TABLE"]:
            offset = file.tell()
    x, y, z = (count_at(path, fields.get(b"DIMENSIONS", []), place) for place in (1, 2, 3))
    grid = Grid(
        shape=(z, y, x, channels),
        spacing=_three(path, fields.get(b"SPACING", fields.get(b"ASPECT_RATIO"))),
        origin=_three(path, fields.get(b"ORIGIN")),
        dtype=dtype,
        binary=start.binary,
        offset=offset,
    )
    if min(grid.shape) < 1:
        raise broken(path, "the image has no voxels")
    # The shortest number in text is one digit and one blank.
    size = math.prod(grid.shape) * dtype.itemsize if start.binary else 2 * math.prod(grid.shape) - 1
    require_voxels(path, size, offset=offset, encoding="raw")
    return grid


def _samples(path: Path, words: list[bytes], *, binary: bool) -> tuple[np.dtype[np.generic], int]:
    """Type and number of channels."""
    if words[:1] == [b"COLOR_SCALARS"]:
        if not binary:
            raise bad_file("read.unsupported", path, "the image has colours written as fractions")
        return np.dtype("u1"), count_at(path, words, 2)
    if words[:1] == [b"VECTORS"]:
        return dtype_at(path, words, 2), 3
    return dtype_at(path, words, 2), count_at(path, words, 3) if len(words) > 3 else 1


def _three(path: Path, words: list[bytes] | None) -> tuple[float, ...]:
    if words is None or len(words) != 4 or not all(NUMBER.fullmatch(word) for word in words[1:]):
        raise broken(path, "spacing or origin are not three numbers")
    return tuple(float(word) for word in words[1:])


def decoders() -> dict[str, str]:
    return installed_versions("numpy")


MESH_FORMAT = Format(
    name="vtk-mesh",
    kind="mesh",
    suffixes=(".vtk",),
    sniff=sniff_mesh,
    read_header=read_mesh_header,
    read=read_mesh,
    decoders=decoders,
)
IMAGE_FORMAT = Format(
    name="vtk-image",
    kind="image",
    suffixes=(".vtk",),
    sniff=sniff_image,
    read_header=read_image_header,
    read=read_image,
    decoders=decoders,
)
