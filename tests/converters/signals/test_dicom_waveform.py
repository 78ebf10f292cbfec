"""DICOM waveforms, against pydicom's own reading of a real 12-lead ECG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from medshard.converters.signals.reading import is_signal, read_events, read_signals
from medshard.errors import CaseError

ECG = Path(str(get_testdata_file("waveform_ecg.dcm")))


def changed(folder: Path, change: object) -> Path:
    dataset = pydicom.dcmread(ECG)
    change(dataset)  # type: ignore[operator]
    dataset.save_as(folder / "a.dcm")
    return folder / "a.dcm"


def code(path: Path) -> str:
    with pytest.raises(CaseError) as caught:
        read_signals([path], where="entry/case")
    return caught.value.code


def test_the_groups_of_a_real_ecg_are_signals_of_their_own() -> None:
    dataset = pydicom.dcmread(ECG)
    rhythm, median = read_signals([ECG], where="entry/case")
    for number, signal in enumerate((rhythm, median)):
        np.testing.assert_allclose(signal.physical(), dataset.waveform_array(number).T, rtol=1e-6)
    assert (rhythm.array.shape, rhythm.rate_hz, rhythm.units[0]) == ((12, 10_000), 1000.0, "uV")
    assert rhythm.channels[:2] == ("Lead I (Einthoven)", "Lead II")
    assert (rhythm.attributes["originality"], median.attributes["originality"]) == ("ORIGINAL", "DERIVED")
    assert is_signal([ECG])


def test_nothing_of_the_person_is_kept() -> None:
    dataset = pydicom.dcmread(ECG)
    kept = repr(read_signals([ECG], where="entry/case"))
    for name in (dataset.PatientID, dataset.StudyDate, *str(dataset.PatientName).split("^")):
        assert not name or str(name) not in kept


def test_offset_correction_baseline_and_padding(tmp_path: Path) -> None:
    def change(dataset: pydicom.Dataset) -> None:
        group = dataset.WaveformSequence[1]
        group.MultiplexGroupTimeOffset = 2500
        channel = group.ChannelDefinitionSequence[0]
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 2, 1.5, 7
        del group.ChannelDefinitionSequence[1].ChannelSensitivity
        group.add_new("WaveformPaddingValue", "OW", group.WaveformData[:2])

    path = changed(tmp_path, change)
    _, median = read_signals([path], where="entry/case")
    assert (median.start_s, median.slope[0], median.intercept[0]) == (2.5, 3.0, 7.0)
    assert (median.slope[1], median.units[1]) == (1.0, "")
    assert median.attributes["invalid_value"] == (float(median.array[0, 0]),) * 12
    np.testing.assert_allclose(median.physical()[0], pydicom.dcmread(path).waveform_array(1)[:, 0])


def test_samples_that_are_missing_are_refused(tmp_path: Path) -> None:
    def cut(dataset: pydicom.Dataset) -> None:
        dataset.WaveformSequence[0].WaveformData = dataset.WaveformSequence[0].WaveformData[:-2]

    assert code(changed(tmp_path, cut)) == "read.truncated"


def test_packed_samples_are_refused_by_name(tmp_path: Path) -> None:
    def pack(dataset: pydicom.Dataset) -> None:
        dataset.WaveformSequence[0].WaveformSampleInterpretation = "MB"

    assert code(changed(tmp_path, pack)) == "read.unsupported"


def test_waveforms_hold_no_events() -> None:
    with pytest.raises(CaseError, match=r"signal\.no_events"):
        read_events([ECG], where="entry/case", format="dicom")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(ECG.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(132, 8000))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.dcm"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), 9000, 2000]))])
    try:
        read_signals([path], where="entry/case")
    except CaseError:
        return
