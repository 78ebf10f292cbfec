"""Files of arrays, pickles and structures: what is named, how axes are told apart, and what is never done."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.signal import Signal
from medshard.converters.signals.reading import Event, SignalRequest, is_signal, read_events, read_signals
from medshard.errors import CaseError

RNG = np.random.default_rng(7)


def read(path: Path, **request: Any) -> tuple[Signal, ...]:
    return read_signals([path], where="entry/case", request=SignalRequest(**request))


def code(path: Path, **request: Any) -> str:
    with pytest.raises(CaseError) as caught:
        read(path, **request)
    return caught.value.code


class TestAxes:
    @pytest.mark.parametrize("shape", [(3, 40), (40, 3)])
    def test_the_longer_axis_is_time_unless_the_catalog_names_the_channels(
        self, tmp_path: Path, shape: tuple[int, int]
    ) -> None:
        array = RNG.normal(size=shape).astype(np.float32)
        np.save(tmp_path / "a.npy", array)
        (signal,) = read(tmp_path / "a.npy", rate_hz=10.0)
        np.testing.assert_array_equal(signal.array, array if shape[0] == 3 else array.T)
        assert "the longer axis of the array is taken as time" in signal.warnings
        (signal,) = read(tmp_path / "a.npy", channels=tuple("abcdefghij" * 4), rate_hz=10.0)
        assert signal.array.shape == (40, 3)

    def test_names_that_fit_no_axis_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, 40)))
        assert code(tmp_path / "a.npy", channels=("I", "II")) == "signal.axes"

    def test_trials_stay_in_front(self, tmp_path: Path) -> None:
        array = RNG.integers(-99, 99, (5, 64, 4)).astype(np.int16)
        np.savez(tmp_path / "a.npz", data=array, labels=np.zeros((5, 4)))
        (signal,) = read(tmp_path / "a.npz", key="data", channels=("a", "b", "c", "d"), rate_hz=128.0, unit="uV")
        np.testing.assert_array_equal(signal.array, array.transpose(0, 2, 1))
        assert (signal.units, signal.duration_s) == (("uV",) * 4, 0.5)

    def test_several_arrays_and_no_key_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", data=np.zeros((2, 9)), labels=np.zeros((5, 4)))
        assert code(tmp_path / "a.npz") == "read.no_such_array"
        assert code(tmp_path / "a.npz", key="other") == "read.no_such_array"

    def test_no_array_says_itself_that_it_is_a_signal(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, 40)))
        assert not is_signal([tmp_path / "a.npy"])

    def test_values_that_are_no_numbers_are_said(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([[1.5, np.nan, np.inf, 2.0]]))
        (signal,) = read(tmp_path / "a.npy", rate_hz=1.0)
        assert "2 samples are not finite numbers" in signal.warnings


class TestTables:
    def test_columns_are_channels_and_even_seconds_give_the_rate(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("time_s;ECG;RESP;note\n" + "".join(f"{t / 50};{t};{-t};x\n" for t in range(20)))
        (signal,) = read(path)
        assert (signal.channels, signal.rate_hz) == (("ECG", "RESP"), pytest.approx(50.0))
        np.testing.assert_array_equal(signal.array, [range(20), range(0, -20, -1)])
        assert "1 columns hold no plain numbers and are left out" in signal.warnings

    def test_a_fraction_far_down_a_column_of_whole_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("PPG\n" + "512\n" * 500_000 + "0.5\n")
        (signal,) = read(path, rate_hz=100.0)
        assert signal.array[0, -1] == 0.5

    def test_a_column_without_a_name(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("530\n518\n506\n")
        (signal,) = read(path, rate_hz=100.0, channels=("PPG",))
        np.testing.assert_array_equal(signal.array, [[530, 518, 506]])

    def test_parquet(self, tmp_path: Path) -> None:
        pd.DataFrame({"I": [1.5, 2.5], "II": [3, 4]}).to_parquet(tmp_path / "a.parquet")
        (signal,) = read(tmp_path / "a.parquet", rate_hz=500.0)
        np.testing.assert_array_equal(signal.physical(), [[1.5, 2.5], [3, 4]])


class TestMatlab:
    def write_dreamer(self, folder: Path, *, compressed: bool = True) -> tuple[Path, dict[Any, Any]]:
        """Two subjects of three clips, as the loaders of DREAMER index them."""
        cells = {}
        subjects = np.empty((1, 2), object)
        for subject in range(2):
            parts: dict[str, Any] = {"ScoreValence": np.array([[4.0], [3.0], [5.0]])}
            for kind, channels, rate in (("EEG", 14, 128), ("ECG", 2, 256)):
                stimuli = np.empty((3, 1), object)
                for clip in range(3):
                    stimuli[clip, 0] = RNG.normal(size=(rate + 3 * clip, channels))
                    cells[subject, kind, clip] = stimuli[clip, 0]
                parts[kind] = {"stimuli": stimuli, "baseline": stimuli[::-1]}
            subjects[0, subject] = parts
        whole = {"Data": subjects, "EEG_SamplingRate": 128, "noOfSubjects": 2, "Disclaimer": "text"}
        path = folder / "DREAMER.mat"
        scipy.io.savemat(path, {"DREAMER": whole, "plain": np.arange(6.0)}, do_compression=compressed)
        return path, cells

    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_key_goes_into_structures_and_cells(self, tmp_path: Path, compressed: bool) -> None:
        path, cells = self.write_dreamer(tmp_path, compressed=compressed)
        (signal,) = read(path, key="DREAMER.Data[1].EEG.stimuli[2]", rate_hz=128.0)
        np.testing.assert_allclose(signal.array, cells[1, "EEG", 2].T.astype(np.float32))

    def test_a_star_gives_a_signal_for_each(self, tmp_path: Path) -> None:
        path, cells = self.write_dreamer(tmp_path)
        signals = read(path, key="DREAMER.Data[*].ECG.stimuli[*]", rate_hz=256.0, channels=("L", "R"))
        assert [signal.attributes["array"] for signal in signals] == [
            f"DREAMER.Data[{subject}].ECG.stimuli[{clip}]" for subject in range(2) for clip in range(3)
        ]
        for signal, (key, array) in zip(
            signals, ((key, array) for key, array in cells.items() if key[1] == "ECG"), strict=True
        ):
            np.testing.assert_allclose(signal.array, array.T.astype(np.float32), err_msg=str(key))

    def test_every_variable_of_a_file_of_clips(self, tmp_path: Path) -> None:
        clips = {str(number): RNG.normal(size=(62, 100 + number)) for number in range(1, 5)}
        scipy.io.savemat(tmp_path / "1.mat", clips)
        signals = read(tmp_path / "1.mat", key="*", rate_hz=200.0)
        assert [signal.attributes["array"] for signal in signals] == list(clips)
        assert [signal.samples for signal in signals] == [101, 102, 103, 104]

    def test_the_rate_beside_an_array_is_read(self, tmp_path: Path) -> None:
        scipy.io.savemat(tmp_path / "a.mat", {"DSamp": {"EEGdata": np.zeros((3, 50)), "fs": 1000, "label": "x"}})
        (signal,) = read(tmp_path / "a.mat", key="DSamp.EEGdata")
        assert signal.rate_hz == 1000.0

    def test_hdf5_groups_are_structures(self, tmp_path: Path) -> None:
        data = RNG.normal(size=(3, 50))
        with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
            dataset = file.create_dataset("DSamp/EEGdata", data=data.T)
            dataset.attrs["MATLAB_class"] = np.bytes_("double")
            rate = file.create_dataset("DSamp/fs", data=np.array([[1000.0]]))
            rate.attrs["MATLAB_class"] = np.bytes_("double")
        (signal,) = read(tmp_path / "a.mat", key="DSamp.EEGdata")
        np.testing.assert_allclose(signal.array, data.astype(np.float32))
        assert signal.rate_hz == 1000.0

    def test_a_plain_hdf5_dataset(self, tmp_path: Path) -> None:
        data = RNG.normal(size=(12, 500)).astype(np.float16)
        with h5py.File(tmp_path / "A00001.h5", "w") as file:
            file["ecg"] = data
        (signal,) = read(tmp_path / "A00001.h5", key="ecg", unit="mV", rate_hz=500.0)
        np.testing.assert_array_equal(signal.array, data)

    def test_a_stream_that_goes_on_behind_its_variable_is_read(self, tmp_path: Path) -> None:
        import zlib

        scipy.io.savemat(tmp_path / "a.mat", {"x": np.arange(500.0).reshape(2, 250)}, do_compression=True)
        content = (tmp_path / "a.mat").read_bytes()
        element = zlib.decompress(content[136:])
        packed = zlib.compress(element + bytes(64))
        (tmp_path / "a.mat").write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
        (signal,) = read(tmp_path / "a.mat", rate_hz=1.0)
        assert signal.array[1, -1] == 499


class TestPickles:
    @pytest.mark.parametrize("protocol", range(6))
    def test_arrays_of_every_protocol_are_read(self, tmp_path: Path, protocol: int) -> None:
        data = RNG.normal(size=(4, 3, 64))
        swapped = np.asfortranarray(RNG.integers(-9, 9, (3, 5)).astype(">i2"))
        (tmp_path / "s01.dat").write_bytes(pickle.dumps({"data": data, "other": swapped, "n": np.float64(3)}, protocol))
        (signal,) = read(tmp_path / "s01.dat", key="data", rate_hz=128.0, channels=("a", "b", "c"))
        np.testing.assert_allclose(signal.array, data.astype(np.float32))
        (signal,) = read(tmp_path / "s01.dat", key="other", rate_hz=1.0)
        np.testing.assert_array_equal(signal.array, swapped)

    def test_what_python_2_wrote(self, tmp_path: Path) -> None:
        """Names and bytes are both its `str`, which is quoted with escapes in protocol 0."""
        data = np.array([[1.5, -2.25, 1e9]])
        quoted = b"".join(b"\\x%02x" % octet for octet in data.tobytes())
        text = (
            b"(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntS'b'\ntRp5\n"
            b"(I1\n(I1\nI3\ntcnumpy\ndtype\np6\n(S'f8'\nI0\nI1\ntRp7\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'"
            + quoted
            + b"'\ntbs."
        )
        np.testing.assert_array_equal(pickle.loads(text, encoding="latin1")["data"], data)
        (tmp_path / "s01.dat").write_bytes(text)
        (signal,) = read(tmp_path / "s01.dat", key="data", rate_hz=1.0)
        np.testing.assert_array_equal(signal.array, data)

    def wesad(self, folder: Path) -> Path:
        chest = {name: RNG.normal(size=(1400, 3 if name == "ACC" else 1)) for name in ("ACC", "ECG", "Temp")}
        wrist = {"BVP": RNG.normal(size=(128, 1)), "EDA": RNG.normal(size=(8, 1))}
        labels = np.repeat(np.array([0, 1, 2, 0], np.int32), 350)
        whole = {"signal": {"chest": chest, "wrist": wrist}, "label": labels, "subject": "S2"}
        (folder / "S2.pkl").write_bytes(pickle.dumps(whole, 2))
        return folder / "S2.pkl"

    def test_a_group_of_one_length_is_one_signal(self, tmp_path: Path) -> None:
        (signal,) = read(self.wesad(tmp_path), key="signal.chest", rate_hz=700.0)
        assert signal.channels == ("ACC[0]", "ACC[1]", "ACC[2]", "ECG", "Temp")
        assert signal.array.shape == (5, 1400)

    def test_a_group_of_several_lengths_has_no_one_rate(self, tmp_path: Path) -> None:
        path = self.wesad(tmp_path)
        assert code(path, key="signal.wrist", rate_hz=64.0) == "signal.several_rates"
        first, second = read(path, key="signal.wrist")
        assert (first.channels, second.channels, first.rate_hz) == (("BVP",), ("EDA",), None)

    def test_labels_of_samples_become_runs(self, tmp_path: Path) -> None:
        found = read_events([self.wesad(tmp_path)], where="entry/case", format="label per sample at 700 Hz")
        assert found == [
            Event(onset_s=place * 0.5, duration_s=0.5, word=word) for place, word in enumerate(("0", "1", "2", "0"))
        ]

    def test_nothing_in_a_pickle_is_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "run"),)

        for protocol in range(6):
            path = tmp_path / f"{protocol}.pkl"
            path.write_bytes(pickle.dumps({"data": np.zeros((2, 9)), "x": Bomb()}, protocol))
            assert code(path, key="data") == "read.unsupported"
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        "steps",
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1000000000000L\ntS'b'\ntR",
            b"cnumpy\nndarray\n(I9\ntR",
            b"(I1\n(I9999999\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS'x'\ntb",
            b"(dr\xff\xff\xff\x7f",
            b"X\xff\xff\xff\x7f",
            b"\x8a\xff" + bytes(300),
            b"cposix\nsystem\n(S'true'\ntR",
            b"(i__builtin__\neval\n",
            b"}}(h\x05u",
            b"0" * 5,
            b"]" + b"2\x85" * 200_000,
        ],
    )
    def test_hostile_programs_are_refused_without_being_followed_far(self, tmp_path: Path, steps: bytes) -> None:
        path = tmp_path / "a.pkl"
        path.write_bytes(b"\x80\x02" + steps + b".")
        assert code(path, key="data").startswith("read.")

    def test_a_list_that_holds_itself_ends(self, tmp_path: Path) -> None:
        loop: list[Any] = []
        loop += [loop, loop]
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"data": loop}, 2))
        assert code(tmp_path / "a.pkl", key="data") == "read.unsupported"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_pickles_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = {"data": np.arange(24.0).reshape(2, 12), "label": np.zeros(3, np.int8), "x": ["a", 1.5, 10**12, None]}
    content = bytearray(pickle.dumps(whole, data.draw(st.integers(0, 5))))
    steps = [place for _, _, place in pickletools.genops(bytes(content)) if place]
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.sampled_from(steps))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.pkl"
    path.write_bytes(content)
    try:
        read(path, key="data")
    except CaseError:
        return


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_structures_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    cells = np.empty((2, 1), object)
    cells[:, 0] = [np.arange(8.0).reshape(2, 4), np.arange(6, dtype=np.int16).reshape(2, 3)]
    scipy.io.savemat(folder / "a.mat", {"a": {"b": cells, "text": "word"}}, do_compression=data.draw(st.booleans()))
    content = bytearray((folder / "a.mat").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.mat").write_bytes(content[: data.draw(st.integers(129, len(content)))])
    try:
        read(folder / "a.mat", key="a.b[*]")
    except CaseError:
        return


class TestEventTables:
    def test_rows_of_onsets(self, tmp_path: Path) -> None:
        path = tmp_path / "events.tsv"
        path.write_text("onset\tduration\ttrial_type\n1.5\t2\tgo\n4\tn/a\tstop\n")
        found = read_events([path], where="entry/case", format="csv")
        assert found == [
            Event(onset_s=1.5, duration_s=2.0, word="go"),
            Event(onset_s=4.0, duration_s=0.0, word="stop"),
        ]

    def test_a_time_that_is_no_number_is_not_quoted(self, tmp_path: Path) -> None:
        path = tmp_path / "events.csv"
        path.write_text("onset,label,n\n1,go,2\nJane Doe,stop,3\n")
        with pytest.raises(CaseError, match=r"read\.unreadable") as caught:
            read_events([path], where="entry/case", format="csv")
        assert "Doe" not in str(caught.value)
