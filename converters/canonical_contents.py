"""What a case has besides voxels, in canonical Zarr: slides, videos, signals, meshes, tables, texts and annotations.

    slides/<name>/                "medshard": levels, pixel size, files; `tissue` (y, x), `thumbnail` (y, x, 3)
    videos/<name>/                "medshard": frame shape, codec, source files; `time_s` (n,) and `key_frames` (n,)
    signals/<name>/               "medshard": rate, channels, units, scale; `samples` (c, t) or (trial, c, t)
    meshes/<name>/                `vertices`, `faces`; labels/<label>: one number for each vertex or face
    tables/<name>.parquet, texts/<name>.parquet, annotations/<name>.parquet

Slides and videos stay what they are: the files named here lie in the raw tree, and are decoded when they are sharded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.signal import Signal
from medshard.converters.slide import Slide, SlideLevel
from medshard.converters.sources import SourceFile
from medshard.converters.table import Table
from medshard.converters.video import Video
from medshard.converters.volume import Array, AttributeValue, Mesh, MeshLabel, Volume
from medshard.converters.zarr_nodes import ArrayForm, table_form, write_array, write_group

CONTENTS = ("meshes", "slides", "videos", "signals", "tables", "texts", "annotations")

SAMPLES_PER_CHUNK = 1 << 17
FRAMES_PER_CHUNK = 1 << 17
_META = b"medshard"


def write_contents(volume: Volume, folder: Path, *, threads: int | None) -> None:
    """Everything of a case but its images and label layers."""
    writers: dict[str, Callable[[Path, Any], None]] = {
        "meshes": partial(write_mesh, threads=threads),
        "slides": partial(write_slide, threads=threads),
        "videos": partial(write_video, threads=threads),
        "signals": partial(write_signal, threads=threads),
    }
    for kind, write in writers.items():
        named = getattr(volume, kind)
        if named:
            write_group(folder / kind)
        for name, content in named.items():
            write(folder / kind / name, content)
    for kind, tables in (("tables", volume.tables), ("texts", volume.texts)):
        for name, table in tables.items():
            write_table(folder / kind / f"{name}.parquet", table)
    for name, annotation in volume.annotations.items():
        write_annotation(folder / "annotations" / f"{name}.parquet", annotation)


def read_contents(root: Any, folder: Path, case: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields of a `Volume` that `write_contents` wrote. root: the Zarr group; case: its "medshard" attributes."""
    nodes = {"meshes": read_mesh, "slides": read_slide, "videos": read_video, "signals": read_signal}
    files = {"tables": read_table, "texts": read_table, "annotations": read_annotation}
    return {
        **{kind: {name: read(root[f"{kind}/{name}"]) for name in case.get(kind, ())} for kind, read in nodes.items()},
        **{
            kind: {name: read(folder / kind / f"{name}.parquet") for name in case.get(kind, ())}
            for kind, read in files.items()
        },
    }


def write_slide(folder: Path, slide: Slide, *, threads: int | None) -> None:
    facts = {
        "levels": [asdict(level) for level in slide.levels],
        "channels": slide.channels,
        "dtype": slide.dtype,
        "microns_per_pixel": slide.microns_per_pixel,
        "magnification": slide.magnification,
        "tissue_downsample": slide.tissue_downsample,
        "labelled": slide.labelled,
        "format": slide.format,
        "files": [asdict(file) for file in slide.files],
        "attributes": dict(sorted(slide.attributes.items())),
    }
    write_group(folder, {"medshard": facts})
    write_array(folder / "tissue", slide.tissue.astype(np.uint8), _whole(slide.tissue, "yx"), threads=threads)
    write_array(folder / "thumbnail", slide.thumbnail, _whole(slide.thumbnail, "yxc"), threads=threads)


def read_slide(group: Any) -> Slide:
    facts = _medshard(group)
    pixel = facts["microns_per_pixel"]
    return Slide(
        levels=tuple(
            SlideLevel(shape=_pair(level["shape"]), downsample=_pair(level["downsample"]), tile=_pair(level["tile"]))
            for level in facts["levels"]
        ),
        channels=facts["channels"],
        dtype=facts["dtype"],
        microns_per_pixel=None if pixel is None else _pair(pixel),
        magnification=facts["magnification"],
        tissue=group["tissue"][...].astype(bool),
        tissue_downsample=_pair(facts["tissue_downsample"]),
        thumbnail=group["thumbnail"][...],
        labelled=facts["labelled"],
        format=facts["format"],
        files=_source_files(facts["files"]),
        attributes=_attributes(facts["attributes"]),
    )


def write_video(folder: Path, video: Video, *, threads: int | None) -> None:
    facts = {
        "shape": list(video.shape),
        "dtype": video.dtype,
        "codec": video.codec,
        "rate_hz": video.rate_hz,
        "files": [asdict(file) for file in video.files],
    }
    write_group(folder, {"medshard": facts})
    rows = min(max(1, video.frames), FRAMES_PER_CHUNK)
    form = ArrayForm(axes=("frame",), inner_chunk=(rows,), shuffle="shuffle")
    write_array(folder / "time_s", video.time_s, form, threads=threads)
    write_array(folder / "key_frames", video.key_frames.astype(np.uint8), form, threads=threads)


def read_video(group: Any) -> Video:
    facts = _medshard(group)
    c, y, x = facts["shape"]
    return Video(
        shape=(c, y, x),
        dtype=facts["dtype"],
        time_s=group["time_s"][...],
        key_frames=group["key_frames"][...].astype(bool),
        codec=facts["codec"],
        rate_hz=facts["rate_hz"],
        files=_source_files(facts["files"]),
    )


def write_signal(folder: Path, signal: Signal, *, threads: int | None) -> None:
    facts = {
        "rate_hz": signal.rate_hz,
        "channels": list(signal.channels),
        "units": list(signal.units),
        "slope": list(signal.slope),
        "intercept": list(signal.intercept),
        "start_s": signal.start_s,
        "gaps": [list(gap) for gap in signal.gaps],
        "attributes": dict(sorted(signal.attributes.items())),
    }
    write_group(folder, {"medshard": facts})
    chunk = (*(1 for _ in signal.array.shape[:-1]), max(1, min(signal.samples, SAMPLES_PER_CHUNK)))
    form = ArrayForm(axes=("trial", "c", "t")[-signal.array.ndim :], inner_chunk=chunk, shuffle="bitshuffle")
    write_array(folder / "samples", signal.array, form, threads=threads)


def read_signal(group: Any) -> Signal:
    facts = _medshard(group)
    return Signal(
        array=group["samples"][...],
        rate_hz=facts["rate_hz"],
        channels=tuple(facts["channels"]),
        units=tuple(facts["units"]),
        slope=tuple(facts["slope"]),
        intercept=tuple(facts["intercept"]),
        start_s=facts["start_s"],
        gaps=tuple((start, stop) for start, stop in facts["gaps"]),
        attributes=_attributes(facts["attributes"]),
    )


def write_mesh(folder: Path, mesh: Mesh, *, threads: int | None) -> None:
    labels = {
        name: {
            "per": label.per,
            "kind": label.kind,
            "classes": {str(value): concept for value, concept in sorted(label.classes.items())},
            "examined": list(label.examined),
        }
        for name, label in mesh.labels.items()
    }
    write_group(folder, {"medshard": {"unit": mesh.unit, "space": mesh.space, "labels": labels}})
    write_array(folder / "vertices", mesh.vertices, table_form(mesh.vertices, ("vertex", "xyz")), threads=threads)
    write_array(folder / "faces", mesh.faces, table_form(mesh.faces, ("face", "corner")), threads=threads)
    if mesh.labels:
        write_group(folder / "labels")
    for name, label in mesh.labels.items():
        rows = max(1, min(len(label.array), SAMPLES_PER_CHUNK))
        form = ArrayForm(axes=(label.per,), inner_chunk=(rows,), shuffle="shuffle")
        write_array(folder / "labels" / name, label.array, form, threads=threads)


def read_mesh(group: Any) -> Mesh:
    facts = _medshard(group)
    return Mesh(
        vertices=group["vertices"][...],
        faces=group["faces"][...],
        unit=facts["unit"],
        space=facts["space"],
        labels={
            name: MeshLabel(
                array=group[f"labels/{name}"][...],
                per=label["per"],
                kind=label["kind"],
                classes={int(value): concept for value, concept in label["classes"].items()},
                examined=tuple(label["examined"]),
            )
            for name, label in facts["labels"].items()
        },
    )


def write_table(path: Path, table: Table) -> None:
    from medshard.converters.tables.reading import write_parquet  # noqa: PLC0415 - scans need none of it

    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(table, path)


def read_table(path: Path) -> Table:
    """A table of a case; its rows stay on disk."""

    def batches() -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(use_threads=False)

    return Table(schema=pq.read_schema(path), batches=batches, format="parquet")


def write_annotation(path: Path, annotation: AnnotationTable) -> None:
    """Parquet with what is not in the rows under "medshard" in its metadata; equal annotations give equal bytes."""
    facts = {
        "kind": annotation.kind,
        "examined": list(annotation.examined),
        "image": annotation.image,
        "rater": annotation.rater,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {_META: json.dumps(facts, separators=(",", ":"))}
    pq.write_table(annotation.table.replace_schema_metadata(meta), path, compression="zstd")


def read_annotation(path: Path) -> AnnotationTable:
    table = pq.read_table(path, use_threads=False)
    facts = json.loads(table.schema.metadata[_META])
    return AnnotationTable(
        kind=facts["kind"],
        table=table.replace_schema_metadata(None),
        examined=tuple(facts["examined"]),
        image=facts["image"],
        rater=facts["rater"],
    )


def _whole(array: Array, axes: str) -> ArrayForm:
    chunk = tuple(max(1, side) for side in array.shape)
    return ArrayForm(axes=tuple(axes), inner_chunk=chunk, shuffle="shuffle")


def _medshard(group: Any) -> dict[str, Any]:
    facts: dict[str, Any] = group.attrs["medshard"]
    return facts


def _pair(values: Any) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _source_files(documents: list[dict[str, Any]]) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(**document) for document in documents)


def _attributes(stored: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
