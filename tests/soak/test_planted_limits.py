"""Every step that was made too slow is found and named, with what helps against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_limits import PLANTS, Ground, Plant, check

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_step_that_was_made_slow_is_named(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(plant, Ground(tmp_path, monkeypatch))
