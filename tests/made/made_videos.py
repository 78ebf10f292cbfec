"""Videos of real pictures, in every container and codec that the reader knows, with the oddities of the field.

The pictures are the ultrasound cine that pydicom ships; each carries its number in a bar of bits, so that a picture can
be told from its neighbours. Lossless ones (`LOSSLESS`) decode to the very pictures that went in.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

RATE = 25


@dataclass(frozen=True)
class Codec:
    """suffix of the container, encoder, pixel format, options of the encoder."""

    suffix: str
    encoder: str
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    b_frames: int | None = None
    ticks: int = 1000


_FAST = {"preset": "ultrafast", "bframes": "3", "b-pyramid": "normal"}
CODECS: Mapping[str, Codec] = {
    "h264.mp4": Codec("mp4", "libx264", options=_FAST),
    "h264.mov": Codec("mov", "libx264", options=_FAST),
    "h264.mkv": Codec("mkv", "libx264", options=_FAST),
    "h264.ts": Codec("ts", "libx264", options=_FAST),
    "open-gop.mp4": Codec(
        "mp4", "libx264", options={"x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0:rc-lookahead=4"}
    ),
    "refresh.mp4": Codec("mp4", "libx264", options={"x264-params": "intra-refresh=1:keyint=10:bframes=0:scenecut=0"}),
    "hevc.mp4": Codec("mp4", "libx265", options={"preset": "ultrafast", "x265-params": "log-level=error:bframes=3"}),
    "ten-bit.mp4": Codec("mp4", "libx265", "yuv420p10le", {"preset": "ultrafast", "x265-params": "log-level=error"}),
    "grey.mkv": Codec("mkv", "ffv1", "gray"),
    "vp9.webm": Codec("webm", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": Codec(
        "webm", "libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
    ),
    "mpeg4.avi": Codec("avi", "mpeg4", b_frames=2, ticks=RATE),
    "mjpeg.avi": Codec("avi", "mjpeg", "yuvj422p", ticks=RATE),
    "mpeg2.mpg": Codec("mpg", "mpeg2video", b_frames=2, ticks=RATE),
    "wmv2.wmv": Codec("wmv", "wmv2"),
    "rgb.mp4": Codec("mp4", "libx264rgb", "rgb24", {**_FAST, "qp": "0"}),
    "png.mov": Codec("mov", "png", "rgb24"),
    "ffv1.mkv": Codec("mkv", "ffv1", "bgr0"),
}
LOSSLESS = ("rgb.mp4", "png.mov", "ffv1.mkv")


@cache
def pictures(count: int = 40, height: int = 66, width: int = 98) -> NDArray[np.uint8]:
    """(count, y, x, 3): the cine, cropped, with the number of each picture as seven blocks in its first rows."""
    file = get_testdata_file("examples_ybr_color.dcm", download=False)
    cine = pydicom.dcmread(str(file)).pixel_array[:, 60 : 60 + height, 90 : 90 + width]
    shown = cine[np.arange(count) % len(cine)].copy()
    for number in range(count):
        for bit in range(7):
            shown[number, :8, bit * 8 : bit * 8 + 8] = 255 * (number >> bit & 1)
    return shown


def number_of(frame: NDArray[np.generic]) -> int:
    """The number in the bar of a decoded frame (3, y, x)."""
    return sum(int(frame[:, 2:6, bit * 8 + 2 : bit * 8 + 6].mean() > 127) << bit for bit in range(7))


def write_video(
    path: Path,
    codec: Codec,
    frames: NDArray[np.uint8] | None = None,
    *,
    ticks: Sequence[int] | None = None,
    gop: int = 10,
    rotation: int = 0,
    faststart: bool = False,
    sound: bool = False,
    second: bool = False,
    tags: Mapping[str, str] | None = None,
    interlaced: bool = False,
) -> Path:
    """A video. ticks: presentation time of each frame, in `codec.ticks` a second; 25 frames a second if None."""
    frames = pictures() if frames is None else frames
    options = {"movflags": "faststart+use_metadata_tags"} if faststart or tags else {}
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(tags or {})
        streams = [_stream(container, codec, frames.shape[1:3], gop, interlaced) for _ in range(1 + second)]
        if rotation:
            streams[0].set_display_rotation(rotation)
        tone = container.add_stream("aac", rate=8000) if sound else None
        base = Fraction(1, codec.ticks)
        for number, picture in enumerate(frames):
            for stream in streams:
                shown = av.VideoFrame.from_ndarray(picture, "rgb24")
                shown.pts = ticks[number] if ticks is not None else number * codec.ticks // RATE
                shown.time_base = base
                container.mux(stream.encode(shown))
        if tone is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.rate, samples.pts, samples.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def _stream(container, codec: Codec, size: tuple[int, ...], gop: int, interlaced: bool):
    options = {**codec.options, **({"x264-params": "interlaced=1"} if interlaced else {})}
    stream = container.add_stream(codec.encoder, rate=RATE, options=options)
    stream.height, stream.width, stream.pix_fmt, stream.gop_size = *size, codec.pixels, gop
    stream.codec_context.time_base = Fraction(1, codec.ticks)
    if codec.b_frames is not None:
        stream.max_b_frames = codec.b_frames
    return stream


def remuxed_from(source: Path, target: Path, first: int) -> Path:
    """The packets of a video from the one with this number on, times as they are."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        out = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(given.streams.video[0])):
            if packet.dts is not None and number >= first:
                packet.stream = out
                made.mux(packet)
    return target


def decoded_in_order(path: Path) -> tuple[list[float], list[av.VideoFrame]]:
    """(presentation times in s from the first, frames) of a plain decoding from the start: the other way to read."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float((frame.pts - frames[0].pts) * frame.time_base) for frame in frames], frames


def write_exr(path: Path, channels: Mapping[str, NDArray[np.floating]]) -> Path:
    """An uncompressed OpenEXR picture of float32 or float16 channels (openexr.com, file layout)."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    half = channels[names[0]].dtype == np.float16

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    listed = b"".join(n.encode() + b"\0" + struct.pack("<iB3xii", 1 if half else 2, 0, 1, 1) for n in names) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    head = (
        b"v/1\x01\x02\0\0\0"
        + attribute("channels", "chlist", listed)
        + attribute("compression", "compression", b"\0")
        + attribute("dataWindow", "box2i", window)
        + attribute("displayWindow", "box2i", window)
        + attribute("lineOrder", "lineOrder", b"\0")
        + attribute("pixelAspectRatio", "float", struct.pack("<f", 1))
        + attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0))
        + attribute("screenWindowWidth", "float", struct.pack("<f", 1))
        + b"\0"
    )
    lines = [b"".join(np.ascontiguousarray(channels[name][y]).tobytes() for name in names) for y in range(height)]
    starts = np.cumsum([0, *(8 + len(line) for line in lines)])[:-1] + len(head) + 8 * height
    body = b"".join(struct.pack("<ii", y, len(line)) + line for y, line in enumerate(lines))
    path.write_bytes(head + starts.astype("<u8").tobytes() + body)
    return path
