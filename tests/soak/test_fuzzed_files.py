"""Files of every format, damaged at random: each is read, or refused with a clear error, in bounded time and memory.

MEDSHARD_SOAK_FILES says how many damaged files (default 20000). docs/soak.md keeps dated results.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from fuzzed_files import Outcome, seed_files
from fuzzing import run_tries

pytestmark = pytest.mark.soak


def test_every_damaged_file_is_read_or_refused_by_name(tmp_path: Path) -> None:
    tries = int(os.environ.get("MEDSHARD_SOAK_FILES", "20000"))
    outcomes, crashed = run_tries(seed_files(tmp_path / "seeds"), tries, tmp_path / "work", workers=2)
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    print(summary(outcomes))  # noqa: T201
    assert crashed == []
    assert bad == []


def summary(outcomes: Sequence[Outcome]) -> str:
    ends = ", ".join(f"{end} {count}" for end, count in Counter(outcome.end for outcome in outcomes).most_common(12))
    slowest = max(outcome.seconds for outcome in outcomes)
    grown = max(outcome.grown_bytes for outcome in outcomes) / 1e6
    return f"{len(outcomes)} damaged files: {ends}; slowest {slowest:.1f} s, most memory at once {grown:.0f} MB"
