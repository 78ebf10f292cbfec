"""Numbers as facts hold them."""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]

DIGITS = 6


def rounded(value: float) -> float:
    """A number to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")
