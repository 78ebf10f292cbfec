"""Recordings written byte by byte, or by the libraries of their fields, for the tests of the readers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class MadeChannel:
    """stored: the integers of all records. samples: in a record."""

    label: str
    stored: Numbers
    samples: int
    unit: str = "uV"
    physical: tuple[float, float] = (-3200.0, 3200.0)
    digital: tuple[int, int] = (-32768, 32767)


@dataclass(frozen=True, kw_only=True)
class MadeEdf:
    """onsets: of the records, written into an annotation channel where given. marks: (record, list as EDF+ has it)."""

    channels: tuple[MadeChannel, ...]
    reserved: str = ""
    record_s: str = "1"
    records: str | None = None
    onsets: tuple[float, ...] = ()
    marks: tuple[tuple[int, bytes], ...] = ()
    bdf: bool = False
    person: str = "X X X X"
    extra: bytes = b""
    cut: int = 0
    fields: dict[str, str] = field(default_factory=dict)


MARK_BYTES = 120


def edf_bytes(made: MadeEdf) -> bytes:
    width = 3 if made.bdf else 2
    count = len(made.channels[0].stored) // made.channels[0].samples if made.channels else len(made.onsets)
    rows = list(made.channels)
    if made.onsets:
        label = "BDF Annotations" if made.bdf else "EDF Annotations"
        rows.append(
            MadeChannel(
                label=label, stored=np.zeros(0, np.int16), samples=MARK_BYTES // width, unit="", physical=(-1, 1)
            )
        )
    head = b"\xffBIOSEMI" if made.bdf else b"0       "
    head += made.person.ljust(80).encode() + b"Startdate X X X X".ljust(80) + b"01.01.0101.01.01"
    head += made.fields.get("header bytes", str(256 * (len(rows) + 1))).ljust(8).encode()
    head += made.reserved.ljust(44).encode()
    head += (made.records if made.records is not None else str(count)).ljust(8).encode()
    head += made.record_s.ljust(8).encode() + str(len(rows)).ljust(4).encode()
    columns = (
        (16, [row.label for row in rows]),
        (80, ["" if "Annotations" in row.label else "AgAgCl electrode" for row in rows]),
        (8, [row.unit for row in rows]),
        (8, [_short(row.physical[0]) for row in rows]),
        (8, [_short(row.physical[1]) for row in rows]),
        (8, [str(row.digital[0]) for row in rows]),
        (8, [str(row.digital[1]) for row in rows]),
        (80, ["" if "Annotations" in row.label else "HP:0.1Hz" for row in rows]),
        (8, [str(row.samples) for row in rows]),
        (32, ["" for _ in rows]),
    )
    for size, values in columns:
        head += b"".join(value.encode("latin-1").ljust(size)[:size] for value in values)
    body = b""
    for record in range(count):
        for row in made.channels:
            part = row.stored[record * row.samples : (record + 1) * row.samples]
            body += integer_bytes(part, width)
        if made.onsets:
            lists = f"+{made.onsets[record]:.6f}\x14\x14\0".encode()
            lists += b"".join(mark + b"\0" for place, mark in made.marks if place == record)
            body += lists.ljust(MARK_BYTES, b"\0")
    whole = head + body + made.extra
    return whole[: len(whole) - made.cut]


def _short(value: float) -> str:
    return f"{value:g}"[:8]


def integer_bytes(values: Numbers, width: int) -> bytes:
    """Little-endian two's complement."""
    wide = np.ascontiguousarray(values, "<i4").view(np.uint8).reshape(-1, 4)
    return wide[:, :width].tobytes()


def write_edf(path: Path, made: MadeEdf) -> Path:
    path.write_bytes(edf_bytes(made))
    return path


def cnt_bytes(
    stored: Numbers,
    names: Sequence[str],
    *,
    rate: int,
    width: int = 4,
    events: Sequence[tuple[int, int]] = (),
    kind: int = 1,
    scale: tuple[float, float] = (2.0, 3.0),
    baseline: int = 0,
    block: int = 0,
) -> bytes:
    """A Neuroscan recording. stored: (c, t). events: (sample, code)."""
    channels, samples = stored.shape
    start = 900 + 75 * channels
    table = start + stored.size * width
    setup = bytearray(900)
    setup[:12] = b"Version 3.0\0"
    # Where the format has the patient's id, name, date and time.
    setup[21:25] = b"4711"
    setup[121:129] = b"DOE JANE"
    setup[225:245] = b"01/01/2001  01:01:01"[:20]
    struct.pack_into("<H", setup, 370, channels)
    struct.pack_into("<H", setup, 376, rate)
    struct.pack_into("<i", setup, 864, samples)
    struct.pack_into("<I", setup, 886, table)
    struct.pack_into("<i", setup, 894, block * width)
    electrodes = b""
    for name in names:
        electrode = bytearray(75)
        electrode[: len(name)] = name.encode()
        struct.pack_into("<h", electrode, 47, baseline)
        struct.pack_into("<f", electrode, 59, scale[0])
        struct.pack_into("<f", electrode, 71, scale[1])
        electrodes += bytes(electrode)
    order = stored.reshape(channels, -1, block).transpose(1, 0, 2) if block > 1 else stored.T
    data = np.ascontiguousarray(order, f"<i{width}").tobytes()
    size = {1: 8, 2: 19, 3: 19}[kind]
    marks = b"".join(
        struct.pack("<HBBi", code, 0, 0, start + sample * channels * width).ljust(size, b"\0")
        for sample, code in events
    )
    return bytes(setup) + electrodes + data + struct.pack("<Bii", kind, len(marks), 0) + marks


def annotation_bytes(marks: Sequence[tuple[int, int, str]], *, channel: int | None = None) -> bytes:
    """A WFDB annotation file. marks: (sample, code, note)."""
    found = b""
    last = 0
    for sample, code, note in marks:
        step, last = sample - last, sample
        if step > 1023:
            found += (59 << 10).to_bytes(2, "little")
            found += (step >> 16).to_bytes(2, "little") + (step & 0xFFFF).to_bytes(2, "little")
            step = 0
        found += (code << 10 | step).to_bytes(2, "little")
        if channel is not None:
            found += (62 << 10 | channel).to_bytes(2, "little")
        if note:
            text = note.encode("latin-1")
            found += (63 << 10 | len(text)).to_bytes(2, "little") + text + b"\0" * (len(text) % 2)
    return found + b"\0\0"
