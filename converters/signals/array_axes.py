"""Which axis of an array counts channels and which time, and how the channels are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file

LONGER = "the longer axis of the array is taken as time"
EQUAL = "the axes of the array are of one length: the first is taken as the channels"


def by_channel(path: Path, array: Array, names: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    """(c, t), or (trial, c, t), and what was assumed. names: of the channels, where the catalog has them.

    The axis with as many places as there are names counts channels. Raises CaseError[signal.axes].
    """
    if array.ndim == 1:
        return array[None], ()
    if array.ndim > 3 or min(array.shape) < 1:
        raise bad_file(
            "signal.axes", path, "the array is no recording of one to three axes", details={"shape": array.shape}
        )
    first, last = array.shape[-2:]
    swapped = array.swapaxes(-1, -2)
    if not names:
        if first == last:
            return array, (EQUAL,)
        return (array, (LONGER,)) if first < last else (swapped, (LONGER,))
    if first == len(names):
        return array, (EQUAL,) if first == last else ()
    if last == len(names):
        return swapped, ()
    raise bad_file(
        "signal.axes",
        path,
        "no axis of the array has as many places as the catalog names channels",
        details={"shape": array.shape, "channels": len(names)},
        action="Correct `channels` in the entry's layout.",
    )


def channel_names(
    path: Path, parts: Sequence[tuple[str, int]], names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The catalog's names; else those of the arrays, numbered where one has several channels.

    parts: name and number of channels of each array. Raises CaseError[signal.axes].
    """
    count = sum(channels for _, channels in parts)
    if names and len(names) != count:
        raise bad_file(
            "signal.axes",
            path,
            "the arrays have not as many channels as the catalog names",
            details={"expected": len(names), "found": count},
            action="Correct `channels` in the entry's layout.",
        )
    if names:
        return tuple(names), ()
    found = [
        (name if channels == 1 else f"{name}[{place}]") if name else f"channel {place + 1}"
        for name, channels in parts
        for place in range(channels)
    ]
    return tuple(found), () if all(name for name, _ in parts) else ("nothing states the names of the channels",)
