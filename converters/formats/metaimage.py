"""MetaImage: `.mha` with its data, or `.mhd` beside one or several data files.

Oracle: SimpleITK. `Offset` and `TransformMatrix` are taken as LPS mm; `AnatomicalOrientation`, `DistanceUnits` and
`ElementToIntensityFunction...` are remarks that SimpleITK does not act on; the last two get a warning here. Beyond it:

- compressed data are verified to their checksum: MetaIO returns what happens to be in memory where they cannot be
  decompressed, and calls short data an error without a reason;
- compressed data inside an `.mha` need no `CompressedDataSize`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.formats.data_files import (
    Encoding,
    Stored,
    StoredVoxels,
    data_file,
    distinct,
    numbered,
    read_stored,
    require_capacity,
    require_named,
)
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
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Affine, Image, LeadingAxis

LARGEST_HEADER = 1 << 20
LINE = re.compile(rb"[^\n]*\n")
NAME = re.compile(rb"\s*(\w+)\s*[=:]")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?nan|[+-]?inf", re.ASCII | re.IGNORECASE)
# `MET_LONG` has four bytes whatever the machine, and an array type is that of its elements; as MetaIO has both.
DTYPES = {
    "MET_CHAR": "int8",
    "MET_ASCII_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG": "int32",
    "MET_ULONG": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
# Names of one thing; where a file states several, the first one counts.
SPACING = ("ElementSpacing", "ElementSize")
POSITION = ("Offset", "Origin", "Position")
MATRIX = ("TransformMatrix", "Rotation", "Orientation")
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")

NO_POSITION = "no position is stated: spacing is known, the origin is assumed"
OTHER_UNITS = "the distance units are not mm: the numbers are taken as mm"
INTENSITY_FUNCTION = "an intensity function is stated; the numbers are kept as they are stored"


@dataclass(frozen=True, kw_only=True)
class TextHeader:
    """fields: name -> text. listed: the lines behind `ElementDataFile = LIST`. end: offset behind the header."""

    fields: Mapping[str, str]
    listed: tuple[str, ...]
    end: int

    def first(self, names: Sequence[str]) -> str | None:
        """The text of the first of several names that is stated."""
        return next((self.fields[name] for name in names if name in self.fields), None)

    def says(self, names: Sequence[str], *, otherwise: bool = False) -> bool:
        text = self.first(names)
        return otherwise if not text else text[0] in "Tt1"


def sniff(files: Files) -> bool:
    return any(_is_header(path) for path in files)


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a MetaImage; `Modality` is kept where it is known (`MET_MOD_CT` is CT)."""
    path = _header_file(files)
    text = _text_header(path)
    voxels = _stored(path, text)
    require_named(files, path, _data_file_names(path, text))
    require_capacity(path, voxels)
    *sizes, channels = voxels.shape
    t, z, y, x = [1] * (4 - len(sizes)) + sizes
    trusted = text.first(SPACING) is not None
    return Header(
        format=FORMAT.name,
        shape=(z, y, x),
        channels=channels,
        timepoints=t,
        affine=_affine(path, text, len(sizes)) if trusted else pixel_grid_affine(),
        dtype=voxels.dtype.name,
        modality=_modality(text),
        trusted_geometry=trusted,
        leading=LeadingAxis(kind="other") if t > 1 else None,
        warnings=_warnings(text, trusted=trusted),
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, unscaled; (c, z, y, x), or (t, c, z, y, x)."""
    path = _header_file(files)
    header = read_header(files)
    stored = narrowed(read_stored(path, _stored(path, _text_header(path)), request.spool), request.spool, reuse=True)
    full = np.moveaxis(stored.reshape(header.timepoints, *header.shape, header.channels), -1, 1)
    return Image(
        array=full if header.timepoints > 1 else full[0],
        affine=header.affine,
        modality=header.modality or "",
        trusted_geometry=header.trusted_geometry,
        leading=header.leading,
    )


def data_file_names(path: Path) -> tuple[str, ...]:
    """The data files that a header names, relative to its folder; none where it holds the voxels itself."""
    return _data_file_names(path, _text_header(path))


def _header_file(files: Files) -> Path:
    return next(path for path in files if _is_header(path))


def _is_header(path: Path) -> bool:
    """MetaImage has no magic number: it is text of `Name = text` lines, `NDims` and `DimSize` among them."""
    start = first_bytes(path, 4096)
    found = [NAME.match(line) for line in start.splitlines()]
    names = [name.group(1) for name in found if name is not None]
    return bool(names) and found[0] is not None and {b"NDims", b"DimSize"} <= set(names)


def _text_header(path: Path) -> TextHeader:
    """Source: MetaIO documentation: lines `Name = text` (or `Name: text`), of which `ElementDataFile` is the last."""
    start = first_bytes(path, LARGEST_HEADER)
    fields: dict[str, str] = {}
    for line in LINE.finditer(start):
        name = NAME.match(line.group())
        if name is None:
            continue
        field = name.group(1).decode("ascii")
        fields[field] = line.group()[name.end() :].decode("utf-8", "replace").strip()
        if field == "ElementDataFile" and fields[field]:
            rest = start[line.end() :].decode("utf-8", "replace") if fields[field].startswith("LIST") else ""
            listed = tuple(entry.strip() for entry in rest.splitlines() if entry.strip())
            return TextHeader(fields=fields, listed=listed, end=line.end())
    raise bad_file("read.truncated", path, "the header ends without ElementDataFile")


def _stored(path: Path, text: TextHeader) -> StoredVoxels:
    """The voxels, of shape (t, z, y, x, channels) with as many axes before the channels as the file states."""
    sizes = _integers(path, text.fields.get("DimSize", ""), "DimSize")
    if str(len(sizes)) != text.fields.get("NDims") or not 2 <= len(sizes) <= 4:
        raise bad_file(
            "read.unsupported",
            path,
            "NDims and DimSize contradict each other, or are not two to four dimensions",
            details={"sizes": len(sizes)},
        )
    channels = _integers(path, text.fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")
    names = _data_file_names(path, text)
    shape = (*sizes[::-1], *channels[:1])
    dtype = _dtype(path, text)
    files = tuple(data_file(path, name) for name in names) or (path,)
    encoding: Encoding = "raw"
    if not text.says(("BinaryData",), otherwise=True):
        encoding = "text"
    elif text.says(("CompressedData",)):
        encoding = "zlib"
    skip = text.fields.get("HeaderSize", "0")
    if re.fullmatch(r"-1|\d{1,18}", skip, re.ASCII) is None:
        raise bad_file("read.unreadable", path, "HeaderSize is no number", details={"expected": "-1, 0 or more"})
    offset = int(skip) or (0 if names else text.end)
    if offset < 0 and encoding != "raw":
        offset = 0 if names else text.end
    return StoredVoxels(
        files=files,
        offset=None if offset < 0 else offset,
        skip=0,
        encoding=encoding,
        shape=shape,
        dtype=dtype,
    )


def _integers(path: Path, text: str, field: str) -> tuple[int, ...]:
    words = text.split()
    if not words or not all(re.fullmatch(r"\d{1,18}", word, re.ASCII) and int(word) for word in words):
        raise bad_file(
            "read.unreadable",
            path,
            "a field of the header is not numbers of voxels",
            details={"field": field, "expected": "whole numbers, each at least 1"},
        )
    return tuple(int(word) for word in words)


def _dtype(path: Path, text: TextHeader) -> Stored:
    found = DTYPES.get(text.fields.get("ElementType", "").removesuffix("_ARRAY"))
    if found is None:
        raise bad_file(
            "read.unsupported",
            path,
            "the voxels are not integers or real numbers",
            details={"field": "ElementType", "read": ", ".join(DTYPES)},
        )
    return np.dtype(found).newbyteorder(">" if text.says(BIG_ENDIAN) else "<")


def _data_file_names(path: Path, text: TextHeader) -> tuple[str, ...]:
    name = text.fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return ()
    if name.split()[0] == "LIST":
        return distinct(path, text.listed)
    pattern = re.fullmatch(r"(.*%\S*)((?:\s+\d{1,9}){0,3})", name, re.ASCII)
    if pattern is None:
        return (name,)
    last = _integers(path, text.fields.get("DimSize", ""), "DimSize")[-1]
    # MetaIO counts from 1 to the number of slices in steps of 1 where the numbers are not stated.
    stated = [int(number) for number in pattern.group(2).split()]
    first, last, step = stated + [1, last, 1][len(stated) :]
    return numbered(path, pattern.group(1), first, last, step)


def _affine(path: Path, text: TextHeader, dimensions: int) -> Affine:
    """Each axis of the file has a row of the matrix, the way it runs in LPS. Source: MetaIO, `TransformMatrix`."""
    spacing = _reals(path, text, SPACING, dimensions, [1.0] * dimensions)
    origin = _reals(path, text, POSITION, dimensions, [0.0] * dimensions)
    rows = _reals(path, text, MATRIX, dimensions**2, np.eye(dimensions).ravel().tolist())
    columns = np.array(rows).reshape(dimensions, dimensions).T
    return lps_affine(path, origin, spacing, columns.ravel().tolist())


def _reals(path: Path, text: TextHeader, names: Sequence[str], count: int, otherwise: list[float]) -> list[float]:
    stated = text.first(names)
    if stated is None:
        return otherwise
    words = stated.split()
    if len(words) != count or not all(NUMBER.fullmatch(word) for word in words):
        raise bad_file(
            "read.unreadable",
            path,
            "a field of the header is not as many numbers as it should be",
            details={"field": next(name for name in names if name in text.fields), "expected": count},
        )
    return [float(word) for word in words]


def _modality(text: TextHeader) -> str | None:
    name = text.fields.get("Modality", "").removeprefix("MET_MOD_")
    return name if name in ("CT", "MR", "NM", "US") else None


def _warnings(text: TextHeader, *, trusted: bool) -> tuple[str, ...]:
    found = []
    if trusted and text.first(POSITION) is None:
        found.append(NO_POSITION)
    if text.fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        found.append(OTHER_UNITS)
    slope = text.fields.get("ElementToIntensityFunctionSlope", "1")
    shift = text.fields.get("ElementToIntensityFunctionOffset", "0")
    if _as_number(slope) != 1 or _as_number(shift) != 0:
        found.append(INTENSITY_FUNCTION)
    return tuple(found)


def _as_number(text: str) -> float:
    return float(text) if NUMBER.fullmatch(text) else math.nan


def decoders() -> dict[str, str]:
    return installed_versions("isal", "numpy")


FORMAT = Format(
    name="metaimage",
    kind="image",
    suffixes=(".mha", ".mhd"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
