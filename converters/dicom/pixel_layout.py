"""How the pixels of a DICOM object are laid out, as its header says, checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom.uid

from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

PIXEL_KEYWORDS = {"PixelData": 0, "FloatPixelData": 32, "DoubleFloatPixelData": 64}
ALLOCATED = (1, 8, 16, 32)
# GE's own: a little endian header, big endian pixels (its conformance statements call it "implicit VR big endian").
GE_PRIVATE = "1.2.840.113619.5.2"
NATIVE_SYNTAXES = {
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
    GE_PRIVATE,
}
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")


@dataclass(frozen=True, kw_only=True)
class PixelLayout:
    """rows, columns, samples: of one frame. frames: as stated, not yet compared with the bytes that are there.

    allocated, stored, high: bits of a sample, bits that mean something, place of the highest of them.
    signed: two's complement. planar: colours one plane after the other. photometric: as stated.
    keyword: of the element with the pixels. syntax: UID of the transfer syntax. big_endian: of the pixels.
    """

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str
    keyword: str
    syntax: str
    big_endian: bool

    @property
    def compressed(self) -> bool:
        return self.syntax not in NATIVE_SYNTAXES

    @property
    def is_float(self) -> bool:
        return self.keyword != "PixelData"

    @property
    def dtype(self) -> str:
        """Of one stored sample in native byte order."""
        if self.is_float:
            return f"float{self.allocated}"
        return f"{'int' if self.signed else 'uint'}{max(8, self.allocated)}"

    @property
    def frame_samples(self) -> int:
        return self.rows * self.columns * self.samples

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame in the file; 4:2:2 colour keeps two samples a pixel (PS3.3 C.7.6.3.1.2)."""
        if self.photometric == "YBR_FULL_422" and not self.compressed:
            return self.rows * self.columns * 2 * self.allocated
        return self.frame_samples * self.allocated

    @property
    def decoded_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.frame_samples * max(1, self.allocated // 8)


def layout_of(dataset: Any, file: Path | None = None) -> PixelLayout:
    """The layout, from the header alone.

    file: for messages; else the name of the file that the dataset came from.
    Raises CaseError[read.unreadable (contradictory) | read.unsupported].
    """
    keyword = next((name for name in PIXEL_KEYWORDS if name in dataset), None) or _float_by_storage(dataset)
    allocated = PIXEL_KEYWORDS[keyword] or _integer(dataset, "BitsAllocated", file, (1, 64))
    if keyword == "PixelData" and allocated not in ALLOCATED:
        raise pixel_error("read.unsupported", dataset, file, f"Bits Allocated is {allocated}; read are 1, 8, 16 and 32")
    stored = _integer(dataset, "BitsStored", file, (1, allocated), default=allocated)
    samples = _integer(dataset, "SamplesPerPixel", file, (1, 4), default=1)
    if samples not in (1, 3):
        raise pixel_error("read.unsupported", dataset, file, f"Samples per Pixel is {samples}; read are 1 and 3")
    photometric = str(dataset.get("PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2")).strip()
    if (samples == 3) != (photometric in COLOUR):
        raise pixel_error(
            "read.unreadable",
            dataset,
            file,
            "Samples per Pixel and Photometric Interpretation contradict each other",
            {"Samples per Pixel": samples, "Photometric Interpretation": photometric[:16]},
        )
    syntax = _syntax(dataset)
    return PixelLayout(
        rows=_integer(dataset, "Rows", file, (1, 65535)),
        columns=_integer(dataset, "Columns", file, (1, 65535)),
        samples=samples,
        frames=_integer(dataset, "NumberOfFrames", file, (1, 2**31 - 1), default=1),
        allocated=allocated,
        stored=stored,
        high=_integer(dataset, "HighBit", file, (stored - 1, allocated - 1), default=stored - 1),
        signed=_integer(dataset, "PixelRepresentation", file, (0, 1), default=0) == 1,
        planar=_integer(dataset, "PlanarConfiguration", file, (0, 1), default=0) == 1,
        photometric=photometric,
        keyword=keyword,
        syntax=syntax,
        big_endian=syntax in (pydicom.uid.ExplicitVRBigEndian, GE_PRIVATE),
    )


def frame_count_within(layout: PixelLayout, available_bytes: int) -> bool:
    """Whether so many bytes can hold the uncompressed frames that the header states."""
    return math.ceil(layout.frames * layout.frame_bits / 8) <= available_bytes


def pixel_error(
    code: str, dataset: Any, file: Path | None, problem: str, details: dict[str, object] | None = None
) -> CaseError:
    """The error about the pixels of one object."""
    named = file or getattr(dataset, "filename", None)
    path = Path(named) if isinstance(named, str | Path) else Path("DICOM object")
    return bad_file(code, path, problem, details=details)


def _integer(dataset: Any, name: str, file: Path | None, within: tuple[int, int], *, default: int | None = None) -> int:
    least, most = within
    value = dataset.get(name)
    if value is None or value == "":
        if default is not None:
            return default
        raise pixel_error("read.unreadable", dataset, file, f"the header states no {name}")
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if not least <= number <= most:
        raise pixel_error(
            "read.unreadable",
            dataset,
            file,
            f"{name} of the header cannot be true",
            {"expected": f"{least} to {most}", "found": number if number >= least else "no such number"},
        )
    return number


def _float_by_storage(dataset: Any) -> str:
    """Which element will hold the pixels, of a header read without them: parametric maps may hold floats."""
    if "BitsStored" in dataset or "PixelRepresentation" in dataset:
        return "PixelData"
    allocated = dataset.get("BitsAllocated")
    return {32: "FloatPixelData", 64: "DoubleFloatPixelData"}.get(allocated, "PixelData")


def _syntax(dataset: Any) -> str:
    stated = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if stated:
        return str(stated)
    implicit, little = getattr(dataset, "original_encoding", (True, True))
    if little is False:
        return str(pydicom.uid.ExplicitVRBigEndian)
    return str(pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian)
