"""Headers of EDF, EDF+, BDF and BDF+.

Source: Kemp and others 1992, "A simple format for exchange of digitized polygraphic recordings"; Kemp and Olivan 2003,
"European data format 'plus'"; BioSemi, "Which file format does BioSemi use". Read here and not by a library, since
those that exist refuse or mend wrong counts in ways of their own; they are the oracles of the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

FIXED_BYTES = 256
CHANNEL_BYTES = 256
NUMBER = re.compile(r"[+-]?(?:\d{1,20}(?:[.,]\d{0,20})?|[.,]\d{1,20})(?:[eE][+-]?\d{1,3})?", re.ASCII)
# name of a field of each channel, its bytes; in the order of the file, every field for all channels.
CHANNEL_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("physical minimum", 8),
    ("physical maximum", 8),
    ("digital minimum", 8),
    ("digital maximum", 8),
    ("prefilter", 80),
    ("samples in a record", 8),
    ("reserved", 32),
)
ANNOTATIONS = frozenset({"EDF Annotations", "BDF Annotations"})


@dataclass(frozen=True, kw_only=True)
class EdfChannel:
    """physical, digital: (minimum, maximum). samples: in a record. offset: samples of a record before its own."""

    label: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[float, float]
    samples: int
    offset: int

    @property
    def is_annotations(self) -> bool:
        return self.label in ANNOTATIONS


@dataclass(frozen=True, kw_only=True)
class EdfHeader:
    """records: whole ones that the file holds and the header counts. record_s: 0 where a record has no duration.

    sample_bytes: 2 in EDF, 3 in BDF. Nothing of the patient and recording fields is read.
    """

    sample_bytes: int
    layout: Literal["plain", "continuous", "discontinuous"]
    records: int
    record_s: float
    channels: tuple[EdfChannel, ...]
    warnings: tuple[str, ...]

    @property
    def start(self) -> int:
        """Of the first record, in bytes."""
        return FIXED_BYTES + CHANNEL_BYTES * len(self.channels)

    @property
    def record_samples(self) -> int:
        return sum(channel.samples for channel in self.channels)

    @property
    def record_bytes(self) -> int:
        return self.record_samples * self.sample_bytes


def is_edf(path: Path) -> bool:
    start = first_bytes(path, FIXED_BYTES)
    known = start.startswith((b"0       ", b"\xffBIOSEMI"))
    return known and len(start) == FIXED_BYTES and _text(start[252:256]).isdecimal()


def read_edf_header(path: Path) -> EdfHeader:
    """Raises CaseError[read.truncated | read.unreadable]."""
    size = path.stat().st_size
    fixed = first_bytes(path, FIXED_BYTES)
    if len(fixed) < FIXED_BYTES:
        raise bad_file("read.truncated", path, "the file ends inside its header")
    warnings: list[str] = []
    count = _whole(path, fixed[252:256], "number of signals", warnings)
    start = FIXED_BYTES + CHANNEL_BYTES * count
    if count < 1:
        raise _unreadable(path, "number of signals", "at least one", count)
    if start > size:
        raise bad_file(
            "read.truncated",
            path,
            "the file ends inside its header",
            details={"signals": count, "header bytes": start, "file bytes": size},
        )
    stated = _whole(path, fixed[184:192], "bytes in the header", warnings)
    if stated != start:
        raise _unreadable(path, "bytes in the header", start, stated)
    channels = _channels(path, first_bytes(path, start)[FIXED_BYTES:], count, warnings)
    duration = _number(path, fixed[244:252], "duration of a record", warnings)
    if duration < 0:
        raise _unreadable(path, "duration of a record", "0 or more seconds", duration)
    sample_bytes = 3 if fixed[0] == 0xFF else 2
    record_bytes = sample_bytes * sum(channel.samples for channel in channels)
    if record_bytes == 0:
        raise _unreadable(path, "samples in a record", "more than 0", 0)
    records = _records(path, fixed[236:244], record_bytes, size - start, warnings)
    return EdfHeader(
        sample_bytes=sample_bytes,
        layout=_layout(fixed[192:236]),
        records=records,
        record_s=duration,
        channels=channels,
        warnings=tuple(warnings),
    )


def _layout(reserved: bytes) -> Literal["plain", "continuous", "discontinuous"]:
    word = _text(reserved)[:5]
    if word in ("EDF+D", "BDF+D"):
        return "discontinuous"
    return "continuous" if word in ("EDF+C", "BDF+C") else "plain"


def _channels(path: Path, content: bytes, count: int, warnings: list[str]) -> tuple[EdfChannel, ...]:
    fields: dict[str, list[bytes]] = {}
    at = 0
    for name, width in CHANNEL_FIELDS:
        fields[name] = [content[at + width * place : at + width * (place + 1)] for place in range(count)]
        at += width * count
    channels: list[EdfChannel] = []
    offset = 0
    for place in range(count):
        field = {name: values[place] for name, values in fields.items()}
        label = _text(field["label"])
        samples = _whole(path, field["samples in a record"], "samples in a record", warnings)
        if samples < 0:
            raise _unreadable(path, "samples in a record", "0 or more", samples)
        marks = label in ANNOTATIONS
        low, high, least, most = (
            _scale(path, field[name], name, warnings, needed=not marks)
            for name in ("physical minimum", "physical maximum", "digital minimum", "digital maximum")
        )
        channels.append(
            EdfChannel(
                label=label,
                unit=_text(field["unit"]),
                physical=(low, high),
                digital=(least, most),
                samples=samples,
                offset=offset,
            )
        )
        offset += samples
    return tuple(channels)


def _scale(path: Path, content: bytes, field: str, warnings: list[str], *, needed: bool) -> float:
    """One of the four numbers of a channel's scale; of a channel of marks they mean nothing."""
    return _number(path, content, field, warnings) if needed else 0.0


def _records(path: Path, content: bytes, record_bytes: int, available: int, warnings: list[str]) -> int:
    """Whole records to read. Raises CaseError[read.truncated] where there is none."""
    stated = _whole(path, content, "number of records", warnings)
    held, rest = divmod(available, record_bytes)
    if held == 0:
        raise bad_file(
            "read.truncated",
            path,
            "the file holds no whole record",
            details={"record bytes": record_bytes, "bytes behind the header": available},
        )
    cut = f"; {rest} bytes of a record that is not whole are dropped" if rest else ""
    if stated < 1:
        warnings.append(f"the header does not state the number of records; the size of the file makes it {held}{cut}")
        return held
    if stated > held:
        warnings.append(f"the header states {stated} records, the file holds {held}{cut}")
        return held
    if stated * record_bytes < available:
        extra = available - stated * record_bytes
        warnings.append(f"{extra} bytes behind the {stated} records that the header states are not read")
    return stated


def _text(content: bytes) -> str:
    """Labels and units; files write the micro sign in UTF-8 or in Latin-1."""
    plain = content.partition(b"\0")[0].strip()
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        return plain.decode("latin-1")


def _number(path: Path, content: bytes, field: str, warnings: list[str]) -> float:
    # What stands there may be anything, a name even, so that it is not quoted.
    text = content.replace(b"\0", b" ").decode("latin-1").strip()
    if not NUMBER.fullmatch(text):
        raise _unreadable(path, field, "a number", "something else")
    if "," in text:
        note = "numbers of the header are written with a decimal comma"
        warnings.extend(() if note in warnings else (note,))
    return float(text.replace(",", "."))


def _whole(path: Path, content: bytes, field: str, warnings: list[str]) -> int:
    value = _number(path, content, field, warnings)
    if not value.is_integer():
        raise _unreadable(path, field, "a whole number", value)
    return int(value)


def _unreadable(path: Path, field: str, expected: object, found: object) -> CaseError:
    return bad_file(
        "read.unreadable",
        path,
        "a field of the header is not what the format asks for",
        details={"field": field, "expected": expected, "found": found},
    )
