"""Annotation channels of EDF+ and BDF+: when each record starts, and the marks.

Source: Kemp and Olivan 2003, "European data format 'plus'", section 2.2: time-stamped annotations lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.signals.edf_header import EdfHeader
from medshard.converters.signals.signal_format import Event

# onset, duration, the texts up to the last mark of their end.
LIST = re.compile(rb"([+-]\d{1,15}(?:\.\d{0,15})?)(?:\x15(\d{1,15}(?:\.\d{0,15})?)?)?\x14(.*)", re.DOTALL)
BLOCK_BYTES = 8 << 20


def marks(path: Path, header: EdfHeader) -> list[Event]:
    """Every annotation, in the order of the file; onsets count from the start that the header states.

    Raises CaseError[read.unreadable] for a channel that is no list of annotations.
    """
    found: list[Event] = []
    for record in annotation_records(path, header):
        for number, content in enumerate(record):
            for place, (onset, duration, texts) in enumerate(_lists(path, content)):
                # The first list of a record only says when the record starts, and has an empty text in front.
                words = texts[1:] if number == 0 and place == 0 and not texts[0] else texts
                found += [_event(onset, duration, text) for text in words if text]
    return found


def record_onsets(path: Path, header: EdfHeader, *, most: int | None = None) -> NDArray[np.float64]:
    """Seconds of the start of each record, or of the first `most`. Raises CaseError[read.unreadable]."""
    onsets: list[float] = []
    for number, record in enumerate(annotation_records(path, header)):
        if number == most:
            break
        first = next(iter(_lists(path, record[0])), None)
        if first is None:
            raise _broken(path, "a record does not say when it starts")
        onsets.append(first[0])
    return np.asarray(onsets, np.float64)


def has_marks(header: EdfHeader) -> bool:
    return any(channel.is_annotations and channel.samples for channel in header.channels)


def annotation_records(path: Path, header: EdfHeader) -> Iterator[tuple[bytes, ...]]:
    """The content of each annotation channel, record by record."""
    places = [
        (channel.offset * header.sample_bytes, (channel.offset + channel.samples) * header.sample_bytes)
        for channel in header.channels
        if channel.is_annotations and channel.samples
    ]
    step = max(1, BLOCK_BYTES // header.record_bytes)
    with path.open("rb") as file:
        file.seek(header.start)
        for first in range(0, header.records, step):
            block = file.read(min(step, header.records - first) * header.record_bytes)
            for at in range(0, len(block), header.record_bytes):
                yield tuple(block[at + start : at + stop] for start, stop in places)


def _lists(path: Path, content: bytes) -> Iterator[tuple[float, float, list[bytes]]]:
    """Onset, duration and texts of each list; a zero byte ends one."""
    for part in content.split(b"\0"):
        if not part:
            continue
        match = LIST.fullmatch(part)
        if match is None:
            raise _broken(path, "an annotation has no onset, or no end")
        texts = match.group(3).split(b"\x14")
        if texts[-1]:
            raise _broken(path, "an annotation has no end")
        yield float(match.group(1)), float(match.group(2) or 0), texts[:-1] or [b""]


def _event(onset: float, duration: float, text: bytes) -> Event:
    try:
        word = text.decode("utf-8")
    except UnicodeDecodeError:
        word = text.decode("latin-1")
    # "Limb movement@@EMG RAT" concerns one channel (EDF+ specification, 2.2.4).
    word, _, channel = word.partition("@@")
    return Event(onset_s=onset, duration_s=duration, word=word.strip(), channel=channel.strip() or None)


def _broken(path: Path, problem: str) -> Exception:
    return bad_file("read.unreadable", path, problem, details={"channel": "annotations"})
