"""DICOM waveforms: ECG, haemodynamics, EEG. One Signal per multiplex group.

Source: DICOM PS3.3, C.10.9 Waveform Module, and C.10.9.1.4.4 for sensitivity, correction and baseline.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.dicom.headers import read_file_header, silent_log
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, first_bytes, installed_versions
from medshard.converters.signal import Signal
from medshard.converters.signals.signal_format import SignalFormat, SignalRequest
from medshard.converters.spooling import Spool
from medshard.errors import CaseError

# Of the storage classes of waveforms, written as it stands in the file.
WAVEFORM_CLASS = b"1.2.840.10008.5.1.4.1.1.9."
INTERPRETATIONS = {
    ("SB", 8): "i1",
    ("UB", 8): "u1",
    ("SS", 16): "i2",
    ("US", 16): "u2",
    ("SL", 32): "i4",
    ("UL", 32): "u4",
    ("SV", 64): "i8",
    ("UV", 64): "u8",
}
PACKED = {"MB": "mu-law", "AB": "A-law"}
# A label of a group is free text; these are the machines' words.
GROUP_LABEL = re.compile(r"(?:RHYTHM|MEDIAN(?: BEAT)?|AVERAGE(?: BEAT)?|RESTING|STRESS)", re.ASCII)


def sniff(files: Files) -> bool:
    if len(files) != 1:
        return False
    start = first_bytes(files[0], 4096)
    return start[128:132] == b"DICM" and WAVEFORM_CLASS in start


def read(files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """Raises CaseError[read.* | signal.none]. The groups differ in start and meaning, so that none are merged."""
    del spool  # A waveform lies in memory with its header already.
    with silent_log(), warnings.catch_warnings():
        # pydicom's warnings quote the values that they are about.
        warnings.simplefilter("ignore")
        return _groups(files[0], request)


def _groups(path: Path, request: SignalRequest) -> tuple[Signal, ...]:
    dataset = read_file_header(path).dataset
    groups = dataset.get("WaveformSequence") or []
    if not groups:
        raise bad_file("signal.none", path, "the file holds no waveform")
    little = bool(dataset.original_encoding[1])
    return tuple(_signal(path, group, number, request, little=little) for number, group in enumerate(groups, start=1))


def _signal(path: Path, group: Any, number: int, request: SignalRequest, *, little: bool) -> Signal:
    array = _array(path, group, number, little=little)
    channels = list(group.get("ChannelDefinitionSequence") or [])
    if len(channels) != len(array):
        raise _broken(path, number, "ChannelDefinitionSequence", len(array), len(channels))
    rate = _real(path, group, number, "SamplingFrequency")
    if rate is None or rate <= 0:
        raise _broken(path, number, "SamplingFrequency", "more than 0", rate)
    notes = list(_notes(path, group, channels, number))
    if request.rate_hz is not None and not math.isclose(rate, request.rate_hz, rel_tol=1e-3):
        notes.append(f"the file states {rate:g} Hz, the catalog {request.rate_hz:g} Hz; the file's is used")
    scales = [_scale(path, channel, number) for channel in channels]
    return Signal(
        array=array,
        rate_hz=rate,
        channels=tuple(_name(channel, place) for place, channel in enumerate(channels, start=1)),
        units=tuple(unit for _, _, unit in scales),
        slope=tuple(slope for slope, _, _ in scales),
        intercept=tuple(intercept for _, intercept, _ in scales),
        start_s=(_real(path, group, number, "MultiplexGroupTimeOffset") or 0.0) / 1000,
        attributes=_attributes(path, group, channels, array, number, little=little),
        warnings=tuple(notes),
    )


def _array(path: Path, group: Any, number: int, *, little: bool) -> Array:
    """(c, t). The samples of the channels take turns in the file."""
    word = str(group.get("WaveformSampleInterpretation") or "")
    bits = _whole(path, group, number, "WaveformBitsAllocated")
    if word in PACKED:
        raise bad_file(
            "read.unsupported", path, "the samples are packed in a way that medshard does not read",
            details={"group": number, "found": PACKED[word]},
        )  # fmt: skip
    if (word, bits) not in INTERPRETATIONS:
        raise _broken(path, number, "WaveformSampleInterpretation", "a kind of number of its bits", f"{bits} bits")
    count = _whole(path, group, number, "NumberOfWaveformChannels")
    samples = _whole(path, group, number, "NumberOfWaveformSamples")
    dtype = np.dtype(("<" if little else ">") + INTERPRETATIONS[word, bits])
    content = group.get("WaveformData") or b""
    needed = count * samples * dtype.itemsize
    if count < 1 or samples < 1:
        raise _broken(path, number, "NumberOfWaveformSamples", "more than 0", min(count, samples))
    if len(content) < needed:
        raise bad_file(
            "read.truncated",
            path,
            "the samples of a waveform are not all there",
            details={"group": number, "expected": needed, "found": len(content)},
        )
    flat = np.frombuffer(content, dtype, count * samples)
    return np.ascontiguousarray(flat.reshape(samples, count).T.astype(dtype.newbyteorder("="), copy=False))


def _scale(path: Path, channel: Any, number: int) -> tuple[float, float, str]:
    """value = stored x sensitivity x correction + baseline; without a sensitivity the numbers have no unit."""
    sensitivity = _real(path, channel, number, "ChannelSensitivity")
    if sensitivity is None:
        return 1.0, 0.0, ""
    correction = _real(path, channel, number, "ChannelSensitivityCorrectionFactor")
    baseline = _real(path, channel, number, "ChannelBaseline")
    units = channel.get("ChannelSensitivityUnitsSequence") or []
    unit = str(units[0].get("CodeValue") or "") if units else ""
    return sensitivity * (1.0 if correction is None else correction), baseline or 0.0, unit


def _name(channel: Any, place: int) -> str:
    """The coded source, such as `Lead I`; a label is free text and is not kept."""
    sources = channel.get("ChannelSourceSequence") or []
    meaning = str(sources[0].get("CodeMeaning") or "") if sources else ""
    return meaning or f"channel {place}"


def _attributes(
    path: Path, group: Any, channels: list[Any], array: Array, number: int, *, little: bool
) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {"multiplex_group": number}
    originality = str(group.get("WaveformOriginality") or "")
    if originality in ("ORIGINAL", "DERIVED"):
        found["originality"] = originality
    label = str(group.get("MultiplexGroupLabel") or "").strip().upper()
    if GROUP_LABEL.fullmatch(label):
        found["group_label"] = label
    skews = tuple(_real(path, channel, number, "ChannelTimeSkew") or 0.0 for channel in channels)
    if any(skews):
        found["channel_skew_s"] = skews
    padding = _padding(group, array, little=little)
    if padding is not None and bool((array == padding).any()):
        found["invalid_value"] = (float(padding),) * len(array)
    return found


def _padding(group: Any, array: Array, *, little: bool) -> int | None:
    content = group.get("WaveformPaddingValue")
    if isinstance(content, int):
        return content
    if not isinstance(content, bytes) or len(content) < array.dtype.itemsize:
        return None
    stored = array.dtype.newbyteorder("<" if little else ">")
    return int(np.frombuffer(content[: array.dtype.itemsize], stored)[0])


def _notes(path: Path, group: Any, channels: list[Any], number: int) -> Iterator[str]:
    for place, channel in enumerate(channels, start=1):
        if channel.get("ChannelSensitivity") is None:
            yield f"channel {place} of group {number} states no sensitivity: its stored numbers have no unit"
        skew = _real(path, channel, number, "ChannelTimeSkew") or _real(path, channel, number, "ChannelSampleSkew")
        if skew:
            yield f"channel {place} of group {number} is skewed in time by its header; it is not moved"
    allocated, stored = group.get("WaveformBitsAllocated"), group.get("WaveformBitsStored")
    if stored is not None and stored != allocated:
        yield f"group {number} uses {stored} of {allocated} bits of its samples"


def _real(path: Path, dataset: Any, number: int, name: str) -> float | None:
    value = dataset.get(name)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise _broken(path, number, name, "a finite number", "something else")
    return found


def _whole(path: Path, dataset: Any, number: int, name: str) -> int:
    value = dataset.get(name)
    if not isinstance(value, int):
        raise _broken(path, number, name, "a whole number", "something else")
    return int(value)


def _broken(path: Path, number: int, field: str, expected: object, found: object) -> CaseError:
    return bad_file(
        "read.unreadable",
        path,
        "an element of a waveform is missing or not what the standard asks for",
        details={"group": number, "element": field, "expected": expected, "found": found},
    )


def decoders() -> dict[str, str]:
    return installed_versions("pydicom", "numpy")


FORMAT = SignalFormat(
    name="dicom waveform",
    suffixes=(".dcm",),
    own=True,
    sniff=sniff,
    read=read,
    events=None,
    decoders=decoders,
)
