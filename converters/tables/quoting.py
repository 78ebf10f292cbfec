"""Whether quotation marks stand where RFC 4180 allows them, since Arrow reads over those that do not.

Seen as a switch, every mark turns quoting on or off, a doubled one twice. What turns it on follows a delimiter or a
line end, what turns it off precedes one. A text that breaks this may still be meant (`5" tube` in a bare value), which
only Python's strict reader then decides, more slowly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARK = ord('"')


class QuotingWatch:
    """Looks at a text block by block; `suspect` says whether marks stand elsewhere."""

    def __init__(self, delimiter: str) -> None:
        self.suspect = False
        self._around = np.isin(np.arange(256), [ord(delimiter), *b'\r\n"'])
        self._marks = 0
        self._last: int = ord("\n")
        self._closing = False

    def add(self, block: bytes) -> None:
        if self.suspect or not block:
            return
        codes = np.frombuffer(block, np.uint8)
        if self._closing and not self._around[codes[0]]:
            self.suspect = True
        self._closing = False
        if MARK in block:
            self._add_marks(codes)
        self._last = int(codes[-1])

    def _add_marks(self, codes: NDArray[np.uint8]) -> None:
        places = np.flatnonzero(codes == MARK)
        opens = (np.arange(len(places)) + self._marks) % 2 == 0
        self._marks += len(places)
        opening, closing = places[opens], places[~opens]
        before = np.where(opening > 0, codes[opening - 1], self._last)
        inner = closing[closing < len(codes) - 1]
        self._closing = len(inner) < len(closing)
        self.suspect = not (self._around[before].all() and self._around[codes[inner + 1]].all())

    def finish(self) -> None:
        """At the end of the text: a quotation that is still open."""
        self.suspect = self.suspect or self._marks % 2 == 1
