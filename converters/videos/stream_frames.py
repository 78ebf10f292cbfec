"""Frames of a video stream by their number: from the nearest key frame before them, forward."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.video import Video
from medshard.converters.videos.decoder import Painter, Source, opened, orientation_of_frame
from medshard.errors import CaseError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# How far before a key frame the search starts anew, in seconds, where the container's index led behind it.
_BACK_OFF_S = (0.0, 1.0, 10.0)
_INTRA = 1


def frames_at(path: Path, video: Video, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number, (3, y, x) uint8 RGB) of each wanted frame; `wanted` ascends without repetition.

    One frame is held at a time. Raises CaseError[read.changed] where the file is not what the index says, and as
    `decoder.opened`.
    """
    painter = Painter(path)
    first_pts: int | None = None
    for key, numbers in _runs(wanted, video.key_frames):
        if key and first_pts is None:
            first_pts = _first_pts(path)
        missing = set(numbers)
        for number, frame in _frames_from(path, video, key, first_pts):
            if number in missing:
                yield number, _painted(path, video, painter, frame)
                missing.discard(number)
            if not missing:
                break
        if missing:
            raise _changed(path, f"frame {min(missing)} is not there")


def _runs(wanted: Sequence[int], key_frames: NDArray[np.bool_]) -> Iterator[tuple[int, list[int]]]:
    """Wanted frames in groups that are decoded in one go, each with the key frame that it starts from."""
    keys = np.flatnonzero(key_frames).tolist()
    run: list[int] = []
    start = 0
    for number in wanted:
        key = keys[max(bisect_right(keys, number) - 1, 0)]
        if run and key > run[-1]:
            yield start, run
            run = []
        if not run:
            start = key
        run.append(number)
    if run:
        yield start, run


def _frames_from(path: Path, video: Video, key: int, first_pts: int | None) -> Iterator[tuple[int, VideoFrame]]:
    """(number, frame) from a key frame on, or from one before it where decoding cannot start there."""
    if key and first_pts is not None:
        keys = np.flatnonzero(video.key_frames[: key + 1])
        for start in (int(keys[-1]), *(int(earlier) for earlier in keys[-2:-1])):
            for back_off_s in _BACK_OFF_S:
                with opened(path) as source:
                    wanted = first_pts + round(video.time_s[start] / source.tick_s)
                    landed = _landed(source, wanted, back_off_s)
                    if landed is not None:
                        yield from _numbered(source, video, start, first_pts, landed)
                        return
    with opened(path) as source:
        yield from _numbered(source, video, 0, None, None)


def _landed(source: Source, pts: int, back_off_s: float) -> VideoFrame | None:
    """The key frame at a time, after a seek; None where the decoder delivers none, or one that leans on others."""
    source.container.seek(pts - round(back_off_s / source.tick_s), stream=source.stream)
    for frame in source.frames():
        if frame.pts is None or frame.pts > pts:
            return None
        if frame.pts == pts:
            return frame if frame.key_frame or frame.pict_type == _INTRA else None
    return None


def _numbered(
    source: Source, video: Video, start: int, first_pts: int | None, landed: VideoFrame | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their numbers, counted from `start` and compared with the times of the index."""
    timed = bool(np.isfinite(video.time_s).all())
    strict = timed and int(video.key_frames.sum()) > 1
    number = start
    if landed is not None:
        yield number, landed
        number += 1
    for frame in source.frames():
        if number >= video.frames:
            raise _changed(source.path, f"there are more than {video.frames} frames")
        if first_pts is None:
            first_pts = frame.pts
        if strict and first_pts is not None:
            expected = first_pts + round(video.time_s[number] / source.tick_s)
            if frame.pts != expected:
                raise _changed(source.path, f"frame {number} has another time")
        yield number, frame
        number += 1


def _first_pts(path: Path) -> int | None:
    with opened(path) as source:
        return next((frame.pts for frame in source.frames()), None)


def _painted(path: Path, video: Video, painter: Painter, frame: VideoFrame) -> NDArray[np.uint8]:
    picture = painter.rgb(frame, orientation_of_frame(frame, path))
    if picture.shape != video.shape:
        raise bad_file(
            "read.unsupported",
            path,
            "the frames of the video change their size",
            details={"expected (c, y, x)": video.shape, "found": picture.shape},
        )
    return picture


def _changed(path: Path, problem: str) -> CaseError:
    return bad_file(
        "read.changed",
        path,
        "the video is not the one that was indexed, or decodes to other frames",
        details={"found": problem},
        action="Build the entry's volumes anew.",
    )
