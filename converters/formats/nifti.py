"""NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs.

The header's meaning is nibabel's; the voxels are read here, which lets a cut or corrupt file be told by its length and
by gzip's checksum, and lets content, not the file's name, decide what is compressed.

Affine: the sform where its code is set and it is not singular, else the qform, as nibabel takes them (SimpleITK may
prefer the qform; where both are set and disagree, the header carries a warning). Micrometres and metres become mm.
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, Format, Header, first_bytes, installed_versions, narrowed
from medshard.converters.geometry import affine_from_nifti
from medshard.converters.volume import Affine, Array, Image, Rescale

GZIP_MAGIC = b"\x1f\x8b"
# zlib documents 1032:1 as the largest ratio of deflate; a header that promises more is lying.
LARGEST_GZIP_RATIO = 1032
# One disagreement of sform and qform is worth a warning from a tenth of a voxel on.
FORM_DISAGREEMENT_VOXELS = 0.1

HEADER_CLASSES = {
    b"n+1\x00": Nifti1Header,
    b"ni1\x00": Nifti1PairHeader,
    b"n+2\x00": Nifti2Header,
    b"ni2\x00": Nifti2PairHeader,
}
# nibabel reports what it fixes through a logger that writes to the terminal; the header's warnings say it instead.
SILENT = logging.Logger("nifti", level=logging.CRITICAL + 1)
MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of one NIfTI image; header and data are one file, or the two of a pair."""

    header: Path
    data: Path
    magic: bytes


def sniff(files: Files) -> bool:
    return len(files) <= 2 and any(_magic(path) is not None or _is_cut_header(path) for path in files)


def read_header(files: Files) -> Header:
    """Header of a NIfTI file or pair; reads some hundred bytes."""
    sources = _sources(files)
    raw = _raw_header(sources)
    shape = _array_shape(sources, raw)
    affine, warnings = _affine(raw)
    t, c, z, y, x = shape
    return Header(
        format=FORMAT.name,
        shape=(z, y, x),
        channels=c,
        timepoints=t,
        affine=affine,
        dtype=str(_component_dtype(sources, raw).newbyteorder("=")),
        warnings=(*_complaints(sources), *warnings),
    )


def read(files: Files) -> Image:
    """The stored numbers, with `scl_slope` and `scl_inter` in the rescale; time leads where it has several points."""
    sources = _sources(files)
    raw = _raw_header(sources)
    shape = _array_shape(sources, raw)
    stored = _read_stored(sources, raw)
    colours = stored.dtype.names
    if colours is not None:
        stored = stored.view(np.uint8).reshape(-1, len(colours)).T
    t, c, z, y, x = shape
    array = narrowed(np.ascontiguousarray(stored.reshape(c, t, z, y, x).swapaxes(0, 1)))
    slope, intercept = raw.get_slope_inter()
    affine, _ = _affine(raw)
    return Image(
        array=array if t > 1 else array[0],
        affine=affine,
        rescale=Rescale(
            slope=(1.0 if slope is None else float(slope),), intercept=(0.0 if intercept is None else float(intercept),)
        ),
    )


def decoders() -> dict[str, str]:
    return installed_versions("nibabel", "numpy")


def _sources(files: Files) -> Sources:
    """Which file is the header and which holds the voxels; the second of a pair may be unnamed beside the first."""
    for path in files:
        magic = _magic(path)
        if magic is None:
            continue
        if magic in (b"n+1\x00", b"n+2\x00"):
            return Sources(header=path, data=path, magic=magic)
        others = [other for other in files if other != path] or [_image_beside(path)]
        if not others[0].is_file():
            raise bad_file(
                "read.missing_part",
                path,
                "the image file of this header is missing",
                details={"expected": others[0].name},
            )
        return Sources(header=path, data=others[0], magic=magic)
    raise bad_file("read.truncated", files[0], "the file ends within the NIfTI header")


def _image_beside(header: Path) -> Path:
    name = header.name
    for old, new in ((".hdr.gz", ".img.gz"), (".hdr", ".img")):
        if name.endswith(old):
            return header.with_name(name.removesuffix(old) + new)
    return header.with_name(name + ".img")


def _raw_header(sources: Sources) -> Any:
    """nibabel's header, what it can fix (a negative voxel size) fixed; raises HeaderDataError for the rest."""
    with _open(sources.header) as stream:
        raw = HEADER_CLASSES[sources.magic].from_fileobj(stream, check=False)
    raw.check_fix(logger=SILENT)
    return raw


def _complaints(sources: Sources) -> tuple[str, ...]:
    """What nibabel finds odd in the header as it lies on disk."""
    with _open(sources.header) as stream:
        raw = HEADER_CLASSES[sources.magic].from_fileobj(stream, check=False)
    return tuple(line for line in type(raw).diagnose_binaryblock(raw.binaryblock, raw.endianness).splitlines() if line)


def _array_shape(sources: Sources, raw: Any) -> tuple[int, int, int, int, int]:
    """(t, c, z, y, x): the fourth NIfTI dimension is time, the fifth the components of a vector."""
    dimensions = [int(n) for n in raw.get_data_shape()]
    while len(dimensions) > 3 and dimensions[-1] == 1:
        dimensions.pop()
    if not dimensions or len(dimensions) > 5 or min(dimensions) < 1:
        raise bad_file(
            "read.unsupported",
            sources.header,
            "the image has dimensions beyond space, time and components",
            details={"dim": "x".join(map(str, dimensions))},
        )
    x, y, z, t, c = dimensions + [1] * (5 - len(dimensions))
    names = raw.get_data_dtype().names
    if names is not None and c > 1:
        raise bad_file("read.unsupported", sources.header, "colour voxels in a vector image")
    return t, c if names is None else len(names), z, y, x


def _component_dtype(sources: Sources, raw: Any) -> np.dtype[Any]:
    dtype = raw.get_data_dtype()
    if dtype.names is not None:
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf":
        raise bad_file(
            "read.unsupported",
            sources.header,
            "voxels that are neither integers nor real numbers",
            details={"datatype": dtype},
        )
    return cast("np.dtype[Any]", dtype)


def _read_stored(sources: Sources, raw: Any) -> Array:
    """The voxels as a flat array of the stored type, exactly as many as the header promises."""
    _component_dtype(sources, raw)
    dtype = raw.get_data_dtype()
    count = math.prod(int(n) for n in raw.get_data_shape())
    expected = count * dtype.itemsize
    size = sources.data.stat().st_size
    compressed = first_bytes(sources.data, 2) == GZIP_MAGIC
    if expected > size * (LARGEST_GZIP_RATIO if compressed else 1):
        raise _short(sources.data, expected, size)
    buffer = np.empty(expected, np.uint8)
    with _open(sources.data) as stream:
        stream.seek(int(raw.get_data_offset()))
        got = _fill(stream, buffer.data)
        if got < expected:
            raise _short(sources.data, expected, got)
        if compressed:
            # To the end, because gzip's checksum stands behind the last voxel.
            while stream.read(1 << 20):
                pass
    return buffer.view(dtype)


def _fill(stream: IO[bytes], view: memoryview[int]) -> int:
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


def _short(path: Path, expected: int, found: int) -> Exception:
    return bad_file(
        "read.truncated",
        path,
        "the file holds fewer voxels than its header promises",
        details={"expected": f"{expected} bytes of voxels", "found": f"{found} bytes"},
    )


def _affine(raw: Any) -> tuple[Affine, tuple[str, ...]]:
    """The affine (index z, y, x, 1 -> RAS+ mm) and what is doubtful about it."""
    warnings = []
    sform = raw.get_sform() if raw["sform_code"] > 0 else None
    qform = raw.get_qform() if raw["qform_code"] > 0 else None
    if sform is not None and abs(np.linalg.det(sform[:3, :3])) < 1e-12:
        warnings.append("the sform is singular; the qform or the pixel sizes are used")
        sform = None
    if sform is not None and qform is not None:
        apart = _voxels_apart(sform, qform, raw.get_data_shape())
        if apart > FORM_DISAGREEMENT_VOXELS:
            warnings.append(f"sform and qform disagree by {apart:.1f} voxels at a corner; the sform is used")
    if sform is None and qform is None:
        warnings.append("neither sform nor qform is set: spacing is known, orientation and position are assumed")
    chosen = next((form for form in (sform, qform) if form is not None), None)
    affine = raw.get_base_affine() if chosen is None else chosen
    unit = raw.get_xyzt_units()[0]
    scale = MM_PER_UNIT[unit]
    if scale != 1.0:
        warnings.append(f"the header counts in the unit {unit}; converted to mm")
        affine = np.diag([scale, scale, scale, 1.0]) @ affine
    return affine_from_nifti(affine), tuple(warnings)


def _voxels_apart(first: Affine, second: Affine, shape: tuple[int, ...]) -> float:
    """Largest distance of the far corner and the origin under two affines, in voxels of the first."""
    sides = [*shape[:3], 1, 1, 1][:3]
    corners = np.array([[0.0, 0.0, 0.0, 1.0], [*(n - 1.0 for n in sides), 1.0]])
    apart_mm = (corners @ (second - first).T)[:, :3]
    return float(np.abs(np.linalg.solve(first[:3, :3], apart_mm.T)).max())


def _open(path: Path) -> IO[bytes]:
    if first_bytes(path, 2) == GZIP_MAGIC:
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _magic(path: Path) -> bytes | None:
    """The NIfTI magic of a header, or None. NIfTI-1 has it at byte 344, NIfTI-2 at byte 4."""
    start = _start(path)
    size = (start[:4], start[:4][::-1])
    if len(start) >= 348 and (348).to_bytes(4, "little") in size and start[344:348] in HEADER_CLASSES:
        return start[344:348]
    if len(start) >= 540 and (540).to_bytes(4, "little") in size and start[4:8] in HEADER_CLASSES:
        return start[4:8]
    return None


def _is_cut_header(path: Path) -> bool:
    """A file that is named NIfTI and begins like one, but ends before the magic."""
    start = _start(path)
    named = path.name.endswith((".nii", ".nii.gz"))
    return (
        named
        and len(start) < 348
        and any(size.to_bytes(4, order) == start[:4] for size in (348, 540) for order in ("little", "big"))
    )


def _start(path: Path) -> bytes:
    """The first 540 bytes, decompressed; fewer where the file ends."""
    start = first_bytes(path, 1 << 14)
    if not start.startswith(GZIP_MAGIC):
        return start[:540]
    try:
        return zlib.decompressobj(wbits=31).decompress(start, 540)
    except zlib.error:
        return b""


FORMAT = Format(
    name="nifti",
    kind="image",
    suffixes=(".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
