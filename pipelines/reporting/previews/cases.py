"""The cases of an entry that a preview shows, out of the store, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.annotation_table import PLACED, AnnotationTable
from medshard.converters.canonical import read_volume
from medshard.converters.signal import Signal
from medshard.converters.table import table_of
from medshard.converters.volume import Image, LabelLayer, Mesh, MeshLabel, Rescale, Volume
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.stages.raw import raw_files
from medshard.registry.store.manifests import Manifest, read_head, read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord

Stage = Literal["volumes", "shards"]


@dataclass(frozen=True, kw_only=True)
class ShownCase:
    """A case with what previews need beside it.

    places: of a sample that is a stack of tiles or frames. files: path in the raw tree -> place on disk, of slides and
    videos. warnings: of its record.
    """

    volume: Volume
    places: pa.Table | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShownCases:
    """cases: evenly spaced ones of `total`; each is read when it is asked for."""

    cases: Iterator[ShownCase]
    total: int


def cases_to_show(store: Store, entry_id: str, *, stage: Stage, plan: str, most_cases: int) -> ShownCases:
    """Cases of a stage: of `volumes` as they were converted, of `shards` as they went into the shards of a plan.

    Raises StoreError[stage.not_built].
    """
    if stage == "shards":
        return _samples(store, entry_id, plan, most_cases)
    good = read_manifest(store, require_head(store, entry_id, "volumes").manifest).good
    kept = [record for record in good if record.output is not None]
    chosen = [kept[number] for number in spread(len(kept), most_cases)]
    files = _kept_files(store, entry_id, chosen)
    return ShownCases(cases=(_converted(store, record, files) for record in chosen), total=len(kept))


def spread(count: int, most: int) -> list[int]:
    """At most that many evenly spaced numbers below `count`."""
    kept = min(count, most)
    return [number * count // kept for number in range(kept)]


def _converted(store: Store, record: CaseRecord, files: Mapping[str, Path]) -> ShownCase:
    if record.output is None:
        raise ValueError(record.case)
    wanted = {path: files[path] for path in record.facts.get("kept", ()) if path in files}
    return ShownCase(
        volume=read_volume(store.path(record.output), record.facts.get("row")), files=wanted, warnings=record.warnings
    )


def _kept_files(store: Store, entry_id: str, records: list[CaseRecord]) -> dict[str, Path]:
    """Where the sources of slides and videos lie; nothing where none is shown, or the raw stage is gone."""
    head = read_head(store, entry_id, "raw")
    if head is None or not any(record.facts.get("kept") for record in records):
        return {}
    raw: Manifest = read_manifest(store, head.manifest)
    return {path: file.location for path, file in raw_files(store, raw).items()}


def _samples(store: Store, entry_id: str, plan: str, most_cases: int) -> ShownCases:
    index = SampleIndex.open(store, entry_id, plan)
    records = read_manifest(store, require_head(store, entry_id, "cases").manifest)
    trusted = {
        record.case: all(image["trusted_geometry"] for image in record.facts["images"].values())
        for record in records.good
    }
    sharded = read_manifest(store, index.head.manifest)
    warnings = {record.case: record.warnings for record in sharded.good}
    rows = (index.row(number) for number in spread(len(index), most_cases))
    return ShownCases(
        cases=(_sample_case(index, row, trusted.get(row.case, True), warnings.get(row.case, ())) for row in rows),
        total=len(index),
    )


def _sample_case(index: SampleIndex, row: SampleRow, trusted: bool, warnings: tuple[str, ...]) -> ShownCase:
    """A sample as a volume again, to be drawn like one."""
    places = index.read_rows(row, "places") if "places" in row.arrays else None
    contents = row.contents
    volume = Volume(
        entry=row.entry,
        case=row.case,
        patient=row.patient,
        images=_sample_images(index, row, trusted and places is None),
        labels=_sample_labels(index, row),
        meshes=_sample_meshes(index, row),
        signals={name: _signal(index, row, name, facts) for name, facts in contents.get("signals", {}).items()},
        tables={name: table_of(index.read_rows(row, f"tables/{name}"), "shard") for name in contents.get("tables", {})},
        texts={name: table_of(index.read_rows(row, f"texts/{name}"), "shard") for name in contents.get("texts", {})},
        annotations={
            name: AnnotationTable(
                kind=facts["kind"],
                table=index.read_rows(row, f"annotations/{name}"),
                examined=tuple(facts["examined"]),
                # Places are indices of the volume's image and not of the sample, on which they are not drawn; what
                # was judged of that image holds of the sample too.
                image=facts["image"] if facts["kind"] in PLACED else None,
                rater=facts["rater"],
            )
            for name, facts in contents.get("annotations", {}).items()
        },
    )
    return ShownCase(volume=volume, places=places, warnings=warnings)


def _sample_images(index: SampleIndex, row: SampleRow, trusted: bool) -> dict[str, Image]:
    if "image" not in row.arrays:
        return {}
    rescale = Rescale(slope=(row.slope,), intercept=(row.intercept,), unit=row.unit)
    array = index.read_array(row, "image")
    image = Image(array=array, affine=row.affine, rescale=rescale, modality=row.modality, trusted_geometry=trusted)
    return {"sample": image}


def _sample_labels(index: SampleIndex, row: SampleRow) -> dict[str, LabelLayer]:
    return {
        name: LabelLayer(
            array=index.read_array(row, f"labels/{name}"),
            affine=row.affine,
            kind="instance" if label.kind == "instance" else "semantic",
            classes=dict(label.classes),
            examined=label.examined,
            also=label.also,
            ignore=label.ignore,
        )
        for name, label in row.labels.items()
    }


def _sample_meshes(index: SampleIndex, row: SampleRow) -> dict[str, Mesh]:
    """Surfaces; a shard does not say in which space they lie."""
    names = [name.split("/")[1] for name in row.arrays if name.startswith("meshes/") and name.endswith("/vertices")]
    return {
        name: Mesh(
            vertices=cast(NDArray[np.float64], index.read_array(row, f"meshes/{name}/vertices")),
            faces=cast(NDArray[np.int64], index.read_array(row, f"meshes/{name}/faces")),
            unit="unknown",
            labels={
                label: MeshLabel(
                    array=index.read_array(row, f"meshes/{name}/labels/{label}"),
                    per=facts["per"],
                    kind=facts["kind"],
                    classes={int(value): concept for value, concept in facts["classes"].items()},
                    examined=tuple(facts["examined"]),
                )
                for label, facts in row.contents.get("meshes", {}).get(name, {}).items()
            },
        )
        for name in names
    }


def _signal(index: SampleIndex, row: SampleRow, name: str, facts: Mapping[str, Any]) -> Signal:
    return Signal(
        array=index.read_array(row, f"signals/{name}"),
        rate_hz=facts["rate_hz"],
        channels=tuple(facts["channels"]),
        units=tuple(facts["units"]),
        slope=tuple(facts["slope"]),
        intercept=tuple(facts["intercept"]),
        start_s=facts["start_s"],
        gaps=tuple((start, stop) for start, stop in facts["gaps"]),
    )
