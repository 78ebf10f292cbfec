"""EDF and BDF: the stored integers, their scale, their time axis and their marks, against pyEDFlib, edfio and MNE."""

from __future__ import annotations

import importlib.resources
from dataclasses import replace
from pathlib import Path

import edfio
import mne
import numpy as np
import pyedflib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_signals import MadeChannel, MadeEdf, edf_bytes, write_edf

from medshard.converters.signal import Signal
from medshard.converters.signals.reading import Event, is_signal, read_events, read_signals
from medshard.errors import CaseError

GENERATED = Path(str(importlib.resources.files("pyedflib"))) / "tests" / "data"
RECORDS = 6


def channel(label: str = "EEG Fpz-Cz", samples: int = 50, **changes: object) -> MadeChannel:
    stored = np.random.default_rng(samples).integers(-32768, 32768, RECORDS * samples).astype(np.int16)
    return replace(MadeChannel(label=label, stored=stored, samples=samples), **changes)  # type: ignore[arg-type]


PLAIN = MadeEdf(channels=(channel(),))


def read_one(path: Path) -> Signal:
    (signal,) = read_signals([path], where="entry/case")
    return signal


def refusal(path: Path) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read_signals([path], where="entry/case")
    return caught.value


def values(signal: Signal, row: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(signal.array[row], np.float64) * signal.slope[row] + signal.intercept[row]


@pytest.mark.parametrize("path", sorted(GENERATED.glob("*.?df")), ids=lambda path: path.name)
def test_files_of_another_writer_have_the_numbers_that_pyedflib_reads(path: Path) -> None:
    signals = read_signals([path], where="entry/case")
    with pyedflib.EdfReader(str(path)) as other:
        labels = [label.strip() for label in other.getSignalLabels()]
        for signal in signals:
            for row, name in enumerate(signal.channels):
                place = labels.index(name)
                assert signal.rate_hz == other.getSampleFrequency(place)
                np.testing.assert_array_equal(signal.array[row], other.readSignal(place, digital=True))
                np.testing.assert_allclose(values(signal, row), other.readSignal(place), rtol=0, atol=1e-9)


def test_three_readers_agree_on_a_recording_of_two_rates(tmp_path: Path) -> None:
    made = MadeEdf(
        channels=(
            channel("EEG Fpz-Cz", 100, physical=(-187.5, 187.5), digital=(-2048, 2047)),
            channel("Resp oro-nasal", 10, unit="", digital=(-2048, 2047), physical=(-2048, 2047)),
            channel("EEG Pz-Oz", 100, physical=(196.0, -197.0)),
        ),
        record_s="0.5",
    )
    path = write_edf(tmp_path / "a.edf", made)
    fast, slow = read_signals([path], where="entry/case")
    assert (fast.channels, slow.channels) == (("EEG Fpz-Cz", "EEG Pz-Oz"), ("Resp oro-nasal",))
    assert (fast.rate_hz, slow.rate_hz) == (200.0, 20.0)
    assert fast.array.dtype == np.int16
    np.testing.assert_array_equal(fast.array[1], made.channels[2].stored)
    other = edfio.read_edf(path)
    for row, place in ((0, 0), (1, 2)):
        np.testing.assert_allclose(values(fast, row), other.signals[place].data, atol=1e-9)
    third = mne.io.read_raw_edf(path, include=["EEG Fpz-Cz"], verbose="error").get_data(units="uV")
    np.testing.assert_allclose(third[0], values(fast, 0), atol=1e-6)


def test_24_bit_integers_keep_their_sign(tmp_path: Path) -> None:
    stored = np.array([0, 1, -1, 8388607, -8388608, 256], np.int32)
    made = MadeEdf(
        channels=(MadeChannel(label="A1", stored=stored, samples=1, digital=(-8388608, 8388607)),),
        bdf=True,
        reserved="24BIT",
    )
    signal = read_one(write_edf(tmp_path / "a.bdf", made))
    assert signal.array.dtype == np.int32
    np.testing.assert_array_equal(signal.array[0], stored)


def test_nothing_of_the_person_is_kept(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", replace(PLAIN, person="MCH-0234567 F 02-MAY-1951 Haagse_Harry"))
    signal = read_one(path)
    assert "Harry" not in repr(signal)
    assert "1951" not in repr(signal)


class TestCounts:
    def test_an_unknown_number_of_records_is_worked_out_and_said(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, records="-1")))
        assert signal.samples == RECORDS * 50
        assert "makes it 6" in signal.warnings[0]

    def test_a_record_that_is_cut_is_dropped_and_said(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, cut=30)))
        assert signal.samples == (RECORDS - 1) * 50
        np.testing.assert_array_equal(signal.array[0], PLAIN.channels[0].stored[:250])
        assert signal.warnings == (
            "the header states 6 records, the file holds 5; 70 bytes of a record that is not whole are dropped",
        )

    def test_bytes_behind_the_last_record_are_said(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, extra=b"abc")))
        assert signal.samples == RECORDS * 50
        assert "3 bytes" in signal.warnings[0]

    def test_a_file_without_a_whole_record_is_truncated(self, tmp_path: Path) -> None:
        error = refusal(write_edf(tmp_path / "a.edf", replace(PLAIN, cut=501)))
        assert error.code == "read.truncated"

    def test_a_header_of_another_length_is_refused(self, tmp_path: Path) -> None:
        error = refusal(write_edf(tmp_path / "a.edf", replace(PLAIN, fields={"header bytes": "768"})))
        assert (error.code, error.details["expected"], error.details["found"]) == ("read.unreadable", "512", "768")

    def test_a_field_that_is_no_number_is_not_quoted(self, tmp_path: Path) -> None:
        error = refusal(write_edf(tmp_path / "a.edf", replace(PLAIN, record_s="DOEJANE")))
        assert error.code == "read.unreadable"
        assert "DOE" not in str(error)


class TestScales:
    def test_equal_limits_leave_the_stored_numbers_without_a_unit(self, tmp_path: Path) -> None:
        made = replace(PLAIN, channels=(channel(physical=(0.0, 0.0)), channel("EKG")))
        signal = read_one(write_edf(tmp_path / "a.edf", made))
        assert (signal.units, signal.slope[0], signal.intercept[0]) == (("", "uV"), 1.0, 0.0)
        assert any("equal limits" in warning for warning in signal.warnings)

    def test_two_channels_of_one_name_are_both_kept(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, channels=(channel("C3"), channel("C3")))))
        assert signal.channels == ("C3", "C3")
        assert "2 channels are called 'C3'" in signal.warnings

    def test_a_decimal_comma_is_read_and_said(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, record_s="0,5")))
        assert signal.rate_hz == 100.0
        assert any("comma" in warning for warning in signal.warnings)

    def test_the_micro_sign_of_latin_1_is_read(self, tmp_path: Path) -> None:
        signal = read_one(write_edf(tmp_path / "a.edf", replace(PLAIN, channels=(channel(unit="\u00b5V"),))))
        assert signal.units == ("\u00b5V",)


class TestTime:
    def test_gaps_between_records_hold_zeros(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+D", onsets=(0.5, 1.5, 4.5, 5.5, 6.5, 10.5))
        signal = read_one(write_edf(tmp_path / "a.edf", made))
        assert signal.start_s == 0.5
        assert signal.gaps == ((100, 200), (350, 500))
        assert signal.samples == 11 * 50 - 0
        held = np.ones(signal.samples, bool)
        for start, stop in signal.gaps:
            assert not signal.array[0, start:stop].any()
            held[start:stop] = False
        np.testing.assert_array_equal(signal.array[0, held], made.channels[0].stored)

    def test_a_broken_clock_does_not_fill_the_memory(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+D", onsets=(0, 1, 2, 3, 4, 9e9))
        assert refusal(write_edf(tmp_path / "a.edf", made)).code == "signal.gaps"

    def test_records_that_overlap_are_refused(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+D", onsets=(0, 1, 1.5, 3, 4, 5))
        assert refusal(write_edf(tmp_path / "a.edf", made)).code == "signal.overlap"

    def test_a_record_a_sample_early_follows_the_one_before(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+D", onsets=(0, 0.98, 2, 3, 4, 5))
        assert read_one(write_edf(tmp_path / "a.edf", made)).samples == RECORDS * 50

    def test_a_continuous_recording_may_start_late(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+C", onsets=(0.25, 1.25, 2.25, 3.25, 4.25, 5.25))
        signal = read_one(write_edf(tmp_path / "a.edf", made))
        assert (signal.start_s, signal.gaps, signal.channels) == (0.25, (), ("EEG Fpz-Cz",))


class TestEvents:
    def test_a_hypnogram_is_read_as_mne_reads_it(self, tmp_path: Path) -> None:
        made = MadeEdf(
            channels=(),
            reserved="EDF+C",
            record_s="0",
            onsets=(0.0,),
            marks=((0, b"+0\x1530630\x14Sleep stage W\x14"), (0, b"+30630\x15120\x14Sleep stage 1\x14")),
        )
        path = write_edf(tmp_path / "SC4001EC-Hypnogram.edf", made)
        found = read_events([path], where="entry/case", format="EDF+ annotations")
        assert found == [
            Event(onset_s=0.0, duration_s=30630.0, word="Sleep stage W"),
            Event(onset_s=30630.0, duration_s=120.0, word="Sleep stage 1"),
        ]
        other = mne.read_annotations(path)
        assert [(event.onset_s, event.duration_s, event.word) for event in found] == list(
            zip(other.onset, other.duration, other.description, strict=True)
        )
        with pytest.raises(CaseError, match=r"signal\.none"):
            read_signals([path], where="entry/case")

    def test_marks_may_name_a_channel_and_share_a_list(self, tmp_path: Path) -> None:
        made = replace(
            PLAIN,
            reserved="EDF+C",
            onsets=tuple(float(number) for number in range(RECORDS)),
            marks=((2, b"+2.5\x15.5\x14Arousal\x14Limb movement@@EMG RAT\x14".replace(b"\x15.5", b"\x150.5")),),
        )
        found = read_events([write_edf(tmp_path / "a.edf", made)], where="entry/case", format="EDF+ annotations")
        assert found == [
            Event(onset_s=2.5, duration_s=0.5, word="Arousal"),
            Event(onset_s=2.5, duration_s=0.5, word="Limb movement", channel="EMG RAT"),
        ]

    def test_marks_that_are_none_are_refused(self, tmp_path: Path) -> None:
        made = replace(PLAIN, reserved="EDF+C", onsets=(0.0,) * RECORDS, marks=((1, b"Doe Jane"),))
        path = write_edf(tmp_path / "a.edf", made)
        with pytest.raises(CaseError, match=r"read\.unreadable") as caught:
            read_events([path], where="entry/case", format="EDF+ annotations")
        assert "Doe" not in str(caught.value)

    def test_biosemi_triggers_are_runs_of_codes(self, tmp_path: Path) -> None:
        codes = np.array([0, 0, 5, 5, 0, 7], np.int32) | 0x100000
        made = MadeEdf(channels=(MadeChannel(label="Status", stored=codes, samples=1),), bdf=True, record_s="0.5")
        found = read_events([write_edf(tmp_path / "a.bdf", made)], where="entry/case", format="triggers")
        assert found == [
            Event(onset_s=1.0, duration_s=1.0, word="5"),
            Event(onset_s=2.5, duration_s=0.5, word="7"),
        ]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_refused_but_never_a_surprise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    made = replace(PLAIN, reserved="EDF+D", onsets=(0.0, 1.0, 2.0, 4.0, 5.0, 6.0))
    content = bytearray(edf_bytes(made))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.edf"
    path.write_bytes(content[: data.draw(st.integers(256, len(content)))])
    try:
        signals = read_signals([path], where="entry/case")
    except CaseError:
        return
    assert sum(signal.array.nbytes for signal in signals) <= 1 << 26
    assert is_signal([path])
