"""Files of one or many series -> stacks of frames that are one image each.

Three questions are asked of the frames, none of them about file names:

1. What makes another image? Series, grid, orientation, kind of image (magnitude or phase, water or fat, derived or
   not). Such frames never share a stack.
2. Which places are there? Frames whose positions agree to a hundredth of a millimetre share one.
3. Where several frames share a place: what tells them apart? The first of the properties in `steps.py` that gives
   every place each of its values once becomes the leading axis.

A volume that lacks slices, such as the last one of an aborted scan, is dropped with a warning when others are whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medshard.converters.dicom.duplicates import without_copies
from medshard.converters.dicom.frames import Frame, runs_in_time
from medshard.converters.dicom.stack import Stack, require_places, stack_frames, stack_steps
from medshard.converters.dicom.steps import SEPARATE, Steps, image_words, steps_of
from medshard.converters.dicom.values import numbers, text
from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

ORIENTATION_TOLERANCE = 5e-4
SPACING_TOLERANCE = 1e-4
SAME_PLACE_MM = 0.01
# When only parts of a series are stacks, these say which parts they are.
PARTS: tuple[Callable[[Frame], Hashable], ...] = (
    lambda frame: frame.words("AcquisitionNumber", "FrameContentSequence"),
    lambda frame: frame.words("ImageType"),
    lambda frame: frame.words("ReceiveCoilName", "MRReceiveCoilSequence"),
    lambda frame: frame.words("ContrastBolusAgent"),
)


@dataclass(frozen=True, kw_only=True)
class Image:
    """Frames that are one image. stack: their order and place; problem: why they are none, instead of a stack."""

    frames: tuple[Frame, ...]
    stack: Stack | None
    problem: CaseError | None = None

    @property
    def ordered(self) -> list[Frame]:
        assert self.stack is not None
        return [self.frames[index] for index in self.stack.order]


def split_frames(frames: Sequence[Frame]) -> list[Image]:
    """The images that frames make, in the order of series number and of what was told apart.

    A group of frames that makes no image is one with its `problem`; nothing raises here, because another group may be
    the wanted one.
    """
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=_instance_order):
        groups[_kind(frame)].append(frame)
    return [image for group in groups.values() for part in _by_plane(group) for image in _images(part)]


def _instance_order(frame: Frame) -> tuple[str, str, int]:
    """So that nothing depends on the order of the files; names decide only between files of one instance."""
    return text(frame.source.dataset, "SOPInstanceUID") or "", frame.file.name, frame.number


def _kind(frame: Frame) -> Hashable:
    """What frames of one image have in common, except their plane."""
    dataset = frame.source.dataset
    return (
        text(dataset, "SeriesInstanceUID"),
        frame.rows,
        frame.columns,
        text(dataset, "PhotometricInterpretation"),
        *(numbers(dataset, name) for name in ("SamplesPerPixel", "BitsAllocated", "PixelRepresentation")),
        image_words(frame),
        frame.words("StackID", "FrameContentSequence"),
        frame.mosaic is not None,
    )


def _by_plane(frames: list[Frame]) -> list[list[Frame]]:
    """Frames by orientation and pixel spacing, each known only to a few decimals.

    Frames without a place among others that have one stay together: which stack they belong to, nobody can say.
    """
    if len({_is_placed(frame) for frame in frames}) > 1:
        return [frames]
    planes: list[tuple[np.ndarray, list[Frame]]] = []
    for frame in frames:
        plane = np.array([*(frame.orientation or (0.0,) * 6), *(frame.pixel_spacing or (0.0, 0.0))])
        limit = np.array([ORIENTATION_TOLERANCE] * 6 + [SPACING_TOLERANCE] * 2)
        found = next((members for known, members in planes if (np.abs(known - plane) <= limit).all()), None)
        if found is None:
            planes.append((plane, [frame]))
        else:
            found.append(frame)
    return [members for _, members in planes]


def _images(frames: list[Frame]) -> list[Image]:
    """The images of frames of one kind and one plane."""
    if not any(_is_placed(frame) for frame in frames):
        return _unplaced(frames)
    kept, notes = without_copies(frames, by_pixels=False)
    images, problem = _whole_images(kept, notes)
    if problem is not None:
        kept, more = without_copies(kept, by_pixels=True)
        if more:
            images, problem = _whole_images(kept, (*notes, *more))
    if problem is None:
        return images
    placed = all(_is_placed(frame) for frame in kept)
    return (_parts(kept, notes) if placed else []) or [Image(frames=tuple(kept), stack=None, problem=problem)]


def _whole_images(frames: list[Frame], notes: tuple[str, ...]) -> tuple[list[Image], CaseError | None]:
    try:
        require_places(frames)
        return [_image(part, notes) for part in _separated(frames)], None
    except CaseError as error:
        return [], error


def _is_placed(frame: Frame) -> bool:
    return frame.position is not None and frame.orientation is not None


def _parts(frames: list[Frame], notes: tuple[str, ...]) -> list[Image]:
    """The images of the parts of a group that is none itself; empty where no property makes every part one."""
    for part_of in PARTS:
        parts: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[part_of(frame)].append(frame)
        if len(parts) < 2 or min(len(part) for part in parts.values()) < 2:
            continue
        try:
            return [_image(part, notes) for part in parts.values()]
        except CaseError:
            continue
    return []


def _unplaced(frames: list[Frame]) -> list[Image]:
    """Frames without a place: each file is an image of its own."""
    files: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        files[frame.file].append(frame)
    images = []
    for members in files.values():
        try:
            stack = stack_frames(members, in_time=runs_in_time(members[0].source.dataset))
            images.append(Image(frames=tuple(members), stack=stack))
        except CaseError as error:
            images.append(Image(frames=tuple(members), stack=None, problem=error))
    return images


def _separated(frames: list[Frame]) -> list[list[Frame]]:
    """Frames by echo, inversion time, flip angle, as far as these share places and something else runs beside them."""
    places = _place_numbers(frames)
    for mark in SEPARATE:
        by_value: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            by_value[mark(frame)].append(frame)
        whole = all(len(set(_place_numbers(part).tolist())) == places.max() + 1 for part in by_value.values())
        if 1 < len(by_value) < len(frames) / (places.max() + 1) and whole:
            return [smaller for part in by_value.values() for smaller in _separated(part)]
    return [frames]


def _image(frames: list[Frame], notes: tuple[str, ...]) -> Image:
    """Raises CaseError where the frames are no image."""
    places = _place_numbers(frames)
    if places.max() + 1 == len(frames):
        stack = stack_frames(frames, in_time=False)
    else:
        steps = _whole_steps(frames, places)
        stack = stack_steps(frames, steps)
    return Image(frames=tuple(frames), stack=stack.with_warnings(notes))


def _whole_steps(frames: list[Frame], places: np.ndarray) -> Steps:
    steps = steps_of(frames, places)
    if steps is not None:
        return steps
    counts = np.bincount(places)
    first, second = _first_pair(frames, places)
    raise bad_file(
        "dicom.duplicate_slices",
        first.file,
        "several slices lie at the same place, and nothing tells them apart",
        details={
            "slices": len(frames),
            "places": len(counts),
            "slices at a place": f"{counts.min()} to {counts.max()}",
            "first pair": f"{first.name} and {second.name}",
        },
    )


def _first_pair(frames: list[Frame], places: np.ndarray) -> tuple[Frame, Frame]:
    order = np.argsort(places, kind="stable")
    at = next(i for i, (a, b) in enumerate(pairwise(places[order])) if a == b)
    return frames[order[at]], frames[order[at + 1]]


def _place_numbers(frames: list[Frame]) -> np.ndarray:
    """The number of each frame's place, counted along the normal."""
    positions = np.array([frame.position for frame in frames], np.float64)
    orientation = np.asarray(frames[0].orientation)
    along = positions @ np.cross(orientation[:3], orientation[3:])
    order = np.argsort(along, kind="stable")
    places = np.empty(len(frames), np.int64)
    places[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_PLACE_MM)])
    return places
