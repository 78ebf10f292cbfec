"""Functional groups of one frame, without walking over those of the others: objects may have ten thousand frames."""

from __future__ import annotations

from typing import Any

from medshard.converters.formats.faults import BAD_FILE


def nearest_groups(dataset: Any, number: int) -> tuple[Any, ...]:
    """Where the macros of a frame (from 0) may stand: its own group, the shared one (DICOM PS3.3 C.7.6.16)."""
    own = _item(dataset, "PerFrameFunctionalGroupsSequence", number)
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    return tuple(group for group in (own, shared) if group is not None)


def _item(dataset: Any, keyword: str, number: int) -> Any:
    try:
        sequence = dataset.get(keyword)
        if sequence is None or isinstance(sequence, str | bytes) or number >= len(sequence):
            return None
        return sequence[number]
    except (*BAD_FILE, Warning):
        return None
