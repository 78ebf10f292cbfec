"""Arrays inside a file, each with the path to it; and the keys of the catalog that name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.spooling import Spool

Place = tuple[str | int, ...]

ANYTHING = "*"
TOKEN = re.compile(r"\[(\d{1,9}|\*)\]|([^.\[\]/]+)")
NAMED = 20
DEEPEST = 32


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """One array of numbers. load: its numbers; to be called before the next array is asked for."""

    place: Place
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    load: Callable[[Spool], Array]


Arrays = Callable[[Path], Iterator[StoredArray]]


def tokens_of(path: Path, key: str) -> Place:
    """`Data[0].EEG.stimuli[*]` -> ("Data", 0, "EEG", "stimuli", "*"); indices count from zero.

    Raises CaseError[read.no_such_array] for a key that is none.
    """
    found = [match for match in TOKEN.finditer(key) if match.group()]
    if not found or TOKEN.sub("", key).strip("./"):
        raise bad_file(
            "read.no_such_array",
            path,
            "the key cannot be followed",
            details={"key": key[:100], "expected": "names joined by dots, [0] for an index, [*] or * for each"},
            action="Correct `key` in the entry's layout.",
        )
    return tuple(match[2] if match[2] else (ANYTHING if match[1] == ANYTHING else int(match[1])) for match in found)


def matches(tokens: Place, place: Place) -> bool:
    """Whether an array is the one that the tokens name, or lies beneath what they name."""
    if len(place) < len(tokens):
        return False
    return all(token in (ANYTHING, part) for token, part in zip(tokens, place, strict=False))


def written(place: Place) -> str:
    """As a key."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def no_such_array(path: Path, key: str | None, seen: list[StoredArray]) -> Exception:
    listed = {f"array {written(found.place)[:60]}": f"{found.shape} {found.dtype.name}" for found in seen[:NAMED]}
    return bad_file(
        "read.no_such_array",
        path,
        "the file holds no such array" if key else "the file does not hold exactly one array, and none is named",
        details={"wanted": (key or "-")[:100], **listed},
        action="Name one of them as `key` in the entry's layout.",
    )
