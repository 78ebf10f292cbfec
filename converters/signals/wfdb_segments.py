"""WFDB records of several segments, on one time axis.

Source: Moody, "WFDB Applications Guide", header(5): fixed layout (every segment has the same signals) and variable
layout (a first segment without samples lists the signals of all).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.data_files import data_file
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files
from medshard.converters.signal import Signal
from medshard.converters.signals.timeline import joined, require_timeline
from medshard.converters.signals.wfdb_header import WfdbHeader, WfdbSignal, read_wfdb_header
from medshard.converters.signals.wfdb_samples import sample_format
from medshard.converters.spooling import Spool
from medshard.errors import CaseError

NULL = "~"
Read = Callable[[WfdbHeader], tuple[Signal, ...]]


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A segment with data. start, stop: in frames."""

    header: WfdbHeader
    start: int
    stop: int


def stitched(master: WfdbHeader, read: Read, files: Files, spool: Spool) -> tuple[Signal, ...]:
    """One Signal per rate. What no segment covers is a gap; a channel that a segment lacks is not a number there.

    Raises CaseError[read.unreadable | read.missing_part | signal.gaps].
    """
    layout, placed, total = _placed(master, files)
    if not placed:
        raise bad_file("signal.none", master.path, "no segment of the recording holds data")
    wanted = layout.signals if layout is not None else placed[0].header.signals
    held = sum(part.stop - part.start for part in placed)
    require_timeline(master.path, total, held)
    parts = [(part, read(part.header)) for part in placed]
    rates = list(dict.fromkeys(signal.frame for signal in wanted))
    gaps = _gaps(placed, total)
    return tuple(
        _of_rate(
            master,
            [signal for signal in wanted if signal.frame == frame],
            frame=frame,
            total=total,
            gaps=gaps,
            parts=parts,
            spool=spool,
        )
        for frame in rates
    )


def _placed(master: WfdbHeader, files: Files) -> tuple[WfdbHeader | None, list[_Placed], int]:
    layout = None
    placed: list[_Placed] = []
    at = 0
    for place, (name, frames) in enumerate(master.segments):
        if name == NULL:
            at += frames
            continue
        header = _segment(master, name, files)
        if place == 0 and frames == 0:
            layout = header
            continue
        if frames < 1:
            raise _broken(master, "a segment has no samples")
        if not np.isclose(header.rate_hz, master.rate_hz) or (header.frames or frames) != frames:
            raise _broken(master, "a segment states another rate or length than the record")
        placed.append(_Placed(header=replace(header, frames=frames), start=at, stop=at + frames))
        at += frames
    if master.frames is not None and master.frames != at:
        raise _broken(master, "the segments are not as long as the record")
    return layout, placed, at


def _segment(master: WfdbHeader, name: str, files: Files) -> WfdbHeader:
    given = next((path for path in files if path.name == f"{name}.hea"), None)
    found = read_wfdb_header(given or data_file(master.path, f"{name}.hea"))
    if found.segments:
        raise _broken(master, "a segment has segments itself")
    return found


def _gaps(placed: Sequence[_Placed], total: int) -> tuple[tuple[int, int], ...]:
    """(start, stop) in frames."""
    borders = [0, *(border for part in placed for border in (part.start, part.stop)), total]
    pairs = zip(borders[::2], borders[1::2], strict=True)
    return joined([(start, stop) for start, stop in pairs if stop > start])


def _of_rate(
    master: WfdbHeader,
    wanted: Sequence[WfdbSignal],
    *,
    frame: int,
    total: int,
    gaps: Sequence[tuple[int, int]],
    parts: Sequence[tuple[_Placed, tuple[Signal, ...]]],
    spool: Spool,
) -> Signal:
    """Stored numbers where every segment has every channel in one scale, else values in their units."""
    names = tuple(signal.name for signal in wanted)
    rate = master.rate_hz * frame
    found = [
        (part, next((signal for signal in signals if np.isclose(signal.rate_hz or 0, rate)), None))
        for part, signals in parts
    ]
    first = next((signal for _, signal in found if signal is not None), None)
    if first is None:
        raise _broken(master, "no segment holds the channels of a rate that the record states")
    forms = [tuple(signal.format for signal in part.header.signals if signal.frame == frame) for part, _ in parts]
    alike = all(signal is not None and _scale(signal) == (names, *_scale(first)[1:]) for _, signal in found)
    stored = alike and len(set(forms)) == 1
    invalid = tuple(float(sample_format(master.path, form).invalid or 0) for form in forms[0])
    marked = any(signal is not None and "invalid_value" in signal.attributes for _, signal in found)
    kind = max((signal.array.dtype for _, signal in found if signal is not None), key=lambda dtype: dtype.itemsize)
    array = spool.empty((len(names), total * frame), kind if stored else np.float32)
    array[...] = 0 if stored else np.nan
    for start, stop in gaps:
        array[:, start * frame : stop * frame] = 0
    units = dict(zip(first.channels, first.units, strict=True))
    for part, signal in found:
        if signal is None:
            continue
        target = array[:, part.start * frame : part.stop * frame]
        if stored:
            target[...] = signal.array
        else:
            _place(master, signal, names, units, target)
    notes = [note for _, signal in found if signal is not None for note in signal.warnings]
    if not stored:
        notes.append("the segments differ in channels or scale, so that values are kept, and not the stored numbers")
    return Signal(
        array=array,
        rate_hz=rate,
        channels=names,
        units=first.units if stored else tuple(units.get(name, "") for name in names),
        slope=first.slope if stored else (1.0,) * len(names),
        intercept=first.intercept if stored else (0.0,) * len(names),
        gaps=tuple((start * frame, stop * frame) for start, stop in gaps),
        attributes={"invalid_value": invalid} if stored and marked else {},
        warnings=tuple(dict.fromkeys((*master.warnings, *notes))),
    )


def _scale(signal: Signal) -> tuple[object, ...]:
    return signal.channels, signal.units, signal.slope, signal.intercept


def _place(master: WfdbHeader, signal: Signal, names: Sequence[str], units: dict[str, str], target: Array) -> None:
    """Values of the channels that the segment has; invalid samples are not a number."""
    values = signal.physical()
    marks = signal.attributes.get("invalid_value", ())
    for row, mark in enumerate(marks if isinstance(marks, tuple) else ()):
        values[row, signal.array[row] == mark] = np.nan
    for row, name in enumerate(signal.channels):
        if name not in names or signal.channels.count(name) > 1:
            raise _broken(master, "a segment has a channel that the record does not list, or one name twice")
        if units.setdefault(name, signal.units[row]) != signal.units[row]:
            raise _broken(master, "a channel changes its unit between segments")
        target[names.index(name)] = values[row]


def _broken(master: WfdbHeader, problem: str) -> CaseError:
    return bad_file("read.unreadable", master.path, problem)
