"""Times and frames: which frame is shown when, which frames an event has, which frames a rate takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.converters.video import Video
from medshard.converters.videos.reading import clip_starts, frame_at, frame_numbers, frames_between


def video_of(times: list[float] | np.ndarray, rate_hz: float | None = None) -> Video:
    times = np.asarray(times, np.float64)
    return Video(shape=(3, 8, 8), time_s=times, key_frames=np.ones(len(times), np.bool_), codec="h264", rate_hz=rate_hz)


REGULAR = video_of(np.arange(100) / 25, 25.0)
UNEVEN = video_of([0.0, 0.1, 0.5, 0.6, 2.0])


@pytest.mark.parametrize(
    ("time_s", "frame"), [(0.0, 0), (0.039, 0), (0.04, 1), (0.0799, 2), (3.96, 99), (3.999, 99), (1.0, 25)]
)
def test_the_frame_at_a_time_is_the_last_that_has_come(time_s: float, frame: int) -> None:
    assert frame_at(REGULAR, time_s) == frame


def test_a_time_that_was_rounded_to_a_millisecond_finds_its_frame() -> None:
    video = video_of(np.arange(90) / 30, 30.0)
    for number in range(90):
        assert frame_at(video, round(number / 30, 3)) == number
        assert frame_at(video, number / 30) == number


def test_a_frame_is_shown_until_the_next_comes() -> None:
    assert [frame_at(UNEVEN, t) for t in (0.05, 0.3, 0.55, 1.9, 2.0, 2.2)] == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("time_s", [-0.01, 4.01, 1e9, float("nan")])
def test_a_time_outside_the_video_is_refused(time_s: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        frame_at(REGULAR, time_s)


def test_events_in_a_row_share_no_frame_and_leave_none_out() -> None:
    found = [frames_between(REGULAR, onset, 0.5) for onset in np.arange(8) * 0.5]
    assert [number for frames in found for number in frames] == list(range(100))


def test_an_event_has_the_frames_that_begin_within_it() -> None:
    assert frames_between(REGULAR, 0.04, 0.08) == range(1, 3)
    assert frames_between(REGULAR, 0.03, 0.02) == range(1, 2)
    assert frames_between(REGULAR, 0.0, 1e9) == range(100)
    assert frames_between(REGULAR, -5.0, 5.04) == range(1)


def test_a_mark_without_a_beginning_frame_has_the_one_that_is_shown() -> None:
    assert frames_between(REGULAR, 0.041, 0.0) == range(1, 2)
    assert frames_between(UNEVEN, 0.7, 0.2) == range(3, 4)


@pytest.mark.parametrize(("onset", "duration"), [(0.0, -1.0), (9.0, 1.0), (-3.0, 1.0), (float("nan"), 1.0)])
def test_an_event_outside_the_video_is_refused(onset: float, duration: float) -> None:
    with pytest.raises(ValueError, match="event|outside"):
        frames_between(REGULAR, onset, duration)


def test_a_rate_takes_the_nearest_frames() -> None:
    assert frame_numbers(REGULAR, rate_hz=5) == list(range(0, 100, 5))
    assert frame_numbers(REGULAR, rate_hz=None) == list(range(100))
    assert frame_numbers(REGULAR, rate_hz=1000) == list(range(100))
    assert frame_numbers(UNEVEN, rate_hz=2) == [0, 2, 3, 4]  # 1.0 s is nearer to 0.6 s, 1.5 s to 2.0 s
    assert frame_numbers(REGULAR, rate_hz=1e300) == list(range(100))


def test_of_two_frames_as_near_the_earlier_is_taken() -> None:
    assert frame_numbers(video_of([0.0, 0.4, 0.6, 1.0]), rate_hz=2) == [0, 1, 3]


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=40), st.floats(0.05, 200.0), st.integers(1, 50))
def test_a_rate_takes_what_a_search_of_all_frames_takes(steps: list[float], rate_hz: float, most: int) -> None:
    times = np.concatenate([[0.0], np.cumsum(steps)])
    ticks = np.arange(int(times[-1] * rate_hz) + 1) / rate_hz
    distance = np.abs(times[None] - ticks[:, None])
    nearest = np.sort(distance, axis=1)[:, :2]
    found = frame_numbers(video_of(times), rate_hz=rate_hz)
    clear = nearest[:, 1] - nearest[:, 0] > 1e-4 / rate_hz
    assert set(distance.argmin(axis=1)[clear].tolist()) <= set(found)
    assert all(distance[:, number].min() <= nearest[:, 0].max() + 1e-9 for number in found)
    assert found == sorted(set(found))
    few = frame_numbers(video_of(times), rate_hz=rate_hz, most=most)
    assert len(few) == min(most, len(found))
    assert set(few) <= set(found)


def test_a_few_of_many_are_spread_evenly() -> None:
    assert frame_numbers(REGULAR, rate_hz=None, most=4) == [12, 37, 62, 87]
    assert frame_numbers(REGULAR, rate_hz=None, most=1) == [50]


def test_clips_follow_each_other_and_end_inside() -> None:
    assert clip_starts(REGULAR, seconds=1) == [0, 25, 50, 75]
    assert clip_starts(REGULAR, seconds=1.5) == [0, 37]
    assert clip_starts(REGULAR, seconds=1, rate_hz=2) == [0, 12, 25, 37, 50, 62, 75]
    assert clip_starts(REGULAR, seconds=4) == [0]
    assert clip_starts(REGULAR, seconds=4.1) == []


def test_without_times_nothing_is_guessed() -> None:
    silent = video_of([float("nan")] * 3)
    for ask in (lambda: frame_at(silent, 0.0), lambda: frame_numbers(silent, rate_hz=1.0)):
        with pytest.raises(ValueError, match="no times"):
            ask()
    assert frame_numbers(silent, rate_hz=None) == [0, 1, 2]


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="cannot be taken"):
        frame_numbers(REGULAR, rate_hz=rate_hz)
