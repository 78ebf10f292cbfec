"""Colours and look-up tables: YBR to RGB, palettes to RGB, modality tables to their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom.uid
from numpy.typing import NDArray

from medshard.converters.volume import Array

COLOUR_NAMES = ("Red", "Green", "Blue")

# JFIF (ITU-T T.871) section 7: Y Cb Cr of 8 bits -> R G B, as DICOM PS3.3 C.7.6.3.1.2 uses it for YBR_FULL.
YBR_TO_RGB = np.array([[1.0, 1.0, 1.0], [0.0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0.0]])
MOST_ENTRIES = 65536


def rgb_of_ybr(frame: Array) -> NDArray[np.uint8]:
    """(y, x, 3) uint8 YBR_FULL -> RGB, rounded half up and clipped. Raises ValueError for other depths."""
    if frame.dtype != np.uint8:
        raise ValueError("YBR colours of more than 8 bits cannot be converted")
    mixed = (frame.astype(np.float32) - np.array([0.0, 128.0, 128.0], np.float32)) @ YBR_TO_RGB.astype(np.float32)
    return np.clip(np.floor(mixed + 0.5), 0, 255).astype(np.uint8)


def palette_dtype(dataset: Any) -> str:
    """Of the colours of a palette. Raises ValueError where the descriptor is no such thing."""
    return _table_dtype(_descriptor(dataset.get("RedPaletteColorLookupTableDescriptor"))[2])


def rgb_of_palette(indices: Array, dataset: Any) -> Array:
    """(y, x, 1) indices -> (y, x, 3) colours (DICOM PS3.3 C.7.9 and C.7.6.3.1.5).

    Raises ValueError for tables that do not hold what their descriptor says.
    """
    count, first, bits = _descriptor(dataset.get("RedPaletteColorLookupTableDescriptor"))
    order = _byte_order(dataset)
    tables = []
    for colour in COLOUR_NAMES:
        plain = dataset.get(f"{colour}PaletteColorLookupTableData")
        segmented = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
        if plain:
            tables.append(_entries(plain, count, bits, order))
        elif segmented:
            tables.append(_expanded(_words(segmented, bits, order), count, bits).astype(_table_dtype(bits)))
        else:
            raise ValueError(f"the palette has no table for {colour.lower()}")
    return np.stack([_looked_up(indices[..., 0], table, first) for table in tables], axis=-1)


def modality_dtype(dataset: Any) -> str:
    """Of the values of a modality table. Raises ValueError where the descriptor is no such thing."""
    return _table_dtype(_descriptor(dataset.ModalityLUTSequence[0].get("LUTDescriptor"))[2])


def through_modality_table(stored: Array, dataset: Any) -> Array:
    """Stored numbers -> values of the modality table (DICOM PS3.3 C.11.1). Raises ValueError for a broken table."""
    item = dataset.ModalityLUTSequence[0]
    count, first, bits = _descriptor(item.get("LUTDescriptor"))
    return _looked_up(stored, _entries(item.get("LUTData"), count, bits, _byte_order(dataset)), first)


def _descriptor(value: Any) -> tuple[int, int, int]:
    """(entries, first mapped number, bits of an entry); no entries means 65,536 of them."""
    if value is None or len(value) != 3:
        raise ValueError("the table's descriptor does not have three numbers")
    count, first, bits = (int(number) for number in value)
    if not 8 <= bits <= 16 or not 0 <= count <= MOST_ENTRIES:
        raise ValueError("the table's descriptor states an impossible size")
    return count or MOST_ENTRIES, first, bits


def _byte_order(dataset: Any) -> str:
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    return ">" if syntax == pydicom.uid.ExplicitVRBigEndian else "<"


def _table_dtype(bits: int) -> str:
    return "uint8" if bits <= 8 else "uint16"


def _words(data: Any, bits: int, order: str) -> NDArray[np.int64]:
    """The entries as stored: as bytes in the byte order of the file, or as numbers."""
    if isinstance(data, bytes | bytearray):
        raw = np.frombuffer(data[: len(data) // 2 * 2] if bits > 8 else data, f"{order}u2" if bits > 8 else "u1")
        return raw.astype(np.int64)
    values = np.atleast_1d(np.asarray(data, np.int64))
    return values & 0xFFFF


def _entries(data: Any, count: int, bits: int, order: str) -> Array:
    if isinstance(data, bytes | bytearray) and bits <= 8 and len(data) >= 2 * count > 2:
        # Entries of 8 bits in words of 16, as some write them.
        words = np.frombuffer(data[: 2 * count], f"{order}u2").astype(np.int64)
    elif not isinstance(data, bytes | bytearray) and bits <= 8 and data is not None and len(data) == -(-count // 2):
        # Two entries of 8 bits in each word that the reader took for one number.
        words = np.asarray(data, "<u2").view(np.uint8).astype(np.int64)
    else:
        words = _words(data, bits, order)
    if len(words) < count:
        raise ValueError(f"the table has {len(words)} entries, its descriptor says {count}")
    return words[:count].astype(_table_dtype(bits))


def _expanded(words: NDArray[np.int64], count: int, bits: int) -> NDArray[np.int64]:
    """A segmented table written out (DICOM PS3.3 C.7.9.2); never more than `count` entries."""
    out = np.empty(count, np.int64)
    filled, at = 0, 0
    while filled < count and at + 1 < len(words):
        if words[at] == 2:
            start, segments, after = _reference(words, at, bits)
            for _ in range(segments):
                filled, start = _segment(words, start, out, filled)
            at = after
        else:
            filled, at = _segment(words, at, out, filled)
    if filled < count:
        raise ValueError(f"the segmented table has {filled} entries, its descriptor says {count}")
    return out


def _reference(words: NDArray[np.int64], at: int, bits: int) -> tuple[int, int, int]:
    """Of an indirect segment: where the segments to be repeated begin, how many they are, and where to go on."""
    parts = words[at + 2 : at + (4 if bits > 8 else 6)]
    if len(parts) < (2 if bits > 8 else 4):
        raise ValueError("the segmented table ends within a segment")
    width = 16 if bits > 8 else 8
    offset_bytes = sum(int(part) << (width * place) for place, part in enumerate(parts))
    return offset_bytes // (width // 8), int(words[at + 1]), at + 2 + len(parts)


def _segment(words: NDArray[np.int64], at: int, out: NDArray[np.int64], filled: int) -> tuple[int, int]:
    """Write one discrete (0) or linear (1) segment; returns how much is filled, and where the next segment begins."""
    if at + 2 >= len(words) or words[at] not in (0, 1) or (words[at] == 1 and not filled):
        raise ValueError("the segmented table has a segment that cannot be read")
    length = int(words[at + 1])
    if words[at] == 0:
        part = words[at + 2 : at + 2 + length][: len(out) - filled]
        after = at + 2 + length
    else:
        last, end = int(out[filled - 1]), int(words[at + 2])
        steps = np.arange(1, min(length, len(out) - filled) + 1)
        part = np.rint(last + (end - last) * steps / max(1, length)).astype(np.int64)
        after = at + 3
    out[filled : filled + len(part)] = part
    return filled + len(part), after


def _looked_up(numbers: Array, table: Array, first: int) -> Array:
    """Numbers below the first mapped one take the first entry, those beyond the last one the last."""
    at = np.clip(np.asarray(numbers, np.int64) - first, 0, len(table) - 1)
    return table[at]
