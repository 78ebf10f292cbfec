"""GIFTI: surfaces (`.surf.gii`) and numbers of their vertices (`.label.gii`, `.shape.gii`, `.func.gii`), also in gzip.

nibabel is the oracle but does not read them: it unpacks whatever a file asks for, and opens any other file that one
names. Source: J. Harwell and others, "GIFTI Surface Data Format", version 1.0. Metadata are passed over, for they are
free text and name subjects.

Coordinates are mm, by the axes of NIfTI. Where the file says that they lie in a scan's space (`SCANNER_ANAT`,
`ALIGNED_ANAT`), that is `ras`; where it gives a matrix that takes them there, the matrix is applied, with a warning;
any other space (Talairach, MNI, unknown) is the surface's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_inflate import Budget, budget_of, inflated, whole_content
from medshard.converters.formats.mesh_surface import Data, Surface, plain_triangles, surface
from medshard.converters.formats.mesh_xml import count_of, from_base64, parsed, text_numbers
from medshard.converters.volume import Array

POINTS = "NIFTI_INTENT_POINTSET"
TRIANGLES = "NIFTI_INTENT_TRIANGLE"
LABELS = "NIFTI_INTENT_LABEL"
SCAN_SPACES = ("NIFTI_XFORM_SCANNER_ANAT", "NIFTI_XFORM_ALIGNED_ANAT")
OWN_SPACE = "GIFTI places the surface in no scan's space: it is kept in its own"
MOVED = "the surface was moved into the scan's space by the file's own matrix"
# As the drafts of the format, and programs that follow them, call the encodings.
OLD_ENCODINGS = {
    "GIFTI_ENCODING_ASCII": "ASCII",
    "GIFTI_ENCODING_B64BIN": "Base64Binary",
    "GIFTI_ENCODING_B64GZ": "GZipBase64Binary",
}
BIG_ENDIAN = ("BigEndian", "GIFTI_ENDIAN_BIG")
DTYPES = {
    "NIFTI_TYPE_UINT8": "u1",
    "NIFTI_TYPE_INT8": "i1",
    "NIFTI_TYPE_INT16": "i2",
    "NIFTI_TYPE_UINT16": "u2",
    "NIFTI_TYPE_INT32": "i4",
    "NIFTI_TYPE_UINT32": "u4",
    "NIFTI_TYPE_INT64": "i8",
    "NIFTI_TYPE_UINT64": "u8",
    "NIFTI_TYPE_FLOAT32": "f4",
    "NIFTI_TYPE_FLOAT64": "f8",
}
MOST_DIMENSIONS = 6


@dataclass(frozen=True, kw_only=True)
class GiftiArray:
    """intent: as NIfTI names it. array: in the file's shape and type. element: what stands beside the numbers."""

    intent: str
    array: Array
    element: ET.Element


def is_gifti(start: bytes) -> bool:
    return b"<GIFTI" in start[:4096]


def read_gifti(path: Path) -> Surface:
    """Raises CaseError[read.unreadable | read.truncated | read.unsupported | read.too_large], ValueError."""
    arrays = list(gifti_arrays(path))
    points = [each for each in arrays if each.intent == POINTS]
    triangles = [each for each in arrays if each.intent == TRIANGLES]
    if len(points) != 1 or len(triangles) != 1:
        raise bad_file(
            "read.unreadable",
            path,
            "the file holds other than one surface",
            details={"arrays of points": len(points), "arrays of triangles": len(triangles)},
        )
    faces = triangles[0].array
    if points[0].array.shape[1:] != (3,) or faces.shape[1:] != (3,) or faces.dtype.kind == "f":
        raise bad_file("read.unreadable", path, "points or triangles do not have three integers each")
    vertices, space, warnings = _placed(path, points[0])
    rest = [each for each in arrays if each.array.ndim == 1 and each.intent not in (POINTS, TRIANGLES)]
    data = [
        Data(
            name=f"{'label' if each.intent == LABELS else 'data'}_{number}",
            per="vertex",
            array=each.array,
            kind="semantic" if each.intent == LABELS else None,
        )
        for number, each in enumerate(rest, start=1)
    ]
    return surface(
        path,
        vertices,
        plain_triangles(faces.astype(np.int64)),
        data=data,
        unit="mm",
        space=space,
        warnings=warnings,
    )


def gifti_arrays(path: Path) -> Iterator[GiftiArray]:
    """Every array of a file. Errors as in `read_gifti`."""
    budget = budget_of(path)
    root = parsed(path, whole_content(path, budget))
    if root.tag != "GIFTI":
        raise bad_file("read.unreadable", path, "the XML is not GIFTI")
    for element in root.iterfind("DataArray"):
        yield GiftiArray(intent=element.get("Intent", ""), array=_numbers(path, element, budget), element=element)


def label_names(path: Path) -> dict[int, str]:
    """Number -> name, of the file's own table. For mapping onto concepts only: the names are free text."""
    root = parsed(path, whole_content(path, budget_of(path)))
    keyed = [(each.get("Key", each.get("Index", "")), each) for each in root.iterfind("LabelTable/Label")]
    return {int(key): "".join(each.itertext()).strip() for key, each in keyed}


def _numbers(path: Path, element: ET.Element, budget: Budget) -> Array:
    name = DTYPES.get(element.get("DataType", ""))
    dimensions = count_of(path, element, "Dimensionality")
    if name is None or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise bad_file("read.unsupported", path, "numbers are of a type or shape that medshard does not read")
    dtype = np.dtype((">" if element.get("Endian") in BIG_ENDIAN else "<") + name)
    shape = [count_of(path, element, f"Dim{axis}") for axis in range(dimensions)]
    data = element.find("Data")
    text = "" if data is None else "".join(data.itertext())
    encoding = element.get("Encoding", "")
    encoding = OLD_ENCODINGS.get(encoding, encoding)
    if encoding == "ASCII":
        numbers = text_numbers(text, dtype.newbyteorder("="))
    elif encoding in ("Base64Binary", "GZipBase64Binary"):
        content = from_base64(path, text.encode())
        if encoding == "GZipBase64Binary":
            content = inflated(budget, content, most=math.prod(shape) * dtype.itemsize)
        whole = len(content) // dtype.itemsize
        numbers = np.frombuffer(content, dtype, whole).astype(dtype.newbyteorder("="))
    else:
        raise bad_file("read.unsupported", path, "numbers in another file, or in an unknown encoding, are not read")
    if len(numbers) != math.prod(shape):
        raise bad_file(
            "read.truncated" if len(numbers) < math.prod(shape) else "read.unreadable",
            path,
            "an array is not as long as its dimensions say",
            details={"expected": math.prod(shape), "found": len(numbers)},
        )
    # A trailing axis of one is how some writers store one number for each vertex.
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return numbers.reshape(shape, order="F" if element.get("ArrayIndexingOrder") == "ColumnMajorOrder" else "C")


def _placed(path: Path, points: GiftiArray) -> tuple[NDArray[np.float64], Literal["ras", "own"], list[str]]:
    """The vertices, the space that they are in, and what there is to say about it."""
    vertices = points.array.astype(np.float64)
    systems = [
        (
            "".join(system.findtext("DataSpace", "").split()),
            "".join(system.findtext("TransformedSpace", "").split()),
            system.findtext("MatrixData", ""),
        )
        for system in points.element.iterfind("CoordinateSystemTransformMatrix")
    ]
    if any(stored in SCAN_SPACES for stored, _, _ in systems):
        return vertices, "ras", []
    matrix = next((text for _, reached, text in systems if reached in SCAN_SPACES), None)
    if matrix is None:
        return vertices, "own", [OWN_SPACE]
    numbers = text_numbers(matrix, np.dtype(np.float64)).astype(np.float64)
    if len(numbers) != 16 or not np.isfinite(numbers).all():
        raise bad_file("read.unreadable", path, "the matrix of the scan's space is not 16 numbers")
    affine = numbers.reshape(4, 4)
    return vertices @ affine[:3, :3].T + affine[:3, 3], "ras", [MOVED]
