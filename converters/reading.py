"""Reading source files: the format is found by content, and every bad file becomes a `CaseError` of its case."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from medshard.converters.annotations import dicom_seg, outline_files, rtstruct, slicer_segments, sparse_masks
from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.formats import (
    analyze,
    dicom,
    matlab,
    mesh,
    metaimage,
    nifti,
    nrrd,
    numpy_arrays,
    raster,
    vtk,
)
from medshard.converters.formats.faults import errors_of_case, refuse_no_files
from medshard.converters.formats.format import ANY, Files, Format, Header, Request, first_bytes
from medshard.converters.geometry import check_affine
from medshard.converters.volume import Affine, Image, Mesh
from medshard.errors import CaseError

# Binary signatures first; the text formats, which are recognised by their words, last.
FORMATS: tuple[Format, ...] = (
    dicom.FORMAT,
    nifti.FORMAT,
    nrrd.FORMAT,
    raster.FORMAT,
    numpy_arrays.FORMAT,
    matlab.FORMAT,
    analyze.FORMAT,
    vtk.IMAGE_FORMAT,
    vtk.MESH_FORMAT,
    metaimage.FORMAT,
    mesh.FORMAT,
)

# Asked first where an annotation is read: they say themselves what they hold.
ANNOTATION_FORMATS: tuple[AnnotationFormat, ...] = (
    dicom_seg.FORMAT,
    rtstruct.FORMAT,
    slicer_segments.FORMAT,
    sparse_masks.FORMAT,
    *outline_files.FORMATS,
)


def identify(files: Files, where: str) -> Format:
    """The format of the files of one image or mesh, by their content.

    where: `entry/case`, for messages.
    Raises CaseError[read.no_files | read.truncated (an empty file) | read.unknown_format].
    """
    refuse_no_files(files, where)
    found = next((candidate for candidate in FORMATS if candidate.sniff(files)), None)
    if found is not None and found is not dicom.FORMAT:
        _refuse_second_image(files, where)
    if found is None:
        known = ", ".join(suffix for candidate in FORMATS for suffix in candidate.suffixes if suffix)
        raise CaseError(
            "read.unknown_format",
            where=where,
            problem="the content of the file is of no format that medshard reads",
            details={
                "file": files[0].name,
                "files": len(files),
                "begins with": _beginning(files[0]),
                "read": known,
            },
            action="The case is excluded. Correct the entry's layout, or convert the file.",
        )
    return found


def is_known_format(files: Files) -> bool:
    """Whether the files look like an image or a mesh of any format, by their content."""
    return any(candidate.sniff(files) for candidate in FORMATS)


def read_header(files: Files, *, where: str, request: Request = ANY) -> Header:
    """What the files of one image or mesh state; voxels are not decoded where the format allows.

    Raises CaseError as `identify` does, and [read.unreadable | read.truncated | read.unsupported | read.missing_part |
    geometry.singular | dicom.*].
    """
    found = identify(files, where)
    with errors_of_case(files, found.name, where):
        header = found.read_header(files, request)
    if found.kind == "image":
        _check_image(header.shape, header.affine, files, where)
    return header


def read_image(files: Files, *, where: str, request: Request = ANY) -> Image:
    """The voxels of one image, with geometry and rescale. Errors as in `read_header`, and [read.wrong_kind]."""
    found = identify(files, where)
    with errors_of_case(files, found.name, where):
        image = found.read(files, request)
    if not isinstance(image, Image):
        raise _wrong_kind(files, found, where, "image")
    _check_image(image.shape, image.affine, files, where)
    return image


def read_opacity(files: Files, *, where: str, request: Request = ANY) -> Image:
    """The opacity of a picture, for masks that are drawn in it alone. Errors as in `read_image`, [read.no_alpha]."""
    found = identify(files, where)
    with errors_of_case(files, found.name, where):
        opacity = raster.read_alpha(files, request) if found is raster.FORMAT else None
    if opacity is None:
        raise CaseError(
            "read.no_alpha",
            where=where,
            problem="the entry says that the mask is drawn in the opacity of a picture, and the file has none",
            details={"file": files[0].name, "format": found.name},
            action="Correct `drawn_in` in the entry's layout.",
        )
    return opacity


def read_all_dicom(files: Files, *, where: str, request: Request = ANY) -> dicom.AllImages:
    """Every image of a folder of DICOM files that the request selects, one at a time; a bad one is a CaseError among
    the others. Raises CaseError[dicom.no_series | read.unsupported | read.no_files | read.truncated (an empty file)].
    """
    refuse_no_files(files, where)
    with errors_of_case(files, dicom.FORMAT.name, where):
        found = dicom.read_all(files, request)
    # A generator would keep an image until the next one is there.
    return replace(found, one_by_one=map(partial(_of_case, files, where), found))


def _of_case(files: Files, where: str, item: tuple[Header, Image] | CaseError) -> tuple[Header, Image] | CaseError:
    try:
        with errors_of_case(files, dicom.FORMAT.name, where):
            if isinstance(item, CaseError):
                raise item
        header, image = item
        _check_image(header.shape, header.affine, files, where)
    except CaseError as error:
        return error
    return header, image


def read_annotation(files: Files, *, where: str, request: Request = ANY) -> Image | SegmentedImage | OutlineSet:
    """An annotation: segments or outlines where the file names them itself, else the voxels of a mask.

    Errors as in `read_image`.
    """
    refuse_no_files(files, where)
    named = next((candidate for candidate in ANNOTATION_FORMATS if candidate.sniff(files)), None)
    if named is None:
        return read_image(files, where=where, request=request)
    with errors_of_case(files, named.name, where):
        found = named.read(files, request)
    if isinstance(found, SegmentedImage):
        _check_image(found.shape, found.affine, files, where)
    return found


def annotation_decoders(files: Files, where: str) -> dict[str, str]:
    """Library -> version, of everything that decodes an annotation; of a picture for each slice, what decodes those."""
    named = next((candidate for candidate in ANNOTATION_FORMATS if candidate.sniff(files)), None)
    if named is not None:
        return named.decoders()
    pictures = len(files) > 1 and all(raster.FORMAT.sniff([path]) for path in files)
    return identify(files[:1] if pictures else files, where).decoders()


def read_mesh(files: Files, *, where: str) -> Mesh:
    """The surface of one mesh file, finite and within its own vertices. Errors as in `read_image`, [read.too_large]."""
    found = identify(files, where)
    with errors_of_case(files, found.name, where):
        surface = found.read(files, ANY)
    if not isinstance(surface, Mesh):
        raise _wrong_kind(files, found, where, "mesh")
    return surface


def _refuse_second_image(files: Files, where: str) -> None:
    """Only DICOM spreads an image over many files. Beside a header its data may stand, but no second image."""
    if len(files) == 1:
        return
    whole = [path for path in files if any(candidate.sniff([path]) for candidate in FORMATS)]
    pair = {path.name.removesuffix(".gz").rpartition(".")[2].lower() for path in whole} == {"hdr", "img"}
    if len(whole) > 1 and not pair:
        raise CaseError(
            "read.several_images",
            where=where,
            problem="several files are given for one image",
            details={f"file {number}": path.name for number, path in enumerate(whole[:4], start=1)},
            action="The case is excluded. Make the path in the entry's layout match one of them.",
        )


def _check_image(shape: tuple[int, int, int], affine: Affine, files: Files, where: str) -> None:
    if min(shape) < 1:
        raise CaseError(
            "read.unreadable",
            where=where,
            problem="the image has no voxels",
            details={"file": files[0].name, "shape": shape},
            action="The case is excluded.",
        )
    check_affine(affine, where=where, file=files[0].name)


def _beginning(path: Path) -> str:
    """What a file begins with, for messages: of a text nothing, since it may name somebody."""
    start = first_bytes(path, 8)
    return "text" if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start) else start.hex(" ")


def _wrong_kind(files: Files, found: Format, where: str, wanted: str) -> CaseError:
    return CaseError(
        "read.wrong_kind",
        where=where,
        problem="the file holds another kind of thing",
        details={"file": files[0].name, "format": found.name, "expected": wanted, "found": found.kind},
        action="Correct the entry's layout.",
    )
