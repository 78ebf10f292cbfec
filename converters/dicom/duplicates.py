"""Frames that are in the files twice: exported again, or copied under another name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

from medshard.converters.dicom.frames import Frame
from medshard.converters.dicom.headers import PIXEL_TAGS, pixels_attached
from medshard.converters.dicom.steps import diffusion, echo_time, in_order
from medshard.converters.dicom.values import text

MOST_NAMED = 5


def without_copies(frames: Sequence[Frame], *, by_pixels: bool) -> tuple[list[Frame], tuple[str, ...]]:
    """The frames without copies, in the order given, and a note that names the files of the copies.

    A copy has the SOP Instance UID of another file; or, `by_pixels`, the place, the times, the weighting and the very
    pixels of another.
    """
    kept: list[Frame] = []
    copies: list[str] = []
    seen: dict[Hashable, Frame] = {}
    suspects = _at_the_same_place(frames) if by_pixels else set()
    for frame in frames:
        key = _identity(frame, id(frame) in suspects) if by_pixels else _instance(frame)
        first = seen.setdefault(key, frame) if key is not None else frame
        if first is frame or first.file == frame.file:
            kept.append(frame)
        else:
            copies.append(f"{frame.name} of {first.name}")
    if not copies:
        return kept, ()
    more = f"; and {len(copies) - MOST_NAMED} more" if len(copies) > MOST_NAMED else ""
    return kept, (f"copies are left out: {'; '.join(copies[:MOST_NAMED])}{more}",)


def _instance(frame: Frame) -> Hashable:
    uid = text(frame.source.dataset, "SOPInstanceUID")
    return (uid, frame.number) if uid else None


def _at_the_same_place(frames: Sequence[Frame]) -> set[int]:
    places: dict[Hashable, list[int]] = defaultdict(list)
    for frame in frames:
        places[frame.position].append(id(frame))
    return {one for members in places.values() if len(members) > 1 for one in members}


def _identity(frame: Frame, suspected: bool) -> Hashable:
    """None for a frame that is alone at its place: its pixels need not be read."""
    if not suspected:
        return None
    return frame.position, frame.number, in_order(frame), echo_time(frame), diffusion(frame), _digest(frame)


def _digest(frame: Frame) -> bytes:
    digest = hashlib.blake2b()
    with pixels_attached(frame.source) as dataset:
        for tag in PIXEL_TAGS:
            if tag in dataset:
                digest.update(dataset.get_item(tag).value or b"")
    return digest.digest()
