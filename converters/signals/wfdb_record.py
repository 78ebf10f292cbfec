"""WFDB records: header and data, or a header of segments; one Signal per rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.data_files import data_file
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, installed_versions
from medshard.converters.signal import Signal
from medshard.converters.signals import wfdb_marks
from medshard.converters.signals.signal_format import SignalFormat, SignalRequest
from medshard.converters.signals.wfdb_header import WfdbHeader, WfdbSignal, header_among, read_wfdb_header
from medshard.converters.signals.wfdb_samples import (
    FLAC,
    FORMATS,
    LARGEST_FLAC_RATIO,
    Samples,
    blocks,
    flac_blocks,
    sample_format,
    samples_in,
    short,
)
from medshard.converters.signals.wfdb_segments import stitched
from medshard.converters.spooling import Spool, release_pages


def sniff(files: Files) -> bool:
    return header_among(files) is not None


def read(files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """Errors: CaseError[read.* | signal.*], MissingExtraError[signals.not_installed] for FLAC."""
    header = _header(files)
    if header.segments:
        return stitched(header, lambda part: read_record(part, files, request, spool), files, spool)
    return read_record(header, files, request, spool)


def _header(files: Files) -> WfdbHeader:
    path = header_among(files)
    if path is None:
        raise bad_file("read.missing_part", files[0], "the header of the recording is missing")
    return read_wfdb_header(path)


def read_record(header: WfdbHeader, files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """The signals of a record that has data of its own."""
    if not header.signals:
        raise bad_file("signal.none", header.path, "the header describes no signal")
    frames = header.frames if header.frames is not None else _frames(header, files)
    if frames < 1:
        raise bad_file("read.truncated", header.path, "the recording holds no sample")
    rates = list(dict.fromkeys(signal.frame for signal in header.signals))
    return tuple(_of_rate(header, files, request, spool, frame=frame, frames=frames) for frame in rates)


def _of_rate(
    header: WfdbHeader, files: Files, request: SignalRequest, spool: Spool, *, frame: int, frames: int
) -> Signal:
    """The signals with `frame` samples in each of `frames` frames."""
    chosen = [place for place, signal in enumerate(header.signals) if signal.frame == frame]
    alike = [header.signals[place] for place in chosen]
    wide = any(sample_format(header.path, signal.format).dtype is np.int32 for signal in alike)
    _require_files(header, frames, files)
    array = spool.empty((len(chosen), frames * frame), np.int32 if wide else np.int16)
    sums: dict[int, int] = {}
    for name in dict.fromkeys(signal.file for signal in alike):
        sums |= _fill(header, name, frames, files, {place: array[row] for row, place in enumerate(chosen)})
    release_pages(array)
    notes = [note for row, place in enumerate(chosen) for note in _aligned(header.signals[place], array[row])]
    for place in chosen:
        stated = header.signals[place].checksum
        if stated is not None and (stated - sums[place]) % (1 << 16):
            notes.append(f"the checksum of signal {place + 1} is not that of its samples")
    rate = header.rate_hz * frame
    if request.rate_hz is not None and not np.isclose(rate, request.rate_hz, rtol=1e-3):
        notes.append(f"the file states {rate:g} Hz, the catalog {request.rate_hz:g} Hz; the file's is used")
    attributes, marked = _invalid(alike, array)
    return Signal(
        array=array,
        rate_hz=rate,
        channels=tuple(signal.name for signal in alike),
        units=tuple(signal.unit for signal in alike),
        slope=tuple(1 / signal.gain for signal in alike),
        intercept=tuple(-signal.baseline / signal.gain for signal in alike),
        attributes=attributes,
        warnings=(*header.warnings, *notes, *marked),
    )


def _path(header: WfdbHeader, name: str, files: Files) -> Path:
    """Of the files given, else beside the header."""
    given = next((path for path in files if path.name == name), None)
    return given or data_file(header.path, name)


def _frames(header: WfdbHeader, files: Files) -> int:
    """What the shortest data file holds."""
    found = []
    for name in dict.fromkeys(signal.file for signal in header.signals):
        inside = _inside(header, name)
        frame = sum(signal.frame for signal in inside.values())
        first = next(iter(inside.values()))
        sample_format(header.path, first.format)
        path = _path(header, name, files)
        count = samples_in(path, first.format, first.offset, len(inside))
        found.append(count // (len(inside) if first.format in FLAC else frame))
    return min(found)


def _require_files(header: WfdbHeader, frames: int, files: Files) -> None:
    """Raises CaseError[read.truncated] where a file cannot hold the frames, before anything is allocated."""
    for name in dict.fromkeys(signal.file for signal in header.signals):
        inside = _inside(header, name)
        first = next(iter(inside.values()))
        path = _path(header, name, files)
        needed = frames * sum(signal.frame for signal in inside.values())
        if first.format in FLAC:
            if needed > LARGEST_FLAC_RATIO * path.stat().st_size:
                raise short(path, needed, path.stat().st_size)
        elif needed * FORMATS[first.format].bits / 8 > path.stat().st_size - first.offset + 4:
            raise short(path, int(needed * FORMATS[first.format].bits // 8), path.stat().st_size - first.offset)


def _inside(header: WfdbHeader, name: str) -> dict[int, WfdbSignal]:
    """Place -> signal, of the signals in one file, which have one format and start together."""
    inside = {place: signal for place, signal in enumerate(header.signals) if signal.file == name}
    if len({(signal.format, signal.offset) for signal in inside.values()}) != 1:
        raise bad_file("read.unreadable", header.path, "signals in one file have different formats or starts")
    for signal in inside.values():
        sample_format(header.path, signal.format)
    return inside


def _fill(header: WfdbHeader, name: str, frames: int, files: Files, rows: Mapping[int, Array]) -> dict[int, int]:
    """Decode one file into the rows of its signals; place -> sum of its samples."""
    inside = _inside(header, name)
    first = next(iter(inside.values()))
    path = _path(header, name, files)
    sums = dict.fromkeys(inside, 0)
    carried = {place: signal.initial or 0 for place, signal in inside.items()}
    at = 0
    for parts in _by_signal(path, first, inside, frames):
        count = 0
        for place, part in parts.items():
            values: Array = part
            if first.format == 8:
                whole = np.cumsum(part, dtype=np.int64) + carried[place]
                carried[place], values = int(whole[-1]), whole
            sums[place] += int(np.sum(values, dtype=np.int64))
            count = len(values)
            if place in rows:
                start = at * inside[place].frame
                rows[place][start : start + count] = values
        at += count // inside[next(reversed(parts))].frame
    return sums


def _by_signal(
    path: Path, first: WfdbSignal, inside: Mapping[int, WfdbSignal], frames: int
) -> Iterator[dict[int, Samples]]:
    """Place -> samples in the order of time, block by block of whole frames."""
    if first.format in FLAC:
        if len({signal.frame for signal in inside.values()}) != 1:
            raise bad_file("read.unreadable", path, "signals in one FLAC file have different rates")
        each = flac_blocks(path, first.format, offset=first.offset, frames=frames * first.frame, channels=len(inside))
        for block in each:
            yield dict(zip(inside, block.T, strict=True))
        return
    frame = sum(signal.frame for signal in inside.values())
    for flat in blocks(path, first.format, offset=first.offset, samples=frames * frame, frame=frame):
        whole = flat.reshape(-1, frame)
        starts = np.cumsum([0, *(signal.frame for signal in inside.values())])
        yield {
            place: whole[:, start : start + signal.frame].reshape(-1)
            for (place, signal), start in zip(inside.items(), starts, strict=False)
        }


def _aligned(signal: WfdbSignal, row: Array) -> Iterator[str]:
    """Undo the skew in place: the file is behind by so many frames, and has nothing for as many at the end."""
    if not signal.skew:
        return
    late = min(signal.skew * signal.frame, len(row))
    row[: len(row) - late] = row[late:].copy()
    invalid = FORMATS[signal.format].invalid
    row[len(row) - late :] = 0 if invalid is None else invalid
    yield f"{signal.name!r} lags by {signal.skew} frames; it is moved, and its last {late} samples are marked invalid"


def _invalid(signals: Sequence[WfdbSignal], array: Array) -> tuple[dict[str, AttributeValue], list[str]]:
    """The stored number that marks a missing sample, of each channel, where any sample has it."""
    marks = [FORMATS[signal.format].invalid for signal in signals]
    counts = [0 if mark is None else int((row == mark).sum()) for mark, row in zip(marks, array, strict=True)]
    if not any(counts):
        return {}, []
    values = tuple(float("nan") if mark is None else float(mark) for mark in marks)
    notes = [
        f"{count} samples of {signal.name!r} are marked as invalid by the stored number {mark}"
        for signal, mark, count in zip(signals, marks, counts, strict=True)
        if count
    ]
    return {"invalid_value": values}, notes


def decoders() -> dict[str, str]:
    """FLAC goes through soundfile, where it is installed."""
    try:
        return installed_versions("numpy", "soundfile")
    except PackageNotFoundError:
        return installed_versions("numpy")


FORMAT = SignalFormat(
    name="wfdb",
    suffixes=(".hea", ".dat"),
    own=True,
    sniff=sniff,
    read=read,
    events=wfdb_marks.events,
    decoders=decoders,
)
