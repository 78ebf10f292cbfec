"""Neuroscan continuous recordings, `.cnt`. The files of ANT Neuro that bear the same suffix are refused by name.

The layout of header, channels and event table follows the public description of Neuroscan's `sethead.h`; MNE is the
oracle of the tests. What the header leaves open, the bytes of a sample, is worked out where that is certain and refused
where it is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, first_bytes, installed_versions
from medshard.converters.signal import Signal
from medshard.converters.signals.signal_format import Event, EventRequest, SignalFormat, SignalRequest
from medshard.converters.spooling import Spool, release_pages

MAGIC = b"Version 3."
SETUP_BYTES, CHANNEL_BYTES = 900, 75
TABLE_HEAD = struct.Struct("<Bii")
# type of the event table -> bytes of an event; each begins with its code, two bytes for keys, and its place.
EVENT_BYTES = {1: 8, 2: 19}
EVENT = struct.Struct("<HBBi")
MICROVOLTS = 204.8
BLOCK_BYTES = 8 << 20
WRAPPED = 1 << 32


@dataclass(frozen=True, kw_only=True)
class _Header:
    """samples: of each channel. table: place of the event table in the file. block: samples of a channel in a row."""

    names: tuple[str, ...]
    slope: tuple[float, ...]
    baseline: tuple[int, ...]
    rate_hz: float
    samples: int
    width: int
    table: int
    block: int

    @property
    def start(self) -> int:
        return SETUP_BYTES + CHANNEL_BYTES * len(self.names)


def sniff(files: Files) -> bool:
    return len(files) == 1 and (first_bytes(files[0], len(MAGIC)) == MAGIC or _is_ant(files[0]))


def read(files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """Raises CaseError[read.unsupported | read.unreadable | read.truncated]."""
    header = _read_header(files[0])
    channels = len(header.names)
    array = spool.empty((channels, header.samples), np.dtype(f"i{header.width}"))
    for start, stop, block in _blocks(files[0], header):
        array[:, start:stop] = block
        release_pages(array)
    notes = []
    if request.rate_hz is not None and not np.isclose(header.rate_hz, request.rate_hz, rtol=1e-3):
        notes.append(f"the file states {header.rate_hz:g} Hz, the catalog {request.rate_hz:g} Hz; the file's is used")
    flat = [name for name, slope in zip(header.names, header.slope, strict=True) if slope == 0]
    notes += [f"channel {name!r} has no scale: its stored numbers are kept without a unit" for name in flat]
    return (
        Signal(
            array=array,
            rate_hz=header.rate_hz,
            channels=header.names,
            units=tuple("uV" if slope else "" for slope in header.slope),
            slope=tuple(slope or 1.0 for slope in header.slope),
            intercept=tuple(-slope * baseline for slope, baseline in zip(header.slope, header.baseline, strict=True)),
            warnings=tuple(notes),
        ),
    )


def events(files: Files, request: EventRequest) -> list[Event]:
    """Stimulus codes of the event table; keys and codes of zero are left out. Errors as `read`."""
    del request
    path = files[0]
    header = _read_header(path)
    content = path.read_bytes()[header.table :] if header.table else b""
    if len(content) < TABLE_HEAD.size:
        raise bad_file("read.truncated", path, "the table of events is missing")
    kind, size, offset = TABLE_HEAD.unpack_from(content)
    if kind not in EVENT_BYTES:
        raise bad_file(
            "read.unsupported",
            path,
            "the table of events is of a kind whose times are in doubt",
            details={"expected": "1 or 2", "found": kind},
        )
    first = TABLE_HEAD.size + offset
    if offset < 0 or size < 0 or first + size > len(content) or size % EVENT_BYTES[kind]:
        raise bad_file("read.truncated", path, "the table of events ends too early")
    found = []
    for at in range(first, first + size, EVENT_BYTES[kind]):
        code, _, _, place = EVENT.unpack_from(content, at)
        sample = ((place - header.start) % WRAPPED) // (len(header.names) * header.width)
        if sample > header.samples:
            raise bad_file("read.unreadable", path, "an event lies outside the recording")
        if code:
            found.append(Event(onset_s=sample / header.rate_hz, duration_s=0.0, word=str(code)))
    return found


def _is_ant(path: Path) -> bool:
    """The RIFF container of EEProbe and eego."""
    start = first_bytes(path, 12)
    return start[:4] in (b"RIFF", b"RF64") and start[8:12].upper() in (b"CNT ", b"CNTX")


def _read_header(path: Path) -> _Header:
    if _is_ant(path):
        raise bad_file(
            "read.unsupported",
            path,
            "the recording is of ANT Neuro (EEProbe, eego), whose packing medshard does not read",
            details={"expected": "Neuroscan cnt"},
            action="Use a release of the data as EDF, BDF or mat, or convert the recordings.",
        )
    size = path.stat().st_size
    setup = first_bytes(path, SETUP_BYTES)
    if len(setup) < SETUP_BYTES:
        raise bad_file("read.truncated", path, "the file ends inside its header")
    channels, rate = (struct.unpack_from("<H", setup, at)[0] for at in (370, 376))
    samples = struct.unpack_from("<i", setup, 864)[0]
    table = struct.unpack_from("<I", setup, 886)[0]
    block = struct.unpack_from("<i", setup, 894)[0]
    start = SETUP_BYTES + CHANNEL_BYTES * channels
    if channels < 1 or rate < 1:
        raise bad_file(
            "read.unreadable", path, "the header states no channel or no rate",
            details={"channels": channels, "rate": rate},
        )  # fmt: skip
    if start > size:
        raise bad_file("read.truncated", path, "the file ends inside its header")
    table, samples, width = _sizes(path, start, channels=channels, samples=samples, table=table)
    electrodes = first_bytes(path, start)[SETUP_BYTES:]
    each = [electrodes[at : at + CHANNEL_BYTES] for at in range(0, len(electrodes), CHANNEL_BYTES)]
    slopes = tuple(_slope(path, content) for content in each)
    return _Header(
        names=tuple(content[:10].partition(b"\0")[0].decode("latin-1").strip() for content in each),
        slope=slopes,
        baseline=tuple(struct.unpack_from("<h", content, 47)[0] for content in each),
        rate_hz=float(rate),
        samples=samples,
        width=width,
        table=table,
        block=_block(path, block, width, samples),
    )


def _sizes(path: Path, start: int, *, channels: int, samples: int, table: int) -> tuple[int, int, int]:
    """Place of the event table, samples, and bytes of a sample. The place is stored modulo 2**32."""
    size = path.stat().st_size
    fits = []
    for width in (2, 4):
        end = start + samples * channels * width
        if samples > 0 and end <= size and end % WRAPPED == table:
            fits.append((end, samples, width))
    if len(fits) == 1:
        return fits[0]
    raise bad_file(
        "read.truncated" if samples > 0 and start + samples * channels * 2 > size else "read.unreadable",
        path,
        "the header's number of samples and its place of the event table do not fit the file",
        details={"channels": channels, "samples": samples, "event table at": table, "file bytes": size},
    )


def _block(path: Path, stated: int, width: int, samples: int) -> int:
    if stated <= 1:
        return 1
    block, rest = divmod(stated, width)
    if rest or block < 1 or samples % block:
        raise bad_file("read.unsupported", path, "the blocks of samples are not whole", details={"bytes": stated})
    return block


def _slope(path: Path, content: bytes) -> float:
    sensitivity, calibration = (float(struct.unpack_from("<f", content, at)[0]) for at in (59, 71))
    slope = sensitivity * calibration / MICROVOLTS
    if not np.isfinite(slope):
        raise bad_file("read.unreadable", path, "a channel has a scale that is no number")
    return slope


def _blocks(path: Path, header: _Header) -> Iterator[tuple[int, int, Array]]:
    """(start, stop) and the samples (c, t) between them. In the file c is last, or each channel lies in a row."""
    channels = len(header.names)
    row = channels * header.block * header.width
    rows = max(1, BLOCK_BYTES // row)
    total = header.samples // header.block
    with path.open("rb") as file:
        file.seek(header.start)
        for first in range(0, total, rows):
            count = min(rows, total - first)
            content = file.read(count * row)
            if len(content) < count * row:
                raise bad_file("read.truncated", path, "the file became shorter while it was read")
            stored = np.frombuffer(content, f"<i{header.width}").reshape(count, channels, header.block)
            start = first * header.block
            yield start, start + count * header.block, stored.transpose(1, 0, 2).reshape(channels, -1)


def decoders() -> dict[str, str]:
    return installed_versions("numpy")


FORMAT = SignalFormat(
    name="cnt",
    suffixes=(".cnt",),
    own=True,
    sniff=sniff,
    read=read,
    events=events,
    decoders=decoders,
)
