"""Neuroscan recordings, against MNE; and the files of another maker with the same suffix."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_signals import cnt_bytes

from medshard.converters.signals.reading import Event, is_signal, read_events, read_signals
from medshard.errors import CaseError

NAMES = ("FP1", "FPZ", "HEOG")


def stored(samples: int = 400, limit: int = 30000) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(5).integers(-limit, limit, (3, samples))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("block", [0, 40])
def test_values_and_times_are_those_of_mne(tmp_path: Path, width: int, block: int) -> None:
    path = tmp_path / "a.cnt"
    path.write_bytes(cnt_bytes(stored(), NAMES, rate=1000, width=width, baseline=-5, block=block, events=[(10, 3)]))
    (signal,) = read_signals([path], where="entry/case")
    raw = mne.io.read_raw_cnt(path, preload=True, verbose="error")
    np.testing.assert_allclose(signal.physical(), raw.get_data() * 1e6, rtol=1e-5)
    assert (signal.channels, signal.rate_hz) == (tuple(raw.ch_names), raw.info["sfreq"])
    assert signal.array.dtype.itemsize == width
    np.testing.assert_array_equal(signal.array, stored())


@pytest.mark.parametrize("kind", [1, 2])
def test_triggers_have_their_code_and_sample(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.cnt"
    path.write_bytes(cnt_bytes(stored(), NAMES, rate=200, events=[(10, 3), (20, 0), (399, 44)], kind=kind))
    assert read_events([path], where="entry/case", format="triggers of the cnt recording") == [
        Event(onset_s=0.05, duration_s=0.0, word="3"),
        Event(onset_s=1.995, duration_s=0.0, word="44"),
    ]


def test_events_whose_times_are_in_doubt_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cnt"
    path.write_bytes(cnt_bytes(stored(), NAMES, rate=200, events=[(10, 3)], kind=3))
    with pytest.raises(CaseError, match=r"read\.unsupported"):
        read_events([path], where="entry/case", format="triggers")


def test_nothing_of_the_person_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.cnt"
    path.write_bytes(cnt_bytes(stored(), NAMES, rate=200))
    assert "DOE" not in repr(read_signals([path], where="entry/case"))


def test_counts_that_do_not_fit_the_file_are_refused_and_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "a.cnt"
    content = bytearray(cnt_bytes(stored(), NAMES, rate=200))
    content[864:868] = (500).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"read\.unreadable"):
        read_signals([path], where="entry/case")


def test_recordings_of_ant_neuro_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.cnt"
    path.write_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"CNT " + bytes(2000))
    assert is_signal([path])
    with pytest.raises(CaseError, match="ANT Neuro"):
        read_signals([path], where="entry/case")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(cnt_bytes(stored(20), NAMES, rate=200, events=[(1, 2), (3, 4)]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(360, 1124), st.integers(1365, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.cnt"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) - 9, 1000, 500]))])
    for reader in (lambda: read_signals([path], where="e"), lambda: read_events([path], where="e", format="triggers")):
        try:
            reader()
        except CaseError:
            continue
