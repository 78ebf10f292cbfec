"""Videos that are cut, damaged or hostile: refused by name, without a crash, and without a wrong frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_videos import CODECS, write_video

from medshard.converters.videos.reading import read_frames, read_video
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


@pytest.mark.parametrize("name", [n for n in CODECS if CODECS[n].suffix not in {"mpg", "ts"}])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_file_that_ends_too_early_is_refused(name: str, share: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"video.{CODECS[name].suffix}", CODECS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(path).code == "read.truncated"


def test_a_cut_video_says_how_many_frames_are_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", CODECS["rgb.mp4"], faststart=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    error = refusal(path)
    assert error.code == "read.truncated"
    assert 5 < int(error.details["whole frames"]) < 35


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "mjpeg.avi", "mpeg2.mpg", "wmv2.wmv", "png.mov"])
def test_damage_in_the_middle_crashes_nothing(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"video.{CODECS[name].suffix}", CODECS[name])
    content = path.read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for start in rng.integers(0, len(content) - 64, 12):
        hurt = bytearray(content)
        hurt[start : start + 64] = rng.integers(0, 256, 64, dtype=np.uint8).tobytes()
        path.write_bytes(hurt)
        try:
            video = read_video([path], where=WHERE)
            read_frames([path], video, range(video.frames), where=WHERE)
        except CaseError:
            refused += 1
    assert refused or name == "hevc.mp4"


def test_more_samples_than_a_file_can_hold_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    content = bytearray(path.read_bytes())
    place = content.index(b"stsz") + 8
    content[place : place + 8] = (0).to_bytes(4, "big") + (0x7FFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    assert refusal(path).code == "read.unreadable"


def test_bytes_behind_the_last_box_do_no_harm(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", H264)
    with path.open("ab") as stream:
        stream.write(b"\xff\xfe\x80\x01" * 9)
    assert read_video([path], where=WHERE).frames == 40
