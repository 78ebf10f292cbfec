"""Previews of signals: millimetres are seconds and millivolts, and events stand where they happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.signal import Signal
from medshard.converters.volume import Volume
from medshard.pipelines.reporting.previews.colours import CONCEPT_COLOURS, NO_DATA, PAPER
from medshard.pipelines.reporting.previews.shown import Shown
from medshard.pipelines.reporting.previews.signals import events_of, excerpt_of, shown_signals, strips_of
from medshard.pipelines.reporting.previews.strips import NAME_PIXELS

WIDTH = 2500 + NAME_PIXELS
PIXELS_PER_MM = 10  # ten seconds of 25 mm over 2500 pixels


def ecg(**changes: Any) -> Signal:
    """One lead of 10 s at 250 Hz: a millivolt up from 2 s to 3 s."""
    stored = np.zeros((1, 2500), np.int16)
    stored[0, 500:750] = 1000
    found = Signal(array=stored, rate_hz=250.0, channels=("II",), units=("mV",), slope=(0.001,), intercept=(0.0,))
    return replace(found, **changes)


def shown_of(signal: Signal, *events: tuple[str, float, float]) -> Shown:
    rows = [{"concept": name, "onset_s": onset, "duration_s": length} for name, onset, length in events]
    table = AnnotationTable(kind="events", table=rows_table("events", rows))
    return next(
        shown_signals(Volume(entry="e", case="c", patient="p", signals={"s": signal}, annotations={"e": table}))
    )


def drawn(shown: Shown) -> NDArray[np.uint8]:
    assert shown.drawing is not None
    colours = dict(zip(sorted(shown.concepts), CONCEPT_COLOURS, strict=False))
    return shown.drawing(WIDTH, colours)


def trace(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the paper is black: the words beside it are grey, and below it is no paper."""
    rows = np.flatnonzero(np.any(pixels[:, NAME_PIXELS:] == PAPER[0], axis=(1, 2)))
    return np.asarray((pixels[rows.min() : rows.max() + 1, NAME_PIXELS:] == 0).all(axis=-1))


def test_a_second_is_25_mm_and_a_millivolt_10_mm() -> None:
    black = trace(drawn(shown_of(ecg())))
    up = np.nonzero(black[:, 625])[0].mean()
    down = np.nonzero(black[:, 100])[0].mean()
    assert down - up == pytest.approx(10 * PIXELS_PER_MM, abs=1)
    tall = np.flatnonzero(black.sum(axis=0) > 5 * PIXELS_PER_MM)
    assert tall.min() == pytest.approx(2 * 25 * PIXELS_PER_MM, abs=2)
    assert tall.max() == pytest.approx(3 * 25 * PIXELS_PER_MM, abs=2)


def test_microvolts_and_the_scale_of_the_file_are_taken_into_account() -> None:
    same = ecg(units=("uV",), slope=(1.0,))
    assert (trace(drawn(shown_of(same))) == trace(drawn(shown_of(ecg())))).all()


def test_what_would_be_flat_is_enlarged_and_the_caption_says_so() -> None:
    assert "10 mm/mV" in shown_of(ecg()).caption[2]
    assert "100 mm/mV" in shown_of(ecg(slope=(0.00005,))).caption[2]


def test_a_channel_without_a_known_unit_is_drawn_over_its_own_range() -> None:
    excerpt = excerpt_of(ecg(), [])
    (strip,), words = strips_of(ecg(units=("",)), excerpt)
    assert words == "each channel over its own range"
    assert float(np.ptp(strip.millimetres)) == pytest.approx(12.0)


def test_events_stand_at_their_seconds_in_their_colour() -> None:
    pixels = drawn(shown_of(ecg(), ("beat", 6.0, 0.0)))
    columns = np.flatnonzero(np.all(pixels[40] == CONCEPT_COLOURS[0], axis=-1))
    assert columns.tolist() == [pytest.approx(NAME_PIXELS + 6 * 25 * PIXELS_PER_MM, abs=1)]


def test_of_a_long_recording_the_first_event_is_shown() -> None:
    long = ecg(array=np.zeros((1, 250 * 3600), np.int16), start_s=100.0)
    volume = Volume(entry="e", case="c", patient="p")
    table = AnnotationTable(kind="events", table=rows_table("events", [{"word": "seizure", "onset_s": 1900.0}]))
    events = events_of(replace(volume, annotations={"e": table}))
    excerpt = excerpt_of(long, events)
    assert (excerpt.start, excerpt.stop) == ((1800 - 1) * 250, (1800 + 9) * 250)
    assert [event.concept for event in events] == ["seizure"]


def test_gaps_are_grey_and_not_a_line_at_zero() -> None:
    pixels = drawn(shown_of(ecg(gaps=((1000, 1250),))))
    grey = np.flatnonzero(np.all(pixels == NO_DATA, axis=-1).any(axis=0))
    assert grey.min() == pytest.approx(NAME_PIXELS + 1000, abs=2)
    assert grey.max() == pytest.approx(NAME_PIXELS + 1250, abs=2)
    assert not trace(pixels)[:, 1020:1230].any()


def test_a_recording_without_a_rate_counts_samples_and_shows_no_events() -> None:
    shown = shown_of(ecg(rate_hz=None), ("beat", 1.0, 0.0))
    assert "as if at 250 Hz" in shown.caption[2]
    assert shown.others == ()


@pytest.mark.parametrize("array", [np.zeros((0, 5), np.int16), np.zeros((2, 0), np.int16)])
def test_nothing_recorded_is_said(array: NDArray[np.int16]) -> None:
    count = len(array)
    empty = Signal(
        array=array,
        rate_hz=1.0,
        channels=("a",) * count,
        units=("",) * count,
        slope=(1.0,) * count,
        intercept=(0.0,) * count,
    )
    assert shown_of(empty).caption[1] == "no samples"


def test_values_that_are_not_finite_leave_holes() -> None:
    values = np.full((1, 2500), np.nan)
    assert not trace(drawn(shown_of(ecg(array=values)))).any()
