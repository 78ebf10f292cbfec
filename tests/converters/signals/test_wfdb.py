"""WFDB records: every signal format, scale, skew, checksum, segments and annotations, against the library wfdb."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_signals import annotation_bytes

from medshard.converters.signal import Signal
from medshard.converters.signals.reading import (
    ANY_SIGNAL,
    Event,
    SignalRequest,
    is_signal,
    read_events,
    read_header_fields,
    read_signals,
)
from medshard.errors import CaseError

with warnings.catch_warnings():
    # pandas warns of what wfdb does while it is imported.
    warnings.simplefilter("ignore")
    import wfdb

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)

LIMITS = {"80": 127, "212": 2047, "16": 32767, "61": 32767, "160": 32767, "24": 8388607, "32": 2**31 - 1}
WRITTEN = ("80", "212", "16", "24", "32", "508", "516", "524")


def stored(count: int, channels: int, limit: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(count).integers(-limit, limit + 1, (count, channels), np.int64)


def write(folder: Path, name: str, numbers: np.ndarray, form: str, **changes: object) -> list[Path]:  # type: ignore[type-arg]
    channels = numbers.shape[1]
    options: dict[str, object] = {
        "fs": 360,
        "units": ["mV"] * channels,
        "sig_name": [f"lead {place}" for place in range(channels)],
        "d_signal": numbers,
        "fmt": [form] * channels,
        "adc_gain": [200.0] * channels,
        "baseline": [1024] * channels,
        "write_dir": str(folder),
    }
    wfdb.wrsamp(name, **(options | changes))
    return sorted(folder.glob(f"{name}.*"))


def read(files: list[Path], request: SignalRequest = ANY_SIGNAL) -> tuple[Signal, ...]:
    return read_signals(files, where="entry/case", request=request)


def header(folder: Path, text: str, data: bytes = b"", name: str = "r") -> list[Path]:
    (folder / f"{name}.hea").write_text(text)
    (folder / f"{name}.dat").write_bytes(data)
    return [folder / f"{name}.dat", folder / f"{name}.hea"]


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_stored_numbers_and_values_are_those_of_wfdb(tmp_path: Path, form: str, count: int) -> None:
    limit = LIMITS.get(form) or {"508": 127, "516": 32767, "524": 8388607}[form]
    files = write(tmp_path, "r", stored(count, 3, limit), form)
    (signal,) = read(files)
    digital = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal
    np.testing.assert_array_equal(signal.array, digital.T)
    physical = wfdb.rdrecord(str(tmp_path / "r")).p_signal
    np.testing.assert_allclose(signal.physical(), physical.T, rtol=1e-6, equal_nan=True)
    assert (signal.rate_hz, signal.channels) == (360.0, ("lead 0", "lead 1", "lead 2"))
    assert is_signal(files)


@pytest.mark.parametrize("form", ["61", "160", "310", "311", "212"])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 301])
def test_formats_that_are_only_read(tmp_path: Path, form: str, count: int) -> None:
    size = {"310": count * 4 + 8, "311": count * 4 + 8}.get(form, count * 4)
    octets = np.random.default_rng(3).integers(0, 256, size, np.uint8)
    if form == "311":
        # Two bits of four bytes are unused; the library takes one of them for a bit of the third sample.
        octets[3::4] &= 0x3F
    data = octets.tobytes()
    text = f"r 2 250 {count}\nr.dat {form} 200 12 0 0\nr.dat {form} 200 12 0 0\n"
    (signal,) = read(header(tmp_path, text, data))
    digital = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal
    np.testing.assert_array_equal(signal.array, digital.T)


def test_first_differences_add_up(tmp_path: Path) -> None:
    data = np.array([1, -1, 2, -2, 3, -3], np.int8).tobytes()
    text = "r 2 250 3\nr.dat 8 200 12 0 100\nr.dat 8 200 12 0 -100\n"
    (signal,) = read(header(tmp_path, text, data))
    np.testing.assert_array_equal(signal.array, [[101, 103, 106], [-101, -103, -106]])


def test_a_mat_file_with_its_data_behind_a_head_is_read_through_its_header(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(-500, 500, (5000, 12)).astype("<i2")
    (tmp_path / "A0001.mat").write_bytes(bytes(24) + numbers.tobytes())
    lines = [f"A0001.mat 16+24 1000/mV 16 0 {row[0]} 0 0 V{place}" for place, row in enumerate(numbers.T)]
    text = "\n".join(
        ["A0001 12 500 5000 05-May-2020 14:50:55", *lines, "#Age: 74", "#Sex: Male", "#Dx: 59118001,6374002"]
    )
    (tmp_path / "A0001.hea").write_text(text)
    files = [tmp_path / "A0001.hea", tmp_path / "A0001.mat"]
    (signal,) = read(files)
    np.testing.assert_array_equal(signal.array, numbers.T)
    assert (signal.rate_hz, signal.units[0], signal.slope[0]) == (500.0, "mV", 0.001)
    assert "checksum" in signal.warnings[0]
    assert not signal.attributes
    fields = read_header_fields(files)
    assert fields == {"Age": "74", "Sex": "Male", "Dx": "59118001,6374002"}


def test_frames_of_several_samples_become_signals_of_their_own_rate(tmp_path: Path) -> None:
    numbers = np.arange(40, dtype="<i2")
    text = "r 2 100 8\nr.dat 16x4 200\nr.dat 16 200\n"
    fast, slow = read(header(tmp_path, text, numbers.tobytes()))
    assert (fast.rate_hz, slow.rate_hz) == (400.0, 100.0)
    other = wfdb.rdrecord(str(tmp_path / "r"), physical=False, smooth_frames=False).e_d_signal
    np.testing.assert_array_equal(fast.array[0], other[0])
    np.testing.assert_array_equal(slow.array[0], other[1])


def test_skew_is_undone_and_the_end_marked(tmp_path: Path) -> None:
    numbers = np.arange(20, dtype="<i2").reshape(10, 2)
    (signal,) = read(header(tmp_path, "r 2 100 10\nr.dat 16 200\nr.dat 16:3 200\n", numbers.tobytes()))
    other = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal
    np.testing.assert_array_equal(signal.array, other.T)
    assert signal.attributes["invalid_value"] == (-32768.0, -32768.0)


class TestHeaders:
    def test_no_gain_and_no_rate_mean_the_format_s_defaults_and_are_said(self, tmp_path: Path) -> None:
        (signal,) = read(header(tmp_path, "r 1\nr.dat 16\n", np.arange(9, dtype="<i2").tobytes()))
        assert (signal.rate_hz, signal.slope, signal.units, signal.samples) == (250.0, (0.005,), ("mV",), 9)
        assert len(signal.warnings) == 2

    @pytest.mark.timeout(10)
    def test_a_hostile_line_takes_no_time(self, tmp_path: Path) -> None:
        for line in ("r.dat 16 200 12 0 0 0 0 a" + " " * 500_000 + "b", "#" + " " * 500_000 + "x", "r" * 500_000):
            files = header(tmp_path, f"r 1 100 4\n{line}\nr.dat 16 100\n", bytes(8))
            for reader in (read_header_fields, read):
                with contextlib.suppress(CaseError):
                    reader(files)

    def test_the_baseline_stands_before_the_zero_of_the_converter(self, tmp_path: Path) -> None:
        data = np.zeros(4, "<i2").tobytes()
        (signal,) = read(header(tmp_path, "r 1 100 4\nr.dat 16 100(50)/uV 12 1024 0 0 0 I\n", data))
        assert signal.intercept == (-0.5,)
        (signal,) = read(header(tmp_path, "r 1 100 4\nr.dat 16 100/uV 12 1024 0 0 0 I\n", data))
        assert signal.intercept == (-10.24,)

    def test_samples_that_are_marked_missing_keep_their_number_and_are_said(self, tmp_path: Path) -> None:
        data = np.array([1, -32768, 3], "<i2").tobytes()
        (signal,) = read(header(tmp_path, "r 1 100 3\nr.dat 16 100\n", data))
        assert signal.array[0, 1] == -32768
        assert signal.attributes == {"invalid_value": (-32768.0,)}

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("r 1 100 4000\nr.dat 16 100\n", "read.truncated"),
            ("r 1 100 999999999999999\nr.dat 212 100\n", "read.truncated"),
            ("r 1 100 4\nother.dat 16 100\n", "read.missing_part"),
            ("r 1 100 4\n/etc/passwd 16 100\n", "read.unsupported"),
            ("r 1 100 4\n../r.dat 16 100\n", "read.unsupported"),
            ("r 1 100 4\nr.dat 17 100\n", "read.unsupported"),
            ("r 2 100 4\nr.dat 16 100\n", "read.unreadable"),
            ("Jane Doe\n", "read.unreadable"),
            ("r 2 100 1\nr.dat 16 100\nr.dat 212 100\n", "read.unreadable"),
            ("r 1 100 4\nr.dat 516 100\n", "read.unreadable"),
        ],
    )
    def test_what_does_not_hold_is_refused_by_name(self, tmp_path: Path, text: str, code: str) -> None:
        with pytest.raises(CaseError) as caught:
            read(header(tmp_path, text, bytes(8)))
        assert caught.value.code == code


class TestSegments:
    def test_segments_of_one_layout_are_joined_and_gaps_hold_zeros(self, tmp_path: Path) -> None:
        first, last = stored(100, 2, 500), stored(60, 2, 400)
        write(tmp_path, "m_1", first, "16")
        write(tmp_path, "m_2", last, "16")
        (tmp_path / "m.hea").write_text("m/3 2 360 200\nm_1 100\n~ 40\nm_2 60\n")
        (signal,) = read(sorted(tmp_path.iterdir()))
        assert signal.gaps == ((100, 140),)
        np.testing.assert_array_equal(signal.array[:, :100], first.T)
        np.testing.assert_array_equal(signal.array[:, 140:], last.T)
        assert not signal.array[:, 100:140].any()

    def test_segments_of_different_channels_become_values(self, tmp_path: Path) -> None:
        write(tmp_path, "m_1", stored(100, 2, 500), "16", sig_name=["I", "II"])
        write(tmp_path, "m_2", stored(60, 1, 400), "16", sig_name=["II"], adc_gain=[100.0])
        (tmp_path / "m_layout.hea").write_text("m_layout 2 360 0\n~ 0 200/mV 12 0 0 0 0 I\n~ 0 200/mV 12 0 0 0 0 II\n")
        (tmp_path / "m.hea").write_text("m/3 2 360 160\nm_layout 0\nm_1 100\nm_2 60\n")
        (signal,) = read(sorted(tmp_path.iterdir()))
        other = wfdb.rdrecord(str(tmp_path / "m")).p_signal
        np.testing.assert_allclose(signal.physical(), other.T, rtol=1e-5, equal_nan=True)
        assert signal.array.dtype == np.float32

    def test_two_records_are_not_one(self, tmp_path: Path) -> None:
        write(tmp_path, "a", stored(10, 1, 50), "16")
        write(tmp_path, "b", stored(10, 1, 50), "16")
        with pytest.raises(CaseError, match=r"read\.several_images"):
            read(sorted(tmp_path.iterdir()))


class TestAnnotations:
    def test_symbols_and_times_are_those_of_wfdb(self, tmp_path: Path) -> None:
        samples = np.array([5, 370, 5000, 5001, 90000, 5_000_000])
        symbols = ["N", "V", "+", "A", "/", "|"]
        notes = ["", "", "(AFIB", "", "", ""]
        wfdb.wrann("r", "atr", samples, symbol=symbols, aux_note=notes, write_dir=str(tmp_path))
        found = read_events([tmp_path / "r.atr"], where="entry/case", format="WFDB annotation", rate_hz=360.0)
        assert [event.word for event in found] == ["N", "V", "(AFIB", "A", "/", "|"]
        np.testing.assert_allclose([event.onset_s for event in found], samples / 360)
        assert {event.duration_s for event in found} == {0.0}

    def test_every_code_has_the_symbol_of_wfdb(self, tmp_path: Path) -> None:
        labels = wfdb.io.annotation.ann_label_table
        known = [
            (int(code), symbol) for code, symbol in zip(labels["label_store"], labels["symbol"], strict=True) if code
        ]
        path = tmp_path / "r.atr"
        path.write_bytes(annotation_bytes([(place, code, "") for place, (code, _) in enumerate(known)]))
        found = read_events([path], where="entry/case", format="WFDB annotation", rate_hz=1.0)
        assert [event.word for event in found] == [symbol for _, symbol in known]

    def test_free_text_is_not_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "r.atr"
        path.write_bytes(annotation_bytes([(1, 22, "Jane Doe moved"), (9, 28, "(VT"), (12, 28, "see Dr. Who")]))
        found = read_events([path], where="entry/case", format="WFDB annotation", rate_hz=1.0)
        assert [event.word for event in found] == ['"', "(VT", "+"]

    def test_the_rate_is_the_file_s_the_header_s_or_the_catalog_s(self, tmp_path: Path) -> None:
        files = header(tmp_path, "r 1 50 4\nr.dat 16 100 12 0 0 0 0 MLII\n", bytes(8))
        path = tmp_path / "r.atr"
        path.write_bytes(annotation_bytes([(100, 1, "")], channel=0))
        found = read_events([path, files[1]], where="entry/case", format="WFDB annotation", rate_hz=10.0)
        assert found == [Event(onset_s=2.0, duration_s=0.0, word="N", channel="MLII")]
        with pytest.raises(CaseError, match=r"signal\.no_rate"):
            read_events([path], where="entry/case", format="WFDB annotation")
        path.write_bytes(annotation_bytes([(0, 22, "## time resolution: 25"), (100, 1, "")]))
        (event,) = read_events([path], where="entry/case", format="WFDB annotation", rate_hz=10.0)
        assert event.onset_s == 4.0

    def test_what_the_package_wfdb_writes_with_a_rate_begins_with_a_step_back(self, tmp_path: Path) -> None:
        """Behind the rate stands a jump by -1 and no annotation, one sample later."""
        samples, symbols = np.array([18, 77, 370]), ["N", "A", "V"]
        wfdb.wrann("r", "atr", samples, symbols, fs=360, write_dir=str(tmp_path))
        found = read_events([tmp_path / "r.atr"], where="entry/case", format="WFDB annotation")
        other = wfdb.rdann(str(tmp_path / "r"), "atr")
        assert [(event.word, round(event.onset_s * 360)) for event in found] == list(
            zip(other.symbol, other.sample, strict=True)
        )

    @pytest.mark.parametrize("content", [b"\x01\x04", b"\x00\xf0\x00\x00", b"\x05\xfc\x00\x00", b"\xff\xd7\x00\x00"])
    def test_a_file_that_cannot_be_followed_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "r.atr"
        path.write_bytes(content)
        with pytest.raises(CaseError, match=r"read\."):
            read_events([path], where="entry/case", format="WFDB annotation", rate_hz=1.0)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_refused_but_never_a_surprise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    text = bytearray(
        b"r 2 360/4(5) 50 01:02:03 01/01/2001\n"
        b"r.dat 212:2+3 200(12)/mV 11 1024 995 -22131 0 MLII\nr.dat 212+3 200 11\n# 69 M\n"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b"0123456789 /().:+x-\n~#a"))
    (folder / "r.hea").write_bytes(text)
    (folder / "r.dat").write_bytes(data.draw(st.binary(max_size=400)) or b"0")
    try:
        signals = read([folder / "r.hea", folder / "r.dat"])
    except CaseError:
        return
    assert sum(signal.array.nbytes for signal in signals) <= 1 << 20
