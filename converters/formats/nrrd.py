"""NRRD: `.nrrd` with its data, or `.nhdr` beside a data file. Read by SimpleITK.

A `list` or `vector` axis becomes the channels, a fourth domain axis becomes time. Oracle for the geometry: SimpleITK,
which turns every `space` into LPS. A file that states no `space` has spacing at most, and no orientation.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, Format, Header, first_bytes
from medshard.converters.formats.itk import itk_decoders, read_itk_header, read_itk_image
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Image

IMAGE_IO = "NrrdImageIO"
MAGIC = b"NRRD000"
LARGEST_HEADER = 1 << 20


def sniff(files: Files) -> bool:
    return len(files) <= 2 and any(first_bytes(path, len(MAGIC)) == MAGIC for path in files)


def read_header(files: Files) -> Header:
    """Header of a NRRD file."""
    path = _header_file(files)
    fields, _ = _text_header(path)
    _require_data_file(path, fields)
    header = read_itk_header(path, image_io=IMAGE_IO, format_name=FORMAT.name)
    if _states_geometry(fields):
        if "space" in fields or "space dimension" in fields:
            return header
        return replace(header, warnings=("no space is stated: spacing is known, orientation and position are assumed",))
    return replace(header, affine=pixel_grid_affine(), trusted_geometry=False)


def read(files: Files) -> Image:
    """The stored numbers, unscaled; (c, z, y, x), or (t, c, z, y, x)."""
    path = _header_file(files)
    fields, data_offset = _text_header(path)
    _require_data_file(path, fields)
    if fields.get("encoding") in ("gzip", "gz"):
        _require_whole_gzip(*_data_place(path, fields, data_offset))
    image = read_itk_image(path, image_io=IMAGE_IO)
    if _states_geometry(fields):
        return image
    return replace(image, affine=pixel_grid_affine(), trusted_geometry=False)


def _header_file(files: Files) -> Path:
    return next(path for path in files if first_bytes(path, len(MAGIC)) == MAGIC)


def _text_header(path: Path) -> tuple[dict[str, str], int]:
    """Field -> text, and the offset of the data; 0 where they lie in another file.

    Source: teem, "Definition of NRRD file format", sections 2 and 3: lines `field: text` up to an empty line.
    """
    start = first_bytes(path, LARGEST_HEADER)
    ends = [(start.find(blank), len(blank)) for blank in (b"\n\n", b"\r\n\r\n")]
    found = [(at, length) for at, length in ends if at >= 0]
    text, offset = (start, 0) if not found else (start[: min(found)[0]], sum(min(found)))
    fields = {}
    for line in text.decode("ascii", "replace").splitlines()[1:]:
        name, separator, value = line.partition(": ")
        if separator and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields, 0 if "data file" in fields or "datafile" in fields else offset


def _data_place(path: Path, fields: dict[str, str], offset: int) -> tuple[Path, int]:
    name = fields.get("data file", fields.get("datafile"))
    return (path, offset) if name is None else (path.parent / name, 0)


def _require_data_file(path: Path, fields: dict[str, str]) -> None:
    """Raises CaseError[read.missing_part] when the data file that a header names is not there."""
    name = fields.get("data file", fields.get("datafile"))
    if name is None:
        return
    if name.startswith("LIST") or "%" in name:
        raise bad_file(
            "read.unsupported", path, "the voxels are spread over several data files", details={"data file": name}
        )
    if not (path.parent / name).is_file():
        raise bad_file(
            "read.missing_part", path, "the data file that the header names is missing", details={"expected": name}
        )


def _require_whole_gzip(path: Path, offset: int) -> None:
    """Raises CaseError[read.truncated], or zlib.error for wrong bytes.

    SimpleITK stops at the last voxel and never comes to the checksum behind it.
    """
    stream = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        file.seek(offset)
        while not stream.eof and (block := file.read(1 << 16)):
            stream.decompress(block)
    if not stream.eof:
        raise bad_file("read.truncated", path, "the compressed voxels end too early")


def _states_geometry(fields: dict[str, str]) -> bool:
    spacings = fields.get("spacings", "").lower().replace("nan", "").split()
    return "space directions" in fields or bool(spacings)


def _gzip_is_cut(path: Path, offset: int) -> bool:
    """Whether a gzip stream ends before its end mark, without being wrong before."""
    stream = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        file.seek(offset)
        while (block := file.read(1 << 16)) and not stream.eof:
            try:
                stream.decompress(block)
            except zlib.error:
                return False
    return not stream.eof


FORMAT = Format(
    name="nrrd",
    kind="image",
    suffixes=(".nrrd", ".nhdr"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=itk_decoders,
)
