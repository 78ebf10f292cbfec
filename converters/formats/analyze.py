"""Analyze 7.5: `.hdr` with its `.img`, either of them compressed or not.

Oracle: nibabel (`AnalyzeImage`; `Spm99AnalyzeImage` where SPM's origin is set). The format has no magic, so a header is
known by its size, plausible sides and a datatype that agrees with bitpix. It states voxel sizes and, where SPM wrote
it, the voxel of the origin; which side is left it does not state, so x is taken to run to the left, as SPM and nibabel
do by default, and a warning says that this is assumed. A `.mat` beside the pair is not looked at. SPM's scale factor
(funused1) goes into the rescale where it is set.
"""

from __future__ import annotations

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Format, Header, Request, installed_versions
from medshard.converters.formats.nifti import VoxelSource, leading_of, rescale_of, stored_voxels, voxel_source
from medshard.converters.formats.nifti_affine import base_affine
from medshard.converters.formats.nifti_header import find_analyze_header
from medshard.converters.geometry import affine_from_nifti
from medshard.converters.volume import Affine, Image


def sniff(files: Files) -> bool:
    return len(files) <= 2 and find_analyze_header(files) is not None


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a pair; reads some hundred bytes."""
    source = _source(files)
    affine, warnings = _affine(source)
    rescale, doubts = rescale_of(source)
    if not rescale.is_identity:
        doubts = (*doubts, "the scale factor is one that SPM writes and Analyze does not define; it is used")
    t, c, z, y, x = source.shape
    return Header(
        format=FORMAT.name,
        shape=(z, y, x),
        channels=c * source.datatype.components,
        timepoints=t,
        affine=affine,
        dtype=source.dtype.newbyteorder("=").name,
        leading=leading_of(source),
        warnings=(*source.warnings, *warnings, *doubts),
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, with SPM's scale factor in the rescale."""
    source = _source(files)
    affine, _ = _affine(source)
    rescale, _ = rescale_of(source)
    return Image(array=stored_voxels(source, request.spool), affine=affine, rescale=rescale, leading=leading_of(source))


def decoders() -> dict[str, str]:
    return installed_versions("isal", "nibabel", "numpy")


def _source(files: Files) -> VoxelSource:
    found = find_analyze_header(files)
    if found is None:
        raise bad_file("read.unreadable", files[0], "the file is no Analyze header")
    path, header = found
    return voxel_source(path, header, files)


def _affine(source: VoxelSource) -> tuple[Affine, tuple[str, ...]]:
    """nibabel's affine: x flipped, the origin where SPM says, or in the centre."""
    header, sides = source.header, source.sides
    affine, warnings = base_affine(header, sides, source.header_file)
    origin = header.origin[:3]
    # nibabel's condition, from SPM99: an origin far outside the image is what another program left in these bytes.
    if any(origin) and all(-side < at < 2 * side for at, side in zip(origin, sides, strict=True)):
        affine = affine.copy()
        affine[:3, 3] = -affine[:3, :3] @ [at - 1.0 for at in origin]
        warnings = (*warnings, "Analyze states no orientation: SPM's origin is used, the orientation is assumed")
    else:
        warnings = (*warnings, "Analyze states no orientation: spacing is known, orientation and position are assumed")
    return affine_from_nifti(affine), warnings


FORMAT = Format(
    name="analyze",
    kind="image",
    suffixes=(".hdr", ".img", ".hdr.gz", ".img.gz"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
