"""Reading videos: an index of the frames first, then frames by their number. Every bad file becomes a `CaseError`.

A video is one file, whose container is recognised by its content, or a folder of numbered pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file, errors_of_case, refuse_no_files
from medshard.converters.formats.format import Files, installed_versions
from medshard.converters.sources import SourceFile
from medshard.converters.video import Video
from medshard.converters.videos.containers import container_of
from medshard.converters.videos.decoder import library
from medshard.converters.videos.frame_choice import clip_starts, frame_at, frame_numbers, frames_between
from medshard.converters.videos.frame_folder import in_order, is_picture, picture_numbers, pictures_at, read_folder
from medshard.converters.videos.stream_frames import frames_at
from medshard.converters.videos.timeline import read_timeline, refuse_short_file
from medshard.errors import CaseError

PICTURES = "pictures"
_READER = "video"


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """rate_hz: frames per second as the entry states it: of a folder, and where a container says no times."""

    rate_hz: float | None = None


ANY_VIDEO = VideoRequest()


def is_video(files: Files) -> bool:
    """Whether the files are a video by their content: one container file, or several pictures."""
    if len(files) == 1:
        return container_of(files[0]) is not None
    return len(files) > 1 and all(is_picture(path) for path in files)


def read_video(files: Files, *, where: str, request: VideoRequest = ANY_VIDEO) -> Video:
    """The index of a video. `files` of the result are named as the files are; whoever knows the raw tree replaces that.

    where: `entry/case`, for messages.
    Raises CaseError[read.no_files | read.unknown_format | read.several_videos | read.truncated | read.unreadable |
    read.unsupported | video.*], MissingExtraError[video.not_installed].
    """
    refuse_no_files(files, where)
    with errors_of_case(files, _READER, where):
        if container_of(files[0]) is not None:
            return _container_video(files, request)
        strangers = [path for path in files if not is_picture(path)]
        if strangers:
            raise bad_file(
                "read.unknown_format",
                strangers[0],
                "the files are neither one video nor a folder of pictures",
                details={"files": len(files), "of them no picture": len(strangers)},
                action="The case is excluded. Correct the entry's layout.",
            )
        return _folder_video(files, request)


def read_frames(files: Files, video: Video, numbers: Sequence[int], *, where: str) -> Array:
    """Frames by number, (n, 3, y, x) uint8 RGB, in the order asked for; a number may come twice.

    files: those that `read_video` was given. The pixels are those of decoding from the start. Holds the result and one
    frame. Raises ValueError on a number that the video does not have, and CaseError as `read_video`, [read.changed].
    """
    wanted = sorted(set(numbers))
    _check_numbers(video, wanted)
    frames = np.empty((len(numbers), *video.shape), np.uint8)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    for number, frame in _decoded(files, video, wanted, where):
        frames[places[number]] = frame
    return frames


def iterate_frames(
    files: Files, video: Video, *, start: int = 0, stop: int | None = None, step: int = 1, where: str
) -> Iterator[Array]:
    """Frames start, start + step, ... before `stop` (the end if None), each (3, y, x) uint8 RGB. Errors as above."""
    wanted = range(start, video.frames if stop is None else stop, step)
    if step < 1:
        raise ValueError(f"frames are read forward, and a step of {step} is not")
    _check_numbers(video, wanted)
    for _, frame in _decoded(files, video, wanted, where):
        yield frame


def video_decoders(files: Files) -> dict[str, str]:
    """Library -> version, of everything that has a say in the decoded frames."""
    if container_of(files[0]) is None:
        return installed_versions("numpy", "pillow")
    libraries = library(files[0]).library_versions
    parts = {name: ".".join(map(str, libraries[name])) for name in ("libavcodec", "libavformat", "libswscale")}
    return installed_versions("numpy", "av") | parts


def _decoded(files: Files, video: Video, wanted: Sequence[int], where: str) -> Iterator[tuple[int, Array]]:
    """(number, frame), with errors said of the case; errors of whoever consumes the frames are not ours."""
    if not wanted:
        return
    refuse_no_files(files, where)
    if video.codec == PICTURES:
        found: Iterator[tuple[int, Array]] = pictures_at(in_order(files), video.shape, wanted)
    else:
        found = frames_at(files[0], video, wanted)
    while True:
        with errors_of_case(files, _READER, where):
            item = next(found, None)
        if item is None:
            return
        yield item


def _container_video(files: Files, request: VideoRequest) -> Video:
    path = files[0]
    container = container_of(path)
    if len(files) > 1 or container is None:
        raise CaseError(
            "read.several_videos",
            where=path.name,
            problem="several files are given for one video",
            details={f"file {number}": other.name for number, other in enumerate(files[:4], start=1)},
            action="The case is excluded. Make the path in the entry's layout match one of them.",
        )
    refuse_short_file(path, container)
    timeline = read_timeline(path)
    time_s, rate_hz, warnings = timeline.time_s, timeline.rate_hz, list(timeline.warnings)
    if request.rate_hz and not np.isfinite(time_s).all():
        time_s, rate_hz = np.arange(len(time_s)) / request.rate_hz, request.rate_hz
        warnings.append(f"Times are counted at the {request.rate_hz:g} frames per second that the entry states.")
    elif request.rate_hz and rate_hz and abs(rate_hz / request.rate_hz - 1) > 0.02:
        warnings.append(
            f"The entry states {request.rate_hz:g} frames per second and the file has {rate_hz:.6g}; the file's count."
        )
    return Video(
        shape=(3, *timeline.size),
        time_s=time_s,
        key_frames=timeline.key_frames,
        codec=timeline.codec,
        rate_hz=rate_hz,
        files=(_source_file(path),),
        warnings=tuple(warnings),
    )


def _folder_video(files: Files, request: VideoRequest) -> Video:
    folder = read_folder(files)
    count = len(folder.files)
    return Video(
        shape=(3, *folder.size),
        time_s=folder.steps / request.rate_hz if request.rate_hz else np.full(count, np.nan),
        key_frames=np.ones(count, np.bool_),
        codec=PICTURES,
        rate_hz=request.rate_hz,
        files=tuple(_source_file(path) for path in folder.files),
        warnings=folder.warnings,
    )


def _source_file(path: Path) -> SourceFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return SourceFile(path=path.name, sha256=digest, size=path.stat().st_size)


def _check_numbers(video: Video, wanted: Sequence[int]) -> None:
    if wanted and (wanted[0] < 0 or wanted[-1] >= video.frames):
        raise ValueError(f"frames {wanted[0]} to {wanted[-1]} are asked for, and the video has 0 to {video.frames - 1}")


__all__ = [
    "ANY_VIDEO",
    "PICTURES",
    "VideoRequest",
    "clip_starts",
    "frame_at",
    "frame_numbers",
    "frames_between",
    "is_video",
    "iterate_frames",
    "picture_numbers",
    "read_frames",
    "read_video",
    "video_decoders",
]
