"""Recordings as strips on a grid, as they come out of a machine: 25 mm/s and so many mm for a millivolt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from medshard.converters.signal import Signal
from medshard.converters.volume import Volume
from medshard.pipelines.reporting.previews.marks import judged_words, name_of
from medshard.pipelines.reporting.previews.shown import Shown
from medshard.pipelines.reporting.previews.strips import UNKNOWN_RATE_HZ, Event, Recording, Strip, draw_strips

MM_PER_SECOND = 25.0
SHOWN_SECONDS, SHOWN_SAMPLES = 10.0, 2500
MOST_CHANNELS = 12
# mm for a millivolt: of an ECG by custom; larger for an EEG, down to 1 uV a mm, where traces would be flat otherwise.
GAINS_MM_PER_MV = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
LEAST_TRACE_MM = 4.0
OWN_RANGE_MM = 12.0
MILLIVOLTS: Mapping[str, float] = {
    **dict.fromkeys(("mv", "millivolt", "millivolts"), 1.0),
    **dict.fromkeys(("uv", "\N{MICRO SIGN}v", "\N{GREEK SMALL LETTER MU}v", "microvolt", "microvolts"), 1e-3),
    **dict.fromkeys(("v", "volt", "volts"), 1e3),
    **dict.fromkeys(("nv", "nanovolt"), 1e-6),
}
BEFORE_EVENT_S = 1.0
MOST_EVENTS = 100_000


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """Samples of a signal that are shown, [start, stop), and how long they last; at 250 Hz where no rate is known."""

    start: int
    stop: int
    seconds: float


def shown_signals(volume: Volume) -> Iterator[Shown]:
    """Every signal: ten seconds of at most twelve channels, and the events of all of it below."""
    events = events_of(volume)
    for number, (name, signal) in enumerate(sorted(volume.signals.items())):
        excerpt = excerpt_of(signal, events)
        if signal.samples == 0 or not signal.channels:
            yield Shown(caption=(f"{volume.case} / {name}   signal", "no samples"), first=True, wide=True)
            continue
        strips, gains = strips_of(signal, excerpt)
        words = judged_words(volume.annotations, name, of_case=number == 0)
        recording = _recording(signal, excerpt, strips, events)
        yield Shown(
            caption=(f"{volume.case} / {name}   signal", _size_words(signal), _excerpt_words(signal, excerpt, gains)),
            words=words,
            drawing=partial(draw_strips, recording=recording),
            others=tuple(sorted({event.concept for event in recording.all_events})),
            wide=True,
            first=True,
        )


def _recording(signal: Signal, excerpt: Excerpt, strips: Sequence[Strip], events: Sequence[Event]) -> Recording:
    """Events have seconds: in a signal without a rate they have no place."""
    duration = signal.duration_s
    return Recording(
        strips=strips,
        start_s=_start_s(signal, excerpt),
        seconds=excerpt.seconds,
        in_seconds=duration is not None,
        events=[event for event in events if _overlaps(event, signal, excerpt)],
        all_events=events if duration is not None else [],
        whole=(signal.start_s, duration) if duration is not None else None,
    )


def events_of(volume: Volume) -> list[Event]:
    """All events of a case in the order of their beginnings; those of one name share a colour."""
    found = [
        Event(
            concept=name_of(row),
            onset_s=float(row["onset_s"]),
            duration_s=float(row["duration_s"] or 0.0),
            channel=row["channel"],
        )
        for table in volume.annotations.values()
        if table.kind == "events"
        for row in table.table.slice(0, MOST_EVENTS).to_pylist()
        if row["onset_s"] is not None
    ]
    return sorted(found, key=lambda event: (event.onset_s, event.concept, event.duration_s, event.channel or ""))


def excerpt_of(signal: Signal, events: Sequence[Event]) -> Excerpt:
    """Ten seconds: from shortly before the first event in the signal, else from where it is not flat."""
    if signal.rate_hz is None:
        stop = min(signal.samples, SHOWN_SAMPLES)
        return Excerpt(start=0, stop=stop, seconds=stop / UNKNOWN_RATE_HZ)
    length = max(1, min(signal.samples, round(SHOWN_SECONDS * signal.rate_hz)))
    start = 0
    within = [e for e in events if 0 <= (e.onset_s - signal.start_s) * signal.rate_hz < signal.samples]
    if within and signal.samples > length:
        start = round((within[0].onset_s - signal.start_s - BEFORE_EVENT_S) * signal.rate_hz)
    elif signal.samples > length:
        start = _first_live(signal, length)
    start = min(max(0, start), signal.samples - length)
    return Excerpt(start=start, stop=start + length, seconds=length / signal.rate_hz)


def strips_of(signal: Signal, excerpt: Excerpt) -> tuple[list[Strip], str]:
    """The channels of an excerpt in mm, and in words what a mm is."""
    channels = min(len(signal.channels), MOST_CHANNELS)
    stored = signal.array[..., :channels, excerpt.start : excerpt.stop]
    stored = stored[0] if stored.ndim == 3 else stored
    slope, intercept = (np.asarray(part[:channels])[:, None] for part in (signal.slope, signal.intercept))
    values = np.asarray(stored, np.float64) * slope + intercept
    values[:, _gap_mask(signal, excerpt)] = np.nan
    values = values - _finite_median(values)[:, None]
    gain, words = _gain(signal, values)
    names = [
        f"{name} {unit}".strip() for name, unit in zip(signal.channels[:channels], signal.units[:channels], strict=True)
    ]
    own = np.array([OWN_RANGE_MM / max(_spread(row), 1e-30) for row in values]) if gain is None else gain[:channels]
    heights = values * own[:, None]
    return [Strip(name=name, millimetres=row) for name, row in zip(names, heights, strict=True)], words


def _gain(signal: Signal, values: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, str]:
    """mm per unit of each channel, None where a unit is no voltage."""
    known = [MILLIVOLTS.get(unit.strip().lower()) for unit in signal.units[: len(values)]]
    if any(factor is None for factor in known):
        return None, "each channel over its own range"
    factors = np.array(known, np.float64)
    typical = float(np.median([_spread(row * factor) for row, factor in zip(values, factors, strict=True)]))
    gain = next((gain for gain in GAINS_MM_PER_MV if typical * gain >= LEAST_TRACE_MM), GAINS_MM_PER_MV[-1])
    gain = gain if typical > 0 else GAINS_MM_PER_MV[0]
    return factors * gain, f"{gain:g} mm/mV" if gain <= 100 else f"{1000 / gain:g} uV/mm"


def _spread(values: NDArray[np.float64]) -> float:
    """From the lowest to the highest but for a few outliers."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(high - low)


def _finite_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    medians = [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in values]
    return np.array(medians, np.float64)


def _gap_mask(signal: Signal, excerpt: Excerpt) -> NDArray[np.bool_]:
    missing = np.zeros(excerpt.stop - excerpt.start, bool)
    for start, stop in signal.gaps:
        missing[max(0, start - excerpt.start) : max(0, stop - excerpt.start)] = True
    return missing


def _first_live(signal: Signal, length: int) -> int:
    """The first stretch in which the first channel is not constant; 0 where there is none."""
    first = signal.array[0, 0] if signal.array.ndim == 3 else signal.array[0]
    for start in range(0, signal.samples - length + 1, length):
        part = first[start : start + length]
        if (part != part[0]).any():
            return start
    return 0


def _start_s(signal: Signal, excerpt: Excerpt) -> float:
    return signal.start_s + excerpt.start / (signal.rate_hz or UNKNOWN_RATE_HZ)


def _overlaps(event: Event, signal: Signal, excerpt: Excerpt) -> bool:
    start = _start_s(signal, excerpt)
    in_time = signal.rate_hz is not None
    return in_time and event.onset_s < start + excerpt.seconds and event.onset_s + event.duration_s >= start


def _size_words(signal: Signal) -> str:
    trials = f"trial 1 of {signal.array.shape[0]}, " if signal.array.ndim == 3 else ""
    rate = f"{signal.rate_hz:g} Hz, {signal.duration_s:.6g} s" if signal.rate_hz is not None else "rate unknown"
    channels = len(signal.channels)
    some = f"{MOST_CHANNELS} of {channels}" if channels > MOST_CHANNELS else str(channels)
    return f"{trials}{some} channels, {signal.samples} samples, {signal.array.dtype}, {rate}"


def _excerpt_words(signal: Signal, excerpt: Excerpt, gains: str) -> str:
    if signal.rate_hz is None:
        return f"samples {excerpt.start} to {excerpt.stop}, as if at {UNKNOWN_RATE_HZ:g} Hz; {gains}"
    start = _start_s(signal, excerpt)
    return f"{start:.2f} to {start + excerpt.seconds:.2f} s; {MM_PER_SECOND:g} mm/s, {gains}; grid of 1 and 5 mm"
