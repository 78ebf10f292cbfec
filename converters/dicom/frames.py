"""The frames of DICOM files, from their headers alone.

A classic file holds one frame; multi-frame files state the place of each frame in functional groups (enhanced CT and
MR, segmentations), in an offset vector (dose), or by a first position and a spacing (nuclear medicine). A mosaic is one
frame in the file and many here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.dicom.headers import DicomFile
from medshard.converters.dicom.mosaic import Mosaic, mosaic_of
from medshard.converters.dicom.values import is_stated, items, name_of_uid, numbers, text, texts
from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

Numbers = tuple[float, ...]

# Modalities whose frames follow each other in time where nothing else is said.
CINE_MODALITIES = frozenset({"US", "IVUS", "XA", "XRF", "RF", "ES", "XC", "GM", "OPT"})
FRAME_TIME_POINTERS = (0x00181063, 0x00181065)
# A frame costs memory before a voxel of it is read; no scanner writes so many into one object.
MOST_FRAMES = 200_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One plane.

    number: within its file, from 0; of a mosaic, the number of the tile.
    orientation: directions of a row and a column in LPS, six numbers; position: of the first pixel, mm LPS;
    pixel_spacing: mm between rows, mm between columns. Each None where the header has none.
    spacing_between_slices, slice_thickness: mm, as stated.
    groups: where the attributes of the frame may stand, nearest first (DICOM PS3.3 C.7.6.16).
    """

    source: DicomFile
    number: int
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    spacing_between_slices: float | None
    slice_thickness: float | None
    groups: tuple[Any, ...]
    mosaic: Mosaic | None = None

    @property
    def file(self) -> Path:
        return self.source.path

    @property
    def name(self) -> str:
        """For messages: the file, and the frame where the file has several."""
        alone = self.mosaic is None and not self.number
        return self.file.name if alone else f"{self.file.name} frame {self.number + 1}"

    @property
    def rows(self) -> int:
        return self.mosaic.rows if self.mosaic else int(self.source.dataset.Rows)

    @property
    def columns(self) -> int:
        return self.mosaic.columns if self.mosaic else int(self.source.dataset.Columns)

    @property
    def number_in_file(self) -> int:
        """As the file counts its frames: a mosaic is one."""
        return 0 if self.mosaic else self.number

    def words(self, keyword: str, sequence: str = "") -> tuple[str, ...]:
        return stated(self.groups, keyword, sequence)

    def number_of(self, keyword: str, sequence: str = "") -> float | None:
        return _number(self.groups, sequence, keyword)


def frames_of(source: DicomFile) -> list[Frame]:
    """The frames of one file in stored order.

    Raises CaseError[read.unsupported (no image) | read.truncated (more frames stated than the file can hold)].
    """
    dataset = source.dataset
    if not is_image(dataset):
        raise no_image(source)
    mosaic = mosaic_of(source.path, dataset)
    if mosaic is not None:
        return _tiles(source, mosaic)
    count = _frame_count(source)
    positions = _stated_positions(dataset, count)
    per_frame, shared = _functional_groups(dataset)
    return [
        _frame(source, number, (*per_frame[number : number + 1], *shared), positions[number] if positions else None)
        for number in range(count)
    ]


def no_image(source: DicomFile) -> CaseError:
    """That the object is something else, by the name that the standard gives its class, if it has one."""
    return bad_file(
        "read.unsupported",
        source.path,
        "the DICOM object is not an image",
        details={"kind": name_of_uid(text(source.dataset, "SOPClassUID"))},
    )


def is_image(dataset: Any) -> bool:
    return "Rows" in dataset and "Columns" in dataset


def runs_in_time(dataset: Any) -> bool:
    """Whether frames without positions follow each other in time rather than in space."""
    pointers = _frame_pointers(dataset)
    if pointers:
        return any(tag in FRAME_TIME_POINTERS for tag in pointers)
    return "".join(texts(dataset, "Modality")[:1]) in CINE_MODALITIES


def _frame_pointers(dataset: Any) -> tuple[int, ...]:
    """What the frames of a file count, as tags; empty where it is not stated."""
    pointer = dataset.get("FrameIncrementPointer")
    if pointer is None:
        return ()
    return tuple(int(tag) for tag in ([pointer] if isinstance(pointer, int) else pointer))


def stated(groups: Sequence[Any], keyword: str, sequence: str = "") -> tuple[str, ...]:
    """The values of an attribute as words, from the nearest group that has it in its macro or bare; else nothing."""
    for group in _nearest(groups, keyword, sequence):
        return texts(group, keyword)
    return ()


def numbers_of(groups: Sequence[Any], sequence: str, keyword: str) -> tuple[float, ...]:
    """As `stated`, as numbers; nothing where one of them is no finite number."""
    for group in _nearest(groups, keyword, sequence):
        return numbers(group, keyword)
    return ()


def _nearest(groups: Sequence[Any], keyword: str, sequence: str) -> Iterator[Any]:
    for group in groups:
        found = items(group, sequence)[:1] if sequence else ()
        place = found[0] if found else group
        if is_stated(place, keyword):
            yield place


def _vector(source: DicomFile, groups: Sequence[Any], sequence: str, keyword: str, count: int) -> Numbers | None:
    """Numbers that geometry rests on: what is stated must be right."""
    for group in _nearest(groups, keyword, sequence):
        found = numbers(group, keyword)
        if len(found) == count:
            return found
        raise bad_file(
            "read.unreadable",
            source.path,
            f"{keyword} does not hold {count} finite numbers",
            details={"attribute": keyword, "finite numbers": len(found)},
        )
    return None


def _frame(source: DicomFile, number: int, groups: tuple[Any, ...], position: tuple[float, ...] | None) -> Frame:
    return Frame(
        source=source,
        number=number,
        orientation=_vector(source, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
        position=position or _vector(source, groups, "PlanePositionSequence", "ImagePositionPatient", 3),
        pixel_spacing=_vector(source, groups, "PixelMeasuresSequence", "PixelSpacing", 2),
        spacing_between_slices=_number(groups, "PixelMeasuresSequence", "SpacingBetweenSlices"),
        slice_thickness=_number(groups, "PixelMeasuresSequence", "SliceThickness"),
        groups=groups,
    )


def _tiles(source: DicomFile, mosaic: Mosaic) -> list[Frame]:
    groups = (source.dataset,)
    return [
        Frame(
            source=source,
            number=number,
            orientation=mosaic.orientation,
            position=position,
            pixel_spacing=mosaic.pixel_spacing,
            spacing_between_slices=_number(groups, "", "SpacingBetweenSlices"),
            slice_thickness=_number(groups, "", "SliceThickness"),
            groups=groups,
            mosaic=mosaic,
        )
        for number, position in enumerate(mosaic.positions)
    ]


def _functional_groups(dataset: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """The groups of each frame, and those that all frames share, nearest first."""
    shared = [*(dataset.get("SharedFunctionalGroupsSequence") or [])[:1], dataset]
    shared += (dataset.get("DetectorInformationSequence") or [])[:1]
    return list(dataset.get("PerFrameFunctionalGroupsSequence") or []), tuple(shared)


def _frame_count(source: DicomFile) -> int:
    """Frames of a file, never more than its bytes can hold."""
    dataset = source.dataset
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    if count == 1:
        return 1
    left = source.size - source.pixels_at
    if source.is_deflated:
        possible = MOST_FRAMES
    elif source.is_encapsulated:
        possible = left // 8  # the header of one fragment
    else:
        bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
        possible = left * 8 // max(1, bits * int(dataset.get("BitsAllocated") or 8) * 2 // 3)
    if left > 0 and count > min(possible, MOST_FRAMES):
        raise bad_file(
            "read.truncated",
            source.path,
            "the file states more frames than it can hold",
            details={"frames": count, "bytes of pixels": left, "possible": min(possible, MOST_FRAMES)},
        )
    if count > MOST_FRAMES:
        raise bad_file("read.unsupported", source.path, "too many frames are stated", details={"frames": count})
    return count


def _number(groups: Sequence[Any], sequence: str, keyword: str) -> float | None:
    found = numbers_of(groups, sequence, keyword)
    return found[0] if found else None


def _stated_positions(dataset: Any, count: int) -> list[tuple[float, ...]]:
    """Positions of the frames of a multi-frame file that states only the first one; empty where it states none or all.

    Sources: DICOM PS3.3 C.8.8.3.2 (Grid Frame Offset Vector, along the normal) and C.8.4.15 (nuclear medicine).
    """
    groups = [dataset, *(dataset.get("DetectorInformationSequence") or [])[:1]]
    first = numbers_of(groups, "PlanePositionSequence", "ImagePositionPatient")
    orientation = numbers_of(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
    if count == 1 or len(first) != 3 or len(orientation) != 6 or "PerFrameFunctionalGroupsSequence" in dataset:
        return []
    normal = np.cross(orientation[:3], orientation[3:])
    along = _frame_offsets(dataset, count, float(normal[2]))
    return [tuple(float(v) for v in np.asarray(first) + normal * distance) for distance in along]


def _frame_offsets(dataset: Any, count: int, normal_z: float) -> Iterator[float]:
    """Millimetres along the normal from the first frame; none where nothing is stated.

    Offsets of a dose are relative to the first frame, along the normal, when the first of them is 0; else they are
    coordinates along the patient's z axis, which the normal may point against (DICOM PS3.3 C.8.8.3.2).
    """
    offsets = numbers(dataset, "GridFrameOffsetVector")
    slices = numbers(dataset, "SliceVector")
    step = (numbers(dataset, "SpacingBetweenSlices") or numbers(dataset, "SliceThickness"))[:1]
    if len(offsets) == count:
        side = -1.0 if offsets[0] != 0 and normal_z < 0 else 1.0
        yield from (side * (offset - offsets[0]) for offset in offsets)
    elif step and step[0] and len(slices) == count:
        yield from ((number - 1) * step[0] for number in slices)
    elif step and step[0] and not _frame_pointers(dataset):
        yield from (number * step[0] for number in range(count))
