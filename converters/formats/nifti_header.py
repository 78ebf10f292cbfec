"""The numbers of a NIfTI-1, NIfTI-2 or Analyze 7.5 header, read by their places.

Only what places and types the voxels is unpacked; descriptions, names and extensions are free text and never leave the
file. Sources: nifti1.h and nifti2.h of the NIfTI data format working group; for Analyze, the Mayo Clinic's dbh.h.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medshard.converters.formats.format import Files, first_bytes
from medshard.converters.formats.voxel_stream import GZIP_MAGIC

ByteOrder = Literal["<", ">"]
Layout = Literal["nifti1", "nifti2", "analyze"]

HEADER_BYTES: dict[Layout, int] = {"nifti1": 348, "nifti2": 540, "analyze": 348}
LARGEST_HEADER = 540
BYTE_ORDERS: tuple[ByteOrder, ByteOrder] = ("<", ">")
# A gzip stream of which so much is at hand decodes to a whole header, unless it is cut.
COMPRESSED_START = 16 << 10
# Text-mode transfers change these four bytes of NIfTI-2, which stand behind its magic for that purpose.
LINE_ENDS = (b"\r\n\x1a\n", b"\0\0\0\0")


@dataclass(frozen=True, kw_only=True)
class Datatype:
    """A code of the field `datatype`. numpy: None where such voxels are not read. components: of a colour voxel."""

    name: str
    bits: int
    numpy: str | None = None
    components: int = 1


DATATYPES = {
    1: Datatype(name="single bits", bits=1),
    2: Datatype(name="uint8", bits=8, numpy="u1"),
    4: Datatype(name="int16", bits=16, numpy="i2"),
    8: Datatype(name="int32", bits=32, numpy="i4"),
    16: Datatype(name="float32", bits=32, numpy="f4"),
    32: Datatype(name="complex64", bits=64),
    64: Datatype(name="float64", bits=64, numpy="f8"),
    128: Datatype(name="RGB", bits=24, numpy="u1", components=3),
    256: Datatype(name="int8", bits=8, numpy="i1"),
    512: Datatype(name="uint16", bits=16, numpy="u2"),
    768: Datatype(name="uint32", bits=32, numpy="u4"),
    1024: Datatype(name="int64", bits=64, numpy="i8"),
    1280: Datatype(name="uint64", bits=64, numpy="u8"),
    1536: Datatype(name="float128", bits=128),
    1792: Datatype(name="complex128", bits=128),
    2048: Datatype(name="complex256", bits=256),
    2304: Datatype(name="RGBA", bits=32, numpy="u1", components=4),
}


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
    if len(start) >= HEADER_BYTES["nifti2"] and start[4:7] in (b"n+2", b"ni2") and _stated_order(start, 540):
        return _parse_nifti2(start)
    if len(start) < HEADER_BYTES["nifti1"]:
        return None
    magic, order = start[344:348], _stated_order(start, 348)
    if magic[:3] in (b"n+1", b"ni1") and (order is not None or (magic[3:] == b"\0" and _order_by_dim(start))):
        return _parse_nifti1(start, single=magic[:3] == b"n+1", warnings=_magic_warnings(magic, order))
    if named_nifti and order is not None and parse_analyze(start) is not None:
        return _parse_nifti1(start, single=True, warnings=("the magic is missing; name and fields say NIfTI-1",))
    return None


def parse_analyze(start: bytes) -> NiftiHeader | None:
    """The header at the start of a file if all that can be plausible in it is."""
    if len(start) < HEADER_BYTES["analyze"] or _stated_order(start, 348) is None or start[344:347] in (b"n+1", b"ni1"):
        return None
    order = _order_by_dim(start)
    if order is None:
        return None
    dim = struct.unpack_from(order + "8h", start, 40)
    datatype, bitpix = struct.unpack_from(order + "2h", start, 70)
    if min(dim[1 : dim[0] + 1]) < 0 or dim[1] < 1 or datatype not in DATATYPES:
        return None
    if bitpix not in (0, DATATYPES[datatype].bits):
        return None
    pixdim = struct.unpack_from(order + "8f", start, 76)
    # What dbh.h calls unused is the offset and, since SPM, a scale factor and an intercept.
    offset, scale, intercept = struct.unpack_from(order + "3f", start, 108)
    return NiftiHeader(
        layout="analyze",
        single=False,
        byte_order=order,
        dim=dim,
        datatype=datatype,
        bitpix=bitpix,
        pixdim=pixdim,
        vox_offset=offset,
        scl_slope=scale,
        scl_inter=intercept if math.isfinite(intercept) else 0.0,
        origin=struct.unpack_from(order + "5h", start, 253),
    )


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
    sizes = [size for size in (348, 540) if len(start) < size and len(start) >= 4 and _stated_order(start, size)]
    return is_named_nifti(path) and bool(sizes)


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


def _stated_order(start: bytes, size: int) -> ByteOrder | None:
    """The byte order under which the first field holds the size of the header."""
    return next((order for order in BYTE_ORDERS if start[:4] == struct.pack(order + "i", size)), None)


def _order_by_dim(start: bytes) -> ByteOrder | None:
    """The byte order under which a NIfTI-1 `dim[0]` is 1 to 7, which is how nifti1.h says to tell; at most one is."""
    return next((order for order in BYTE_ORDERS if 1 <= struct.unpack_from(order + "h", start, 40)[0] <= 7), None)


def _magic_warnings(magic: bytes, order: ByteOrder | None) -> tuple[str, ...]:
    warnings = []
    if order is None:
        warnings.append("sizeof_hdr is not 348; magic and dim[0] say NIfTI-1")
    if magic[3:] != b"\0":
        warnings.append("the magic does not end in a zero byte")
    return tuple(warnings)


def _parse_nifti1(start: bytes, *, single: bool, warnings: tuple[str, ...]) -> NiftiHeader:
    stated, by_dim = _stated_order(start, 348), _order_by_dim(start)
    order = by_dim or stated or "<"
    if stated is not None and by_dim not in (None, stated):
        warnings = (*warnings, "sizeof_hdr and dim[0] are of different byte order; that of dim[0] is taken")
    datatype, bitpix = struct.unpack_from(order + "2h", start, 70)
    vox_offset, slope, intercept = struct.unpack_from(order + "3f", start, 108)
    qform_code, sform_code = struct.unpack_from(order + "2h", start, 252)
    forms = struct.unpack_from(order + "18f", start, 256)
    return NiftiHeader(
        layout="nifti1",
        single=single,
        byte_order=order,
        dim=struct.unpack_from(order + "8h", start, 40),
        datatype=datatype,
        bitpix=bitpix,
        pixdim=struct.unpack_from(order + "8f", start, 76),
        vox_offset=vox_offset,
        scl_slope=slope,
        scl_inter=intercept,
        xyzt_units=start[123],
        qform_code=qform_code,
        sform_code=sform_code,
        quatern=forms[0:3],
        qoffset=forms[3:6],
        srow=forms[6:18],
        warnings=warnings,
    )


def _parse_nifti2(start: bytes) -> NiftiHeader:
    order = _stated_order(start, 540) or "<"
    datatype, bitpix = struct.unpack_from(order + "2h", start, 12)
    vox_offset, slope, intercept = struct.unpack_from(order + "q2d", start, 168)
    qform_code, sform_code = struct.unpack_from(order + "2i", start, 344)
    forms = struct.unpack_from(order + "18d", start, 352)
    intact = start[8:12] in LINE_ENDS
    return NiftiHeader(
        layout="nifti2",
        single=start[4:7] == b"n+2",
        byte_order=order,
        dim=struct.unpack_from(order + "8q", start, 16),
        datatype=datatype,
        bitpix=bitpix,
        pixdim=struct.unpack_from(order + "8d", start, 104),
        vox_offset=vox_offset,
        scl_slope=slope,
        scl_inter=intercept,
        xyzt_units=struct.unpack_from(order + "i", start, 500)[0],
        qform_code=qform_code,
        sform_code=sform_code,
        quatern=forms[0:3],
        qoffset=forms[3:6],
        srow=forms[6:18],
        warnings=() if intact else ("the line-end bytes behind the magic are changed, as by a text-mode transfer",),
    )
