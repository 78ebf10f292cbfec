"""A step that was made too slow is found and named, with what helps against it. All plants are in the soak tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_limits import PLANTS, Ground, Plant, check

QUICK = {
    "a disk that answers late",
    "an object store far away",
    "no compiled reader, Zstandard",
    "huge chunks on a slow disk",
    "a heavy transform",
    "a heavy collate",
    "no worker",
    "little shared memory",
}


@pytest.mark.parametrize("plant", [plant for plant in PLANTS if plant.name in QUICK], ids=lambda plant: plant.name)
def test_the_step_that_was_made_slow_is_named(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(plant, Ground(tmp_path, monkeypatch))
