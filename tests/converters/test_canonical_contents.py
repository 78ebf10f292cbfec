"""Slides, videos, signals, labels on meshes, tables, texts and annotations come back from canonical Zarr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.canonical import read_volume, write_volume
from medshard.converters.geometry import canonical_volume
from medshard.converters.signal import Signal
from medshard.converters.slide import Slide, SlideLevel
from medshard.converters.sources import SourceFile
from medshard.converters.table import table_of
from medshard.converters.video import Video
from medshard.converters.volume import Image, Mesh, MeshLabel, Volume

RNG = np.random.default_rng(5)
BOX = {"concept": "polyp", "word": "Polyp", "z_min": -0.5, "y_min": 1.5, "x_min": 2.5, "z_max": 0.5, "y_max": 4.5}


def slide() -> Slide:
    return Slide(
        levels=(
            SlideLevel(shape=(4000, 6000), downsample=(1.0, 1.0), tile=(256, 256)),
            SlideLevel(shape=(1000, 1500), downsample=(4.0, 4.0), tile=(256, 256)),
        ),
        microns_per_pixel=(0.5, 0.25),
        magnification=20.0,
        tissue=RNG.random((40, 60)) > 0.5,
        tissue_downsample=(100.0, 100.0),
        thumbnail=RNG.integers(0, 255, (40, 60, 3), np.uint8),
        labelled=True,
        format="svs",
        files=(SourceFile(path="a/b.svs", sha256="0" * 64, size=12),),
        attributes={"Scanner": "made"},
    )


def whole_case() -> Volume:
    signal = Signal(
        array=RNG.integers(-500, 500, (2, 1000), np.int16),
        rate_hz=250.0,
        channels=("I", "II"),
        units=("mV", "mV"),
        slope=(0.005, 0.0025),
        intercept=(0.0, 1.0),
        start_s=1.5,
        gaps=((3, 9),),
    )
    video = Video(
        shape=(3, 10, 12),
        time_s=np.arange(7) / 25,
        key_frames=np.arange(7) == 0,
        codec="h264",
        rate_hz=25.0,
        files=(SourceFile(path="v.mp4", sha256="1" * 64, size=99),),
    )
    mesh = Mesh(
        vertices=RNG.random((4, 3)),
        faces=np.array([[0, 1, 2], [1, 2, 3]]),
        space="ras",
        labels={"teeth": MeshLabel(array=np.array([0, 11, 12, 0], np.int32), per="vertex", classes={11: "tooth"})},
    )
    boxes = AnnotationTable(
        kind="boxes",
        table=rows_table("boxes", [BOX | {"x_max": 6.5}]),
        examined=("polyp",),
        image="frame",
        rater="one",
    )
    return Volume(
        entry="made",
        case="c1",
        patient="p1",
        meshes={"jaw": mesh},
        slides={"slide": slide()},
        videos={"video": video},
        signals={"ecg": signal},
        tables={"rows": table_of(pa.table({"a": [1, 2, None], "b": ["x", "", "z"]}), "csv")},
        texts={"note": table_of(pa.table({"text": ["Lungs are clear."]}), "txt")},
        annotations={"polyps": boxes},
    )


def test_everything_comes_back(tmp_path: Path) -> None:
    case = whole_case()
    write_volume(case, tmp_path / "case.zarr")
    back = read_volume(tmp_path / "case.zarr")
    assert (back.entry, back.case, back.patient) == ("made", "c1", "p1")
    for kind in ("slides", "videos", "signals", "meshes"):
        for name, content in getattr(case, kind).items():
            found = getattr(back, kind)[name]
            for field in content.__dataclass_fields__:
                given, read = getattr(content, field), getattr(found, field)
                if isinstance(given, np.ndarray):
                    assert read.dtype == given.dtype
                    np.testing.assert_array_equal(read, given)
                elif field != "labels":
                    assert read == given
    teeth, expected = back.meshes["jaw"].labels["teeth"], case.meshes["jaw"].labels["teeth"]
    np.testing.assert_array_equal(teeth.array, expected.array)
    assert (teeth.per, teeth.classes) == ("vertex", {11: "tooth"})
    assert back.tables["rows"].read().to_pydict() == {"a": [1, 2, None], "b": ["x", "", "z"]}
    assert back.texts["note"].read()["text"].to_pylist() == ["Lungs are clear."]
    polyps = back.annotations["polyps"]
    assert polyps.table.to_pylist() == case.annotations["polyps"].table.to_pylist()
    assert (polyps.kind, polyps.examined, polyps.image, polyps.rater) == ("boxes", ("polyp",), "frame", "one")


def test_equal_cases_have_equal_bytes(tmp_path: Path) -> None:
    case = whole_case()
    for name in ("one", "two"):
        write_volume(case, tmp_path / name, threads=1 if name == "one" else 2)
    files = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert files[0] == files[1]


def test_other_programs_read_it_without_medshard(tmp_path: Path) -> None:
    case = whole_case()
    write_volume(case, tmp_path / "case.zarr")
    root = zarr.open_group(tmp_path / "case.zarr", mode="r")
    np.testing.assert_array_equal(root["signals/ecg/samples"][...], case.signals["ecg"].array)
    np.testing.assert_array_equal(root["videos/video/time_s"][...], case.videos["video"].time_s)
    assert pq.read_table(tmp_path / "case.zarr/annotations/polyps.parquet")["concept"].to_pylist() == ["polyp"]


def test_places_follow_their_image_into_canonical_orientation() -> None:
    """A box and a point around one bright voxel are around it still after axes were swapped and flipped."""
    array = np.zeros((1, 3, 4, 5), np.int16)
    array[0, 1, 3, 0] = 100
    # z runs to the left, y to inferior, x to posterior.
    affine = np.array([[-2.0, 0, 0, 0], [0, 0, -1, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])
    box = {"z_min": 0.5, "z_max": 1.5, "y_min": 2.5, "y_max": 3.5, "x_min": -0.5, "x_max": 0.5}
    point = {"z": 1.0, "y": 3.0, "x": 0.0}
    volume = Volume(
        entry="made",
        case="c",
        patient="p",
        images={"ct": Image(array=array, affine=affine)},
        annotations={
            "box": AnnotationTable(kind="boxes", table=rows_table("boxes", [box]), image="ct"),
            "point": AnnotationTable(kind="landmarks", table=rows_table("landmarks", [point]), image="ct"),
            "elsewhere": AnnotationTable(kind="landmarks", table=rows_table("landmarks", [point])),
        },
    )
    turned = canonical_volume(volume)
    place = np.argwhere(turned.images["ct"].array[0])[0].astype(float)
    row = turned.annotations["point"].table.to_pylist()[0]
    assert [row[axis] for axis in "zyx"] == place.tolist()
    row = turned.annotations["box"].table.to_pylist()[0]
    assert [(row[f"{axis}_min"], row[f"{axis}_max"]) for axis in "zyx"] == [(at - 0.5, at + 0.5) for at in place]
    assert turned.annotations["elsewhere"] == volume.annotations["elsewhere"]
