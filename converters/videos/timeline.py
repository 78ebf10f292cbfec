"""When each frame of a video stream is shown, and from which frames decoding can start.

The packets say it, and are read first; what they say is compared with what the decoder delivers at the start and after
the last key frame. Where packets lack a time, share one, or the decoder delivers others, everything is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.videos.containers import Container, missing_bytes
from medshard.converters.videos.decoder import Source, opened, orientation_of_frame
from medshard.converters.videos.orientation import Orientation
from medshard.errors import CaseError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

HEAD_FRAMES = 40
# Some packets of these hold frames that are never shown, and do not say so.
_HIDING_CODECS = {"vp8"}
_HDR_CURVES = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """time_s: (n,) from the first frame, NaN throughout where nothing says it. key_frames: (n,) bool.

    size: (y, x) as shown. rate_hz: the stated or measured frames per second.
    """

    time_s: NDArray[np.float64]
    key_frames: NDArray[np.bool_]
    size: tuple[int, int]
    codec: str
    rate_hz: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What is to be told of a stream besides its times, from the frames that were decoded."""

    orientation: Orientation
    size: tuple[int, int]
    warnings: tuple[str, ...]


@dataclass
class _Packets:
    """pts in decoding order, of the packets whose frames are shown; None where the container states none."""

    pts: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    starts_with_key: bool = False
    hiding: bool = False
    cut: bool = False


def read_timeline(path: Path) -> Timeline:
    """The timeline of a video file.

    Raises CaseError[read.truncated | read.unreadable | read.unsupported | video.*], MissingExtraError.
    """
    packets, notes = _read_packets(path)
    head, look = _decoded_head(path)
    expected = _usable_times(packets)
    if expected and head == expected[: len(head)] and _tail_agrees(path, expected, packets.keys[-1]):
        keys = set(packets.keys)
        return _timeline(path, expected, [pts in keys for pts in expected], look, notes)
    found, keyed = _decode_all(path)
    return _timeline(path, found, keyed, look, notes)


def _read_packets(path: Path) -> tuple[_Packets, list[str]]:
    """The packets of the stream; refuses a file of which samples are missing. Notes on what is left aside."""
    packets = _Packets()
    with opened(path) as source:
        stream = source.stream
        seen = 0
        for packet in source.container.demux(stream):
            if not packet.size:
                continue
            packets.starts_with_key |= not seen and packet.is_keyframe
            packets.cut |= packet.is_corrupt
            seen += 1
            if packet.is_discard:
                continue
            packets.pts.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                packets.keys.append(packet.pts)
        stated = len(stream.index_entries) if source.container.format.name.startswith("mov") else 0
        packets.hiding = stream.codec_context.codec.canonical_name in _HIDING_CODECS
        notes = _notes(source)
    if seen < stated or packets.cut:
        whole = seen - int(packets.cut)
        raise _truncated(path, whole, stated or None)
    return packets, notes


def _notes(source: Source) -> list[str]:
    """What of the file is not kept, or not as a person would see it."""
    notes = []
    if source.container.streams.audio:
        notes.append("The sound is left aside: speech can name a person.")
    if source.container.streams.subtitles or source.container.streams.data:
        notes.append("Subtitles and data streams of the file are left aside: they can name a person or a place.")
    ratio = source.stream.sample_aspect_ratio
    if ratio and ratio != 1:
        notes.append(f"The pixels are not square ({ratio.numerator}:{ratio.denominator}); they are kept as stored.")
    return notes


def _decoded_head(path: Path) -> tuple[list[int | None], _Look]:
    """Times of the first frames as the decoder delivers them, and what they look like."""
    with opened(path) as source:
        frames = []
        first: VideoFrame | None = None
        interlaced = False
        for frame in islice(source.frames(), HEAD_FRAMES):
            first = first or frame
            interlaced |= frame.interlaced_frame
            frames.append(frame.pts)
        if first is None:
            raise _truncated(path, 0, None)
        return frames, _look(path, first, interlaced)


def _look(path: Path, frame: VideoFrame, interlaced: bool) -> _Look:
    warnings = []
    if interlaced:
        warnings.append("The video is interlaced: moving edges show combs; nothing is deinterlaced.")
    if (bits := max(part.bits for part in frame.format.components)) > 8:
        warnings.append(f"The video has {bits} bits per channel; frames are decoded to 8.")
    if frame.color_trc in _HDR_CURVES:
        warnings.append(f"The video has the brightness curve {_HDR_CURVES[frame.color_trc]}, which is not converted.")
    if any(part.is_alpha for part in frame.format.components):
        warnings.append("The video has an alpha channel, which is left aside.")
    orientation = orientation_of_frame(frame, path)
    return _Look(orientation=orientation, size=orientation.size(frame.height, frame.width), warnings=tuple(warnings))


def _usable_times(packets: _Packets) -> list[int]:
    """Times of all frames in presentation order, if the packets give each its own; else nothing."""
    times = [pts for pts in packets.pts if pts is not None]
    usable = packets.starts_with_key and not packets.hiding and packets.keys and len(times) == len(packets.pts)
    return sorted(times) if usable and len(set(times)) == len(times) else []


def _tail_agrees(path: Path, expected: list[int], key: int) -> bool:
    """Whether the decoder delivers, from the last key frame on, just the frames that the packets announce."""
    with opened(path) as source:
        source.container.seek(key, stream=source.stream)
        try:
            found = [frame.pts for frame in source.frames()]
        except CaseError:
            return False
    tail = expected[expected.index(key) :] if key in expected else None
    return [pts for pts in found if pts is not None and pts >= key] == tail


def _decode_all(path: Path) -> tuple[list[int | None], list[bool]]:
    """Times and key frames of all frames as decoded."""
    times: list[int | None] = []
    keys: list[bool] = []
    try:
        with opened(path) as source:
            for frame in source.frames():
                times.append(frame.pts)
                keys.append(bool(frame.key_frame))
    except CaseError as error:
        details = {**error.details, "whole frames": len(times)}
        raise CaseError(
            error.code, where=error.where, problem=error.problem, details=details, action=error.action
        ) from error
    return times, keys


def _timeline(
    path: Path, times: list[int] | list[int | None], keys: list[bool], look: _Look, notes: list[str]
) -> Timeline:
    with opened(path) as source:
        tick_s = source.tick_s
        stated = float(source.stream.guessed_rate or source.stream.average_rate or 0)
        codec = source.stream.codec_context.codec.canonical_name
        regular = source.container.format.name == "avi"
    warnings = [*look.warnings, *notes]
    key_frames = np.asarray(keys, np.bool_)
    known = [pts for pts in times if pts is not None]
    steps = np.diff(known)
    # AVI states a rate and no times: FFmpeg makes some up, and stumbles at the ends of streams with B-frames.
    if len(known) == len(times) and (steps >= 0).all() and not (regular and stated and (steps == 0).any()):
        time_s = (np.asarray(known, np.float64) - known[0]) * tick_s
    else:
        time_s = np.arange(len(times)) / stated if stated else np.full(len(times), np.nan)
        how = "counted at the stated rate" if stated else "unknown"
        warnings.append(f"The container gives frames no times, or times that run backwards; their times are {how}.")
    if len(known) < len(times) or not (steps > 0).all():
        same = int((steps == 0).sum())
        if same and not regular:
            warnings.append(f"{same} frames have the same time as the frame before them.")
        # Frames cannot be told apart by their times, so they are counted from the start.
        key_frames = np.arange(len(times)) == 0
    else:
        key_frames[0] = True
    rate_hz, note = _rate(time_s, stated, tick_s)
    return Timeline(
        time_s=time_s,
        key_frames=key_frames,
        size=look.size,
        codec=codec,
        rate_hz=rate_hz,
        warnings=(*warnings, *note),
    )


def _rate(time_s: NDArray[np.float64], stated: float, tick_s: float) -> tuple[float | None, list[str]]:
    """Frames per second: the stated rate where the times bear it out, else the mean; a note where it varies."""
    if len(time_s) < 2 or not np.isfinite(time_s).all() or time_s[-1] <= 0:
        return stated or None, []
    steps = np.diff(time_s)
    mean = float(len(steps) / time_s[-1])
    # A regular rate that is rounded to the clock's ticks wavers by one tick to either side.
    if np.ptp(steps) > 2.01 * tick_s + 0.05 / mean:
        note = f"The frame rate varies: frames follow each other after {steps.min():.4g} to {steps.max():.4g} s."
        return mean, [note]
    agrees = stated and abs(stated / mean - 1) < 0.01 + tick_s / time_s[-1]
    return (stated if agrees else mean), []


def _truncated(path: Path, whole: int, stated: int | None) -> CaseError:
    details: dict[str, object] = {"whole frames": whole}
    if stated is not None:
        details["expected"] = f"{stated} frames"
    return bad_file("read.truncated", path, "the video ends too early", details=details)


def refuse_short_file(path: Path, container: Container) -> None:
    """Raise CaseError[read.truncated] where bytes are missing at the end, with the number of whole frames.

    And CaseError[read.unreadable] where the container states more than the file could hold.
    """
    missing = missing_bytes(path, container)
    if not missing:
        return
    try:
        with opened(path) as source:
            packets = source.container.demux(source.stream)
            whole: int | str = sum(1 for packet in packets if packet.size and not packet.is_corrupt)
    except CaseError:
        whole = "not to be told: their index was at the end"
    raise bad_file(
        "read.truncated",
        path,
        "the video file ends too early",
        details={"container": container, "missing bytes": missing, "whole frames": whole},
    )
