"""Symbols that a file of WFDB annotations defines itself, in the two ways in which files do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from made_signals import annotation_bytes

from medshard.converters.signals.reading import read_events

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wfdb

NOTE = 22
MARKS = [(0, 42, ""), (90, 1, ""), (180, 42, "")]


def words(path: Path) -> list[tuple[float, str]]:
    found = read_events([path], where="e/c", format="WFDB annotation", rate_hz=90.0)
    return [(event.onset_s, event.word) for event in found]


@pytest.mark.parametrize(
    "notes",
    [
        ["42 CAL Calibration"],
        ["## annotation type definitions", "42 CAL Calibration", "## end of definitions"],
    ],
)
def test_definitions_are_no_events_and_give_later_marks_their_symbol(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "r.wabp").write_bytes(annotation_bytes([(0, NOTE, note) for note in notes] + MARKS))
    assert words(tmp_path / "r.wabp") == [(0.0, "CAL"), (1.0, "N"), (2.0, "CAL")]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_the_library_too_takes_the_older_way_for_no_event(tmp_path: Path) -> None:
    (tmp_path / "r.wabp").write_bytes(annotation_bytes([(0, NOTE, "42 CAL Calibration"), *MARKS[1:]]))
    assert wfdb.rdann(str(tmp_path / "r"), "wabp").sample.tolist() == [90, 180]
    assert [onset for onset, _ in words(tmp_path / "r.wabp")] == [1.0, 2.0]


@pytest.mark.parametrize("note", ["gqrs -r 100", "42", ""])
def test_another_note_at_the_start_is_an_event_like_any(tmp_path: Path, note: str) -> None:
    (tmp_path / "r.qrs").write_bytes(annotation_bytes([(0, NOTE, note), *MARKS[1:]]))
    assert words(tmp_path / "r.qrs") == [(0.0, '"'), (1.0, "N"), (2.0, "[42]")]


def test_a_note_behind_an_event_defines_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.qrs").write_bytes(annotation_bytes([(0, 1, ""), (0, NOTE, "42 CAL Calibration"), MARKS[2]]))
    assert words(tmp_path / "r.qrs") == [(0.0, "N"), (0.0, '"'), (2.0, "[42]")]
