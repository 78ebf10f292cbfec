"""Electroencephalograms, polysomnographies and physiology."""

from __future__ import annotations

from pathlib import Path

import edfio
import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from trees.python2_pickles import write_pickle
from trees.recordings import wave, write_edf
from trees.table_files import write_lines, write_sheet
from trees.tree import Expected, Tree, tree

Values = NDArray[np.float64]


def waves(seed: str, channels: int, count: int, *, amplitude: float = 10.0) -> Values:
    return np.stack([wave(f"{seed} {place}", count, amplitude=amplitude * (1 + place)) for place in range(channels)])


@tree(
    "deap",
    evidence=(
        "github:torcheeg/torcheeg torcheeg/datasets/module/emotion_recognition/deap.py (names, keys, 128 Hz, axes)",
        "find_string 'DEAP_CHANNEL_LIST = [' (file ids 5154763688, 37411691271: order of the EEG channels)",
    ),
)
def deap(root: Tree) -> Expected:
    """Pickles of Python 2 that are called .dat; ratings of each trial in the same file."""
    pack = root.archive("data_preprocessed_python.zip")
    signals, annotations = {}, {}
    for subject in ("s01", "s02", "s32"):
        trials = np.stack([waves(f"{subject} {trial}", 40, 256) for trial in range(3)])
        ratings = np.array([[7.71, 7.6, 6.9, 7.83], [8.1, 7.31, 7.28, 8.47], [1.0, 9.0, 5.0, 4.5]])
        path = pack / f"data_preprocessed_python/{subject}.dat"
        write_pickle(path, {"labels": ratings, "data": trials})
        signals[subject], annotations[subject] = {"trials": (128.0, trials)}, {"ratings": 12}
    return Expected(
        cases={subject: subject for subject in signals},
        contents={subject: ["trials"] for subject in signals},
        signals=signals,
        annotations=annotations,
    )


@tree(
    "dreamer",
    evidence=(
        "github:torcheeg/torcheeg torcheeg/datasets/module/emotion_recognition/dreamer.py",
        "find_string 'EEG_SamplingRate' (file ids 61386369270, 22258314056: structure, axes, rates)",
    ),
)
def dreamer(root: Tree) -> Expected:
    """One structure of all people: cells of subjects, in them cells of clips, which differ in length."""
    signals: dict[str, tuple[float | None, Values]] = {}
    people = np.empty((1, 2), object)
    recorded: dict[str, list[Values]] = {name: [] for name in ("eeg", "eeg_baseline", "ecg", "ecg_baseline")}
    for subject in range(2):
        person: dict[str, object] = {"Age": "22", "Gender": "male"}
        for kind, channels, rate in (("EEG", 14, 128), ("ECG", 2, 256)):
            cells = {}
            for part, seconds in (("baseline", 1), ("stimuli", 2)):
                clips = np.empty((3, 1), object)
                for clip in range(3):
                    values = waves(f"{subject} {kind} {part} {clip}", channels, (seconds + clip) * rate)
                    clips[clip, 0] = values.T
                    recorded[kind.lower() + ("_baseline" if part == "baseline" else "")].append(values)
                cells[part] = clips
            person[kind] = cells
        person |= {f"Score{word}": np.array([[4], [3], [5]], np.uint8) for word in ("Valence", "Arousal", "Dominance")}
        people[0, subject] = person
    names = np.array("AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split(), object)[None]  # noqa: SIM905
    whole = {"Data": people, "EEG_SamplingRate": 128, "ECG_SamplingRate": 256, "EEG_Electrodes": names,
             "noOfSubjects": 2, "noOfVideoSequences": 3, "Version": "1.0.2"}  # fmt: skip
    scipy.io.savemat(root / "DREAMER.mat", {"DREAMER": whole}, do_compression=True)
    for name, clips_of in recorded.items():
        rate = 128.0 if name.startswith("eeg") else 256.0
        signals |= {f"{name}-{number}": (rate, values) for number, values in enumerate(clips_of, start=1)}
    return Expected(cases={"DREAMER": "DREAMER"}, contents={"DREAMER": list(signals)}, signals={"DREAMER": signals})


def write_downsampled(path: Path, values: Values, session: str, *, version_7_3: bool) -> Path:
    """As the authors' script does, in MATLAB's older and its HDF5 format."""
    rest = {"fs": 1000.0, "fsOld": 2000.0, "nchan": 35.0, "rate": 1000.0, "npt": float(values.shape[1])}
    if not version_7_3:
        labels = np.array([f"E{place}" for place in range(35)], object)[:, None]
        scipy.io.savemat(path, {"DSamp": {"EEGdata": values, **rest, "label": labels, "Subj": session}})
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("DSamp")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for name, array in {"EEGdata": values.T, **{name: [[value]] for name, value in rest.items()}}.items():
            group.create_dataset(name, data=array).attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, HDF5 schema 1.00 .".ljust(124))
        raw.write(b"\0\2IM")
    return path


@tree(
    "gx",
    evidence=(
        "github:ngebodh/GX_tES_EEG_Physio_Behavior GX_DataDownSample.m (names, fields), README.md (people)",
        "find_string 'DSamp.EEGdata' (file id 29243515655: both versions), 'EEG_DS_Struct_' (56836489574)",
    ),
)
def gx(root: Tree) -> Expected:
    """People who came again have a second number; two versions of MATLAB's format."""
    signals = {}
    second = root.files(source=1)
    for session, old, place in (
        ("0101", True, root),
        ("0102", False, root),
        ("1201", False, second),
        ("1902", True, second),
    ):
        values = waves(session, 35, 500)
        write_downsampled(place / f"EEG_DS_Struct_{session}.mat", values, session, version_7_3=not old)
        signals[session] = {"eeg": (1000.0, values)}
    return Expected(
        cases={"0101": "01", "0102": "01", "1201": "12", "1902": "12"},
        contents={session: ["eeg"] for session in signals},
        signals=signals,
    )


@tree(
    "seed-vii",
    evidence=(
        "listing e-extras: find_string 'SEED-VII/EEG_preprocessed' (file ids 47604339300, 52323314182, 51948372205)",
        "find_string 'SEED-VII/EEG_preprocessed' (file ids 54163296469: archive; 52323314182: variables, channels)",
        "find_string 'emotion_label_and_stimuli_order.xlsx' (file ids 24104418532, 60921480153: sheet, 200 Hz)",
    ),
)
def seed_vii(root: Tree) -> Expected:
    """A variable for each clip, called by its number; a sheet with the clips side by side."""
    pack = root.archive("SEED-VII.zip")
    signals = {}
    for subject in ("1", "2", "20"):
        clips = {str(clip): waves(f"{subject} {clip}", 62, 200 + 20 * clip) for clip in (1, 2, 10)}
        scipy.io.savemat(pack / f"SEED-VII/EEG_preprocessed/{subject}.mat", clips, do_compression=True)
        scipy.io.savemat(pack / f"SEED-VII/EEG_features/{subject}.mat", {"de_LDS_1": np.zeros((4, 5, 62))})
        signals[subject] = {f"eeg-{number}": (200.0, values) for number, values in enumerate(clips.values(), start=1)}
    write_sheet(
        pack / "SEED-VII/emotion_label_and_stimuli_order.xlsx",
        [
            {"0": "Video index", **{str(clip): clip for clip in range(1, 6)}},
            {"0": "Emotion label", "1": "Happy", "2": "Neutral", "3": "Disgust", "4": "Sad", "5": "Anger"},
        ],
        header=False,
    )
    return Expected(
        cases={subject: subject for subject in signals},
        contents={subject: list(found) for subject, found in signals.items()},
        signals=signals,
        left=("*/EEG_features/*",),
    )


def write_hypnogram(path: Path, *stages: tuple[float, float, str]) -> Path:
    """EDF+ of annotations and nothing else. stages: onset and duration in s, text."""
    marks = [edfio.EdfAnnotation(onset, duration, text) for onset, duration, text in stages]
    edfio.Edf([], annotations=marks).write(path)
    return path


def write_polysomnography(path: Path, seed: str) -> dict[str, tuple[float | None, Values]]:
    """Channels of 100 and of 1 Hz. Returns what they are."""
    fast = waves(seed, 3, 6000, amplitude=20)
    slow = waves(f"{seed} slow", 2, 60, amplitude=5)
    labels = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "Resp oro-nasal", "Temp rectal")
    channels = [
        edfio.EdfSignal(values, sampling_frequency=rate, label=label, physical_dimension=unit)
        for label, values, rate, unit in zip(
            labels, (*fast, *slow), (100, 100, 100, 1, 1), ("uV", "uV", "uV", "", "DegC"), strict=True
        )
    ]
    edfio.Edf(channels).write(path)
    return {"psg-100hz": (100.0, fast), "psg-1hz": (1.0, slow)}


@tree(
    "sleep-edfx",
    evidence=(
        "listing e-extras: find_string 'SC4001E0-PSG.edf' (file ids 70449702889, 51873189439)",
        "github:torcheeg/torcheeg torcheeg/datasets/module/sleep_stage_detection/sleep_edfx.py (root, telemetry)",
        "find_string 'ST7022J' (file ids 9053436552, 278612136: the scorer's letter)",
    ),
)
def sleep_edfx(root: Tree) -> Expected:
    """Two nights of one person; the letter of the scorer in the name; channels of two rates."""
    top = "sleep-edf-database-expanded-1.0.0"
    signals, annotations = {}, {}
    for folder, recording, hypnogram in (
        ("sleep-cassette", "SC4001E0", "SC4001EC"),
        ("sleep-cassette", "SC4002E0", "SC4002EC"),
        ("sleep-cassette", "SC4011E0", "SC4011EH"),
        ("sleep-telemetry", "ST7022J0", "ST7022JM"),
        ("sleep-telemetry", "ST7041J0", "ST7041JO"),
    ):
        case = recording[:6]
        signals[case] = write_polysomnography(root / f"{top}/{folder}/{recording}-PSG.edf", recording)
        stages = ("Sleep stage W", "Sleep stage 1", "Sleep stage 4", "Sleep stage R", "Movement time", "Sleep stage ?")
        marks = [(30.0 * place, 30.0, text) for place, text in enumerate(stages)]
        write_hypnogram(root / f"{top}/{folder}/{hypnogram}-Hypnogram.edf", *marks)
        words = ("sleep stage W", "sleep stage 1", "sleep stage 4", "sleep stage R", "movement time", "Sleep stage ?")
        annotations[case] = {"stages": [(word, 30.0 * place) for place, word in enumerate(words)]}
    (root / f"{top}/SC-subjects.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    return Expected(
        cases={case: case[:5] for case in signals},
        contents={case: ["psg-100hz", "psg-1hz"] for case in signals},
        signals=signals,
        annotations=annotations,
        left=("*-subjects.xls",),
    )


@tree(
    "tueg",
    evidence=("listing e-extras: github:braindecode/braindecode braindecode/datasets/tuh.py (the tree since v2.0.0)",),
)
def tueg(root: Tree) -> Expected:
    """Two files of one session, and another montage."""
    signals = {}
    for subject, folder, session, montage, token, rate in (
        ("aaaaaaaa", "000", "s001_2015_12_30", "01_tcp_ar", "t000", 250),
        ("aaaaaaaa", "000", "s001_2015_12_30", "01_tcp_ar", "t001", 250),
        ("aaaaaabc", "000", "s004_2013_08_15", "02_tcp_le", "t000", 256),
    ):
        name = f"{subject}_{session[:4]}_{token}"
        reference = "REF" if montage == "01_tcp_ar" else "LE"
        recorded = {
            f"EEG {site}-{reference}": wave(f"{name} {site}", rate, amplitude=40) for site in ("FP1", "F7", "O2")
        }
        write_edf(root / f"edf/{folder}/{subject}/{session}/{montage}/{name}.edf", recorded, rate)
        signals[name] = {"eeg": (float(rate), np.stack(list(recorded.values())))}
    write_lines(root / "AAREADME.txt", "TUH EEG")
    return Expected(
        cases={name: name.partition("_")[0] for name in signals},
        split=dict.fromkeys(signals, "unlabelled"),
        contents={name: ["eeg"] for name in signals},
        signals=signals,
        left=("AAREADME.txt",),
    )


@tree(
    "wesad",
    evidence=(
        "listing e-extras: find_string 'WESAD/S2/S2.pkl' (file ids 56907809993, 71509757257)",
        "find_string '['signal']['wrist']' (file ids 31521354411, 59949287751, 65857743921: keys, rates, labels)",
    ),
)
def wesad(root: Tree) -> Expected:
    """Pickles of Python 2; chest at 700 Hz, wrist at three rates; a label for each sample of the chest."""
    pack = root.archive("WESAD.zip")
    signals, annotations = {}, {}
    for subject in ("S2", "S3", "S17"):
        chest = {name: waves(f"{subject} {name}", count, 2800).T for name, count in
                 (("ACC", 3), ("ECG", 1), ("EMG", 1), ("EDA", 1), ("Temp", 1), ("Resp", 1))}  # fmt: skip
        wrist = {name: waves(f"{subject} wrist {name}", count, 4 * rate).T for name, count, rate in
                 (("ACC", 3, 32), ("BVP", 1, 64), ("EDA", 1, 4), ("TEMP", 1, 4))}  # fmt: skip
        label = np.repeat(np.array([0, 1, 2, 7], np.int32), 700)
        document = {"signal": {"chest": chest, "wrist": wrist}, "label": label, "subject": subject}
        write_pickle(pack / f"WESAD/{subject}/{subject}.pkl", document)
        write_lines(pack / f"WESAD/{subject}/{subject}_quest.csv", "# Subj;1;;")
        signals[subject] = {
            "chest": (700.0, np.concatenate(list(chest.values()), axis=1).T),
            "wrist_acc": (32.0, wrist["ACC"].T),
            "wrist_bvp": (64.0, wrist["BVP"].T),
            "wrist_eda": (4.0, wrist["EDA"].T),
            "wrist_temp": (4.0, wrist["TEMP"].T),
        }
        words = ("0", "baseline state", "stress", "7")
        annotations[subject] = {"condition": [(word, float(place)) for place, word in enumerate(words)]}
    return Expected(
        cases={subject: subject for subject in signals},
        contents={subject: list(found) for subject, found in signals.items()},
        signals=signals,
        annotations=annotations,
        left=("*_quest.csv",),
    )
