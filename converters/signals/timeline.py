"""Parts of a recording placed on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

# A night with pauses, or days of intermittent monitoring, stay far below; a broken clock does not.
LARGEST_STRETCH = 100
FREE_SAMPLES = 1 << 22


def require_timeline(path: Path, samples: int, held: int) -> None:
    """Raises CaseError[signal.gaps] where the gaps are so much longer than the data that a clock must be wrong."""
    if samples > LARGEST_STRETCH * held + FREE_SAMPLES:
        raise bad_file(
            "signal.gaps",
            path,
            "the recording states gaps that are far longer than its data",
            details={"samples with the gaps": samples, "samples stored": held, "largest ratio": LARGEST_STRETCH},
            action="The case is excluded. Split the recording at the gaps, or repair its times at the source.",
        )


def gaps_between(starts: NDArray[np.int64], length: int) -> tuple[tuple[int, int], ...]:
    """(start, stop) of what lies between parts of one length; the starts ascend."""
    ends = starts[:-1] + length
    found = np.flatnonzero(starts[1:] > ends)
    return tuple((int(ends[place]), int(starts[place + 1])) for place in found)


def joined(gaps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Gaps that touch each other become one."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(gaps):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)


def no_rate(path: Path, what: str) -> CaseError:
    return bad_file(
        "signal.no_rate",
        path,
        f"{what} count samples, and nothing states how many there are in a second",
        details={"expected": "rate_hz"},
        action="State `rate_hz` in the entry's layout.",
    )
