"""Videos: every frame has its time and its pixels, whatever the container; odd is said, broken is refused."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from made_videos import (
    CODECS,
    LOSSLESS,
    Codec,
    decoded_in_order,
    number_of,
    pictures,
    remuxed_from,
    write_video,
)

from medshard.converters.videos.decoder import Painter, orientation_of_frame
from medshard.converters.videos.reading import (
    VideoRequest,
    is_video,
    iterate_frames,
    read_frames,
    read_video,
    video_decoders,
)
from medshard.errors import CaseError

WHERE = "entry/case"
H264 = CODECS["h264.mp4"]


def every_frame(path: Path) -> None:
    video = read_video([path], where=WHERE)
    read_frames([path], video, range(video.frames), where=WHERE)


def refusal(path: Path) -> CaseError:
    with pytest.raises(CaseError) as found:
        every_frame(path)
    assert found.value.where == WHERE
    return found.value


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_has_the_time_and_the_pixels_of_decoding_from_the_start(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"video.{CODECS[name].suffix}", CODECS[name])
    assert is_video([path])
    video = read_video([path], where=WHERE)
    times, frames = decoded_in_order(path)
    assert video.frames == len(frames) == 40
    if name != "mpeg4.avi":  # whose times FFmpeg makes up; see below
        np.testing.assert_allclose(video.time_s, times, atol=1e-9)
    np.testing.assert_allclose(video.time_s, np.arange(40) / 25, atol=1e-3)
    assert video.rate_hz == pytest.approx(25, rel=1e-3)
    assert video.shape == (3, 66, 98)
    painter = Painter(path)
    expected = [painter.rgb(frame) for frame in frames]
    # One at a time and backwards, so that each is sought anew.
    for number in reversed(range(40)):
        found = read_frames([path], video, [number], where=WHERE)
        np.testing.assert_array_equal(found[0], expected[number], err_msg=f"frame {number}")
    assert [number_of(frame) for frame in expected] == list(range(40))


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_frames_are_the_pictures_that_went_in(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"video.{CODECS[name].suffix}", CODECS[name])
    video = read_video([path], where=WHERE)
    numbers = [39, 0, 17, 17, 3, 25]
    found = read_frames([path], video, numbers, where=WHERE)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), pictures()[numbers])


def test_frames_are_iterated_by_steps(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", CODECS["rgb.mp4"])
    video = read_video([path], where=WHERE)
    found = list(iterate_frames([path], video, start=4, stop=38, step=11, where=WHERE))
    np.testing.assert_array_equal(np.stack(found).transpose(0, 2, 3, 1), pictures()[4:38:11])
    assert not list(iterate_frames([path], video, start=7, stop=7, where=WHERE))
    for numbers in ([40], [-1]):
        with pytest.raises(ValueError, match="0 to 39"):
            read_frames([path], video, numbers, where=WHERE)


def test_errors_of_whoever_takes_the_frames_stay_theirs(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    video = read_video([path], where=WHERE)
    frames = iterate_frames([path], video, where=WHERE)
    next(frames)
    with pytest.raises(RuntimeError, match="mine"):
        frames.throw(RuntimeError("mine"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv"])
def test_a_variable_frame_rate_keeps_its_times_and_is_said(name: str, tmp_path: Path) -> None:
    ticks = np.cumsum(np.tile([40, 33, 120, 7], 10)).tolist()
    codec = CODECS[name]
    path = write_video(tmp_path / f"video.{codec.suffix}", codec, ticks=ticks)
    video = read_video([path], where=WHERE)
    np.testing.assert_allclose(video.time_s, (np.array(ticks) - ticks[0]) / 1000, atol=1e-4)
    assert any("frame rate varies" in warning for warning in video.warnings)
    assert [number_of(f) for f in read_frames([path], video, [31, 2, 19], where=WHERE)] == [31, 2, 19]


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_the_rotation_of_the_container_is_applied(rotation: int, turns: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", CODECS["rgb.mp4"], rotation=rotation)
    video = read_video([path], where=WHERE)
    expected = np.rot90(pictures()[5], turns)
    assert video.shape[1:] == expected.shape[:2]
    np.testing.assert_array_equal(read_frames([path], video, [5], where=WHERE)[0].transpose(1, 2, 0), expected)
    _, frames = decoded_in_order(path)
    assert frames[0].rotation % 360 == rotation  # degrees against the clock, as PyAV has it
    assert orientation_of_frame(frames[0], path).turned == (turns % 2 == 1)


@pytest.mark.parametrize("size", [(65, 97), (33, 50), (16, 17)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    shown = pictures(10)[:, : size[0], : size[1]]
    path = write_video(tmp_path / "video.mp4", CODECS["rgb.mp4"], shown)
    video = read_video([path], where=WHERE)
    assert video.shape == (3, *size)
    np.testing.assert_array_equal(read_frames([path], video, [9], where=WHERE)[0].transpose(1, 2, 0), shown[9])


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_matrix_and_the_range_that_frames_state(matrix: int, full: bool, tmp_path: Path) -> None:
    frame = av.VideoFrame(64, 48, "yuv444p")
    for plane, value in zip(frame.planes, (180, 100, 160), strict=True):
        np.frombuffer(plane, np.uint8)[:] = value
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    found = Painter(tmp_path / "any").rgb(frame)[:, 24, 32]
    y, u, v = (180, 100 - 128, 160 - 128) if full else ((180 - 16) * 255 / 219, -28 * 255 / 224, 32 * 255 / 224)
    red, blue = (0.2126, 0.0722) if matrix == 1 else (0.299, 0.114)  # ITU-R BT.709 and BT.601
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    np.testing.assert_allclose(found, [r, (y - red * r - blue * b) / (1 - red - blue), b], atol=1)


def test_what_is_not_as_a_person_would_see_it_is_said(tmp_path: Path) -> None:
    ten = write_video(tmp_path / "ten.mp4", CODECS["ten-bit.mp4"])
    assert any("10 bits" in warning for warning in read_video([ten], where=WHERE).warnings)
    combs = write_video(tmp_path / "combs.mp4", Codec("mp4", "libx264"), pictures(12, 64, 96), interlaced=True)
    assert any("interlaced" in warning for warning in read_video([combs], where=WHERE).warnings)
    plain = write_video(tmp_path / "plain.mp4", H264)
    assert read_video([plain], where=WHERE).warnings == ()


def test_sound_and_tags_are_left_behind(tmp_path: Path) -> None:
    tags = {"title": "Zaqxa", "comment": "Zaqxb", "location": "+48.1+011.5/", "creation_time": "1971-03-05T00:00:00Z"}
    path = write_video(tmp_path / "video.mp4", H264, sound=True, tags=tags)
    assert b"Zaqxa" in path.read_bytes()
    video = read_video([path], where=WHERE)
    assert any("sound" in warning for warning in video.warnings)
    assert not any(value[:5] in repr(video) for value in tags.values())


def test_two_videos_in_a_file_are_refused_and_so_are_none(tmp_path: Path) -> None:
    double = write_video(tmp_path / "double.mkv", CODECS["h264.mkv"], second=True)
    assert refusal(double).code == "video.several_streams"
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        tone = container.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.rate = 8000
        container.mux(tone.encode(samples))
        container.mux(tone.encode(None))
    assert refusal(tmp_path / "sound.mp4").code == "video.no_stream"


def test_avi_states_no_times_so_its_frames_are_counted_and_that_is_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.avi", CODECS["mpeg4.avi"])
    video = read_video([path], where=WHERE)
    np.testing.assert_allclose(video.time_s, np.arange(40) / 25)
    times, _ = decoded_in_order(path)
    assert (len(set(times)) < 40) == any("counted" in warning for warning in video.warnings)


def test_frames_that_lean_on_a_missing_start_are_not_counted(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", CODECS["h264.mkv"])
    path = remuxed_from(whole, tmp_path / "late.mkv", first=4)
    times, frames = decoded_in_order(path)
    video = read_video([path], where=WHERE)
    assert video.frames == len(frames) < 40
    np.testing.assert_allclose(video.time_s, times, atol=1e-9)
    last = read_frames([path], video, [video.frames - 1], where=WHERE)[0]
    assert number_of(last) == 39


@pytest.mark.parametrize("cut", [1, 7, 15])
def test_frames_outside_an_edit_list_are_not_shown_and_not_counted(cut: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", CODECS["rgb.mp4"])
    content = bytearray(path.read_bytes())
    entry = content.index(b"elst") + 12
    with av.open(str(path)) as container:
        frame_ticks = round(1 / (25 * container.streams.video[0].time_base))
    began = int.from_bytes(content[entry + 4 : entry + 8], "big")
    content[entry + 4 : entry + 8] = (began + cut * frame_ticks).to_bytes(4, "big")
    path.write_bytes(content)
    video = read_video([path], where=WHERE)
    times, frames = decoded_in_order(path)
    assert video.frames == len(frames) == 40 - cut
    np.testing.assert_allclose(video.time_s, times, atol=1e-9)
    for number in (39 - cut, 0, 12):
        found = read_frames([path], video, [number], where=WHERE)[0].transpose(1, 2, 0)
        np.testing.assert_array_equal(found, pictures()[number + cut])


def test_frames_that_share_a_time_are_counted_and_said(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", CODECS["ffv1.mkv"])
    path = tmp_path / "doubled.mkv"
    with av.open(str(whole)) as given, av.open(str(path), "w") as made:
        out = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(given.streams.video[0])):
            if packet.dts is None:
                continue
            packet.pts = packet.dts = packet.pts - 40 * (number == 20)
            packet.stream = out
            made.mux(packet)
    video = read_video([path], where=WHERE)
    assert video.frames == 40
    assert any("1 frames have the same time" in warning for warning in video.warnings)
    assert video.time_s[20] == video.time_s[19]
    found = read_frames([path], video, [21, 20, 19], where=WHERE)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), pictures()[[21, 20, 19]])


def test_packets_without_times_are_decoded_to_be_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.avi", Codec("avi", "libx264rgb", "rgb24", CODECS["rgb.mp4"].options, None, 25))
    video = read_video([path], where=WHERE)
    assert video.frames == 40
    np.testing.assert_allclose(video.time_s, np.arange(40) / 25, atol=1e-9)
    found = read_frames([path], video, [33, 5], where=WHERE)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), pictures()[[33, 5]])


def test_another_file_than_the_one_that_was_indexed_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    video = read_video([path], where=WHERE)
    write_video(path, H264, ticks=[number * 40 + (number > 20) * 500 for number in range(40)])
    with pytest.raises(CaseError, match="read.changed"):
        read_frames([path], video, [30, 35], where=WHERE)
    write_video(path, H264, pictures(20))
    with pytest.raises(CaseError, match="read.changed"):
        read_frames([path], video, [30], where=WHERE)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "video.mp4"
    text.write_text("no video at all, whatever the name says")
    assert not is_video([text])
    assert refusal(text).code == "read.unknown_format"
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert refusal(empty).code == "read.truncated"
    one = write_video(tmp_path / "one.mkv", CODECS["h264.mkv"])
    with pytest.raises(CaseError, match="read.several_videos"):
        read_video([one, one], where=WHERE)
    with pytest.raises(CaseError, match="read.no_files"):
        read_video([], where=WHERE)


def test_references_to_other_files_are_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "other.mp4", H264)
    for name, text in {
        "list.mp4": "ffconcat version 1.0\nfile other.mp4\n",
        "play.mp4": "#EXTM3U\nother.mp4\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert not is_video([tmp_path / name])


def test_an_animated_gif_is_a_video_and_a_still_one_is_none(tmp_path: Path) -> None:
    from PIL import Image

    stills = [Image.fromarray(picture).quantize(64) for picture in pictures(6)]
    stills[0].save(tmp_path / "moving.gif", save_all=True, append_images=stills[1:], duration=[40, 80, 40, 200, 40, 40])
    stills[0].save(tmp_path / "still.gif")
    assert not is_video([tmp_path / "still.gif"])
    video = read_video([tmp_path / "moving.gif"], where=WHERE)
    np.testing.assert_allclose(video.time_s, np.cumsum([0, 40, 80, 40, 200, 40]) / 1000)
    found = read_frames([tmp_path / "moving.gif"], video, [3], where=WHERE)[0]
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.asarray(stills[3].convert("RGB")))


def test_the_rate_that_an_entry_states_is_compared_with_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    video = read_video([path], where=WHERE, request=VideoRequest(rate_hz=30))
    assert video.rate_hz == pytest.approx(25)
    assert any("30 frames per second" in warning for warning in video.warnings)


def test_the_decoders_are_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    assert {"av", "libavcodec", "libswscale"} <= set(video_decoders([path]))
