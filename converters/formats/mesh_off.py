"""OFF in text, with the prefixes of vertices that carry texture, colour or normal: `STCNOFF` and any part of it.

Only places and faces are kept. Vertices of four or n dimensions (`4OFF`, `nOFF`) and the binary kind are refused.
Source: the OFF page of the Geomview manual.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_surface import COLOURS_LOST, Surface, fans, surface
from medshard.converters.formats.mesh_text import decimal, whole

KEYWORD = re.compile(rb"(ST)?(C)?(N)?(4)?(n)?OFF(?=\s)")
COUNT = re.compile(rb"\d{1,12}")


def read_off(path: Path) -> Surface:
    """Raises CaseError[read.unreadable | read.truncated | read.unsupported], ValueError for what is no number."""
    lines = [words for line in path.read_bytes().splitlines() if (words := line.partition(b"#")[0].split())]
    if not lines:
        raise bad_file("read.unreadable", path, "the first word is not OFF")
    keyword, *counts = lines[0]
    found = KEYWORD.match(keyword + b"\n")
    if found is None:
        raise bad_file("read.unreadable", path, "the first word is not OFF")
    if found.group(4) or found.group(5) or counts[:1] == [b"BINARY"]:
        raise bad_file("read.unsupported", path, "OFF of other than three dimensions, or in binary, is not read")
    rows = lines[1:]
    if not counts and rows:
        counts, rows = rows[0], rows[1:]
    if len(counts) not in (2, 3) or not all(COUNT.fullmatch(word) for word in counts):
        raise bad_file("read.unreadable", path, "the counts of vertices and faces are missing")
    vertices, faces = int(counts[0]), int(counts[1])
    if vertices + faces > len(rows):
        raise bad_file(
            "read.truncated",
            path,
            "the file holds fewer vertices and faces than it counts",
            details={"expected": f"{vertices + faces} lines", "found": f"{len(rows)} lines"},
        )
    least = 3 + (3 if found.group(3) else 0)
    if any(len(words) < least for words in rows[:vertices]):
        raise bad_file("read.unreadable", path, "a vertex has too few numbers")
    return _surface(path, rows[:vertices], rows[vertices : vertices + faces], coloured=bool(found.group(2)))


def _surface(path: Path, vertices: list[list[bytes]], faces: list[list[bytes]], *, coloured: bool) -> Surface:
    sizes = np.array([whole(words[0]) for words in faces], np.int64)
    behind = np.array([len(words) - 1 for words in faces], np.int64)
    if (sizes < 0).any() or (behind < sizes).any():
        raise bad_file("read.unreadable", path, "a face has fewer corners than it counts")
    corners = [
        whole(word) for word in chain.from_iterable(w[1 : 1 + int(n)] for w, n in zip(faces, sizes, strict=True))
    ]
    places = [decimal(word) for word in chain.from_iterable(words[:3] for words in vertices)]
    return surface(
        path,
        np.array(places, np.float64).reshape(-1, 3),
        fans(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), np.array(corners, np.int64)),
        warnings=[COLOURS_LOST] if coloured or (behind > sizes).any() else [],
    )
