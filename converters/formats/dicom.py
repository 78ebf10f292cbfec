"""DICOM: the files of one series, or one multi-frame file. Headers by pydicom, pixels by pydicom and pylibjpeg.

Oracle for the geometry: GDCM by way of SimpleITK's series reader, except for gantry tilt, which it does not represent.
The array holds the stored numbers; the rescale, one for the image or one per slice, makes them physical. In an image
of MONOCHROME1 (larger numbers are shown darker) without a physical unit the rescale also turns the scale over, so that
a larger physical value is always brighter; a unit such as HU stands above the display and is kept.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from medshard.converters.formats.dicom_frames import Frame, frames_of, runs_in_time
from medshard.converters.formats.dicom_stack import Stack, stack_frames
from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import Files, Format, Header, first_bytes, installed_versions, narrowed
from medshard.converters.volume import Array, Image, Rescale

READER = "pydicom"
SHARED_FIELDS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "PixelRepresentation",
)
MOST_NOTES = 10


@dataclass(frozen=True, kw_only=True)
class Series:
    """The headers of one series, in the order of the files given, and its frames stacked."""

    headers: dict[Path, Any]
    frames: list[Frame]
    stack: Stack
    notes: tuple[str, ...]

    @property
    def first(self) -> Any:
        return next(iter(self.headers.values()))

    @property
    def ordered(self) -> list[Frame]:
        return [self.frames[index] for index in self.stack.order]


def sniff(files: Files) -> bool:
    return _has_preamble(files[0]) or _begins_with_element(files[0])


def read_header(files: Files) -> Header:
    """Header of a series, from all its files' headers.

    Raises CaseError[dicom.mixed_series | dicom.mixed_grid] and what `stack_frames` raises.
    """
    series = _read_series(files)
    first = series.first
    count = len(series.frames)
    channels = 3 if _is_palette(first) else int(first.get("SamplesPerPixel") or 1)
    return Header(
        format=FORMAT.name,
        shape=(1 if series.stack.along_time else count, int(first.Rows), int(first.Columns)),
        channels=channels,
        timepoints=count if series.stack.along_time else 1,
        affine=series.stack.affine,
        dtype=_dtype(first),
        modality=_text(first, "Modality"),
        sequence=_text(first, "SeriesDescription") if _text(first, "Modality") == "MR" else None,
        patient_id=_text(first, "PatientID"),
        trusted_geometry=series.stack.trusted_geometry,
        warnings=(*series.stack.warnings, *_header_warnings(series), *series.notes),
    )


def read(files: Files) -> Image:
    """The stored numbers of a series as (c, z, y, x), slices sorted by position; (t, c, 1, y, x) for a cine."""
    series = _read_series(files)
    first = series.first
    pixels = {path: _decode(path) for path in series.headers}
    # (frames, y, x, c) -> (c, z, y, x)
    ordered = np.stack([pixels[frame.file][frame.number] for frame in series.ordered])
    del pixels
    array = narrowed(np.ascontiguousarray(np.moveaxis(ordered, -1, 0)))
    if series.stack.along_time:
        array = np.ascontiguousarray(array.swapaxes(0, 1)[:, :, None])
    return Image(
        array=array,
        affine=series.stack.affine,
        rescale=_rescale(first, series.ordered),
        modality=_text(first, "Modality") or "",
        sequence=_text(first, "SeriesDescription") if _text(first, "Modality") == "MR" else None,
        trusted_geometry=series.stack.trusted_geometry,
    )


def decoders() -> dict[str, str]:
    return installed_versions(
        "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "numpy"
    )


def _read_series(files: Files) -> Series:
    headers: dict[Path, Any] = {}
    frames: list[Frame] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in files:
            with bad_file_errors(path, READER):
                headers[path] = pydicom.dcmread(path, stop_before_pixels=True, force=not _has_preamble(path))
                frames += frames_of(path, headers[path])
        _require_one_series(headers)
        _require_one_grid(headers)
        in_time = runs_in_time(headers[files[0]])
    return Series(headers=headers, frames=frames, stack=stack_frames(frames, in_time=in_time), notes=_notes(caught))


def _require_one_series(headers: dict[Path, Any]) -> None:
    counts = Counter(str(header.get("SeriesInstanceUID", "")) for header in headers.values())
    if len(counts) == 1:
        return
    details: dict[str, object] = {uid or "no series": f"{count} files" for uid, count in counts.most_common(5)}
    raise bad_file(
        "dicom.mixed_series",
        next(iter(headers)),
        f"the files belong to {len(counts)} series",
        details=details,
        action="The case is excluded. Give each series an image of its own in the entry's layout.",
    )


def _require_one_grid(headers: dict[Path, Any]) -> None:
    first_path, first = next(iter(headers.items()))
    for path, header in headers.items():
        for field in SHARED_FIELDS:
            if header.get(field) != first.get(field):
                raise bad_file(
                    "dicom.mixed_grid",
                    path,
                    f"the files of the series differ in {field}",
                    details={first_path.name: first.get(field), path.name: header.get(field)},
                )


def _header_warnings(series: Series) -> list[str]:
    found = []
    patients = {str(header.get("PatientID", "")) for header in series.headers.values()}
    if len(patients) > 1:
        found.append(f"the files of the series name {len(patients)} patients")
    if any("TransferSyntaxUID" not in header.file_meta for header in series.headers.values()):
        found.append("no transfer syntax is stated; the pixels are taken as not compressed")
    if "ModalityLUTSequence" in series.first:
        found.append("a modality table, not a slope, makes the numbers physical; it is applied")
    if _is_palette(series.first):
        found.append("palette expanded to RGB")
    return found


def _notes(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """What pydicom warned of, each once."""
    texts = list(dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught))
    more = (f"and {len(texts) - MOST_NOTES} other remarks of pydicom",) if len(texts) > MOST_NOTES else ()
    return (*texts[:MOST_NOTES], *more)


def _decode(path: Path) -> Array:
    """Stored numbers of one file as (frames, y, x, c), colours as RGB.

    pydicom's warnings of this step speak of tolerated oddities (padding behind the pixels) that the header step, which
    does not see the pixels, cannot record; what matters raises.
    """
    with warnings.catch_warnings(), bad_file_errors(path, READER):
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=not _has_preamble(path))
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _uncompressed_syntax(dataset)
        syntax = dataset.file_meta.TransferSyntaxUID
        # By name: pydicom would else take whichever decoder happens to be installed.
        stored = pixel_array(dataset, decoding_plugin="pylibjpeg" if syntax.is_encapsulated else "")
        if _is_palette(dataset):
            stored = apply_color_lut(stored, dataset)
        elif "ModalityLUTSequence" in dataset:
            stored = apply_modality_lut(stored, dataset)
        channels = 3 if _is_palette(dataset) else int(dataset.get("SamplesPerPixel") or 1)
        return stored.reshape(-1, int(dataset.Rows), int(dataset.Columns), channels)


def _uncompressed_syntax(dataset: Any) -> Any:
    implicit, little = dataset.original_encoding
    if not little:
        return pydicom.uid.ExplicitVRBigEndian
    return pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian


def _rescale(first: Any, ordered: Sequence[Frame]) -> Rescale:
    unit = _unit(first)
    slopes = [frame.slope for frame in ordered]
    intercepts = [frame.intercept for frame in ordered]
    if first.get("PhotometricInterpretation") == "MONOCHROME1" and unit == "arbitrary":
        # stored -> (smallest + largest storable) - stored, which maps the range onto itself.
        ends = -1.0 if first.get("PixelRepresentation") == 1 else 2.0 ** int(first.BitsStored) - 1.0
        intercepts = [intercept + slope * ends for slope, intercept in zip(slopes, intercepts, strict=True)]
        slopes = [-slope for slope in slopes]
    if len(set(slopes)) == 1 and len(set(intercepts)) == 1:
        slopes, intercepts = slopes[:1], intercepts[:1]
    return Rescale(slope=tuple(slopes), intercept=tuple(intercepts), unit=unit)


def _unit(first: Any) -> str:
    """Unit of the rescaled numbers: as stated, else HU for CT (DICOM PS3.3 C.11.1 and C.8.2.1), else `arbitrary`."""
    for name in ("RescaleType", "Units", "DoseUnits"):
        stated = _text(first, name)
        if stated and stated != "US":
            return stated
    groups = first.get("SharedFunctionalGroupsSequence")
    transformation = groups[0].get("PixelValueTransformationSequence") if groups else None
    stated = _text(transformation[0], "RescaleType") if transformation else None
    if stated and stated != "US":
        return stated
    return "HU" if _text(first, "Modality") == "CT" else "arbitrary"


def _dtype(first: Any) -> str:
    if _is_palette(first):
        return "uint8" if int(first.RedPaletteColorLookupTableDescriptor[2]) <= 8 else "uint16"
    if "ModalityLUTSequence" in first:
        return "uint8" if int(first.ModalityLUTSequence[0].LUTDescriptor[2]) <= 8 else "uint16"
    bits = max(8, int(first.get("BitsAllocated") or 16))
    return f"{'int' if first.get('PixelRepresentation') == 1 else 'uint'}{bits}"


def _is_palette(dataset: Any) -> bool:
    return bool(dataset.get("PhotometricInterpretation") == "PALETTE COLOR")


def _text(dataset: Any, name: str) -> str | None:
    value = dataset.get(name)
    return str(value).strip() or None if value is not None else None


def _has_preamble(path: Path) -> bool:
    return first_bytes(path, 132)[128:] == b"DICM"


def _begins_with_element(path: Path) -> bool:
    """Whether a file without preamble begins with an element of the first groups, as old archives write it."""
    start = first_bytes(path, 8)
    if len(start) < 8:
        return False
    group, element = int.from_bytes(start[:2], "little"), int.from_bytes(start[2:4], "little")
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    short = int.from_bytes(start[4:8], "little") < 256
    return group in (0x0002, 0x0008) and element <= 0x0018 and (explicit or short)


FORMAT = Format(
    name="dicom",
    kind="image",
    suffixes=(".dcm", ""),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
