"""Names of files, masked: the slots in them, the rows of one pattern, and the small questions that all ask of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER, CODE, WHOLE = "\ue000", "\ue001", "\ue002"
"""What stands for a slot in a key: a number, a long code, a whole name."""
SLOTS = (NUMBER, CODE, WHOLE)
STAR = "\ue003"
"""Any run: the slices of a series."""
BACK = 0xE100
"""chr(BACK + k) stands for the name of the k-th folder of the path, which occurs again."""

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
VOLUMES = frozenset({".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"})


@dataclass(frozen=True)
class Part:
    """One name within a path, masked: `key` with its slots, and what stands in them."""

    key: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    path: str
    parts: tuple[Part, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(part.key for part in self.parts)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(value for part in self.parts for value in part.values)


@dataclass(frozen=True)
class Family:
    """key: masked names of folders and file. rows: the files, in order of their paths; all have as many values.

    shared: how many folders all files of the data set have in common.
    """

    key: tuple[str, ...]
    rows: tuple[Row, ...]
    shared: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def slots(self) -> int:
        return len(self.rows[0].values)

    @property
    def name(self) -> str:
        """Key of the file's own name."""
        return self.key[-1]

    @property
    def words(self) -> str:
        """The text that all files share, for looking at its words."""
        return " ".join(re.sub("[\ue000-\uf8ff]", "0", part) for part in self.key)

    def distinct(self, slot: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.values[slot] for row in self.rows))


def ending(name: str) -> str:
    """The suffix of a file, `.nii.gz` whole; "" where what follows the last dot is a number or no suffix."""
    match = re.search(r"(\.seg)?\.([A-Za-z][A-Za-z0-9]{0,4})(\.gz)?$", name)
    return match[0] if match else ""


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """The first, the last and some between, in order."""
    if len(rows) <= count:
        return list(rows)
    places = {round(number * (len(rows) - 1) / max(count - 1, 1)) for number in range(count)}
    return [rows[place] for place in sorted(places)]


def plain_words(key: str) -> str:
    """The text of a key that is the same in all its names."""
    return re.sub("[\ue000-\uf8ff]", " ", key)


def slots_of(key: str) -> int:
    """Numbers and codes; whole names are not counted."""
    return sum(key.count(slot) for slot in (NUMBER, CODE))


def is_picture(key: str) -> bool:
    return ending(key).lower() in PICTURES


def is_volume(key: str) -> bool:
    return ending(key).lower() in VOLUMES


def common_start(texts: Sequence[str]) -> str:
    """What all texts begin with, sign by sign."""
    least, most = min(texts, default=""), max(texts, default="")
    same = next((at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    return least[:same]


def common_depth(paths: Sequence[Sequence[str]]) -> int:
    """How many folders all of them share; the last part of each is a file."""
    depth = 0
    while all(len(path) - 1 > depth and path[depth] == paths[0][depth] for path in paths) and paths:
        depth += 1
    return depth
