"""DICOM files opened: the header now, the pixels when they are wanted, each byte read once.

A file is mapped, not read: no length that a broken header states can make more memory be asked for than the file has.
"""

from __future__ import annotations

import mmap
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset

from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.silent_logs import silencer_of

READER = "pydicom"
DEFLATED = b"1.2.840.10008.1.2.1.99"
# A deflated file may inflate to this many bytes, and to so many times its size more; a thousandfold is possible.
INFLATED_BYTES = 64 << 20
INFLATED_TIMES = 40
DIRECTORY = "1.2.840.10008.1.3.10"
PIXEL_TAGS = tuple(pydicom.tag.Tag(tag) for tag in (0x7FE00008, 0x7FE00009, 0x7FE00010))
MOST_NOTES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """One file. dataset: its header without pixels; pixels_at: where the element with the pixels begins, in bytes;
    size: of the file."""

    path: Path
    dataset: Any = field(repr=False)
    pixels_at: int
    size: int

    @property
    def is_deflated(self) -> bool:
        return str(self.dataset.file_meta.get("TransferSyntaxUID", "")) == DEFLATED.decode()

    @property
    def is_encapsulated(self) -> bool:
        syntax = self.dataset.file_meta.get("TransferSyntaxUID")
        return bool(syntax is not None and syntax.is_compressed and not self.is_deflated)


@contextmanager
def remarks() -> Iterator[list[warnings.WarningMessage]]:
    """What pydicom warns of meanwhile, for `notes_of`; none of it is printed or logged."""
    with silent_log(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


silent_log = silencer_of("pydicom")


def read_header(path: Path) -> DicomFile | None:
    """The header of a file that is no directory (DICOMDIR). Raises CaseError[read.unreadable | read.truncated]."""
    if path.name.upper() == "DICOMDIR":
        return None
    file = read_file_header(path)
    return None if _is_directory(file) else file


def read_file_header(path: Path) -> DicomFile:
    """The header of one file."""
    with silent_log(), bad_file_errors(path, READER), path.open("rb") as stream:
        size = path.stat().st_size
        if size == 0:
            raise EOFError("unexpected EOF: the file is empty")
        with _mapped(stream) as content:
            start = content[:2048]
            if not has_preamble(start) and not begins_with_element(start):
                raise bad_file("read.unreadable", path, "the file does not begin as DICOM does")
            if DEFLATED in start:
                _require_small_inflation(path, content)
            dataset = pydicom.dcmread(content, stop_before_pixels=True, force=not has_preamble(start))
            if not dataset:
                raise bad_file("read.unreadable", path, "the file holds no DICOM element")
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = _uncompressed_syntax(dataset)
            at = size if DEFLATED in start else content.tell()
    return DicomFile(path=path, dataset=dataset, pixels_at=at, size=size)


@contextmanager
def pixels_attached(file: DicomFile) -> Iterator[Any]:
    """The dataset of a file, for as long as the context lasts with its pixels.

    Raises CaseError[read.unreadable | read.truncated].
    """
    dataset = file.dataset
    with silent_log(), bad_file_errors(file.path, READER):
        part = _pixel_elements(file)
        if not part:
            raise bad_file("read.unreadable", file.path, "the file holds no pixels")
        for tag in part.keys():  # noqa: SIM118 - a Dataset iterates over converted elements
            dataset[tag] = part.get_item(tag)
        try:
            yield dataset
        finally:
            for tag in part.keys():  # noqa: SIM118
                del dataset[tag]


@contextmanager
def frames_attached(file: DicomFile, begin: int, end: int, frame_bytes: int) -> Iterator[Any]:
    """As `pixels_attached`, with the frames `begin` to `end` alone, of an uncompressed file, as if it had no others.

    So that a file larger than the memory can be walked through.
    """
    dataset = file.dataset
    implicit, little = dataset.original_encoding
    with silent_log(), bad_file_errors(file.path, READER), file.path.open("rb") as stream:
        stream.seek(file.pixels_at + (8 if implicit else 12) + begin * frame_bytes)
        value = stream.read(min((end - begin) * frame_bytes, file.size))
        stated = dataset.get("NumberOfFrames")
        tag = PIXEL_TAGS[-1]
        dataset[tag] = RawDataElement(tag, "OW", len(value), value, 0, implicit, little)
        dataset.NumberOfFrames = end - begin
        try:
            yield dataset
        finally:
            del dataset[tag]
            if stated is None:
                del dataset.NumberOfFrames
            else:
                dataset.NumberOfFrames = stated


def holds_plain_frames(file: DicomFile, frame_bytes: int) -> bool:
    """Whether the pixels are uncompressed frames of so many bytes, one behind the other."""
    with file.path.open("rb") as stream:
        stream.seek(file.pixels_at)
        start = stream.read(12)
    _, little = file.dataset.original_encoding
    is_pixel_data = little and start[:4] == b"\xe0\x7f\x10\x00"
    count = int(file.dataset.get("NumberOfFrames") or 1)
    room = file.size - file.pixels_at
    return bool(is_pixel_data and not file.is_deflated and not file.is_encapsulated and frame_bytes * count <= room)


def notes_of(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """What pydicom warned of, each sentence once, without the values that it quotes: a value may name a person."""
    texts = list(dict.fromkeys(_without_values(" ".join(str(warning.message).split())) for warning in caught))
    more = (f"and {len(texts) - MOST_NOTES} other remarks of pydicom",) if len(texts) > MOST_NOTES else ()
    return (*texts[:MOST_NOTES], *more)


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, with or without a preamble."""
    start = first_bytes(path, 2048)
    return has_preamble(start) or begins_with_element(start)


def has_preamble(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def begins_with_element(start: bytes) -> bool:
    """Whether a file without preamble begins with an element of the first groups, as old archives write it."""
    if len(start) < 8:
        return False
    group, element = int.from_bytes(start[:2], "little"), int.from_bytes(start[2:4], "little")
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    short = int.from_bytes(start[4:8], "little") < 256
    return group in (0x0002, 0x0008) and element <= 0x0018 and (explicit or short)


def _pixel_elements(file: DicomFile) -> Any:
    """A Dataset of the pixel elements of a file alone."""
    if file.is_deflated:
        whole = pydicom.dcmread(file.path, force=True)
        return pydicom.Dataset({tag: whole.get_item(tag) for tag in PIXEL_TAGS if tag in whole})
    implicit, little = file.dataset.original_encoding
    with file.path.open("rb") as stream, _mapped(stream) as content:
        content.seek(min(file.pixels_at, len(content)))
        after = read_dataset(content, implicit, little, stop_when=_is_behind_pixels)
    return pydicom.Dataset({tag: after.get_item(tag) for tag in PIXEL_TAGS if tag in after})


def _mapped(stream: BinaryIO) -> Any:
    """A map reads as a file does, and never more than there is; pydicom's types do not know that."""
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _is_behind_pixels(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) > PIXEL_TAGS[-1]


def _require_small_inflation(path: Path, content: Any) -> None:
    """Raises CaseError[read.unreadable] when a deflated file would fill the memory."""
    limit = INFLATED_BYTES + INFLATED_TIMES * len(content)
    stream, found = BytesIO(content[_meta_end(content) :]), 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    data = stream.read(1 << 16)
    while data and not inflate.eof:
        found += len(inflate.decompress(data, 1 << 22))
        if found > limit:
            raise bad_file(
                "read.unreadable",
                path,
                "the deflated file inflates to more than an image of its size can hold",
                details={"bytes": len(content), "inflates to more than": limit},
            )
        data = inflate.unconsumed_tail or stream.read(1 << 16)


def _meta_end(content: Any) -> int:
    """Where the file's meta information ends: its first element states its length (DICOM PS3.10 7.1)."""
    head = content[132:144]
    if head[:4] != b"\x02\0\0\0" or head[4:6] != b"UL":
        return 0
    return 144 + int.from_bytes(head[8:12], "little")


def _is_directory(file: DicomFile) -> bool:
    return str(file.dataset.file_meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY


def _uncompressed_syntax(dataset: Any) -> Any:
    implicit, little = dataset.original_encoding
    if not little:
        return pydicom.uid.ExplicitVRBigEndian
    return pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian


def _without_values(text: str) -> str:
    """pydicom quotes values, or puts them behind the value representation; names of elements and tags stay."""
    return re.sub(r"(for VR [A-Z]{2}):.*", r"\1", re.sub(r"""(['"]).*\1""", "...", text))
