"""Triangle surfaces: OBJ, STL and PLY. Read by trimesh, which is an optional part.

Vertices keep the order and the numbers of the file. None of these formats states a unit or a coordinate system, so
the unit is `unknown` until the catalog entry says it.
"""

from __future__ import annotations

import io
import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Format, Header, Request, first_bytes, installed_versions
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Mesh
from medshard.errors import MissingExtraError

START = 1 << 16


def sniff(files: Files) -> bool:
    return len(files) == 1 and _kind(files[0]) is not None


def read_header(files: Files, request: Request = ANY) -> Header:
    """Counts of vertices and faces; reads the whole file, since none of the formats states both up front."""
    return surface_header(read(files), FORMAT.name)


def surface_header(mesh: Mesh, format_name: str) -> Header:
    """What is known of a surface that has been read."""
    return Header(
        format=format_name,
        shape=(0, 0, 0),
        channels=0,
        affine=pixel_grid_affine(),
        dtype="float64",
        trusted_geometry=False,
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
    )


def read(files: Files, request: Request = ANY) -> Mesh:
    """The surface as the file states it: nothing is merged, reordered or repaired; polygons become triangles.

    Raises MissingExtraError[mesh.not_installed] without trimesh.
    """
    path = files[0]
    try:
        import trimesh  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path.name) from error
    kind = _kind(path)
    content = path.read_bytes()
    loaded: Any = trimesh.load_mesh(
        io.BytesIO(_one_surface(content) if kind == "obj" else content),
        file_type=kind,
        process=False,
        maintain_order=True,
    )
    vertices = np.array(loaded.vertices, np.float64).reshape(-1, 3)
    faces = np.array(loaded.faces, np.int64).reshape(-1, 3)
    if not len(vertices) or not len(faces):
        raise bad_file(
            "read.unreadable",
            path,
            "the file holds no surface",
            details={"vertices": len(vertices), "faces": len(faces)},
        )
    return Mesh(vertices=vertices, faces=faces, unit="unknown")


def _one_surface(content: bytes) -> bytes:
    """An OBJ file reduced to its vertices and the vertex numbers of its faces, counted from the first vertex.

    trimesh makes a mesh with vertices of its own for each group and material, may renumber vertices to pair them with
    texture coordinates, and takes numbers that count backwards (-1 is the latest vertex) from the end of the file
    instead of from the line; what is left here gives it no occasion to. Source: the OBJ format, "Vertex data" and
    "Elements", in appendix B1 of Wavefront's Advanced Visualizer manual.
    """
    lines = []
    vertices = 0
    for line in content.replace(b"\\\n", b" ").replace(b"\\\r\n", b" ").splitlines():
        words = line.split()
        if words[:1] == [b"v"]:
            lines.append(line)
            vertices += 1
        elif words[:1] == [b"f"]:
            numbers = [int(word.partition(b"/")[0]) for word in words[1:]]
            absolute = [number if number > 0 else vertices + 1 + number for number in numbers]
            lines.append(b"f " + b" ".join(b"%d" % number for number in absolute))
    return b"\n".join(lines) + b"\n"


def decoders() -> dict[str, str]:
    """Raises MissingExtraError[mesh.not_installed] without trimesh."""
    try:
        return installed_versions("trimesh", "numpy")
    except PackageNotFoundError as error:
        raise _not_installed("mesh") from error


def _not_installed(where: str) -> MissingExtraError:
    return MissingExtraError(
        "mesh.not_installed",
        where=where,
        problem="reading meshes needs trimesh",
        action="pip install medshard[mesh]",
    )


def _kind(path: Path) -> str | None:
    """`obj`, `stl` or `ply` by content, else None.

    PLY begins with its name; binary STL is 84 bytes and 50 for each triangle that it counts; text STL begins with
    `solid` and names a facet; OBJ is text with vertex lines `v x y z`.
    """
    start = first_bytes(path, START)
    if start.startswith((b"ply\n", b"ply\r\n")):
        return "ply"
    if len(start) >= 84 and path.stat().st_size == 84 + 50 * struct.unpack_from("<I", start, 80)[0]:
        return "stl"
    if start.lstrip().startswith(b"solid") and b"facet" in start:
        return "stl"
    if b"\x00" not in start and any(_is_vertex(line) for line in start.splitlines()):
        return "obj"
    return None


def _is_vertex(line: bytes) -> bool:
    words = line.split()
    if len(words) < 4 or words[0] != b"v":
        return False
    try:
        [float(word) for word in words[1:]]
    except ValueError:
        return False
    return True


FORMAT = Format(
    name="mesh",
    kind="mesh",
    suffixes=(".obj", ".stl", ".ply"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
