"""Drawing of strips: traces over a grid of millimetres, marks of events, and a bar of the whole recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from medshard.pipelines.reporting.previews.colours import (
    BLACK,
    BROAD,
    DIM,
    FINE,
    LINE,
    LINE_PIXELS,
    NO_DATA,
    PAPER,
    WHITE,
    fitting,
    font,
)
from medshard.pipelines.reporting.previews.shown import Colour, Pixels

NAME_PIXELS = 84
MM_PER_SECOND = 25.0
LEAST_MM, MOST_MM = 4.5, 22.0
# Finer lines than this apart would be a grey area.
LEAST_FINE_PIXELS = 3.0
BAR_PIXELS = 14
MOST_NAMED_EVENTS = 12
UNKNOWN_RATE_HZ = 250.0


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One channel. millimetres: (t,) above its own middle, NaN where there is no data."""

    name: str
    millimetres: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Seconds from the start of the recording. channel: None for all."""

    concept: str
    onset_s: float
    duration_s: float
    channel: str | None


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is drawn of a signal.

    start_s, seconds: of the excerpt. in_seconds: False where no rate is known, and samples are counted instead.
    events: those in the excerpt; all_events: those of the whole recording, which begins and lasts as `whole` says.
    """

    strips: Sequence[Strip]
    start_s: float
    seconds: float
    in_seconds: bool
    events: Sequence[Event]
    all_events: Sequence[Event]
    whole: tuple[float, float] | None

    @property
    def has_bar(self) -> bool:
        return self.whole is not None and len(self.all_events) > 0


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Where is drawn, how wide it is, and in what colours. scale: pixels per mm."""

    draw: ImageDraw.ImageDraw
    width: int
    scale: float
    colours: Mapping[str, Colour]

    def column(self, time_s: float, start_s: float, seconds: float) -> float:
        share = (time_s - start_s) / max(seconds, 1e-9)
        return float(NAME_PIXELS + np.clip(share, 0.0, 1.0) * (self.width - NAME_PIXELS - 1))


def draw_strips(width: int, colours: Mapping[str, Colour], *, recording: Recording) -> Pixels:
    """(rows, width, 3): a strip for each channel, the times, and a bar of the whole recording with its events."""
    scale = (width - NAME_PIXELS) / max(recording.seconds * MM_PER_SECOND, 1e-9)
    rows_mm = [_room_mm(strip) for strip in recording.strips]
    top = LINE_PIXELS if recording.events else 0
    paper = top + round(sum(above + below for above, below in rows_mm) * scale) + 1
    foot = LINE_PIXELS + 2 + (BAR_PIXELS + LINE_PIXELS if recording.has_bar else 0)
    picture = Picture.new("RGB", (width, paper + foot), BLACK)
    page = _Page(draw=ImageDraw.Draw(picture), width=width, scale=scale, colours=colours)
    _draw_paper(page, top, paper - 1)
    _draw_events(page, recording, top, paper)
    baseline = float(top)
    for strip, (above, below) in zip(recording.strips, rows_mm, strict=True):
        baseline += above * scale
        _draw_trace(page, strip, baseline)
        name = fitting(strip.name, NAME_PIXELS - 4)
        page.draw.text((0, baseline - LINE_PIXELS / 2), name, fill=DIM, font=font())
        baseline += below * scale
    _draw_times(page, recording, paper)
    if recording.has_bar and recording.whole is not None:
        _draw_bar(page, recording, recording.whole, paper + LINE_PIXELS)
    return np.asarray(picture)


def _room_mm(strip: Strip) -> tuple[float, float]:
    """mm above and below the middle of a channel: those that it takes, within limits."""
    finite = strip.millimetres[np.isfinite(strip.millimetres)]
    high, low = (float(finite.max()), float(finite.min())) if finite.size else (0.0, 0.0)
    return float(np.clip(high + 1, LEAST_MM, MOST_MM)), float(np.clip(1 - low, LEAST_MM, MOST_MM))


def _draw_paper(page: _Page, top: int, bottom: int) -> None:
    left, right = NAME_PIXELS, page.width - 1
    page.draw.rectangle((left, top, right, bottom), fill=PAPER)
    for every_mm, colour in ((1.0, FINE), (5.0, BROAD)):
        if every_mm * page.scale < LEAST_FINE_PIXELS:
            continue
        for x in _lines(left, right, every_mm * page.scale):
            page.draw.line((x, top, x, bottom), fill=colour)
        for y in _lines(top, bottom, every_mm * page.scale):
            page.draw.line((left, y, right, y), fill=colour)


def _lines(start: int, stop: int, step: float) -> Iterator[int]:
    count = int((stop - start) / step)
    return (start + round(number * step) for number in range(count + 1))


def _draw_trace(page: _Page, strip: Strip, baseline: float) -> None:
    """A line through the samples; where several share a column, through the lowest and highest of each column."""
    count = len(strip.millimetres)
    step = (page.width - NAME_PIXELS) / max(1, count)
    across = np.asarray(NAME_PIXELS + np.arange(count) * step, np.float64)
    down = np.asarray(baseline - strip.millimetres * page.scale, np.float64)
    known = np.isfinite(down)
    for start, stop in _runs(~known):
        page.draw.rectangle((across[start], baseline - 2, across[stop - 1], baseline + 2), fill=NO_DATA)
    for start, stop in _runs(known):
        points = _thinned(across[start:stop], down[start:stop])
        if len(points) > 1:
            page.draw.line(points, fill=BLACK)
        else:
            page.draw.point(points, fill=BLACK)


def _thinned(across: NDArray[np.float64], down: NDArray[np.float64]) -> list[tuple[float, float]]:
    columns = across.astype(np.int64)
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    if len(starts) * 3 > len(columns):
        return list(zip(across.tolist(), down.tolist(), strict=True))
    low, high = np.minimum.reduceat(down, starts), np.maximum.reduceat(down, starts)
    first = down[starts]
    points: list[tuple[float, float]] = []
    for x, a, lowest, highest in zip(
        columns[starts].tolist(), first.tolist(), low.tolist(), high.tolist(), strict=True
    ):
        points += [(x, a), (x, lowest), (x, highest)]
    return points


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _draw_events(page: _Page, recording: Recording, top: int, bottom: int) -> None:
    """A line where each begins, a bar as long as it lasts, and its name as far as there is room."""
    free = 0.0
    for number, event in enumerate(recording.events):
        x, end = (
            page.column(time, recording.start_s, recording.seconds)
            for time in (event.onset_s, event.onset_s + event.duration_s)
        )
        colour = page.colours[event.concept]
        page.draw.line((x, top, x, bottom), fill=colour)
        if end > x:
            page.draw.rectangle((x, top - 3, end, top), fill=colour)
        if number < MOST_NAMED_EVENTS and x >= free:
            name = event.concept + (f" ({event.channel})" if event.channel else "")
            name = fitting(name, page.width - round(x) - 2)
            page.draw.text((x + 2, 0), name, fill=colour, font=font())
            free = x + 2 + font().getlength(name)


def _draw_times(page: _Page, recording: Recording, top: int) -> None:
    step = max(1, round(recording.seconds / 10))
    for number in range(0, int(recording.seconds) + 1, step):
        time = recording.start_s + number
        x = page.column(time, recording.start_s, recording.seconds)
        text = f"{time:.6g} s" if recording.in_seconds else f"sample {round(time * UNKNOWN_RATE_HZ)}"
        if x + font().getlength(text) <= page.width:
            page.draw.text((x, top), text, fill=DIM, font=font())


def _draw_bar(page: _Page, recording: Recording, whole: tuple[float, float], top: int) -> None:
    """The whole recording with its events; what is shown above lies in the white frame."""
    page.draw.rectangle((NAME_PIXELS, top, page.width - 1, top + BAR_PIXELS), fill=LINE)
    for event in recording.all_events:
        x, end = (page.column(time, *whole) for time in (event.onset_s, event.onset_s + event.duration_s))
        page.draw.rectangle((x, top, max(x, end), top + BAR_PIXELS), fill=page.colours[event.concept])
    stop_s = recording.start_s + recording.seconds
    left, right = (page.column(time, *whole) for time in (recording.start_s, stop_s))
    page.draw.rectangle((left - 1, top - 1, max(left + 1, right), top + BAR_PIXELS + 1), outline=WHITE)
    page.draw.text((0, top), "all of it", fill=DIM, font=font())
    words = f"{whole[0]:.6g} to {sum(whole):.6g} s, {len(recording.all_events)} events"
    page.draw.text((NAME_PIXELS, top + BAR_PIXELS + 1), words, fill=DIM, font=font())
