"""What is suspected of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]

KINDS = (
    "empty",
    "blank",
    "values",
    "text",
    "volume",
    "misplaced",
    "swapped",
    "fragments",
    "grid",
    "duplicate",
)

# A strength is -log10 of a tail probability. What needs no comparison (nothing is marked, one value throughout) has
# this much, less by as much as it is common in the entry.
RULE = 8.0
MOST = 10.0


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """kind: of `KINDS`. subject: the image, or the class of a layer. reason: a sentence with numbers.

    strength: 0 to 10, -log10 of how probable it is that a case like the others has this.
    """

    case: str
    kind: str
    subject: str
    reason: str
    strength: float


def rarity(count: int, total: int) -> float:
    """1 for what one of many cases has, 0 for what half of them have."""
    return max(0.0, 1 - 2 * max(count - 1, 0) / max(total, 1))
