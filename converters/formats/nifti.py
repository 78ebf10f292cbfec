"""NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs.

The header's numbers are read in `nifti_header` by nibabel's layouts, its affine by the rule of `nifti_affine`, its
voxels by `voxel_stream`. Content decides what is compressed, not the name. Oracle: nibabel. Broken headers are common
in published data; this is what is done about them, always with a warning unless it says otherwise:

| found | done |
|---|---|
| byte orders of sizeof_hdr and dim[0] differ | that of dim[0] is taken |
| sizeof_hdr is not 348 under a whole magic | read |
| magic missing, file named `.nii`, fields plausible | read as NIfTI-1 |
| magic of a pair in a `.nii`; of a single file in a `.hdr` with an image beside it | the name is believed |
| dim[0] outside 1 to 7 in both byte orders; a side below 1 | refused |
| zeros behind the last used side | taken as 1 |
| dim[6], dim[7] above 1 | refused |
| datatype and bitpix differ | datatype is taken; the file's length tells if it was wrong |
| single bits, complex numbers, float128, unknown codes | refused by name |
| vox_offset of a single file within the header, not finite | the place where the header ends |
| vox_offset of a pair that the image file is too short for, by just that | 0 |
| bytes behind the voxels | ignored |
| scl_slope 0 or not finite | no rescale (of 0 without a warning, which means it) |
| scl_slope valid and scl_inter not finite | refused: the numbers' meaning is unknown |
| sform with NaN, all zeros, singular | the qform, else the voxel sizes |
| quaternion longer than 1 by up to 1 % | made a unit one; beyond that the qform is not used |
| qfac other than 1, -1 | its sign; 0 is 1 without a warning |
| pixdim negative | its sign is ignored |
| pixdim 0 or not finite, where it is needed | refused; 1 mm along an axis of one voxel |
| sform and qform disagree | sform; the distance in voxels is said |
| sheared sform | kept as stated; the angle is said |
| pixdim contradicts the sform | sform |
| micrometres, metres | converted to mm; a metre that makes voxels above 10 cm is a mm |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import unit_codes

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
from medshard.converters.formats.nifti_affine import affine_of
from medshard.converters.formats.nifti_header import (
    DATATYPES,
    HEADER_BYTES,
    Datatype,
    NiftiHeader,
    find_nifti_header,
    image_beside,
    is_cut_header,
    is_named_nifti,
)
from medshard.converters.formats.voxel_stream import GZIP_MAGIC, Encoding, read_voxels
from medshard.converters.geometry import affine_from_nifti
from medshard.converters.spooling import Spool
from medshard.converters.volume import Array, Image, LeadingAxis, Rescale

# Four bytes behind the header say whether extensions follow; voxels of a single file begin there at the earliest.
EXTENSION_FLAG_BYTES = 4
SECONDS_PER_UNIT = {unit_codes[unit]: scale for unit, scale in (("sec", 1.0), ("msec", 1e-3), ("usec", 1e-6))}


@dataclass(frozen=True, kw_only=True)
class VoxelSource:
    """Where the voxels of a header lie and what they are.

    shape: (t, c, z, y, x), c without the components of a colour. warnings: what was overlooked on the way.
    """

    header: NiftiHeader
    header_file: Path
    data_file: Path
    encoding: Encoding
    offset: int
    shape: tuple[int, int, int, int, int]
    datatype: Datatype
    warnings: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the stored numbers, with their byte order."""
        return self.datatype.stored.newbyteorder(self.header.byte_order)

    @property
    def sides(self) -> tuple[int, int, int]:
        """(x, y, z)"""
        return self.shape[4], self.shape[3], self.shape[2]


def sniff(files: Files) -> bool:
    return len(files) <= 2 and (find_nifti_header(files) is not None or any(map(is_cut_header, files)))


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a NIfTI file or pair; reads some hundred bytes."""
    source = _source(files)
    affine, warnings = affine_of(source.header, source.sides, source.header_file)
    _, doubts = rescale_of(source)
    t, c, z, y, x = source.shape
    return Header(
        format=FORMAT.name,
        shape=(z, y, x),
        channels=c * source.datatype.components,
        timepoints=t,
        affine=affine_from_nifti(affine),
        dtype=source.dtype.newbyteorder("=").name,
        leading=leading_of(source),
        warnings=(*source.warnings, *warnings, *doubts),
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, with `scl_slope` and `scl_inter` in the rescale; time leads where it has several points."""
    source = _source(files)
    affine, _ = affine_of(source.header, source.sides, source.header_file)
    rescale, _ = rescale_of(source)
    return Image(
        array=stored_voxels(source, request.spool),
        affine=affine_from_nifti(affine),
        rescale=rescale,
        leading=leading_of(source),
    )


def decoders() -> dict[str, str]:
    return installed_versions("isal", "nibabel", "numpy")


def voxel_source(header_file: Path, header: NiftiHeader, files: Files) -> VoxelSource:
    """Where the voxels are. Raises CaseError[read.missing_part | read.unreadable | read.unsupported]."""
    warnings = list(header.warnings)
    shape = _shape(header, header_file, warnings)
    datatype = _datatype(header, header_file, warnings)
    expected = math.prod(shape) * datatype.bits // 8
    data_file = _data_file(header_file, header, files, warnings)
    offset = _voxel_offset(header, warnings, single=data_file == header_file)
    size = data_file.stat().st_size
    # Voxels may begin with the two bytes of gzip's magic, but then the file has just their length.
    compressed = first_bytes(data_file, 2) == GZIP_MAGIC and size != offset + expected
    if not compressed:
        if data_file != header_file and size == expected < offset + expected:
            warnings.append("vox_offset lies beyond what the image file is longer than its voxels; 0 is taken")
            offset = 0
        if size > offset + expected:
            warnings.append(f"{size - offset - expected} bytes lie behind the voxels; they are ignored")
    return VoxelSource(
        header=header,
        header_file=header_file,
        data_file=data_file,
        encoding="gzip" if compressed else "raw",
        offset=offset,
        shape=shape,
        datatype=datatype,
        warnings=tuple(warnings),
    )


def stored_voxels(source: VoxelSource, spool: Spool) -> Array:
    """(c, z, y, x), or (t, c, z, y, x) where time has several points, floats narrowed; axes before z may be a view."""
    t, c, z, y, x = source.shape
    colours = source.datatype.components
    shape: Sequence[int] = (c, t, z, y, x) if colours == 1 else (1, t, z, y, x, colours)
    stored = read_voxels(
        source.data_file,
        encoding=source.encoding,
        shape=shape,
        dtype=source.dtype,
        spool=spool,
        **_place(source),
    )
    if colours > 1:
        stored = np.moveaxis(stored[0], -1, 0)
    array = narrowed(stored, spool, reuse=True).swapaxes(0, 1)
    return array if t > 1 else array[0]


def rescale_of(source: VoxelSource) -> tuple[Rescale, tuple[str, ...]]:
    """Slope and intercept, and what is doubtful. Raises CaseError[read.unreadable], see the module's table."""
    slope, intercept = source.header.scl_slope, source.header.scl_inter
    if source.datatype.components > 1 or slope == 0:
        return Rescale(), ()
    if not math.isfinite(slope):
        return Rescale(), ("scl_slope is no finite number; no rescale is taken",)
    if not math.isfinite(intercept):
        raise bad_file(
            "read.unreadable",
            source.header_file,
            "scl_slope is set and scl_inter is no finite number: what the voxels mean is not known",
            details={"scl_slope": slope, "scl_inter": intercept},
        )
    return Rescale(slope=(float(slope),), intercept=(float(intercept),)), ()


def leading_of(source: VoxelSource) -> LeadingAxis | None:
    """What the fourth dimension counts: time where the header gives it a unit of time, else something else."""
    steps = source.shape[0]
    if steps == 1:
        return None
    scale = SECONDS_PER_UNIT.get(source.header.xyzt_units & 0x38)
    if scale is None:
        return LeadingAxis(kind="other")
    step = source.header.pixdim[4] * scale
    if not (math.isfinite(step) and step > 0):
        return LeadingAxis(kind="time")
    return LeadingAxis(kind="time", values=tuple(step * number for number in range(steps)))


def _source(files: Files) -> VoxelSource:
    found = find_nifti_header(files)
    if found is None:
        raise bad_file("read.truncated", files[0], "the file ends within the NIfTI header")
    return voxel_source(*found, files)


def _place(source: VoxelSource) -> dict[str, int]:
    """Where voxels begin, as `voxel_stream` asks: a compressed file counts its offset in decoded bytes."""
    if source.encoding == "raw":
        return {"offset": source.offset, "skip": 0}
    return {"offset": 0, "skip": source.offset}


def _shape(header: NiftiHeader, file: Path, warnings: list[str]) -> tuple[int, int, int, int, int]:
    """(t, c, z, y, x): the fourth dimension is time, the fifth the components of a vector."""
    used = header.dim[0]
    if not 1 <= used <= 7:
        raise bad_file(
            "read.unreadable",
            file,
            "dim[0], the number of dimensions, is not 1 to 7 in either byte order",
            details={"dim": "x".join(map(str, header.dim))},
        )
    sides = list(header.dim[1 : used + 1])
    while len(sides) > 2 and sides[-1] in (0, 1):
        if sides.pop() == 0:
            warnings.append(f"dim[{len(sides) + 1}] is 0; taken as 1")
    if min(sides) < 1:
        raise bad_file(
            "read.unreadable", file, "a side has less than one voxel", details={"dim": "x".join(map(str, header.dim))}
        )
    if len(sides) > 5:
        raise bad_file(
            "read.unsupported",
            file,
            "the image has dimensions beyond space, time and components",
            details={"dim": "x".join(map(str, sides))},
        )
    x, y, z, t, c = sides + [1] * (5 - len(sides))
    return t, c, z, y, x


def _datatype(header: NiftiHeader, file: Path, warnings: list[str]) -> Datatype:
    found = DATATYPES.get(header.datatype)
    if found is None or not found.is_real:
        raise bad_file(
            "read.unsupported",
            file,
            "voxels that are neither integers nor real numbers of up to 64 bits",
            details={"datatype": f"{header.datatype} ({found.name if found else 'unknown'})"},
        )
    if found.components > 1 and header.dim[0] >= 5 and header.dim[5] > 1:
        raise bad_file("read.unsupported", file, "colour voxels in a vector image")
    if header.bitpix != found.bits:
        warnings.append(f"bitpix is {header.bitpix} and not {found.bits} as the datatype asks; datatype is taken")
    return found


def _data_file(header_file: Path, header: NiftiHeader, files: Files, warnings: list[str]) -> Path:
    """Which file holds the voxels; the second of a pair may be unnamed beside the first."""
    others = [path for path in files if path != header_file] or [image_beside(header_file)]
    named_pair = header_file.name.lower().endswith((".hdr", ".hdr.gz")) and others[0].is_file()
    if header.single and named_pair:
        warnings.append("the magic is that of a single file, the names are those of a pair; read as a pair")
        return others[0]
    if header.single:
        return header_file
    if is_named_nifti(header_file) and len(files) == 1:
        warnings.append("the magic is that of a pair, the name that of a single file; read as a single file")
        return header_file
    if not others[0].is_file():
        raise bad_file(
            "read.missing_part",
            header_file,
            "the image file of this header is missing",
            details={"expected": others[0].name},
        )
    return others[0]


def _voxel_offset(header: NiftiHeader, warnings: list[str], *, single: bool) -> int:
    """Bytes before the first voxel."""
    earliest = HEADER_BYTES[header.layout] + EXTENSION_FLAG_BYTES if single else 0
    stated = header.vox_offset
    if math.isfinite(stated) and stated >= earliest:
        return int(stated)
    text = f"{stated:.0f}" if math.isfinite(stated) else "no finite number"
    warnings.append(f"vox_offset is {text}; the first voxel is taken at byte {earliest}")
    return earliest


FORMAT = Format(
    name="nifti",
    kind="image",
    suffixes=(".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
