"""Frames of a video as a sample: all of them where nobody knows when they were taken."""

from __future__ import annotations

import numpy as np
from PIL import Image

from medshard.converters.kept_samples import video_stack
from medshard.converters.plan import FrameRule
from medshard.converters.videos.reading import VideoRequest, read_video

WHERE = "entry/case"


def frames(folder, count):
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((8, 10, 3), number, np.uint8)).save(folder / f"{number:04d}.png")
    return sorted(folder.iterdir())


def stack(files, rule, request):
    video = read_video(files, where=WHERE, request=request)
    return video_stack(video, rule, {path.name: path for path in files}, where=WHERE)


def test_of_frames_without_times_all_are_taken_and_their_times_stay_empty(tmp_path):
    made = stack(frames(tmp_path / "clip", 7), FrameRule(rate_hz=1), VideoRequest())
    assert made.array[0, :, 0, 0].tolist() == list(range(7))
    assert made.places.to_pydict() == {"frame": list(range(7)), "time_s": [None] * 7}


def test_of_many_frames_without_times_an_even_choice_is_kept(tmp_path):
    made = stack(frames(tmp_path / "clip", 9), FrameRule(rate_hz=1, most=3), VideoRequest())
    assert made.places.column("frame").to_pylist() == [1, 4, 7]


def test_a_stated_rate_chooses_by_time(tmp_path):
    made = stack(frames(tmp_path / "clip", 9), FrameRule(rate_hz=1), VideoRequest(rate_hz=4))
    assert made.places.to_pydict() == {"frame": [0, 4, 8], "time_s": [0.0, 1.0, 2.0]}
