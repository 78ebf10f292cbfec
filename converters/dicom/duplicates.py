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
    pixels of another. Of copies that differ in length the longest file stays: the others are cut.
    """
    suspects = _at_the_same_place(frames) if by_pixels else set()
    keys = [_identity(frame, id(frame) in suspects) if by_pixels else _instance(frame) for frame in frames]
    best: dict[Hashable, Frame] = {}
    for key, frame in zip(keys, frames, strict=True):
        if key is not None and (key not in best or _bytes(frame) > _bytes(best[key])):
            best[key] = frame
    kept: list[Frame] = []
    copies: list[str] = []
    for key, frame in zip(keys, frames, strict=True):
        stays = frame if key is None else best[key]
        if stays.file == frame.file:
            kept.append(frame)
        else:
            shorter = " (shorter)" if _bytes(frame) < _bytes(stays) else ""
            copies.append(f"{frame.name} of {stays.name}{shorter}")
    if not copies:
        return kept, ()
    more = f"; and {len(copies) - MOST_NAMED} more" if len(copies) > MOST_NAMED else ""
    return kept, (f"copies are left out: {'; '.join(copies[:MOST_NAMED])}{more}",)


def _bytes(frame: Frame) -> int:
    return frame.file.stat().st_size


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
