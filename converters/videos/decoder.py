"""One video stream of one file, decoded by FFmpeg (PyAV, an optional part): one thread, fixed rules of colour.

YUV becomes RGB with the matrix and the range that the frame states, BT.601 and limited range where it states none, with
swscale's accurate and bit-exact arithmetic; more than 8 bits are reduced to 8.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.videos.containers import Container, container_of
from medshard.converters.videos.orientation import AS_STORED, Orientation, orientation_of
from medshard.errors import CaseError, MissingExtraError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MOST_PIXELS = 1 << 26
_FULL_RANGE = 2


@dataclass(frozen=True)
class Source:
    """An open file and its one video stream."""

    path: Path
    container: InputContainer
    stream: VideoStream

    @property
    def tick_s(self) -> float:
        """Seconds of one step of the stream's clock."""
        return float(self.stream.time_base or 0)

    def frames(self) -> Iterator[VideoFrame]:
        """Frames from here to the end, in presentation order; a damaged one is CaseError[read.unreadable]."""
        for count, frame in enumerate(self.container.decode(self.stream)):
            if frame.is_corrupt:
                raise bad_file("read.unreadable", self.path, "a frame is damaged", details={"after frames": count})
            _check_size(self.path, frame.width, frame.height)
            yield frame


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """A video file, ready to be decoded from its start.

    Raises MissingExtraError[video.not_installed], CaseError[read.unreadable | read.truncated | video.no_stream |
    video.several_streams | video.too_large].
    """
    av = library(path)
    container_name = container_of(path)
    if container_name is None:
        raise bad_file("read.unreadable", path, "the file is no video that medshard reads")
    with (
        ffmpeg_errors(path, container_name),
        av.open(
            str(path.absolute()),
            "r",
            format=container_name,
            metadata_errors="replace",
            # Nothing but this file is read: neither references of a QuickTime file nor addresses.
            container_options={"protocol_whitelist": "file"},
        ) as container,
    ):
        stream = _one_stream(path, container)
        stream.thread_count = 1
        stream.thread_type = "NONE"
        _check_size(path, stream.width, stream.height)
        yield Source(path, container, stream)


def library(path: Path) -> Any:
    """PyAV. Raises MissingExtraError[video.not_installed]."""
    try:
        import av  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "video.not_installed",
            where=path.name,
            problem="videos are read by PyAV, which is not installed",
            action="Install medshard[video].",
        ) from error
    return av


@contextmanager
def ffmpeg_errors(path: Path, container: Container) -> Iterator[None]:
    """What FFmpeg says of a bad file, as CaseError; of its message only the kind of fault is kept.

    Its `Cannot allocate memory` is among them: it refuses what a header asks for before the machine would.
    """
    av = library(path)
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in {errno.ENOENT, errno.EACCES, errno.EMFILE, errno.ENFILE}:
            raise  # they speak of the machine
        if error.errno == errno.EIO:
            # FFmpeg says so of a file that makes no sense, too. Of a failing disk, this says it.
            _read_through(path)
        code = "read.truncated" if isinstance(error, EOFError) else "read.unreadable"
        details: dict[str, object] = {"container": container, "reader": "FFmpeg", "reason": str(error.strerror)}
        raise bad_file(code, path, "the video cannot be decoded", details=details) from error


def _read_through(path: Path) -> None:
    with path.open("rb") as stream:
        while stream.read(1 << 20):
            pass


class Painter:
    """Frames -> RGB arrays; keeps swscale's tables from frame to frame."""

    def __init__(self, path: Path) -> None:
        formats = library(path).video.reformatter
        rules = formats.Interpolation
        self._reformatter = formats.VideoReformatter()
        self._rules = rules.BICUBIC | rules.ACCURATE_RND | rules.BITEXACT | rules.FULL_CHR_H_INT

    def rgb(self, frame: VideoFrame, orientation: Orientation = AS_STORED) -> NDArray[np.uint8]:
        """(3, y, x) uint8, turned as the container asks."""
        shown = self._reformatter.reformat(
            frame, format="rgb24", interpolation=self._rules, dst_color_range=_FULL_RANGE, threads=1
        )
        picture = np.asarray(shown.to_ndarray(), np.uint8)
        return np.ascontiguousarray(orientation.apply(picture).transpose(2, 0, 1))


def orientation_of_frame(frame: VideoFrame, path: Path) -> Orientation:
    """As its display matrix says. Raises CaseError[read.unsupported] where that is no right angle."""
    parts: Any = frame.side_data
    matrix = next((bytes(part) for part in parts if part.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return AS_STORED
    found = orientation_of(matrix)
    if found is None:
        raise bad_file("read.unsupported", path, "the video is to be shown turned by other than a right angle")
    return found


def _one_stream(path: Path, container: InputContainer) -> VideoStream:
    """The video stream; cover pictures do not count."""
    disposition = library(path).stream.Disposition
    streams = [s for s in container.streams.video if not s.disposition & disposition.attached_pic]
    if len(streams) == 1:
        return streams[0]
    sizes = ", ".join(f"{stream.width} x {stream.height}" for stream in streams)
    raise CaseError(
        "video.several_streams" if streams else "video.no_stream",
        where=path.name,
        problem="the file holds more than one video" if streams else "the file holds no video",
        details={"file": path.name, "expected": "one video stream", "found": sizes or "none"},
        action="The case is excluded. Split the file at the source." if streams else "Correct the entry's layout.",
    )


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise bad_file(
            "video.too_large",
            path,
            "the frames are larger than any camera's",
            details={"expected": f"at most {MOST_PIXELS} pixels", "found": f"{width} x {height}"},
        )
