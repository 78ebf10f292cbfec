"""Compressed parts of a surface file, within a budget of the whole file.

Surfaces shrink to a third; numbers that are all the same, to a thousandth. What swells a file a hundredfold and beyond
64 MiB is no surface but a bomb.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file

LEAST_BUDGET = 64 << 20
LARGEST_RATIO = 100
GZIP_MAGIC = b"\x1f\x8b"
GZIP = 31
ZLIB = 15


@dataclass
class Budget:
    """left: bytes that the file may still swell to."""

    path: Path
    left: int

    def spend(self, count: int) -> None:
        if count > self.left:
            raise bad_file(
                "read.too_large",
                self.path,
                "the file would swell beyond what a surface of its size can hold",
                details={"limit": f"{LEAST_BUDGET >> 20} MiB or {LARGEST_RATIO} times the file"},
            )
        self.left -= count


def budget_of(path: Path) -> Budget:
    return Budget(path, max(LEAST_BUDGET, LARGEST_RATIO * path.stat().st_size))


def inflated(budget: Budget, data: bytes, *, most: int, window: int = ZLIB) -> bytes:
    """A whole stream, of `most` bytes at most. Raises CaseError[read.too_large | read.truncated | read.unreadable],
    zlib.error.
    """
    # A stream that promises more than the budget may still hold less.
    limit = min(most, budget.left)
    stream = zlib.decompressobj(window)
    content = stream.decompress(data, limit + 1)
    if len(content) > limit:
        budget.spend(len(content))
        raise bad_file("read.unreadable", budget.path, "compressed data hold more than their header says")
    if not stream.eof:
        raise bad_file("read.truncated", budget.path, "compressed data end too early")
    budget.spend(len(content))
    return content


def whole_content(path: Path, budget: Budget) -> bytes:
    """All bytes of a file, unpacked where it is gzip."""
    content = path.read_bytes()
    return inflated(budget, content, most=budget.left, window=GZIP) if content.startswith(GZIP_MAGIC) else content


def beginning(path: Path, count: int) -> bytes:
    """At most `count` bytes from the start, unpacked where the file is gzip; empty where they cannot be."""
    with path.open("rb") as file:
        start = file.read(count)
    if not start.startswith(GZIP_MAGIC):
        return start
    try:
        return zlib.decompressobj(GZIP).decompress(start, count)
    except zlib.error:
        return b""
