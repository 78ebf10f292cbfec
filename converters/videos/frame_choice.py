"""Which frames of a video belong to a time, and which to take. Pure functions of the index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medshard.converters.video import Video

# Times in tables are rounded to a millisecond as a rule: half of that is no difference.
_ROUNDED_S = 0.000501


def frame_at(video: Video, time_s: float) -> int:
    """The frame that is shown at a time: the last whose presentation time has come.

    Raises ValueError before the first frame, after the end of the last, and where the frames have no times.
    """
    times = _known_times(video)
    slack = _slack_s(times)
    end = times[-1] + _interval_s(video, times)
    if not times[0] - slack <= time_s < end + slack:
        raise ValueError(f"{time_s} s is outside the video, which runs from 0 to {end:.6g} s")
    return int(np.searchsorted(times, time_s + slack, side="right")) - 1


def frames_between(video: Video, onset_s: float, duration_s: float) -> range:
    """Frames whose presentation begins within [onset, onset + duration); events in a row share none.

    The frame that is shown at the onset where none begins within, so that a mark has at least one frame. What reaches
    beyond the video is cut off. Raises ValueError on a negative duration, and where nothing is inside the video.
    """
    if duration_s < 0 or not np.isfinite([onset_s, duration_s]).all():
        raise ValueError(f"an event of {duration_s} s at {onset_s} s has no frames")
    times = _known_times(video)
    slack = _slack_s(times)
    start, stop = np.searchsorted(times, [onset_s - slack, onset_s + duration_s - slack], side="left")
    if start < stop:
        return range(int(start), int(stop))
    only = frame_at(video, onset_s)
    return range(only, only + 1)


def frame_numbers(video: Video, *, rate_hz: float | None, most: int | None = None) -> list[int]:
    """Frames to take: at `rate_hz` by nearest presentation time (the earlier of two as near), all of them if None.

    No frame is taken twice, so a rate above the video's own takes every frame once. most: an even choice of at most so
    many of them. Raises ValueError on a rate or a count that is not positive, and on a rate where times are unknown.
    """
    if rate_hz is None:
        chosen = np.arange(video.frames)
    else:
        if not rate_hz > 0:
            raise ValueError(f"{rate_hz} frames per second cannot be taken")
        times = _known_times(video)
        chosen = _nearest_to_ticks(times, rate_hz, until_s=float(times[-1]))
    if most is not None:
        if most < 1:
            raise ValueError(f"{most} frames cannot be taken")
        if len(chosen) > most:
            # The middle of each of `most` equal parts.
            chosen = chosen[((np.arange(most) + 0.5) * len(chosen) / most).astype(np.int64)]
    return [int(number) for number in chosen]


def clip_starts(video: Video, *, seconds: float, rate_hz: float | None = None) -> list[int]:
    """First frames of the clips of a length that follow each other without a gap and end inside the video.

    rate_hz: how many clips start in a second, where they are to overlap or to leave gaps; one after another if None.
    """
    if not seconds > 0 or (rate_hz is not None and not rate_hz > 0):
        raise ValueError(f"clips of {seconds} s at {rate_hz} per second cannot be taken")
    times = _known_times(video)
    last_s = float(times[-1]) + _interval_s(video, times) - seconds
    starts = _nearest_to_ticks(times, 1 / seconds if rate_hz is None else rate_hz, until_s=last_s)
    return [int(number) for number in starts]


def _nearest_to_ticks(times: NDArray[np.float64], rate_hz: float, *, until_s: float) -> NDArray[np.int64]:
    """Frames that are the nearest to one of the times 0, 1 / rate, 2 / rate, ... up to `until_s`.

    Frame k is the nearest to what lies in (a, b] between the middles of its neighbours; so it is taken where the count
    of ticks rises from a to b. That needs no list of ticks, of which a hostile rate could have any number.
    """
    ends = np.append((times[1:] + times[:-1]) / 2, times[-1])
    ends = np.minimum(ends, until_s + 1e-9) if until_s >= -1e-9 else np.full_like(ends, -1.0)
    # Times in binary fractions fall short of a tick by less than a millionth of it.
    ticks = np.floor(ends * rate_hz + 1e-6)
    return np.flatnonzero(np.diff(np.append(-1.0, ticks)) > 0)


def _known_times(video: Video) -> NDArray[np.float64]:
    if not video.frames or not np.isfinite(video.time_s).all():
        raise ValueError("the frames of the video have no times; the entry has to state a frame rate")
    return video.time_s


def _interval_s(video: Video, times: NDArray[np.float64]) -> float:
    """How long the last frame is shown: the usual interval."""
    if len(times) > 1:
        return float(np.median(np.diff(times)))
    return 1 / video.rate_hz if video.rate_hz else 0.0


def _slack_s(times: NDArray[np.float64]) -> float:
    """What counts as no difference of times; never a quarter of the interval between frames."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return min(_ROUNDED_S, usual / 4) if usual else _ROUNDED_S
