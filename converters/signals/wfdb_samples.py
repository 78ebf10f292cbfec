"""Samples of WFDB signal files. Source: Moody, "WFDB Applications Guide", signal(5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError, MissingExtraError

Samples = NDArray[np.int16] | NDArray[np.int32]

BLOCK_SAMPLES = 1 << 21
FLAC_MAGIC = b"fLaC"
# A frame of FLAC has at least a head of six bytes and a checksum, and at most 65,535 samples of each channel.
LARGEST_FLAC_RATIO = 65_535 * 4 // 8


@dataclass(frozen=True, kw_only=True)
class SampleFormat:
    """bits: of a sample in the file, on average over a group. group: samples that share bytes.

    invalid: the stored number that means that there is none; None where the format has no such number.
    """

    bits: float
    group: int
    dtype: type[np.int16 | np.int32]
    invalid: int | None


FORMATS = {
    8: SampleFormat(bits=8, group=1, dtype=np.int16, invalid=None),
    16: SampleFormat(bits=16, group=1, dtype=np.int16, invalid=-(1 << 15)),
    24: SampleFormat(bits=24, group=1, dtype=np.int32, invalid=-(1 << 23)),
    32: SampleFormat(bits=32, group=1, dtype=np.int32, invalid=-(1 << 31)),
    61: SampleFormat(bits=16, group=1, dtype=np.int16, invalid=-(1 << 15)),
    80: SampleFormat(bits=8, group=1, dtype=np.int16, invalid=-(1 << 7)),
    160: SampleFormat(bits=16, group=1, dtype=np.int32, invalid=-(1 << 15)),
    212: SampleFormat(bits=12, group=2, dtype=np.int16, invalid=-(1 << 11)),
    310: SampleFormat(bits=32 / 3, group=3, dtype=np.int16, invalid=-(1 << 9)),
    311: SampleFormat(bits=32 / 3, group=3, dtype=np.int16, invalid=-(1 << 9)),
    508: SampleFormat(bits=8, group=1, dtype=np.int16, invalid=-(1 << 7)),
    516: SampleFormat(bits=16, group=1, dtype=np.int16, invalid=-(1 << 15)),
    524: SampleFormat(bits=24, group=1, dtype=np.int32, invalid=-(1 << 23)),
}
# Formats of whole bytes: type, and the stored number that means zero.
PLAIN = {8: ("i1", 0), 16: ("<i2", 0), 32: ("<i4", 0), 61: (">i2", 0), 80: ("u1", 1 << 7), 160: ("<u2", 1 << 15)}
FLAC = {508: "PCM_S8", 516: "PCM_16", 524: "PCM_24"}
# All groups of all formats fit into so many samples.
WHOLE_GROUPS = 6


def sample_format(path: Path, number: int) -> SampleFormat:
    if number not in FORMATS:
        raise bad_file(
            "read.unsupported",
            path,
            "the samples are stored in a format that medshard does not read",
            details={"format": number, "read": ", ".join(map(str, FORMATS))},
        )
    return FORMATS[number]


def bytes_of(number: int, samples: int) -> int:
    """Bytes that so many samples take, without what pads the last group."""
    whole, rest = divmod(samples, FORMATS[number].group)
    if number == 212:
        return 3 * whole + 2 * rest
    if number == 310:
        return 4 * whole + 2 * rest
    if number == 311:
        return 4 * whole + (rest + 1 if rest else 0)
    return samples * int(FORMATS[number].bits) // 8


def samples_in(path: Path, number: int, offset: int, channels: int) -> int:
    """Samples of all channels of a file that states no number of them."""
    if number in FLAC:
        with _flac(path) as sound:
            return max(0, int(sound.frames) - offset) * channels
    held = max(0, path.stat().st_size - offset)
    count = int(held * 8 // FORMATS[number].bits)
    while bytes_of(number, count) > held:
        count -= 1
    return count


def blocks(path: Path, number: int, *, offset: int, samples: int, frame: int) -> Iterator[Samples]:
    """`samples` stored numbers in the order of the file, in blocks of whole frames of `frame` samples.

    Raises CaseError[read.truncated] before anything is decoded where the file cannot hold them.
    """
    if number in FLAC:
        raise ValueError(f"format {number} is read by `flac_blocks`")
    needed = bytes_of(number, samples)
    held = max(0, path.stat().st_size - offset)
    if needed > held:
        raise short(path, needed, held)
    step = max(1, BLOCK_SAMPLES // (frame * WHOLE_GROUPS)) * WHOLE_GROUPS * frame
    with path.open("rb") as file:
        file.seek(offset)
        for first in range(0, samples, step):
            count = min(step, samples - first)
            content = file.read(bytes_of(number, count))
            if len(content) < bytes_of(number, count):
                raise short(path, needed, held)
            yield _decoded(number, content, count)


def flac_blocks(path: Path, number: int, *, offset: int, frames: int, channels: int) -> Iterator[Samples]:
    """(frames, channels) blocks of a FLAC file, which holds channels side by side."""
    with _flac(path) as sound:
        if FLAC.get(number) != sound.subtype or sound.channels != channels:
            raise bad_file(
                "read.unreadable",
                path,
                "the file holds other samples than the header states",
                details={"expected": f"{channels} channels, {FLAC[number]}", "channels": sound.channels},
            )
        if offset + frames > sound.frames:
            raise short(path, offset + frames, int(sound.frames))
        sound.seek(offset)
        step = max(1, BLOCK_SAMPLES // channels)
        for first in range(0, frames, step):
            count = min(step, frames - first)
            # libsndfile gives a sample in the high bits of the type it is asked for.
            block = sound.read(count, dtype="int16" if number == 516 else "int32", always_2d=True)
            if len(block) < count:
                raise short(path, frames, first + len(block))
            yield block if number == 516 else (block >> (24 if number == 508 else 8)).astype(FORMATS[number].dtype)


def short(path: Path, needed: int, held: int) -> CaseError:
    return bad_file(
        "read.truncated",
        path,
        "the file holds less than its header states",
        details={"expected": needed, "found": held},
    )


def _decoded(number: int, content: bytes, count: int) -> Samples:
    if number in PLAIN:
        stored, zero = PLAIN[number]
        values: NDArray[np.int32] = np.frombuffer(content, stored).astype(np.int32) - zero
        return values if FORMATS[number].dtype is np.int32 else values.astype(np.int16)
    if number == 24:
        wide = np.zeros((count, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.view("<i4").reshape(-1).astype(np.int32, copy=False) >> 8
    return (_packed_12(content) if number == 212 else _packed_10(content, number))[:count]


def _groups(content: bytes, size: int) -> NDArray[np.int16]:
    """(groups, bytes), the last group filled up with zeros."""
    whole = np.frombuffer(content + bytes(-len(content) % size), np.uint8)
    return whole.reshape(-1, size).astype(np.int16)


def _packed_12(content: bytes) -> NDArray[np.int16]:
    """Two samples in three bytes: the middle one holds the high four bits of both."""
    first, middle, last = _groups(content, 3).T
    pairs = np.stack((first | (middle & 0x0F) << 8, last | (middle & 0xF0) << 4), axis=1)
    return _signed(pairs.reshape(-1), 12)


def _packed_10(content: bytes, number: int) -> NDArray[np.int16]:
    """Three samples in four bytes: 310 as two 16-bit words, 311 as one 32-bit word with the first sample lowest."""
    words = np.frombuffer(content + bytes(-len(content) % 4), "<u2").astype(np.int32).reshape(-1, 2)
    low, high = words.T
    if number == 310:
        third = (low >> 11 & 0x1F) | (high >> 11 & 0x1F) << 5
        triples = np.stack((low >> 1 & 0x3FF, high >> 1 & 0x3FF, third), axis=1)
    else:
        triples = np.stack((low & 0x3FF, (low >> 10) | (high & 0x0F) << 6, high >> 4 & 0x3FF), axis=1)
    return _signed(triples.reshape(-1).astype(np.int16), 10)


def _signed(values: NDArray[np.int16], bits: int) -> NDArray[np.int16]:
    """Two's complement of so many bits."""
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int16)


def _flac(path: Path) -> Any:
    try:
        import soundfile  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "signals.not_installed",
            where=path.name,
            problem="reading WFDB signals in FLAC needs soundfile",
            action="pip install medshard[signals]",
        ) from error
    if first_bytes(path, len(FLAC_MAGIC)) != FLAC_MAGIC:
        raise bad_file("read.unreadable", path, "the file is no FLAC file, as its header says")
    try:
        return soundfile.SoundFile(str(path))
    except soundfile.LibsndfileError as error:
        raise bad_file("read.unreadable", path, "the FLAC file cannot be decoded") from error
