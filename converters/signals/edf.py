"""EDF, EDF+, BDF and BDF+: the stored integers of every channel, grouped by rate, and the annotations as events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, installed_versions
from medshard.converters.signal import Signal
from medshard.converters.signals.edf_header import EdfChannel, EdfHeader, is_edf, read_edf_header
from medshard.converters.signals.edf_marks import has_marks, marks, record_onsets
from medshard.converters.signals.signal_format import Event, EventRequest, SignalFormat, SignalRequest
from medshard.converters.signals.timeline import gaps_between, require_timeline
from medshard.converters.spooling import Spool, release_pages
from medshard.errors import CaseError

BLOCK_BYTES = 8 << 20
STATUS = "Status"
TRIGGER_BITS = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """When the records start. onsets: None where each follows the one before; else seconds of each."""

    start_s: float = 0.0
    onsets: NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Channels of one rate. samples: in a record. starts: place of each record; None without gaps."""

    channels: tuple[EdfChannel, ...]
    samples: int
    starts: NDArray[np.int64] | None
    length: int

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        return () if self.starts is None else gaps_between(self.starts, self.samples)


def sniff(files: Files) -> bool:
    return len(files) == 1 and is_edf(files[0])


def read(files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """One Signal per rate; channels of annotations are no signals. Raises CaseError[read.* | signal.*]."""
    path = files[0]
    header = read_edf_header(path)
    channels = [channel for channel in header.channels if channel.samples and not channel.is_annotations]
    if not channels:
        raise bad_file(
            "signal.none",
            path,
            "the file holds annotations and no signal",
            action="Name it as `events` in the entry's layout.",
        )
    clock = _clock(path, header)
    groups = [_group(path, header, channels, samples, clock) for samples in _sizes(channels)]
    arrays = [_empty(header, group, spool) for group in groups]
    _fill(path, header, groups, arrays)
    shared = (*header.warnings, *clock.warnings, *_about_channels(header, channels))
    return tuple(
        _signal(header, group, array, clock=clock, request=request, warnings=shared)
        for group, array in zip(groups, arrays, strict=True)
    )


def events(files: Files, _: EventRequest) -> list[Event]:
    """Annotations of EDF+ and BDF+, or the trigger codes of BioSemi's Status channel."""
    path = files[0]
    header = read_edf_header(path)
    if has_marks(header):
        return marks(path, header)
    status = next((channel for channel in header.channels if channel.label == STATUS), None)
    if header.sample_bytes == 3 and status is not None and header.record_s > 0:
        return _triggers(path, header, status)
    raise bad_file("signal.no_events", path, "the file has no channel of annotations")


def _sizes(channels: Sequence[EdfChannel]) -> list[int]:
    return list(dict.fromkeys(channel.samples for channel in channels))


def _clock(path: Path, header: EdfHeader) -> _Clock:
    if header.layout == "discontinuous":
        if not has_marks(header) or header.record_s == 0:
            raise bad_file("read.unreadable", path, "records with gaps between them do not say when they start")
        onsets = record_onsets(path, header)
        return _Clock(start_s=float(onsets[0]), onsets=onsets)
    if header.layout == "plain" or not has_marks(header):
        return _Clock()
    try:
        return _Clock(start_s=float(record_onsets(path, header, most=1)[0]))
    except CaseError:
        return _Clock(warnings=("the first record does not say when it starts; it is taken for the start",))


def _group(path: Path, header: EdfHeader, channels: Sequence[EdfChannel], samples: int, clock: _Clock) -> _Group:
    alike = tuple(channel for channel in channels if channel.samples == samples)
    if clock.onsets is None:
        return _Group(channels=alike, samples=samples, starts=None, length=header.records * samples)
    places = np.rint((clock.onsets - clock.onsets[0]) * (samples / header.record_s))
    require_timeline(path, int(np.abs(places).max()) + samples, header.records * samples)
    stated = places.astype(np.int64)
    # Onsets are decimal text: a record may seem to begin a sample before the last one ends.
    whole = np.arange(len(stated)) * samples
    starts = np.maximum.accumulate(stated - whole) + whole
    if np.any(starts - stated > 1):
        raise bad_file(
            "signal.overlap",
            path,
            "a record starts before the one before it ends",
            action="The case is excluded. Repair the times of the records at the source.",
        )
    return _Group(channels=alike, samples=samples, starts=starts, length=int(starts[-1]) + samples)


def _empty(header: EdfHeader, group: _Group, spool: Spool) -> Array:
    array = spool.empty((len(group.channels), group.length), np.int16 if header.sample_bytes == 2 else np.int32)
    for start, stop in group.gaps:
        array[:, start:stop] = 0
    return array


def _fill(path: Path, header: EdfHeader, groups: Sequence[_Group], arrays: Sequence[Array]) -> None:
    first = 0
    for block in _blocks(path, header):
        for group, array in zip(groups, arrays, strict=True):
            for row, channel in enumerate(group.channels):
                part = block[:, channel.offset : channel.offset + channel.samples]
                if group.starts is None:
                    at = first * group.samples
                    array[row, at : at + part.size] = part.reshape(-1)
                    continue
                for record, start in zip(part, group.starts[first : first + len(part)], strict=True):
                    array[row, start : start + group.samples] = record
            release_pages(array)
        first += len(block)


def _blocks(path: Path, header: EdfHeader) -> Iterator[NDArray[np.int16] | NDArray[np.int32]]:
    """(records, samples of a record), some at a time."""
    step = max(1, BLOCK_BYTES // header.record_bytes)
    with path.open("rb") as file:
        file.seek(header.start)
        for first in range(0, header.records, step):
            count = min(step, header.records - first)
            content = file.read(count * header.record_bytes)
            if len(content) < count * header.record_bytes:
                raise bad_file("read.truncated", path, "the file became shorter while it was read")
            yield _integers(content, header).reshape(count, header.record_samples)


def _integers(content: bytes, header: EdfHeader) -> NDArray[np.int16] | NDArray[np.int32]:
    """Little-endian two's complement of two or three bytes."""
    if header.sample_bytes == 2:
        return np.frombuffer(content, "<i2").astype(np.int16, copy=False)
    triples = np.frombuffer(content, np.uint8).reshape(-1, 3)
    wide = np.zeros((len(triples), 4), np.uint8)
    wide[:, 1:] = triples
    return wide.view("<i4").reshape(-1).astype(np.int32, copy=False) >> 8


def _signal(
    header: EdfHeader,
    group: _Group,
    array: Array,
    *,
    clock: _Clock,
    request: SignalRequest,
    warnings: tuple[str, ...],
) -> Signal:
    rate = group.samples / header.record_s if header.record_s > 0 else request.rate_hz
    scales = [_scale(channel) for channel in group.channels]
    return Signal(
        array=array,
        rate_hz=rate,
        channels=tuple(channel.label for channel in group.channels),
        units=tuple(channel.unit if scale else "" for channel, scale in zip(group.channels, scales, strict=True)),
        slope=tuple(scale[0] if scale else 1.0 for scale in scales),
        intercept=tuple(scale[1] if scale else 0.0 for scale in scales),
        start_s=clock.start_s,
        gaps=group.gaps,
        warnings=(*warnings, *_about_rate(rate, header, request)),
    )


def _scale(channel: EdfChannel) -> tuple[float, float] | None:
    """Slope and intercept; None where the header's limits make no scale."""
    (low, high), (least, most) = channel.physical, channel.digital
    if low == high or least == most:
        return None
    slope = (high - low) / (most - least)
    return slope, low - slope * least


def _about_channels(header: EdfHeader, channels: Sequence[EdfChannel]) -> Iterator[str]:
    labels = [channel.label for channel in channels]
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        yield f"{labels.count(label)} channels are called {label!r}"
    for place, channel in enumerate(channels, start=1):
        if _scale(channel) is None:
            yield (
                f"channel {place} ({channel.label!r}) has equal limits in the header, so that nothing states its "
                "scale: its stored numbers are kept without a unit"
            )
        elif channel.digital[0] > channel.digital[1]:
            yield f"channel {place} ({channel.label!r}) has its digital limits the wrong way round"
    for channel in header.channels:
        if channel.samples == 0:
            yield f"channel {channel.label!r} has no samples and is left out"


def _about_rate(rate: float | None, header: EdfHeader, request: SignalRequest) -> Iterator[str]:
    if rate is None:
        yield "the records have no duration, so that nothing states the rate"
    elif header.record_s == 0:
        yield "the records have no duration; the rate is the catalog's"
    elif request.rate_hz is not None and not np.isclose(rate, request.rate_hz, rtol=1e-3):
        yield f"the file states {rate:g} Hz, the catalog {request.rate_hz:g} Hz; the file's is used"


def _triggers(path: Path, header: EdfHeader, status: EdfChannel) -> list[Event]:
    """Each run of one code other than zero in the low 16 bits (BioSemi, "Which file format")."""
    parts = [block[:, status.offset : status.offset + status.samples].reshape(-1) for block in _blocks(path, header)]
    codes = np.concatenate(parts).astype(np.int64) & TRIGGER_BITS
    rate = status.samples / header.record_s
    borders = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return [
        Event(onset_s=start / rate, duration_s=(stop - start) / rate, word=str(int(codes[start])))
        for start, stop in itertools.pairwise(borders)
        if codes[start]
    ]


def decoders() -> dict[str, str]:
    return installed_versions("numpy")


FORMAT = SignalFormat(
    name="edf",
    suffixes=(".edf", ".bdf", ".rec"),
    own=True,
    sniff=sniff,
    read=read,
    events=events,
    decoders=decoders,
)
