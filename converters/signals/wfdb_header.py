"""Headers of WFDB records, `.hea`.

Source: Moody, "WFDB Applications Guide", header(5), signal(5). Comments may name a person: they are read on request
only (`header_fields`), and a message never quotes a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, first_bytes
from medshard.errors import CaseError

LARGEST_HEADER = 4 << 20
DEFAULT_RATE = 250.0
DEFAULT_GAIN = 200.0
NUMBER = r"[-+]?(?:\d{1,18}\.?\d{0,18}|\.\d{1,18})(?:[eE][-+]?\d{1,3})?"
RECORD = re.compile(
    rf"(?P<name>\S+?)(?:/(?P<segments>\d{{1,9}}))?\s+(?P<signals>\d{{1,6}})"
    rf"(?:\s+(?P<rate>{NUMBER})(?:/{NUMBER}(?:\({NUMBER}\))?)?(?:\s+(?P<samples>\d{{1,18}})(?:\s.*)?)?)?",
    re.ASCII,
)
SIGNAL = re.compile(
    rf"(?P<file>\S+)\s+(?P<format>\d{{1,4}})(?:x(?P<frame>\d{{1,6}}))?(?::(?P<skew>\d{{1,9}}))?"
    rf"(?:\+(?P<offset>\d{{1,18}}))?"
    rf"(?:\s+(?P<gain>{NUMBER})(?:\((?P<baseline>[-+]?\d{{1,12}})\))?(?:/(?P<unit>\S+))?"
    rf"(?:\s+(?P<bits>\d{{1,4}})(?:\s+(?P<zero>[-+]?\d{{1,12}})(?:\s+(?P<initial>[-+]?\d{{1,12}})"
    rf"(?:\s+(?P<checksum>[-+]?\d{{1,12}})(?:\s+(?P<block>\d{{1,12}})(?:\s+(?P<words>.*))?)?)?)?)?)?)?",
    re.ASCII,
)
SEGMENT = re.compile(r"(?P<name>\S+)\s+(?P<samples>\d{1,18})", re.ASCII)
LONGEST_LINE = 1 << 12


@dataclass(frozen=True, kw_only=True)
class WfdbSignal:
    """frame: samples in a frame. skew: frames by which it lags. offset: bytes (samples in FLAC) before the data.

    value in `unit` = (stored - baseline) / gain. initial, checksum: None where the line does not go so far.
    """

    file: str
    format: int
    frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    unit: str
    initial: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True, kw_only=True)
class WfdbHeader:
    """rate_hz: frames a second. frames: None where the size of the data has to say. segments: (record, frames)."""

    path: Path
    rate_hz: float
    frames: int | None
    signals: tuple[WfdbSignal, ...]
    segments: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


def is_header(path: Path) -> bool:
    """A record line, and behind it a line for a signal or a segment."""
    start = first_bytes(path, 1 << 16)
    if b"\0" in start[:512]:
        return False
    lines = _lines(start)
    if not lines or (record := RECORD.fullmatch(lines[0])) is None:
        return False
    if int(record["signals"]) == 0:
        return path.suffix.lower() == ".hea"
    kind = SEGMENT if record["segments"] else SIGNAL
    return len(lines) > 1 and kind.fullmatch(lines[1]) is not None


def header_among(files: Files) -> Path | None:
    """The header of the record; of several, the one that lists the others as its segments."""
    # A broken one is still meant as a header, and is refused as such.
    headers = [path for path in files if is_header(path)] or [path for path in files if path.suffix.lower() == ".hea"]
    masters = [path for path in headers if _is_master(path)]
    chosen = masters or headers
    if not chosen:
        return None
    return chosen[0] if len(chosen) == 1 else _not_a_segment(chosen)


def read_wfdb_header(path: Path) -> WfdbHeader:
    """Raises CaseError[read.unreadable | read.unsupported]."""
    lines = _lines(_content(path))
    record = RECORD.fullmatch(lines[0]) if lines else None
    if record is None:
        raise _broken(path, "record")
    warnings = []
    rate = float(record["rate"] or 0)
    if rate <= 0:
        rate = DEFAULT_RATE
        warnings.append(f"the header states no rate; the format's default of {DEFAULT_RATE:g} Hz is taken")
    count = int(record["segments"] or record["signals"])
    if len(lines) - 1 < count:
        raise _broken(path, "segment" if record["segments"] else "signal")
    frames = int(record["samples"] or 0) or None
    if record["segments"]:
        segments = tuple(_segment(path, line) for line in lines[1 : count + 1])
        return WfdbHeader(
            path=path, rate_hz=rate, frames=frames, signals=(), segments=segments, warnings=tuple(warnings)
        )
    signals = tuple(_signal(path, line, place) for place, line in enumerate(lines[1 : count + 1], start=1))
    for place, line in enumerate(lines[1 : count + 1], start=1):
        found = SIGNAL.fullmatch(line)
        if found is not None and float(found["gain"] or 0) == 0:
            warnings.append(f"signal {place} states no gain; the format's default of {DEFAULT_GAIN:g} per mV is taken")
    return WfdbHeader(path=path, rate_hz=rate, frames=frames, signals=signals, segments=(), warnings=tuple(warnings))


def header_fields(path: Path) -> dict[str, str]:
    """The comments of the form `# key: value`, such as Dx, Age and Sex. The first of equal keys counts."""
    found: dict[str, str] = {}
    for line in _content(path).decode("latin-1").splitlines():
        key, colon, value = line.strip().removeprefix("#").partition(":")
        if line.lstrip().startswith("#") and colon and key.strip() and "#" not in key:
            found.setdefault(key.strip(), value.strip())
    return found


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_HEADER:
        raise bad_file("read.unsupported", path, "the header is longer than any that describes a recording")
    return path.read_bytes()


def _lines(content: bytes) -> list[str]:
    """What is no comment. A line that is longer than any that describes a signal is cut, and matches nothing then."""
    lines = (line.strip()[:LONGEST_LINE] for line in content.decode("latin-1").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_master(path: Path) -> bool:
    lines = _lines(first_bytes(path, 1 << 16))
    record = RECORD.fullmatch(lines[0]) if lines else None
    return record is not None and record["segments"] is not None


def _not_a_segment(headers: list[Path]) -> Path:
    """Raises CaseError[read.several_images] where several records are given that do not belong together."""
    named = {name for path in headers if _is_master(path) for name, _ in read_wfdb_header(path).segments}
    free = sorted(path for path in headers if path.stem not in named)
    if len(free) != 1:
        raise bad_file(
            "read.several_images",
            headers[0],
            "several headers are given for one recording",
            details={f"file {number}": path.name for number, path in enumerate(sorted(headers)[:4], start=1)},
            action="The case is excluded. Make the path in the entry's layout match one of them.",
        )
    return free[0]


def _segment(path: Path, line: str) -> tuple[str, int]:
    found = SEGMENT.fullmatch(line)
    if found is None:
        raise _broken(path, "segment")
    return found["name"], int(found["samples"])


def _signal(path: Path, line: str, place: int) -> WfdbSignal:
    found = SIGNAL.fullmatch(line)
    if found is None or int(found["frame"] or 1) < 1:
        raise _broken(path, "signal")
    zero = int(found["zero"] or 0)
    stated = float(found["gain"] or 0)
    return WfdbSignal(
        file=found["file"],
        format=int(found["format"]),
        frame=int(found["frame"] or 1),
        skew=int(found["skew"] or 0),
        offset=int(found["offset"] or 0),
        gain=stated or DEFAULT_GAIN,
        baseline=int(found["baseline"]) if found["baseline"] else zero,
        unit=found["unit"] or "mV",
        initial=int(found["initial"]) if found["initial"] else None,
        checksum=int(found["checksum"]) if found["checksum"] else None,
        name=found["words"] or f"signal {place}",
    )


def _broken(path: Path, line: str) -> CaseError:
    return bad_file(
        "read.unreadable",
        path,
        "a line of the header is missing, or not what the format asks for",
        details={"line": f"of the {line}"},
    )
