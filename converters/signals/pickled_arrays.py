"""Arrays in Python pickles, without unpickling: nothing in the file is imported, called or run.

A pickle is a program for a small stack machine. Here its instructions are followed one by one; those that would call
something are refused, but for the few by which NumPy writes arrays, and these make arrays of plain numbers out of bytes
that lie in the file. `pickle.Unpickler` with a list of allowed names was tried and left: NumPy's own functions, called
with a hostile shape or type, allocate what they are told to, and the machine grows its memo to any index.

Source: CPython, `pickletools` (meaning of the instructions); NumPy, `ndarray.__reduce__`, `dtype.__reduce__`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.format import first_bytes
from medshard.converters.signals.pickle_machine import PROTOCOLS, Machine
from medshard.converters.signals.pickle_steps import STEPS
from medshard.converters.signals.pickled_numpy import Held, unsupported
from medshard.converters.signals.stored_arrays import DEEPEST, Place, StoredArray
from medshard.converters.spooling import Spool

MOST_NODES = 8_000_000
OLD_STARTS = (b"(d", b"(l", b"cnumpy", b"}q", b"]q")


def is_pickle(path: Path) -> bool:
    start = first_bytes(path, 8)
    known = (start[:1] == b"\x80" and start[1:2] != b"" and start[1] in PROTOCOLS) or start.startswith(OLD_STARTS)
    if not known:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"."


def arrays(path: Path) -> Iterator[StoredArray]:
    """The arrays of numbers in dictionaries, lists and tuples. Raises CaseError[read.unsupported | read.unreadable]."""
    with path.open("rb") as file:
        # The arrays are views of the map, which lives as long as one of them.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for place, array in _leaves(path, Machine(path, content).run(STEPS)):
        yield StoredArray(
            place=place, shape=array.shape, dtype=array.dtype.newbyteorder("="), load=partial(_given, array)
        )


def _leaves(path: Path, root: Any) -> Iterator[tuple[Place, Array]]:
    """Depth first. What is shared is met again, so that the number of meetings is bounded and not that of objects."""
    waiting: list[tuple[Place, Any]] = [((), root)]
    count = 0
    while waiting:
        place, value = waiting.pop()
        count += 1 + (len(value) if isinstance(value, dict | list | tuple) else 0)
        if count > MOST_NODES or len(place) > DEEPEST:
            raise unsupported(path, "the pickle holds more parts, or deeper ones, than recordings have")
        if isinstance(value, Held) and value.array is not None:
            yield place, value.array
        elif isinstance(value, dict):
            parts = [((*place, key), part) for key, part in value.items() if isinstance(key, str | int)]
            waiting.extend(reversed(parts))
        elif isinstance(value, list | tuple) and not _is_numbers(value):
            waiting.extend(reversed([((*place, number), part) for number, part in enumerate(value)]))
        elif isinstance(value, list | tuple):
            yield place, np.asarray(value, np.float64)


def _is_numbers(values: list[Any] | tuple[Any, ...]) -> bool:
    return bool(values) and all(type(value) in (int, float) and abs(value) < 2**53 for value in values)


def _given(array: Array, _: Spool) -> Array:
    return array
