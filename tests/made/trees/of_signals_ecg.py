"""Electrocardiograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from trees.recordings import quiet_wfdb, wave, write_wfdb
from trees.table_files import write_lines, write_table
from trees.tree import Expected, Tree, tree

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def leads_of(record: str, count: int) -> dict[str, NDArray[np.float64]]:
    return {lead: wave(f"{record} {lead}", count) for lead in LEADS}


def together(signals: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack(list(signals.values()))


@tree(
    "mimic-iv-ecg",
    evidence=(
        "listing e-extras: find_string 'files/p1000/p10000032/s40689238' (file ids 54517744058, 6362860619)",
        "find_string 'machine_measurements.csv' (file ids 63123159048, 71530196074: files, columns; 6942382818: root)",
    ),
)
def mimic_iv_ecg(root: Tree) -> Expected:
    """Two recordings of one subject; statements in up to 18 columns, most of them empty."""
    pack = root.archive("mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0.zip")
    top = "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0"
    said = {
        ("10000032", "40689238"): ["Sinus rhythm", "Possible right atrial abnormality", "Borderline ECG"],
        ("10000032", "44458630"): ["Sinus rhythm", "Normal ECG"],
        ("10000117", "45090959"): ["Atrial fibrillation with rapid ventricular response"],
    }
    rows, signals = [], {}
    for (subject, study), statements in said.items():
        recorded = leads_of(study, 500)
        write_wfdb(pack / f"{top}/files/p{subject[:4]}/p{subject}/s{study}/{study}", recorded, 500)
        reports = dict.fromkeys((f"report_{number}" for number in range(18)), "")
        reports |= {f"report_{number}": statement for number, statement in enumerate(statements)}
        rows.append(
            {"subject_id": subject, "study_id": study, "cart_id": "6848296", "ecg_time": "2180-07-23 08:44:00"}
            | reports
            | {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch", "rr_interval": 659, "p_onset": 40}
        )
        signals[study] = {"ecg": (500.0, together(recorded))}
    write_table(pack / f"{top}/machine_measurements.csv", rows)
    write_table(pack / f"{top}/record_list.csv", [{"subject_id": "10000032", "study_id": "40689238"}])
    write_lines(pack / f"{top}/RECORDS", "files/p1000/p10000032/s40689238/40689238")
    return Expected(
        cases={study: subject for subject, study in said},
        contents={study: ["ecg"] for _, study in said},
        signals=signals,
        annotations={
            study: {"machine_statements": {f"report_{number}": text for number, text in enumerate(statements)}}
            for (_, study), statements in said.items()
        },
        left=("*record_list.csv", "*RECORDS"),
    )


def write_beats(path: Path, marks: Sequence[tuple[int, str, str]], rate: float) -> Path:
    """A file of WFDB annotations, called PATH.atr. marks: (sample, symbol, note)."""
    samples, symbols, notes = zip(*marks, strict=True)
    words = {"symbol": list(symbols), "aux_note": list(notes)}
    with quiet_wfdb() as wfdb:
        wfdb.wrann(path.name, "atr", np.array(samples), **words, fs=rate, write_dir=str(path.parent))
    return path


@tree(
    "mit-bih-arrhythmia",
    evidence=(
        "listing e-extras: find_string 'mitdb/1.0.0/100.dat' (file ids 61257405815, 71362285354)",
        "github:DeepPSP/torch_ecg torch_ecg/databases/physionet_databases/mitdb.py (symbols, leads, notes)",
    ),
)
def mit_bih_arrhythmia(root: Tree) -> Expected:
    """Two records of one person; leads in another order in 114; rhythm in the notes of the sign +."""
    marks: dict[str, list[tuple[int, str, str]]] = {
        "100": [(18, "+", "(N"), (77, "N", ""), (370, "A", ""), (662, "V", "")],
        "114": [(10, "~", ""), (90, "N", ""), (300, "/", "")],
        "201": [(30, "+", "(AFIB"), (100, "a", ""), (333, "j", "")],
        "202": [(40, "N", ""), (200, "F", ""), (500, "Q", "")],
    }
    words = {
        "N": "normal beat", "A": "premature atrial contraction", "V": "premature ventricular contraction",
        "/": "paced beat", "a": "aberrated atrial premature beat", "j": "nodal escape beat",
        "F": "fusion of ventricular and normal beat", "Q": "unclassifiable beat", "~": "~", "(N": "(N",
        "(AFIB": "(AFIB",
    }  # fmt: skip
    signals, events = {}, {}
    for record, found in marks.items():
        names = ("V5", "MLII") if record == "114" else ("MLII", "V1")
        recorded = {name: wave(f"{record} {name}", 720) for name in names}
        write_wfdb(root / record, recorded, 360)
        write_beats(root / record, found, 360)
        signals[record] = {"ecg": (360.0, together(recorded))}
        events[record] = {"beats": [(words[note or symbol], sample / 360) for sample, symbol, note in found]}
    write_lines(root / "RECORDS", *marks)
    return Expected(
        cases={"100": "100", "114": "114", "201": "201", "202": "201"},
        contents={"100": ["ecg"]},
        signals=signals,
        annotations=events,
        left=("RECORDS",),
    )


@tree(
    "physionet-challenge-2021",
    evidence=(
        "listing e-extras: find_string 'training/chapman_shaoxing/g1' (file ids 18026778468, 760473780)",
        "github:DeepPSP/torch_ecg sample-data/cinc2021/ (headers and mat files)",
    ),
)
def physionet_challenge_2021(root: Tree) -> Expected:
    """MATLAB files of integers; several codes in one line, one twice, one that is not scored; a flat signal."""
    about = "will-two-do-varying-dimensions-in-electrocardiography"
    top = f"{about}-the-physionetcomputing-in-cardiology-challenge-2021-1.0.3"
    pack = root.archive(f"{top}.zip")
    given = {
        "chapman_shaoxing/g1/JS00001": "164889003,59118001,164934002",
        "chapman_shaoxing/g1/JS00344": "426177001,426177001",
        "georgia/g1/E07500": "426783006,55930002",
        "cpsc_2018/g1/A0001": "59118001",
        "cpsc_2018_extra/g1/Q0400": "59118001",
    }
    signals = {}
    for path, codes in given.items():
        record = path.rpartition("/")[2]
        recorded = together(leads_of(record, 500))
        stored = np.round(recorded * (0 if record == "Q0400" else 1000)).astype(np.int16)
        place = pack / f"{top}/training/{path}"
        scipy.io.savemat(f"{place}.mat", {"val": stored}, format="4")
        lines = [f"{record} 12 500 500 12-May-2020 12:33:59"]
        for lead, samples in zip(LEADS, stored, strict=True):
            total = int(samples.sum(dtype=np.int16))
            lines.append(f"{record}.mat 16+24 1000/mv 16 0 {samples[0]} {total} 0 {lead}")
        lines += ["#Age: 85", "#Sex: Male", f"#Dx: {codes}", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"]
        write_lines(place.with_name(f"{record}.hea"), *lines)
        signals[record] = {"ecg": (500.0, stored / 1000)}
    write_lines(pack / f"{top}/training/chapman_shaoxing/g1/RECORDS", "JS00001", "JS00344")
    return Expected(
        cases={record: record for record in signals},
        split=dict.fromkeys(signals, "train"),
        contents={record: ["ecg"] for record in signals},
        signals=signals,
        annotations={
            "JS00001": {"diagnoses": ["atrial fibrillation", "right bundle branch block", "T wave abnormality"]},
            "JS00344": {"diagnoses": ["sinus bradycardia"]},
            "E07500": {"diagnoses": ["sinus rhythm", "55930002"]},
            "A0001": {"diagnoses": ["right bundle branch block"]},
        },
        excluded={"Q0400": "defect.listed"},
        left=("*/RECORDS",),
    )


@tree(
    "sph",
    evidence=(
        "listing e-extras: find_string 'records/A00001.h5' (file ids 63543772211, 57608045310)",
        "file id 63543772211: one array, float16 in mV, order of the leads, 1;1 of A02322, folder records in a tar",
        "find_string '\"AHA_Code\"' (file ids 55212819947: ids of patients, 70125150819: columns)",
    ),
)
def sph(root: Tree) -> Expected:
    """A tar; half precision; statements with modifiers after a plus, and one that stands twice."""
    pack = root.archive("records.tar")
    rows, signals, patients = [], {}, {}
    for record, patient, codes, count in (
        ("A00001", "S00001", "22;23", 5000),
        ("A00002", "S00001", "60+310;147", 6000),
        ("A02322", "S02201", "1;1", 5000),
    ):
        recorded = together(leads_of(record, count)).astype(np.float16)
        with h5py.File(pack / f"records/{record}.h5", "w") as file:
            file.create_dataset("ecg", data=recorded, compression="gzip")
        rows.append({"ECG_ID": record, "AHA_Code": codes, "Patient_ID": patient, "Age": 55, "Sex": "M", "N": count,
                     "Date": "2020-03-04"})  # fmt: skip
        signals[record], patients[record] = {"ecg": (500.0, recorded)}, patient
    write_table(root / "metadata.csv", rows)
    write_lines(
        root / "code.csv",
        "Code,Category,Description",
        "1,A,Normal ECG",
        "22,C,Sinus bradycardia",
        "23,C,Sinus arrhythmia",
        "60,F,Ventricular premature complex(es)",
        "147,L,T-wave abnormality",
        "310,Modifier,Frequent",
    )
    return Expected(
        cases=patients,
        contents={record: ["ecg"] for record in patients},
        signals=signals,
        annotations={
            "A00001": {"statements": ["22", "23"]},
            "A00002": {"statements": ["60+310", "147"]},
            "A02322": {"statements": ["1"]},
        },
        left=("code.csv",),
    )
