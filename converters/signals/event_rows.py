"""Events as rows of a table: an onset, perhaps a duration, and a word.

Source of the usual names: the Brain Imaging Data Structure, "Task events" (onset, duration, trial_type).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.signals.signal_format import Event, EventRequest
from medshard.converters.signals.timeline import no_rate

ONSETS = ("onset", "onset_s", "start", "start_s", "time", "time_s")
SAMPLES = ("sample", "start_sample", "onset_sample")
DURATIONS = ("duration", "duration_s")
ENDS = ("stop", "stop_s", "end", "end_s")
WORDS = ("trial_type", "label", "event", "word", "description", "stage", "class", "type", "value")
CHANNELS = ("channel",)
LARGEST_FILE = 256 << 20


def event_rows(path: Path, request: EventRequest) -> list[Event]:
    """Raises CaseError[signal.no_events | signal.no_rate | read.unreadable]."""
    if path.stat().st_size > LARGEST_FILE:
        raise bad_file("read.unsupported", path, "the table of events is too large")
    text = path.read_bytes().decode("utf-8-sig", "replace")
    lines = text.splitlines()
    first = lines[0] if lines else ""
    delimiter = max("\t,;", key=first.count)
    rows = csv.reader(lines, delimiter=delimiter)
    names = [name.strip().lower() for name in next(rows, [])]
    onset, sample = _column(names, ONSETS), _column(names, SAMPLES)
    word = _column(names, WORDS)
    if word is None or (onset is None and sample is None):
        raise bad_file(
            "signal.no_events",
            path,
            "the table has no column of onsets, or none of words",
            details={"onsets": ", ".join((*ONSETS, *SAMPLES)), "words": ", ".join(WORDS)},
        )
    unit = 1.0
    if onset is None:
        if not request.rate_hz:
            raise no_rate(path, "onsets")
        onset, unit = sample, 1 / request.rate_hz
    duration, end, channel = (_column(names, wanted) for wanted in (DURATIONS, ENDS, CHANNELS))
    found = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        start = _number(path, row, onset, number)
        if start is None:
            raise bad_file("read.unreadable", path, "a row has no onset", details={"row": number})
        lasting = _number(path, row, duration, number)
        stop = _number(path, row, end, number)
        if lasting is None:
            lasting = 0.0 if stop is None else stop - start
        found.append(
            Event(
                onset_s=start * unit,
                duration_s=lasting * unit,
                word=_cell(row, word),
                channel=_cell(row, channel) or None,
            )
        )
    return found


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _cell(row: list[str], place: int | None) -> str:
    return row[place].strip() if place is not None and place < len(row) else ""


def _number(path: Path, row: list[str], place: int | None, number: int) -> float | None:
    """None for an empty cell and for `n/a`."""
    cell = _cell(row, place)
    if cell.lower() in ("", "n/a", "nan"):
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_file("read.unreadable", path, "a time in the table is no number", details={"row": number})
    return value
