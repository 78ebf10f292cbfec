"""Numbers written in the text formats of surfaces."""

from __future__ import annotations


def decimal(word: bytes) -> float:
    """Raises ValueError, which does not quote the word, for what is no number; `1_000`, which Python takes, is none."""
    try:
        if b"_" not in word:
            return float(word)
    except ValueError:
        pass
    raise ValueError("could not convert string to float")


def whole(word: bytes) -> int:
    """Raises ValueError as `decimal` does, for what is no integer."""
    try:
        if b"_" not in word:
            return int(word)
    except ValueError:
        pass
    raise ValueError("could not convert string to int")
