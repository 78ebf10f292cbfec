"""DICOM Segmentation and Label Map Segmentation: binary, fractional and label map. Oracle: highdicom.

Frames are sorted by geometry, not by number, and slices that the file leaves out are zeros. Segments that overlap go
to further channels: each, in the order of its number, into the first channel where it meets no other.
Source: DICOM PS3.3 A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.dicom_object import opened_object, sop_class
from medshard.converters.annotations.segment_colours import hex_of_dicom_cielab, palette_colours
from medshard.converters.annotations.segment_frames import SegmentFrames, segment_frames
from medshard.converters.annotations.segment_groups import functional_groups, placed_frame, segment_of
from medshard.converters.annotations.segment_slices import SliceGrid, slice_grid
from medshard.converters.annotations.segments import Segment, SegmentedImage
from medshard.converters.dicom.headers import pixels_attached
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Request, installed_versions
from medshard.converters.spooling import Spool, is_spooled, release_pages
from medshard.converters.volume import Array

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"

# A file that holds little may still span a large grid, since it leaves out empty slices; but not without bounds.
ALWAYS_ALLOWED_VOXELS = 1 << 28
MOST_VOXELS_PER_PIXEL = 1024
MOST_VOXELS = 1 << 33
MOST_SEGMENTS = 65_535


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the header says of one segment."""

    number: int
    name: str
    colour: str | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A segmentation before its pixels are decoded. segments: of each frame, its segment; empty for a label map."""

    path: Path
    told: tuple[Told, ...]
    segments: tuple[int, ...]
    frames: SegmentFrames
    grid: SliceGrid

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.count, self.frames.rows, self.frames.columns


def sniff(files: Files) -> bool:
    return len(files) == 1 and sop_class(files[0]) in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE)


def read(files: Files, request: Request = ANY) -> SegmentedImage:
    """The segments of one file on the regular grid that its frames lie on.

    Raises CaseError[read.truncated | read.unreadable | read.unsupported | dicom.duplicate_slices] and what
    `slice_grid` raises.
    """
    path = files[0]
    with opened_object(path) as file, pixels_attached(file) as dataset:
        _refuse_tiles(dataset, path)
        kind = str(dataset.get("SegmentationType") or "").upper()
        if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
            raise bad_file("read.unsupported", path, "the kind of segmentation is unknown: Segmentation Type")
        source = _source(dataset, path, kind)
        if kind == "LABELMAP":
            return _label_map(dataset, source, request.spool)
        if kind == "FRACTIONAL":
            return _fractional(dataset, source, request.spool)
        return _binary(source, request.spool)


def decoders() -> dict[str, str]:
    return installed_versions("pydicom", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "numpy")


def _source(dataset: Any, path: Path, kind: str) -> Source:
    frames = segment_frames(dataset, path)
    shared, own = functional_groups(dataset, path, frames.count)
    told = _told_segments(dataset, path)
    if kind != "LABELMAP" and any(segment.number == 0 for segment in told):
        raise bad_file("read.unreadable", path, "a segment has the number 0: Segment Number")
    segments = () if kind == "LABELMAP" else tuple(segment_of(shared, group) for group in own)
    unknown = set(segments) - {segment.number for segment in told}
    if unknown:
        raise bad_file(
            "read.unreadable",
            path,
            "frames belong to segments that the Segment Sequence does not describe",
            details={"segment numbers": sorted(unknown)[:10]},
        )
    grid = slice_grid([placed_frame(shared, group) for group in own], path)
    _refuse_duplicates(segments or (0,) * frames.count, grid, path)
    return Source(path=path, told=told, segments=segments, frames=frames, grid=grid)


def _refuse_tiles(dataset: Any, path: Path) -> None:
    if "TotalPixelMatrixColumns" in dataset or "ImageOrientationSlide" in dataset:
        raise bad_file("read.unsupported", path, "the segmentation is of a microscope slide, cut into tiles")


def _told_segments(dataset: Any, path: Path) -> tuple[Told, ...]:
    items = dataset.get("SegmentSequence") or []
    told = [
        Told(
            number=int(item.SegmentNumber),
            name=str(item.get("SegmentLabel") or "").strip(),
            colour=hex_of_dicom_cielab(item.get("RecommendedDisplayCIELabValue")),
        )
        for item in items
    ]
    numbers = [segment.number for segment in told]
    if len(set(numbers)) < len(numbers) or any(not 0 <= number <= MOST_SEGMENTS for number in numbers):
        raise bad_file("read.unreadable", path, "segment numbers are not distinct, or out of range")
    return tuple(sorted(told, key=lambda segment: segment.number))


def _refuse_duplicates(segments: Iterable[int], grid: SliceGrid, path: Path) -> None:
    """Two frames of one segment in one slice would be two truths."""
    places = list(zip(segments, grid.slices, strict=True))
    twice = len(places) - len(set(places))
    if not twice:
        return
    code = "dicom.duplicate_slices" if grid.trusted_geometry else "dicom.no_positions"
    problem = "several frames of a segment lie in one slice" if grid.trusted_geometry else "frames state no position"
    raise bad_file(code, path, problem, details={"frames": len(places), "too many": twice})


def _binary(source: Source, spool: Spool) -> SegmentedImage:
    dtype = _smallest(max((segment.number for segment in source.told), default=1))
    frames_of: dict[int, list[int]] = {segment.number: [] for segment in source.told}
    for frame, number in enumerate(source.segments):
        frames_of[number].append(frame)
    channels = [_zeros(source, 1, dtype, spool)]
    channel_of = dict.fromkeys(frames_of, 0)
    for number, frames in frames_of.items():
        channel = next((c for c, array in enumerate(channels) if _is_free(source, array, frames)), len(channels))
        if channel == len(channels):
            _require_size(source, channel + 1)
            channels.append(_zeros(source, 1, dtype, spool))
        _fill(source, channels[channel][0], frames, number)
        channel_of[number] = channel
    return SegmentedImage(
        array=_together(channels, spool),
        affine=source.grid.affine,
        segments=tuple(_segment(told, channel_of[told.number]) for told in source.told),
        trusted_geometry=source.grid.trusted_geometry,
        warnings=source.grid.warnings,
    )


def _is_free(source: Source, channel: Array, frames: Sequence[int]) -> bool:
    return not any(
        (channel[0, source.grid.slices[frame]] != 0)[source.frames.plane(frame) != 0].any() for frame in frames
    )


def _fill(source: Source, channel: Array, frames: Sequence[int], number: int) -> None:
    for frame in frames:
        channel[source.grid.slices[frame]][source.frames.plane(frame) != 0] = number


def _fractional(dataset: Any, source: Source, spool: Spool) -> SegmentedImage:
    if int(dataset.BitsAllocated) == 1:
        raise bad_file("read.unreadable", source.path, "a fractional segmentation has one bit a pixel: Bits Allocated")
    largest = int(dataset.MaximumFractionalValue)
    channel_of = {segment.number: channel for channel, segment in enumerate(source.told)}
    array = _zeros(source, max(1, len(channel_of)), np.uint8 if largest <= 255 else np.uint16, spool)
    above = 0
    for frame, number in enumerate(source.segments):
        plane = source.frames.plane(frame)
        above += int((plane > largest).sum())
        array[channel_of[number], source.grid.slices[frame]] = np.minimum(plane, largest)
    cut = (f"{above} pixels are above Maximum Fractional Value and taken as full",) if above else ()
    return SegmentedImage(
        array=array,
        affine=source.grid.affine,
        segments=tuple(_segment(told, channel_of[told.number]) for told in source.told),
        kind="fractional",
        largest=largest,
        trusted_geometry=source.grid.trusted_geometry,
        warnings=(*source.grid.warnings, *cut),
    )


def _label_map(dataset: Any, source: Source, spool: Spool) -> SegmentedImage:
    """Pixel Padding Value is the background; a segment that is numbered zero beside it gets a number of its own."""
    padding = int(dataset.get("PixelPaddingValue") or 0)
    told = tuple(segment for segment in source.told if segment.number != padding)
    known = [segment.number for segment in told]
    value_of = {number: number or max(known) + 1 for number in known}
    table = np.arange(1 << 16, dtype=np.uint32)
    table[padding] = 0
    if 0 in value_of:
        table[0] = value_of[0]
    bits = 8 if int(dataset.BitsAllocated) == 8 else 16
    dtype = _smallest(max([(1 << bits) - 1, *value_of.values()]))
    array = _zeros(source, 1, dtype, spool)
    found: set[int] = set()
    for frame in range(source.frames.count):
        plane = source.frames.plane(frame)
        found |= set(np.flatnonzero(np.bincount(plane.reshape(-1))).tolist())
        array[0, source.grid.slices[frame]] = table[plane]
    unknown = len(found - {padding} - set(known))
    lost = (f"{unknown} values of the label map belong to no described segment",) if unknown else ()
    colours = palette_colours(dataset)
    return SegmentedImage(
        array=array,
        affine=source.grid.affine,
        segments=tuple(
            Segment(
                number=segment.number,
                name=segment.name,
                channel=0,
                value=value_of[segment.number],
                colour=segment.colour or colours(segment.number),
            )
            for segment in told
        ),
        trusted_geometry=source.grid.trusted_geometry,
        warnings=(*source.grid.warnings, *lost),
    )


def _segment(told: Told, channel: int) -> Segment:
    return Segment(number=told.number, name=told.name, channel=channel, value=told.number, colour=told.colour)


def _smallest(largest: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint8 if largest <= 255 else np.uint16 if largest <= 65_535 else np.uint32)


def _zeros(source: Source, channels: int, dtype: Any, spool: Spool) -> Array:
    """(c, z, y, x) of zeros, where the spool puts them; a fresh spooled file reads as zeros already."""
    _require_size(source, channels)
    array = spool.empty((channels, *source.shape), dtype)
    if not is_spooled(array):
        array.fill(0)
    return array


def _require_size(source: Source, channels: int) -> None:
    """Raises CaseError[read.unsupported] when the grid is out of proportion to what the file holds."""
    z, y, x = source.shape
    voxels = channels * z * y * x
    held = source.frames.count * y * x
    if voxels <= max(ALWAYS_ALLOWED_VOXELS, min(held * MOST_VOXELS_PER_PIXEL, MOST_VOXELS)):
        return
    raise bad_file(
        "read.unsupported",
        source.path,
        "the segments span a grid that is too large for the frames that are there",
        details={"grid": f"{channels} x {z} x {y} x {x}", "frames": source.frames.count},
    )


def _together(channels: Sequence[Array], spool: Spool) -> Array:
    if len(channels) == 1:
        return channels[0]
    whole = spool.empty((len(channels), *channels[0].shape[1:]), channels[0].dtype)
    for number, channel in enumerate(channels):
        whole[number] = channel[0]
        release_pages(channel)
        release_pages(whole)
    return whole


FORMAT = AnnotationFormat(name="dicom-seg", suffixes=(".dcm",), sniff=sniff, read=read, decoders=decoders)
