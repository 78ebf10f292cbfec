"""MetaImage: `.mha`, or `.mhd` beside a data file. Read by SimpleITK.

Oracle for the geometry: SimpleITK. `Offset` and `TransformMatrix` are taken as LPS mm; `AnatomicalOrientation` is a
remark that nothing reads. The data are checked here first: MetaIO reports short data as an error without a reason, and
returns what happens to be in memory where compressed data cannot be decompressed.
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

IMAGE_IO = "MetaImageIO"
LARGEST_HEADER = 1 << 16
SPACING_FIELDS = ("ElementSpacing", "ElementSize")
POSITION_FIELDS = ("Offset", "Origin", "Position")


def sniff(files: Files) -> bool:
    return len(files) <= 2 and any(_is_header(path) for path in files)


def read_header(files: Files) -> Header:
    """Header of a MetaImage; `Modality` is kept where it is known (`MET_MOD_CT` is CT)."""
    path = next(path for path in files if _is_header(path))
    fields, _ = _text_header(path)
    header = read_itk_header(path, image_io=IMAGE_IO, format_name=FORMAT.name)
    _require_length(path, header)
    header = replace(header, modality=_modality(fields))
    if not _states_geometry(fields):
        return replace(header, affine=pixel_grid_affine(), trusted_geometry=False)
    if not any(name in fields for name in POSITION_FIELDS):
        return replace(header, warnings=("no position is stated: spacing is known, the origin is assumed",))
    return header


def read(files: Files) -> Image:
    """The stored numbers, unscaled; (c, z, y, x), or (t, c, z, y, x)."""
    path = next(path for path in files if _is_header(path))
    header = read_header(files)
    _require_whole_zlib(path, header)
    image = read_itk_image(path, image_io=IMAGE_IO)
    return replace(
        image, affine=header.affine, modality=header.modality or "", trusted_geometry=header.trusted_geometry
    )


def _is_header(path: Path) -> bool:
    """MetaImage has no magic number: it is text that begins with `ObjectType = Image` or `NDims = `."""
    start = first_bytes(path, 4096)
    names = {line.partition(b"=")[0].strip() for line in start.splitlines() if b"=" in line}
    first = start.lstrip().partition(b"=")[0].strip()
    return first in (b"ObjectType", b"NDims", b"Comment") and {b"NDims", b"DimSize"} <= names


def _text_header(path: Path) -> tuple[dict[str, str], int]:
    """Field -> text, and the offset behind the header, where the data of an `.mha` begin.

    Source: MetaIO documentation: lines `Name = text`, of which `ElementDataFile` is the last.
    """
    start = first_bytes(path, LARGEST_HEADER)
    fields: dict[str, str] = {}
    offset = 0
    for line in start.splitlines(keepends=True):
        offset += len(line)
        name, _, value = line.decode("ascii", "replace").partition("=")
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile" and value.strip():
            return fields, offset
    raise bad_file("read.truncated", path, "the header ends without ElementDataFile")


def _data_place(path: Path, fields: dict[str, str], offset: int) -> tuple[Path, int]:
    """The file that holds the voxels, and where they begin in it."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, offset
    if name.upper().startswith("LIST") or "%" in name:
        raise bad_file(
            "read.unsupported", path, "the voxels are spread over several data files", details={"ElementDataFile": name}
        )
    if not (path.parent / name).is_file():
        raise bad_file(
            "read.missing_part", path, "the data file that the header names is missing", details={"expected": name}
        )
    return path.parent / name, 0


def _is_compressed(fields: dict[str, str]) -> bool:
    return fields.get("CompressedData", "False").lower() == "true"


def _require_length(path: Path, header: Header) -> None:
    """Raises CaseError[read.missing_part | read.truncated] when the data file is absent or too short."""
    fields, offset = _text_header(path)
    data, start = _data_place(path, fields, offset)
    expected = int(fields.get("CompressedDataSize", "0")) if _is_compressed(fields) else header.voxel_bytes
    found = data.stat().st_size - start
    if found < expected:
        raise bad_file(
            "read.truncated",
            data,
            "the file holds fewer voxels than its header promises",
            details={"expected": f"{expected} bytes of voxels", "found": f"{found} bytes"},
        )


def _require_whole_zlib(path: Path, header: Header) -> None:
    """Raises CaseError[read.truncated], or zlib.error for wrong bytes, unless compressed data hold every voxel."""
    fields, offset = _text_header(path)
    if not _is_compressed(fields):
        return
    data, start = _data_place(path, fields, offset)
    # 47: either of the two frames that MetaIO accepts, zlib's own and gzip's.
    stream = zlib.decompressobj(wbits=47)
    found = 0
    with data.open("rb") as file:
        file.seek(start)
        while not stream.eof and (block := file.read(1 << 16)):
            found += len(stream.decompress(block))
    if not stream.eof or found < header.voxel_bytes:
        raise bad_file(
            "read.truncated",
            data,
            "the compressed voxels end too early",
            details={"expected": f"{header.voxel_bytes} bytes of voxels", "found": f"{found} bytes"},
        )


def _states_geometry(fields: dict[str, str]) -> bool:
    return any(name in fields for name in SPACING_FIELDS)


def _modality(fields: dict[str, str]) -> str | None:
    name = fields.get("Modality", "").removeprefix("MET_MOD_")
    return name if name and name not in ("UNKNOWN", "OTHER") else None


FORMAT = Format(
    name="metaimage",
    kind="image",
    suffixes=(".mha", ".mhd"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=itk_decoders,
)
