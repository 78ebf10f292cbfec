"""Stores with made samples for the benchmarks of the reader: one shard, and an index that may list it many times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medshard.converters.index_format import IndexRow
from medshard.converters.plan import Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.converters.volume import Array
from medshard.registry.store import Head, Manifest, RecordRef, Store, publish_manifest, swap_head
from medshard.registry.store.digests import canonical_json, sha256_json

ENTRY = "made"
FOREGROUND_ROWS = 1024  # of a class, at most


def blocks_of_classes(shape: tuple[int, int, int], classes: int) -> Array:
    """(1, z, y, x) uint8: boxes of the classes 1, 2, ... side by side, a sixteenth of each cell left free."""
    per_axis = int(np.ceil(classes ** (1 / 3)))
    axes = [np.arange(size) * per_axis // size for size in shape]
    cell = axes[0][:, None, None] * per_axis**2 + axes[1][:, None] * per_axis + axes[2] + 1
    label = np.where(cell <= classes, cell, 0).astype(np.uint8)
    label[::16] = 0
    return label[None]


def made_sample(case: str, image: Array, label: Array) -> Sample:
    """A CT-like sample with its foreground table, as the shards stage would make it."""
    rng = np.random.default_rng(0)
    rows = []
    for value in np.unique(label[label > 0]).tolist():
        places = np.argwhere(label[0] == value)
        places = places[np.sort(rng.choice(len(places), min(len(places), FOREGROUND_ROWS), replace=False))]
        rows.append(np.c_[np.full(len(places), value), places])
    table = np.concatenate(rows).astype(np.int32)
    names = {int(value): f"class {value}" for value in np.unique(label[label > 0])}
    return Sample(
        entry=ENTRY,
        case=case,
        patient=case,
        modality="CT",
        unit="HU",
        image=image,
        affine=np.eye(4),
        labels={
            "organ": SampleLabel(array=label, kind="semantic", classes=names, examined=tuple(names.values())),
        },
        foreground={"organ": table},
        statistics=IntensityStatistics(mean=0.0, std=300.0, minimum=-1024.0, maximum=3000.0),
    )


def publish(store: Store, samples: Sequence[Sample], *, plan: Plan | None = None, times: int = 1) -> Head:
    """Pack the samples into one shard. times: how often the index lists each of them, under other names."""
    plan = plan or Plan(name="default", entry=ENTRY, recipe_digest="0", channels=("image",), spacing_mm=None)
    with store.scratch() as scratch:
        pieces = [(sample.case, scratch / str(number)) for number, sample in enumerate(samples)]
        for sample, (_, folder) in zip(samples, pieces, strict=True):
            encode_sample(sample, plan, folder)
        pack_shard(pieces, {"medshard": {"format_version": 1}}, scratch / "shard.zip")
        shard = store.publish_file(scratch / "shard.zip", ".zip")
    records = {sample.case: RecordRef(key=sha256_json(sample.case), digest="0" * 64) for sample in samples}
    rows = index_rows(store.path(shard), store.path(shard).name, records)
    arrow, table = write_index(rows if times == 1 else [_renamed(row, n) for n in range(times) for row in rows])
    attachments = {
        "plan": store.publish_bytes(canonical_json(plan.to_json()), ".json"),
        "shard-00000": shard,
        "index": store.publish_bytes(arrow, ".arrow"),
        "table": store.publish_bytes(table, ".parquet"),
    }
    manifest = Manifest(stage="shards", entry=plan.entry, code_version="1", plan=plan.digest, records=())
    head = Head(manifest=publish_manifest(store, manifest), attachments=attachments)
    swap_head(store, plan.entry, "shards", head, plan.name)
    return head


def _renamed(row: IndexRow, number: int) -> IndexRow:
    key = sha256_json([row["case"], number])
    case = f"{row['case']}-{number:06d}"
    return {**row, "case": case, "patient": f"patient-{number:06d}", "sample_id": key[:32], "record_key": key}
