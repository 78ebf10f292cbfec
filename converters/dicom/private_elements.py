"""Private elements of the makers, by group, creator and element, whatever VR they were written with."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from medshard.converters.formats.faults import BAD_FILE

FLOATS = {"FL": ("f", 4), "FD": ("d", 8), "SL": ("i", 4), "US": ("H", 2)}


def private_numbers(
    dataset: Any, group: int, creators: Iterable[str], element: int, vr: str = "DS"
) -> tuple[float, ...]:
    """The numbers of one private element; empty where it is missing or holds no numbers.

    vr: what the maker's conformance statement says, for values that were read as bytes of an unknown kind.
    """
    value = private_value(dataset, group, creators, element)
    if isinstance(value, bytes | bytearray):
        return _numbers_of_bytes(bytes(value), vr)
    if value is None or value == "":
        return ()
    parts = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    try:
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()


def private_value(dataset: Any, group: int, creators: Iterable[str], element: int) -> Any:
    """The value of one private element under the first creator that has it, or None."""
    for creator in creators:
        try:
            return dataset.private_block(group, creator)[element].value
        except (*BAD_FILE, Warning):
            continue
    return None


def _numbers_of_bytes(raw: bytes, vr: str) -> tuple[float, ...]:
    if vr in FLOATS:
        code, size = FLOATS[vr]
        count = len(raw) // size
        return tuple(float(number) for number in struct.unpack(f"<{count}{code}", raw[: count * size]))
    try:
        return tuple(float(part) for part in raw.decode("ascii").strip(" \0").split("\\") if part.strip())
    except ValueError:
        return ()
