"""Paths -> keys with slots: numbers and codes vary, a folder's name that comes again is no news."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from medshard.pipelines.adding.keys import BACK, CODE, NUMBER, Part, Row, ending

_CODES = re.compile(
    r"(?P<kept>(?<![A-Za-z0-9])(?:3D)?[Tt][12](?![0-9])|(?<=_)00(?:0\d|1[0-5])$|(?<=_b)\d{1,4}(?=_))"
    r"|(?P<uid>\d+(?:\.\d+){4,})|(?P<date>(?<!\d)(?:19|20)\d\d[._-]\d\d[._-]\d\d(?!\d))"
    r"|(?P<hex>(?<![A-Za-z0-9])(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{6,}(?:-[0-9a-f]{2,})*(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
    r"|(?P<mixed>(?<![A-Za-z0-9])(?=(?:[A-Za-z]*\d+[A-Za-z]+){2})[A-Za-z0-9]{8,}(?![A-Za-z0-9]))"
    r"|(?P<number>\d+)"
)
"""A contrast (T1, T2) and the number of a channel (0000 to 0015 at the end) are no slots."""


def masked_rows(paths: Sequence[str]) -> list[Row]:
    """Each path with its slots."""
    channelled = _folders_with_channels(paths)
    return [Row(path, _masked(path, channelled)) for path in paths]


def _folders_with_channels(paths: Iterable[str]) -> frozenset[str]:
    """Folders whose files count channels as nnU-Net does: several names with a file `_0000` each."""
    first: dict[str, int] = defaultdict(int)
    files: dict[str, int] = defaultdict(int)
    for path in paths:
        folder, _, name = path.rpartition("/")
        first[folder] += name.removesuffix(ending(name)).endswith("_0000")
        files[folder] += 1
    return frozenset(folder for folder, count in first.items() if count > 1 or (count == 1 and files[folder] <= 2))


def _masked(path: str, channelled: Collection[str]) -> tuple[Part, ...]:
    names = path.split("/")
    numbered = path.rpartition("/")[0] in channelled
    return tuple(_masked_name(name, names[:depth], numbered) for depth, name in enumerate(names))


def _masked_name(name: str, folders: Sequence[str], is_numbered: bool) -> Part:
    """Numbers and codes of a name as slots; the name of a folder above it as a back reference."""
    for depth, folder in sorted(enumerate(folders), key=lambda item: -len(item[1])):
        if len(folder) > 1 or folder.isdigit():
            name = re.sub(_bounded(folder), chr(BACK + depth), name)
    values: list[str] = []

    def slot(match: re.Match[str]) -> str:
        if match["kept"] and (not match["kept"].startswith("00") or is_numbered):
            return match[0]
        values.append(match[0])
        return CODE if match["uid"] or match["date"] or match["hex"] or match["mixed"] else NUMBER

    suffix = ending(name)
    return Part(_CODES.sub(slot, name.removesuffix(suffix)) + suffix, tuple(values))


@lru_cache(maxsize=4096)
def _bounded(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])")
