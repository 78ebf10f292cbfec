"""Odd pictures are read exactly or refused with a code; never wrong. All thousand: tests/soak/test_odd_pictures.py."""

from __future__ import annotations

from collections import Counter

import pytest
from made_pictures import MAKERS, judged, odd_picture

EACH = 11


@pytest.mark.parametrize("maker", range(len(MAKERS)), ids=[f"{n}-{m.__name__}" for n, m in enumerate(MAKERS)])
def test_no_odd_picture_changes_its_meaning(tmp_path, maker):
    ends = Counter(judged(odd_picture(maker + len(MAKERS) * turn), tmp_path) for turn in range(EACH))
    assert ends["read"] > EACH // 3
