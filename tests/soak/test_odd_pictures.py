"""A thousand odd pictures: each is read exactly, or refused with a code; never wrong.

MEDSHARD_SOAK_PICTURES says how many (default 1000). tests/converters/test_picture_oddities.py tries the first 150.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from made_pictures import judged, odd_picture

pytestmark = pytest.mark.soak


def test_no_odd_picture_changes_its_meaning(tmp_path: Path) -> None:
    count = int(os.environ.get("MEDSHARD_SOAK_PICTURES", "1000"))
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(count):
        try:
            ends[judged(odd_picture(seed), tmp_path)] += 1
        except AssertionError as error:
            wrong.append(f"seed {seed}: {error}")
    print(f"{count} odd pictures: {dict(ends.most_common())}")  # noqa: T201
    assert wrong == []
    assert ends["read"] > count // 2
