"""A sample of the damaged files that `make soak` tries by the thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzed_files import Outcome, seed_files
from fuzzing import run_tries

TRIES_EACH = 12


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    seeds = seed_files(folder / "seeds")
    found, crashed = run_tries(seeds, TRIES_EACH * len(seeds), folder / "work", workers=2)
    assert crashed == []
    return found


def test_a_damaged_file_is_read_or_refused_by_a_clear_error(outcomes: list[Outcome]) -> None:
    assert [outcome for outcome in outcomes if not outcome.is_good] == []


def test_damage_is_noticed_where_it_can_be(outcomes: list[Outcome]) -> None:
    refused = [outcome for outcome in outcomes if outcome.end != "read"]
    assert len(refused) > len(outcomes) // 3
