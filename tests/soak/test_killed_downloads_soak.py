"""Downloads killed at random moments, many times over. MEDSHARD_SOAK_KILLS says how many kills (default 50)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killed_downloads import kill_builds
from remote_entry import Remote, made_remote_entry

pytestmark = pytest.mark.soak

KILLS_PER_STORE = 5


def test_downloads_survive_being_killed(tmp_path: Path) -> None:
    kills = int(os.environ.get("MEDSHARD_SOAK_KILLS", "50"))
    landed = whole = 0
    for number in range(-(-kills // KILLS_PER_STORE)):
        root = tmp_path / str(number)
        root.mkdir()
        outcome = kill_builds(Remote(root=root, entry=made_remote_entry()), kills=KILLS_PER_STORE, seed=number)
        assert outcome.identical
        assert outcome.again == ()
        landed += outcome.landed
        whole += outcome.whole
    print(f"{landed} of {kills} kills met a running download; {whole} files were whole then, none was fetched again")  # noqa: T201
    assert landed > kills // 4
    assert whole > 0
