"""The numbers of a NIfTI-1, NIfTI-2 or Analyze 7.5 header.

Places, types and codes of the fields are nibabel's; its checks are not used, because they refuse or change headers that
are common in published data (`nifti` says what is done about those). Only the fields of `FIELDS` are taken:
descriptions, names and extensions are free text and never leave the file.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from nibabel import nifti1, nifti2, spm2analyze
from nibabel.nifti1 import data_type_codes
from numpy.typing import DTypeLike

from medshard.converters.formats.format import Files, first_bytes
from medshard.converters.formats.voxel_stream import GZIP_MAGIC

ByteOrder = Literal["<", ">"]
Layout = Literal["nifti1", "nifti2", "analyze"]

# What Analyze calls unused is, since SPM, a scale factor, an intercept and an origin; SPM2's layout names all three.
LAYOUTS: dict[Layout, np.dtype[np.void]] = {
    "nifti1": nifti1.header_dtype,
    "nifti2": nifti2.header_dtype,
    "analyze": spm2analyze.header_dtype,
}
HEADER_BYTES: dict[Layout, int] = {layout: dtype.itemsize for layout, dtype in LAYOUTS.items()}
LARGEST_HEADER = max(HEADER_BYTES.values())
BYTE_ORDERS: tuple[ByteOrder, ByteOrder] = ("<", ">")
FIELDS = (
    *("dim", "datatype", "bitpix", "pixdim", "vox_offset", "scl_slope", "scl_inter"),
    *("xyzt_units", "qform_code", "sform_code", "origin"),
)
QUATERN = ("quatern_b", "quatern_c", "quatern_d")
QOFFSET = ("qoffset_x", "qoffset_y", "qoffset_z")
SROW = ("srow_x", "srow_y", "srow_z")
# Of the types that NumPy may not have, for which nibabel states no size.
OTHER_BITS = {"binary": 1, "float128": 128, "complex256": 256}
# A gzip stream of which so much is at hand decodes to a whole header, unless it is cut.
COMPRESSED_START = 16 << 10
# Text-mode transfers change these four bytes of NIfTI-2, which stand behind its magic for that purpose.
LINE_ENDS = (b"\r\n\x1a\n", b"\0\0\0\0")


@dataclass(frozen=True, kw_only=True)
class Datatype:
    """A code of the field `datatype`.

    bits: of a voxel. stored: type of one number, in either byte order.
    components: of a colour voxel.
    """

    name: str
    bits: int
    stored: np.dtype[Any]
    components: int

    @property
    def is_real(self) -> bool:
        """Integers and real numbers of up to 64 bits: the voxels that are read."""
        return self.stored.kind in "iuf" and self.stored.itemsize <= 8


def _datatype(code: int) -> Datatype:
    name, voxel = str(data_type_codes.label[code]), np.dtype(cast("DTypeLike", data_type_codes.dtype[code]))
    colours = voxel.names
    return Datatype(
        name=name,
        bits=8 * voxel.itemsize or OTHER_BITS[name],
        stored=np.dtype(np.uint8) if colours else voxel,
        components=len(colours) if colours else 1,
    )


# "none" and "all" are codes, but no types that voxels have.
NO_TYPES = {data_type_codes["none"], data_type_codes["all"]}
DATATYPES = {code: _datatype(code) for code in data_type_codes.value_set() - NO_TYPES}


@dataclass(frozen=True, kw_only=True)
class NiftiHeader:
    """The fields as stated, under their names of nifti1.h; of Analyze, the forms are unset.

    origin: of Analyze, the five numbers in which SPM keeps the voxel of the origin, counted from 1.
    warnings: what had to be overlooked to read the header at all.
    """

    layout: Layout
    single: bool
    byte_order: ByteOrder
    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    scl_slope: float
    scl_inter: float
    xyzt_units: int = 0
    qform_code: int = 0
    sform_code: int = 0
    quatern: tuple[float, ...] = (0.0, 0.0, 0.0)
    qoffset: tuple[float, ...] = (0.0, 0.0, 0.0)
    srow: tuple[float, ...] = (0.0,) * 12
    origin: tuple[int, ...] = (0,) * 5
    warnings: tuple[str, ...] = ()


def find_nifti_header(files: Files) -> tuple[Path, NiftiHeader] | None:
    """The file among them, or the one beside an `.img`, that is a NIfTI header."""
    for path in _candidates(files):
        header = parse_nifti(header_start(path), named_nifti=is_named_nifti(path))
        if header is not None:
            return path, header
    return None


def find_analyze_header(files: Files) -> tuple[Path, NiftiHeader] | None:
    """The file among them, or the one beside an `.img`, that is an Analyze header; Analyze has no magic to tell by."""
    for path in _candidates(files):
        header = None if is_named_nifti(path) else parse_analyze(header_start(path))
        if header is not None:
            return path, header
    return None


def parse_nifti(start: bytes, *, named_nifti: bool = False) -> NiftiHeader | None:
    """The header at the start of a file, or None. named_nifti: the file's name says what a lost magic would."""
    if len(start) >= HEADER_BYTES["nifti2"] and start[4:7] in (b"n+2", b"ni2"):
        order = _stated_order(start, "nifti2")
        if order is not None:
            intact = start[8:12] in LINE_ENDS
            doubt = "the line-end bytes behind the magic are changed, as by a text-mode transfer"
            single = start[4:7] == b"n+2"
            return _unpacked(start, "nifti2", order, single=single, warnings=() if intact else (doubt,))
    if len(start) < HEADER_BYTES["nifti1"]:
        return None
    magic, stated = start[344:348], _stated_order(start, "nifti1")
    if magic[:3] in (b"n+1", b"ni1") and (stated is not None or (magic[3:] == b"\0" and _order_by_dim(start))):
        return _parse_nifti1(start, single=magic[:3] == b"n+1", warnings=_magic_warnings(magic, stated))
    if named_nifti and stated is not None and parse_analyze(start) is not None:
        return _parse_nifti1(start, single=True, warnings=("the magic is missing; name and fields say NIfTI-1",))
    return None


def parse_analyze(start: bytes) -> NiftiHeader | None:
    """The header at the start of a file if all that can be plausible in it is."""
    if len(start) < HEADER_BYTES["analyze"] or start[344:347] in (b"n+1", b"ni1"):
        return None
    order = _order_by_dim(start)
    if order is None or _stated_order(start, "analyze") is None:
        return None
    header = _unpacked(start, "analyze", order, single=False)
    datatype = DATATYPES.get(header.datatype)
    if min(header.dim[1 : header.dim[0] + 1]) < 0 or header.dim[1] < 1 or datatype is None:
        return None
    if header.bitpix not in (0, datatype.bits):
        return None
    return header if math.isfinite(header.scl_inter) else replace(header, scl_inter=0.0)


def header_start(path: Path) -> bytes:
    """The first bytes of a file, decompressed, enough for any header; fewer where the file ends."""
    start = first_bytes(path, COMPRESSED_START)
    if not start.startswith(GZIP_MAGIC):
        return start[:LARGEST_HEADER]
    try:
        return zlib.decompressobj(wbits=31).decompress(start, LARGEST_HEADER)
    except zlib.error:
        return b""


def is_named_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_cut_header(path: Path) -> bool:
    """A file that is named NIfTI and begins like one, but ends within the header."""
    start = header_start(path)
    layouts: tuple[Layout, ...] = ("nifti1", "nifti2")
    cut = [layout for layout in layouts if len(start) < HEADER_BYTES[layout] and _stated_order(start, layout)]
    return is_named_nifti(path) and bool(cut)


def image_beside(header: Path) -> Path:
    """The file with the voxels of a pair: beside the header, by the usual names; it may not exist."""
    stem = _without_suffix(header, ".hdr")
    beside = [header.with_name(stem + suffix) for suffix in (".img", ".img.gz", ".IMG", ".IMG.gz")]
    return next((path for path in beside if path.is_file()), beside[0])


def _candidates(files: Files) -> Iterator[Path]:
    yield from files
    for path in files:
        if len(files) == 1 and path.name.lower().endswith((".img", ".img.gz")):
            stem = _without_suffix(path, ".img")
            beside = (path.with_name(stem + suffix) for suffix in (".hdr", ".hdr.gz", ".HDR"))
            yield from (header for header in beside if header.is_file())


def _without_suffix(path: Path, suffix: str) -> str:
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


def _stated_order(start: bytes, layout: Layout) -> ByteOrder | None:
    """The byte order under which the first field holds the size of the header."""
    size = HEADER_BYTES[layout]
    return next((order for order in BYTE_ORDERS if start[:4] == np.array(size, f"{order}i4").tobytes()), None)


def _order_by_dim(start: bytes) -> ByteOrder | None:
    """The byte order under which a NIfTI-1 `dim[0]` is 1 to 7, which is how nifti1.h says to tell; at most one is."""
    return next((order for order in BYTE_ORDERS if 1 <= _record(start, "nifti1", order)["dim"][0] <= 7), None)


def _magic_warnings(magic: bytes, order: ByteOrder | None) -> tuple[str, ...]:
    warnings = []
    if order is None:
        warnings.append("sizeof_hdr is not 348; magic and dim[0] say NIfTI-1")
    if magic[3:] != b"\0":
        warnings.append("the magic does not end in a zero byte")
    return tuple(warnings)


def _parse_nifti1(start: bytes, *, single: bool, warnings: tuple[str, ...]) -> NiftiHeader:
    stated, by_dim = _stated_order(start, "nifti1"), _order_by_dim(start)
    if stated is not None and by_dim not in (None, stated):
        warnings = (*warnings, "sizeof_hdr and dim[0] are of different byte order; that of dim[0] is taken")
    return _unpacked(start, "nifti1", by_dim or stated or "<", single=single, warnings=warnings)


def _record(start: bytes, layout: Layout, order: ByteOrder) -> np.void:
    found: np.void = np.frombuffer(start, LAYOUTS[layout].newbyteorder(order), count=1)[0]
    return found


def _unpacked(
    start: bytes, layout: Layout, order: ByteOrder, *, single: bool, warnings: tuple[str, ...] = ()
) -> NiftiHeader:
    """The fields as Python's numbers; Analyze has no forms."""
    record = _record(start, layout, order)
    names = record.dtype.names or ()
    stated = {name: record[name].tolist() for name in FIELDS if name in names}
    if layout != "analyze":
        stated["quatern"] = [record[name].item() for name in QUATERN]
        stated["qoffset"] = [record[name].item() for name in QOFFSET]
        stated["srow"] = [value for name in SROW for value in record[name].tolist()]
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()
    }
    return NiftiHeader(layout=layout, single=single, byte_order=order, warnings=warnings, **values)
