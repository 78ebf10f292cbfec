"""DICOM VL Whole Slide Microscopy: a folder of instances, one for each level. Read by wsidicom.

The index comes from the headers; wsidicom opens each level by itself, so a level that is missing, or a reduction that
is no power of two, is no obstacle. Pictures of the label and of the glass are never opened.
Source: DICOM PS3.3, C.8.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.filereader import read_file_meta_info

from medshard.converters.dicom.headers import looks_like_dicom
from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import installed_versions
from medshard.converters.slides.dicom_tiles import DicomLevel, DicomTiles, silence
from medshard.converters.slides.pixel_size import Pair, checked_microns, checked_power, number
from medshard.converters.slides.stored import (
    Files,
    SlideFormat,
    SlideSource,
    StatedSlide,
    is_reduced,
    levels_of,
    require_sane,
)
from medshard.errors import CaseError

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# A folder is told by its first files: other folders of DICOM have thousands.
LOOKED_AT = 64
WANTED = (
    "SOPClassUID", "ImageType", "FrameOfReferenceUID", "ConcatenationUID", "Rows", "Columns",
    "TotalPixelMatrixRows", "TotalPixelMatrixColumns", "TotalPixelMatrixFocalPlanes", "NumberOfOpticalPaths",
    "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation", "ImagedVolumeWidth", "ImagedVolumeHeight", "SharedFunctionalGroupsSequence",
    "OpticalPathSequence", "BurnedInAnnotation", "DimensionOrganizationType", "OpticalPathIdentifier",
)  # fmt: skip
COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
AGREEMENT = 0.02


def sniff(files: Files) -> bool:
    """Whether one of the first files is an instance of a whole slide."""
    return any(_class_of(path) == WHOLE_SLIDE for path in sorted(files)[:LOOKED_AT])


@contextmanager
def opened(files: Files) -> Iterator[SlideSource]:
    """Raises CaseError[read.unsupported | read.unreadable | read.missing_part | read.several_images],
    MissingExtraError[slides.not_installed], and what pydicom raises."""
    with silence():
        levels, labelled = _levels(files)
        stated = _stated(levels, labelled)
    with ExitStack() as stack:
        pixels = DicomTiles(levels=levels, stack=stack, channels=stated.channels, dtype=stated.dtype)
        yield SlideSource(stated=stated, read=pixels.read)


def decoders() -> dict[str, str]:
    return installed_versions("wsidicom", "pydicom", "pillow", "imagecodecs", "numpy")


def _class_of(path: Path) -> str | None:
    """SOP class as the file meta information says it; None of a file that is no DICOM."""
    if not looks_like_dicom(path):
        return None
    try:
        with silence(), bad_file_errors(path, "pydicom"):
            return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
    except CaseError:
        return None


def _levels(files: Files) -> tuple[list[DicomLevel], bool]:
    """Levels, the largest first, and whether there is a picture of the label or the glass."""
    headers = [(path, _header(path)) for path in sorted(files) if _class_of(path) == WHOLE_SLIDE]
    kinds = {path: {str(word).upper() for word in header.get("ImageType", [])} for path, header in headers}
    labelled = any({"LABEL", "OVERVIEW", "LOCALIZER"} & words for words in kinds.values())
    volumes = [(path, header) for path, header in headers if "VOLUME" in kinds[path]]
    if not volumes:
        raise bad_file("read.missing_part", files[0], "none of the instances is a level of the slide")
    _require_one_slide(volumes)
    levels: dict[tuple[int, int], DicomLevel] = {}
    for path, header in volumes:
        _require_plain(path, header)
        level = DicomLevel(header=header, files=(path,))
        before = levels.get(level.shape)
        if before is not None and not _continues(before.header, header):
            raise _several(path, "two instances of one size", shape=level.shape)
        levels[level.shape] = DicomLevel(header=header, files=(*(before.files if before else ()), path))
    shapes = sorted(levels, reverse=True)
    strange = [shape for shape in shapes[1:] if not is_reduced(shapes[0], shape)]
    if strange:
        raise _several(files[0], "the instances are no reductions of one picture", largest=shapes[0], other=strange[0])
    return [levels[shape] for shape in shapes], labelled


def _header(path: Path) -> Any:
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(WANTED))
    missing = [name for name in ("Rows", "Columns", "TotalPixelMatrixRows", "SamplesPerPixel") if name not in header]
    if missing:
        raise bad_file("read.unreadable", path, "the header lacks what a slide needs", details={"missing": missing})
    return header


def _require_one_slide(volumes: Sequence[tuple[Path, Any]]) -> None:
    """Levels lie in one frame of reference. Their series may differ: some writers give each level its own."""
    if len({str(header.get("FrameOfReferenceUID", "")) for _, header in volumes}) > 1:
        raise _several(volumes[0][0], "the instances are of several slides or scans")


def _require_plain(path: Path, header: Any) -> None:
    planes = int(header.get("TotalPixelMatrixFocalPlanes", 1) or 1)
    paths = int(header.get("NumberOfOpticalPaths", 1) or 1)
    if planes > 1 or paths > 1:
        raise bad_file(
            "read.unsupported",
            path,
            "the slide has several focal planes or optical paths",
            details={"focal planes": planes, "optical paths": paths},
        )
    samples, bits = int(header.SamplesPerPixel), int(header.BitsAllocated)
    meaning = str(header.PhotometricInterpretation)
    known = (samples == 3 and meaning in COLOURS and bits == 8) or (samples == 1 and meaning == "MONOCHROME2")
    if not known or bits not in (8, 16) or int(header.get("PixelRepresentation", 0)):
        raise bad_file(
            "read.unsupported",
            path,
            "the pixels are laid out in a way that is not read",
            details={"samples": samples, "bits": bits},
        )


def _continues(before: Any, header: Any) -> bool:
    uid = header.get("ConcatenationUID")
    return uid is not None and uid == before.get("ConcatenationUID")


def _stated(levels: Sequence[DicomLevel], labelled: bool) -> StatedSlide:
    base, path = levels[0].header, levels[0].files[0]
    microns, doubts = checked_microns(_spacing(base))
    power, power_doubts = checked_power(_power(base))
    doubts += _volume_doubts(levels[0], microns)
    if any(str(level.header.get("BurnedInAnnotation", "NO")).upper() == "YES" for level in levels):
        doubts.append("the header says that text is burned into the pixels")
    is_rgb = int(base.SamplesPerPixel) == 3
    layouts = {(int(level.header.SamplesPerPixel), int(level.header.BitsAllocated)) for level in levels}
    if len(layouts) > 1:
        raise bad_file("read.unsupported", path, "the levels differ in samples or bits")
    stated = StatedSlide(
        format="dicom-wsi",
        levels=levels_of([level.shape for level in levels], [level.tile for level in levels]),
        channels=3 if is_rgb else 1,
        dtype="uint16" if int(base.BitsAllocated) == 16 else "uint8",
        is_rgb=is_rgb,
        microns_per_pixel=microns,
        magnification=power,
        labelled=labelled,
        warnings=(*doubts, *power_doubts),
    )
    require_sane(path, stated)
    return stated


def _spacing(header: Any) -> Pair | None:
    """(y, x) micrometres from PixelSpacing (row distance first, mm) of the shared functional groups."""
    groups = header.get("SharedFunctionalGroupsSequence") or []
    measures = groups[0].get("PixelMeasuresSequence") or [] if groups else []
    spacing = measures[0].get("PixelSpacing") if measures else None
    if spacing is None or len(spacing) != 2:
        return _volume_spacing(header)
    return 1000 * float(spacing[0]), 1000 * float(spacing[1])


def _volume_spacing(header: Any) -> Pair | None:
    """(y, x) micrometres from the size of the imaged volume (mm)."""
    sides = [number(str(header.get(name, ""))) for name in ("ImagedVolumeHeight", "ImagedVolumeWidth")]
    y, x = sides
    if not y or not x or not int(header.TotalPixelMatrixRows) or not int(header.TotalPixelMatrixColumns):
        return None
    return 1000 * y / int(header.TotalPixelMatrixRows), 1000 * x / int(header.TotalPixelMatrixColumns)


def _volume_doubts(level: DicomLevel, microns: Pair | None) -> list[str]:
    """Whether the size of the imaged volume contradicts the pixel size, by more than a tile's padding."""
    volume = _volume_spacing(level.header)
    if volume is None or microns is None:
        return []
    padding = [tile / side for tile, side in zip(level.tile, level.shape, strict=True)]
    pairs = zip(volume, microns, padding, strict=True)
    if all(abs(a - b) / b <= AGREEMENT + spare for a, b, spare in pairs):
        return []
    return ["the size of the imaged volume contradicts the pixel size, which is taken"]


def _power(header: Any) -> float | None:
    paths: Sequence[Mapping[str, Any]] = header.get("OpticalPathSequence") or []
    return number(str(paths[0].get("ObjectiveLensPower", ""))) if paths else None


def _several(path: Path, problem: str, **details: object) -> Exception:
    return bad_file(
        "read.several_images",
        path,
        problem,
        details=details,
        action="The case is excluded. Make the path in the entry's layout match the instances of one scan.",
    )


FORMAT = SlideFormat(name="DICOM slide", sniff=sniff, opened=opened, decoders=decoders)
