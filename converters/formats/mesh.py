"""Triangle surfaces: OBJ, STL, PLY, OFF, VTP, GIFTI and FreeSurfer's; VTK's legacy files have their
own module.

Vertices keep the order and the numbers of the file (`mesh_surface`). Where a format states no unit, it is `unknown`
until the catalog entry says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Format, Header, Request, first_bytes, installed_versions
from medshard.converters.formats.mesh_freesurfer import MAGIC as FREESURFER_MAGIC
from medshard.converters.formats.mesh_freesurfer import read_freesurfer
from medshard.converters.formats.mesh_gifti import is_gifti, read_gifti
from medshard.converters.formats.mesh_inflate import beginning
from medshard.converters.formats.mesh_obj import read_obj
from medshard.converters.formats.mesh_off import KEYWORD as OFF_KEYWORD
from medshard.converters.formats.mesh_off import read_off
from medshard.converters.formats.mesh_ply import read_ply
from medshard.converters.formats.mesh_stl import is_binary_stl, read_stl
from medshard.converters.formats.mesh_surface import Surface
from medshard.converters.formats.mesh_vtp import read_vtp
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Mesh

START = 1 << 16
VTK_OTHERS = re.compile(
    rb"\A# vtk DataFile[^\n]*\n[^\n]*\n\s*(?:ASCII|BINARY)\s+"
    rb"(?:FIELD|DATASET\s+(?:UNSTRUCTURED_GRID|STRUCTURED_GRID|RECTILINEAR_GRID|FIELD))\b",
    re.IGNORECASE,
)
FACET = re.compile(rb"\bfacet\b|\bendsolid\b", re.IGNORECASE)

# Files of surfaces that are told apart from what is of no known format, so that the refusal can name them.
REFUSED: dict[str, Callable[[Path, bytes], bool]] = {
    "glTF binary": lambda _path, start: start.startswith(b"glTF"),
    "glTF": lambda _path, start: start.lstrip().startswith(b"{") and b'"asset"' in start and b'"meshes"' in start,
    "3MF": lambda path, start: start.startswith(b"PK\x03\x04") and path.suffix.lower() == ".3mf",
    "FBX": lambda _path, start: start.startswith(b"Kaydara FBX Binary"),
    "VTK of other data sets than polygons and structured points": lambda _path, start: (
        VTK_OTHERS.search(start[:1024]) is not None
    ),
    "COLLADA": lambda _path, start: b"<COLLADA" in start[:4096],
    "FreeSurfer quadrangles": lambda path, start: (
        start.startswith((b"\xff\xff\xff", b"\xff\xff\xfd")) and path.name.startswith(("lh.", "rh."))
    ),
}


def surface_header(read: Surface, format_name: str) -> Header:
    """What is known of a surface that has been read."""
    return Header(
        format=format_name,
        shape=(0, 0, 0),
        channels=0,
        affine=pixel_grid_affine(),
        dtype="float64",
        trusted_geometry=False,
        warnings=read.warnings,
        vertices=len(read.mesh.vertices),
        faces=len(read.mesh.faces),
    )


@dataclass(frozen=True, kw_only=True)
class MeshKind:
    """One file format of surfaces. looks_like: by path and first bytes. read: the whole file."""

    name: str
    suffixes: tuple[str, ...]
    looks_like: Callable[[Path, bytes], bool]
    read: Callable[[Path], Surface]


def sniff(files: Files) -> bool:
    return len(files) == 1 and _kind(files[0]) is not None


def read_header(files: Files, request: Request = ANY) -> Header:
    """Counts and warnings, which come of reading the whole file; the format is that of the file, such as `ply`."""
    kind = _known_kind(files[0])
    return surface_header(kind.read(files[0]), kind.name)


def read(files: Files, request: Request = ANY) -> Mesh:
    """The surface as the file states it."""
    return _known_kind(files[0]).read(files[0]).mesh


def _kind(path: Path) -> MeshKind | None:
    start = first_bytes(path, START)
    return next((kind for kind in KINDS if kind.looks_like(path, start)), None)


def _known_kind(path: Path) -> MeshKind:
    kind = _kind(path)
    if kind is None:
        raise bad_file("read.unknown_format", path, "the file is no surface of a format that medshard reads")
    return kind


def _is_ply(path: Path, start: bytes) -> bool:
    return start.startswith((b"ply\n", b"ply\r"))


def _is_freesurfer(path: Path, start: bytes) -> bool:
    return start.startswith(FREESURFER_MAGIC)


def _is_gifti(path: Path, start: bytes) -> bool:
    return is_gifti(beginning(path, 4096))


def _is_refused(path: Path, start: bytes) -> bool:
    return _refused_kind(path, start) is not None


def _is_stl(path: Path, start: bytes) -> bool:
    """Binary: 84 bytes and 50 for each triangle that it counts. Text: `solid`, and a facet or an end.

    A binary file that is too short or too long is told by its name only.
    """
    if is_binary_stl(path, start):
        return True
    if start.lstrip()[:5].lower() == b"solid" and FACET.search(start):
        return True
    return path.suffix.lower() == ".stl" and b"\x00" in start


def _is_off(path: Path, start: bytes) -> bool:
    return OFF_KEYWORD.match(start.lstrip()) is not None


def _is_vtk_xml(path: Path, start: bytes) -> bool:
    return b"<VTKFile" in start[:4096]


def _is_obj(path: Path, start: bytes) -> bool:
    """Text with vertex lines `v x y z`."""
    return b"\x00" not in start and any(_is_vertex(line) for line in start.splitlines())


def _is_vertex(line: bytes) -> bool:
    words = line.split()
    if len(words) < 4 or words[0] != b"v":
        return False
    try:
        [float(word) for word in words[1:]]
    except ValueError:
        return False
    return True


def _refused_kind(path: Path, start: bytes) -> str | None:
    return next((name for name, looks_like in REFUSED.items() if looks_like(path, start)), None)


def _refuse(path: Path) -> Surface:
    raise bad_file(
        "read.unsupported",
        path,
        "surfaces of this format are not read",
        details={
            "format": _refused_kind(path, first_bytes(path, START)),
            "read": "OBJ, STL, PLY, OFF, VTK, VTP, GIFTI",
        },
        action="The case is excluded. Convert the file to one of the formats that are read.",
    )


# Binary signatures first; OBJ, which is known by one line among many, last.
KINDS: tuple[MeshKind, ...] = (
    MeshKind(name="ply", suffixes=(".ply",), looks_like=_is_ply, read=read_ply),
    MeshKind(name="freesurfer", suffixes=("lh.*", "rh.*"), looks_like=_is_freesurfer, read=read_freesurfer),
    MeshKind(name="gifti", suffixes=(".gii", ".gii.gz"), looks_like=_is_gifti, read=read_gifti),
    MeshKind(name="vtp", suffixes=(".vtp",), looks_like=_is_vtk_xml, read=read_vtp),
    MeshKind(name="other-mesh", suffixes=(), looks_like=_is_refused, read=_refuse),
    MeshKind(name="stl", suffixes=(".stl",), looks_like=_is_stl, read=read_stl),
    MeshKind(name="off", suffixes=(".off",), looks_like=_is_off, read=read_off),
    MeshKind(name="obj", suffixes=(".obj",), looks_like=_is_obj, read=read_obj),
)

FORMAT = Format(
    name="mesh",
    kind="mesh",
    suffixes=tuple(suffix for kind in KINDS for suffix in kind.suffixes),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=lambda: installed_versions("numpy"),
)
