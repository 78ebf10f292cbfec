"""`kill -9` in the middle of a download: the next build finishes it and fetches nothing twice that was whole."""

from __future__ import annotations

from typing import Any

from killed_downloads import kill_builds


def test_a_killed_download_is_finished_by_the_next_build(remote: Any) -> None:
    outcome = kill_builds(remote, kills=3)
    assert outcome.identical
    assert outcome.again == ()
    assert outcome.landed > 0
