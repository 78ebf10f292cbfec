"""Made surfaces, and files of them written here word by word."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import numpy as np

from medshard.converters.volume import Mesh

# A cube of 12.5: its corners, and twelve triangles that are anticlockwise as seen from outside.
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) * 12.5
SQUARES = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [2, 3, 7, 6], [1, 2, 6, 5], [0, 4, 7, 3]])
TRIANGLES = SQUARES[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def cube(*, size: float = 12.5, at: tuple[float, float, float] = (0, 0, 0), unit: str = "mm") -> Mesh:
    return Mesh(vertices=CORNERS / 12.5 * size + at, faces=TRIANGLES.astype(np.int64), unit=unit)


def joined(*meshes: Mesh) -> Mesh:
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + at for mesh, at in zip(meshes, first[:-1], strict=True)]),
        unit=meshes[0].unit,
    )


def turned(mesh: Mesh) -> Mesh:
    return Mesh(vertices=mesh.vertices, faces=np.ascontiguousarray(mesh.faces[:, ::-1]), unit=mesh.unit)


def soup(mesh: Mesh) -> Mesh:
    """The same triangles, each with three vertices of its own."""
    return Mesh(
        vertices=mesh.vertices[mesh.faces].reshape(-1, 3),
        faces=np.arange(3 * len(mesh.faces)).reshape(-1, 3),
        unit=mesh.unit,
    )


def voxel_faces(mask: np.ndarray, affine: np.ndarray) -> Mesh:
    """The boundary between the voxels (z, y, x) of a mask and the rest, as squares cut in two, facing outwards where
    the affine does not mirror (z, y, x).
    """
    padded = np.pad(mask.astype(bool), 1).astype(np.int8)
    corners = []
    for axis in range(3):
        change = np.diff(padded, axis=axis)
        others = [other for other in range(3) if other != axis]
        for sign in (1, -1):
            low = np.argwhere(change == sign).astype(float) - 1
            low[:, axis] += 0.5
            square = np.repeat(low[:, None], 4, axis=1)
            for number, (u, v) in enumerate([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]):
                square[:, number, others[0]] += u
                square[:, number, others[1]] += v
            # (others) follow axis in cyclic order but for the middle one; entering faces look back along the axis.
            corners.append(square[:, ::-1] if (sign == 1) != (axis == 1) else square)
    points = np.concatenate(corners).reshape(-1, 3)
    vertices, numbers = np.unique(points, axis=0, return_inverse=True)
    quads = numbers.reshape(-1, 4)
    return Mesh(
        vertices=vertices @ affine[:3, :3].T + affine[:3, 3],
        faces=quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3).astype(np.int64),
        unit="mm",
    )


def grid_affine(spacing: tuple[float, float, float], origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Index (z, y, x, 1) -> (x, y, z) mm, spacing along (z, y, x)."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def ply(
    order: str,
    *,
    faces: list[list[int]],
    labels: bool = True,
    count: str = "uchar",
    more: str = "",
    places: str = "float",
) -> bytes:
    """The cube's corners with a label for each vertex and face. order: ascii, little or big."""
    name = order if order == "ascii" else f"binary_{order}_endian"
    header = f"ply\nformat {name} 1.0\ncomment made by somebody\nelement vertex {len(CORNERS)}\n"
    header += "".join(f"property {places} {axis}\n" for axis in "xyz") + ("property short label\n" if labels else "")
    header += f"element face {len(faces)}\nproperty list {count} int vertex_indices\n"
    header += ("property uchar part\n" if labels else "") + more + "end_header\n"
    if order == "ascii":
        rows = [[*point, *([number - 3] if labels else [])] for number, point in enumerate(CORNERS.tolist())]
        rows += [[len(face), *face, *([number] if labels else [])] for number, face in enumerate(faces)]
        return (header + "".join(" ".join(map(str, row)) + "\n" for row in rows)).encode()
    end, body = "<" if order == "little" else ">", b""
    for number, point in enumerate(CORNERS.tolist()):
        body += struct.pack(f"{end}3{'f' if places == 'float' else 'd'}", *point)
        body += struct.pack(f"{end}h", number - 3) if labels else b""
    for number, face in enumerate(faces):
        body += struct.pack(f"{end}{'B' if count == 'uchar' else 'i'}{len(face)}i", len(face), *face)
        body += struct.pack("B", number) if labels else b""
    return header.encode() + body


def vtp(
    *,
    packing: str = "ascii",
    packed: bool = False,
    wide: bool = False,
    order: str = "<",
    polys: list[list[int]] | None = None,
    strips: list[list[int]] = [],  # noqa: B006
) -> bytes:
    """The cube with labels `part` of points and cells. packing: ascii, binary, appended-raw or appended-base64.

    packed: in zlib blocks of 64 bytes. wide: lengths of 64 bits.
    """
    polys = SQUARES.tolist() if polys is None else polys
    length = np.dtype(order + ("u8" if wide else "u4"))
    appended = b""

    def head(*numbers: int) -> bytes:
        return np.array(numbers, length).tobytes()

    def content(array: np.ndarray) -> tuple[bytes, bytes]:
        data = array.astype(array.dtype.newbyteorder(order)).tobytes()
        if not packed:
            return b"", head(len(data)) + data
        blocks = [zlib.compress(data[at : at + 64]) for at in range(0, len(data), 64)]
        return head(len(blocks), 64, len(data) % 64, *map(len, blocks)), b"".join(blocks)

    def array(name: str, values: list, kind: str, components: int = 1) -> str:
        nonlocal appended
        numbers = np.array(values, {"Float32": "f4", "Int64": "i8", "Int16": "i2"}[kind])
        tag = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" format='
        if packing == "ascii":
            return f'{tag}"ascii">{" ".join(map(str, numbers.ravel().tolist()))}</DataArray>'
        parts = content(numbers)
        if packing == "binary":
            return f'{tag}"binary">\n  {"".join(base64.b64encode(part).decode() for part in parts)}\n</DataArray>'
        at = len(appended)
        appended += b"".join(parts if packing == "appended-raw" else map(base64.b64encode, parts))
        return f'{tag}"appended" offset="{at}"/>'

    def cells(name: str, rows: list[list[int]]) -> str:
        connectivity = array("connectivity", [n for row in rows for n in row], "Int64")
        offsets = array("offsets", np.cumsum([len(row) for row in rows]).tolist(), "Int64")
        return f"<{name}>{connectivity}{offsets}</{name}>"

    count = 1 + len(polys) + len(strips)
    text = (
        f'<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" '
        f'byte_order="{"LittleEndian" if order == "<" else "BigEndian"}" header_type="UInt{64 if wide else 32}"'
        + (' compressor="vtkZLibDataCompressor"' if packed else "")
        + f'>\n<PolyData><Piece NumberOfPoints="{len(CORNERS)}" NumberOfVerts="1" NumberOfLines="0" '
        f'NumberOfStrips="{len(strips)}" NumberOfPolys="{len(polys)}">'
        f"<PointData>{array('part', list(range(8)), 'Int16')}</PointData>"
        f"<CellData>{array('part', list(range(count)), 'Int16')}"
        f"{array('Normals', [[0, 0, 1]] * count, 'Float32', 3)}</CellData>"
        f"<Points>{array('Points', CORNERS.tolist(), 'Float32', 3)}</Points>"
        f"{cells('Verts', [[0]])}{cells('Polys', polys)}{cells('Strips', strips) if strips else ''}"
        "</Piece></PolyData>"
    )
    if packing.startswith("appended"):
        text += f'<AppendedData encoding="{packing.removeprefix("appended-")}">\n_'
        return text.encode() + appended + b"\n</AppendedData></VTKFile>"
    return (text + "</VTKFile>").encode()


def save(path: Path, content: str | bytes) -> list[Path]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [path]
