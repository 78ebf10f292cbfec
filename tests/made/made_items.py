"""Samples of every sort that a data set can show, with what lies beside their voxels; real scans and a real ECG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pyarrow as pa
import pydicom
import pydicom.data

from medshard.converters.annotation_table import AnnotationKind, AnnotationTable, rows_table
from medshard.converters.plan import ClipRule, PairRule, Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.sampling.sample import SampleView, SourceGrid
from medshard.converters.signal import Signal
from medshard.converters.table import table_of
from medshard.converters.volume import Mesh
from medshard.registry.store import Head, Store

Publish = Callable[[Store, Plan, Sequence[Sequence[Sample]]], Head]
GRID = np.array([[0.3, 0.1, 0.9, -98], [0.2, 1.1, -0.2, -134], [2.9, -0.3, 0.1, -72], [0, 0, 0, 1]], np.float64)
FRAMES, CLIP = 24, 8
TILES = 12


def build_item_store(root: Path, publish: Publish) -> Store:
    """scans: 3 annotated heads. recordings: 2 ECGs without an image. films, slides, pairs: one case each."""
    store = Store.open(root)
    scans = [scan(f"case-{name}", 24 + 4 * n) for n, name in enumerate("abc")]
    publish(store, _plan("scans"), [scans])
    publish(store, _plan("recordings", channels=()), [[recording("r1", 0), recording("r2", 700)]])
    publish(store, _plan("films", clips=ClipRule(length=CLIP), kind="clips"), [[film()]])
    publish(store, _plan("slides"), [[slide()]])
    publish(store, _plan("pairs", pairs=PairRule(relation="registration", others=("after",)), kind="pairs"), [[pair()]])
    return store


def _plan(entry: str, **changes: object) -> Plan:
    plan = Plan(name="default", entry=entry, recipe_digest="0", channels=("image",), spacing_mm=None)
    return replace(plan, **changes)


@lru_cache
def head_scan(depth: int) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a real head MR template, (depth, 60, 50) int16, and its grey (1) and white matter (2)."""
    data = Path(find_spec("nilearn").submodule_search_locations[0]) / "datasets" / "data"
    crop = (slice(60, 60 + depth), slice(50, 110), slice(50, 100))
    image, grey, white = (
        np.asarray(nibabel.load(data / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").dataobj).transpose(
            2, 1, 0
        )[crop]
        for name in ("t1", "gm", "wm")
    )
    label = np.where(white > 127, 2, np.where(grey > 127, 1, 0)).astype(np.uint8)
    return image.astype(np.int16), label


def annotation(kind: AnnotationKind, rows: list[dict[str, object]], **more: object) -> AnnotationTable:
    return AnnotationTable(kind=kind, table=rows_table(kind, rows), **more)


def scan(case: str, depth: int) -> Sample:
    """A head with a box, a landmark, two reports, questions, classes, a surface and a table.

    The volume that the rows count on has voxels of half the size: index v there is index (v - 0.5) / 2 here.
    """
    image, label = head_scan(depth)
    volume = GRID @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    rows = np.argwhere(label)[::53]
    foreground = np.c_[label[tuple(rows.T)], rows].astype(np.int32)
    box = {
        f"{axis}_{end}": edge for axis, edges in BOX.items() for end, edge in zip(("min", "max"), edges, strict=True)
    }
    inside = image[image != 0]
    return Sample(
        entry="scans",
        case=case,
        patient=case,
        modality="MR",
        unit="arbitrary",
        image=image[None],
        affine=GRID,
        labels={
            "tissue": SampleLabel(
                array=label[None],
                kind="semantic",
                classes={1: "grey matter", 2: "white matter"},
                examined=("grey matter", "white matter"),
            )
        },
        foreground={"tissue": foreground[np.lexsort(foreground.T[::-1])]},
        grids={"image": SourceGrid(shape=tuple(2 * n for n in image.shape), affine=volume)},
        annotations={
            "findings": annotation("boxes", [{"concept": "white matter", **box}], image="image"),
            "points": annotation("landmarks", [{"concept": "nasion", "z": 10.5, "y": 4.5, "x": 20.5}], image="image"),
            "report": annotation(
                "report",
                [{"section": "findings", "text": f"A head, {case}."}, {"section": "impression", "text": "Normal."}],
            ),
            "asked": annotation(
                "question-answers",
                [{"question": f"Question {n}?", "answer": f"Answer {n}"} for n in range(3)],
            ),
            "diagnosis": annotation(
                "classes", [{"concept": "glioma", "state": "absent"}, {"concept": "healthy", "state": "present"}]
            ),
        },
        meshes={"skull": Mesh(vertices=(GRID @ [[3.0], [4.0], [5.0], [1.0]])[:3].T, faces=np.zeros((1, 3), np.int64))},
        tables={"blood": table_of(pa.table({"name": ["Hb"], "value": [13.5]}), "csv")},
        statistics=IntensityStatistics(
            mean=float(inside.mean()), std=float(inside.std()), minimum=float(inside.min()), maximum=float(inside.max())
        ),
    )


BOX = {"z": (3.5, 7.5), "y": (9.5, 19.5), "x": (29.5, 49.5)}
"""In voxels of the volume, which are half as large as those of the sample."""


def ecg() -> np.ndarray:
    """(2, 10000) int16: the first two channels of a real ECG."""
    file = pydicom.dcmread(pydicom.data.get_testdata_file("waveform_ecg.dcm"))
    group = file.WaveformSequence[0]
    stored = np.frombuffer(group.WaveformData, "<i2").reshape(-1, group.NumberOfWaveformChannels)
    return np.ascontiguousarray(stored.T[:2])


def recording(case: str, begin: int) -> Sample:
    """An ECG of 1000 samples and its rhythm, without an image."""
    signal = Signal(
        array=ecg()[:, begin : begin + 1000],
        rate_hz=1000.0,
        channels=("I", "II"),
        units=("mV", "mV"),
        slope=(0.00125, 0.0025),
        intercept=(0.0, 0.5),
    )
    return Sample(
        entry="recordings",
        case=case,
        patient=case,
        modality="",
        unit="",
        image=None,
        affine=np.eye(4),
        signals={"ecg": signal},
        annotations={"beats": annotation("events", [{"concept": "beat", "onset_s": 0.25}])},
        tables={"blood": table_of(pa.table({"name": ["K", "Na"], "value": [4.1, 139.0]}), "csv")},
    )


def film() -> Sample:
    """24 frames in 3 clips, whose grey value is their number; every third frame of the video was kept."""
    frames = np.broadcast_to(np.arange(FRAMES, dtype=np.uint8)[None, :, None, None], (3, FRAMES, 20, 30))
    places = pa.table(
        {
            "frame": pa.array(3 * np.arange(FRAMES), pa.int64()),
            "time_s": pa.array(np.arange(FRAMES) / 10),
            "clip": pa.array(np.arange(FRAMES) // CLIP, pa.int64()),
        }
    )
    tool = {f"{axis}_{end}": edge for axis in "zyx" for end, edge in (("min", -0.5), ("max", 4.5))}
    tool["z_max"] = 0.5
    return Sample(
        entry="films",
        case="film",
        patient="film",
        modality="endoscopy",
        unit="",
        image=np.ascontiguousarray(frames),
        affine=np.eye(4),
        places=places,
        annotations={
            "tools": annotation(
                "boxes",
                [{"concept": "grasper", "frame": 6, **tool}, {"concept": "grasper", "frame": 7, **tool}],
                image="film",
            )
        },
        statistics=IntensityStatistics(mean=12.0, std=6.0, minimum=0.0, maximum=FRAMES - 1.0),
    )


def slide() -> Sample:
    """12 tiles whose grey value is their number; the seventh shows a tumour."""
    tiles = np.broadcast_to(np.arange(TILES, dtype=np.uint8)[None, :, None, None], (3, TILES, 16, 16))
    label = np.zeros((1, TILES, 16, 16), np.uint8)
    label[0, 7, 3:6, 3:6] = 1
    rows = np.argwhere(label[0])
    return Sample(
        entry="slides",
        case="slide",
        patient="slide",
        modality="histopathology",
        unit="",
        image=np.ascontiguousarray(tiles),
        affine=np.eye(4),
        labels={"tumour": SampleLabel(array=label, kind="semantic", classes={1: "tumour"}, examined=("tumour",))},
        foreground={"tumour": np.c_[np.ones(len(rows)), rows].astype(np.int32)},
        places=pa.table(
            {
                "y": pa.array(16 * np.arange(TILES), pa.int64()),
                "x": pa.array(np.zeros(TILES), pa.int64()),
                "tissue": pa.array(np.ones(TILES), pa.float32()),
            }
        ),
        statistics=IntensityStatistics(mean=6.0, std=3.0, minimum=0.0, maximum=TILES - 1.0),
    )


def pair() -> Sample:
    """The head of `scan`, and "after" it: the same moved by (2, 3, 4) voxels, as its affine says, with a label."""
    before = scan("head", 24)
    shift = np.eye(4)
    shift[:3, 3] = (2, 3, 4)
    after = SampleView(
        image=before.image[:, 2:, 3:, 4:],
        modality="MR",
        unit="arbitrary",
        slope=1.0,
        intercept=0.0,
        quantisation_error=0.0,
        affine=GRID @ shift,
        labels={"tissue": replace(before.labels["tissue"], array=before.labels["tissue"].array[:, 2:, 3:, 4:])},
        statistics=before.statistics,
    )
    return replace(before, entry="pairs", views={"after": after})
