"""Annotation files of WFDB records, such as `.atr`.

Source: Moody, "WFDB Applications Guide", annot(5) (the MIT format) and the table of codes in `ecgcodes.h`.
Notes are free text and may name a person: of them only the rhythms are kept, `(AFIB` and its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files
from medshard.converters.signals.signal_format import Event, EventRequest
from medshard.converters.signals.timeline import no_rate
from medshard.converters.signals.wfdb_header import WfdbHeader, header_among, is_header, read_wfdb_header

SYMBOLS = dict(zip((*range(1, 15), 16, *range(18, 42)), 'NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r', strict=True))
RHYTHM_CHANGE, NOTE, LAST_CODE = 28, 22, 49
LARGEST_FILE = 64 << 20
SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
RHYTHM = re.compile(r"\([A-Z]{1,6}[0-9]?", re.ASCII)
RESOLUTION = re.compile(r"## time resolution:\s*(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
DEFINITION = re.compile(r"(\d{1,3})\s+(\S{1,20})(?:\s.*)?", re.ASCII)
DEFINITIONS = ("## annotation type definitions", "## end of definitions")


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """sample: from the start. channel: None where no annotation before it named one."""

    sample: int
    code: int
    channel: int | None
    note: str


def events(files: Files, request: EventRequest) -> list[Event]:
    """Raises CaseError[read.truncated | read.unreadable | signal.no_rate]."""
    header_path = header_among(files)
    header = None if header_path is None else read_wfdb_header(header_path)
    annotations = [path for path in files if not is_header(path)]
    if len(annotations) != 1:
        raise bad_file("read.missing_part", files[0], "not exactly one file of annotations is given")
    path = annotations[0]
    if path.stat().st_size > LARGEST_FILE:
        raise bad_file("read.unsupported", path, "the file is larger than any file of annotations")
    found = list(_marks(path, path.read_bytes()))
    rate = _resolution(found) or (header.rate_hz if header is not None else request.rate_hz)
    if rate is None:
        raise no_rate(path, "annotations")
    defined, aside = _definitions(found)
    symbols = SYMBOLS | defined
    return [
        Event(
            onset_s=mark.sample / rate,
            duration_s=0.0,
            word=_word(mark, symbols),
            channel=_channel(mark, header),
        )
        for place, mark in enumerate(found)
        if place not in aside
    ]


def _marks(path: Path, content: bytes) -> Iterator[_Mark]:
    """Words of two bytes: six bits of code, ten of time since the last mark; special codes stand behind their mark."""
    sample, channel, at = 0, None, 0
    held: tuple[int, int] | None = None
    note = ""
    while True:
        if at + 2 > len(content):
            raise bad_file("read.truncated", path, "the annotations have no end")
        word = int.from_bytes(content[at : at + 2], "little")
        code, value = word >> 10, word & 0x3FF
        at += 2
        if code in (NUM, SUB, CHN, AUX):
            if held is None:
                raise bad_file("read.unreadable", path, "the annotations begin with a part of one")
            if code == CHN:
                channel = value
            elif code == AUX:
                note = _note(path, content[at : at + value], value)
                at += value + value % 2
            continue
        if held is not None:
            yield _Mark(sample=held[0], code=held[1], channel=channel, note=note)
            held, note = None, ""
        if word == 0:
            return
        if code == SKIP:
            sample += _jump(content[at : at + 4])
            at += 4
        elif code > LAST_CODE:
            raise bad_file("read.unreadable", path, "an annotation has a code that the format does not know")
        else:
            sample += value
            if sample < 0:
                raise bad_file("read.unreadable", path, "an annotation lies before the start of the recording")
            held = (sample, code) if code else None  # 0 is no annotation: it only moves the time


def _note(path: Path, text: bytes, length: int) -> str:
    if len(text) < length:
        raise bad_file("read.truncated", path, "a note of the annotations has no end")
    return text.partition(b"\0")[0].decode("latin-1")


def _jump(content: bytes) -> int:
    """A signed number: the high half first, each half with its low byte first."""
    whole = int.from_bytes(content[2:4] + content[:2], "little")
    return whole - (1 << 32 if whole >> 31 else 0)


def _word(mark: _Mark, symbols: dict[int, str]) -> str:
    """The symbol; of a change of rhythm the rhythm, where the note holds one."""
    if mark.code == RHYTHM_CHANGE and RHYTHM.fullmatch(mark.note.strip()):
        return mark.note.strip()
    return symbols.get(mark.code, f"[{mark.code}]")


def _channel(mark: _Mark, header: WfdbHeader | None) -> str | None:
    if mark.channel is None or header is None or mark.channel >= len(header.signals):
        return None if mark.channel is None else str(mark.channel)
    return header.signals[mark.channel].name


def _resolution(found: list[_Mark]) -> float | None:
    """Samples a second, where the file states its own."""
    for mark in found:
        match = RESOLUTION.fullmatch(mark.note.strip()) if mark.code == NOTE and mark.sample == 0 else None
        if match is not None and float(match.group(1)) > 0:
            return float(match.group(1))
    return None


def _definitions(found: list[_Mark]) -> tuple[dict[int, str], set[int]]:
    """Code -> symbol as the file defines them, and the places of the notes that are none of the recording.

    Such notes stand at the start: `## time resolution: 360`, and lines between two that begin and end definitions.
    """
    symbols: dict[int, str] = {}
    places: set[int] = set()
    inside = False
    for place, mark in enumerate(found):
        if mark.sample > 0:
            break
        if mark.code != NOTE:
            continue
        if inside or mark.note.startswith("## "):
            places.add(place)
        # Older files define without the two lines, in the notes that they begin with.
        match = DEFINITION.fullmatch(mark.note) if inside or place == len(places) else None
        if match is not None:
            symbols[int(match.group(1))] = match.group(2)
            places.add(place)
        inside = mark.note == DEFINITIONS[0] or (inside and mark.note != DEFINITIONS[1])
    return symbols, places
