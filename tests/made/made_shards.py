"""Stores with shards of made samples, as the shards stage leaves them: records, manifest, packing, index, HEAD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medshard.converters.plan import Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.registry.store import Head, Manifest, Store, publish_manifest, swap_head
from medshard.registry.store.digests import canonical_json, sha256_json
from medshard.registry.store.records import CaseRecord


def made_sample(entry: str, case: str, *, seed: int = 0, shape: tuple[int, int, int] = (20, 50, 40)) -> Sample:
    """A smooth CT-like image with a label of two classes and its foreground rows; half of the image is empty."""
    rng = np.random.default_rng(seed)
    image = np.cumsum(rng.integers(-9, 10, (1, *shape)), axis=-1).astype(np.int16)
    image[:, :, : shape[1] // 2] = 0
    label = np.zeros((1, *shape), np.uint8)
    label[0, 3:8, 30:40, 10:20] = 1
    label[0, 10:12, 31:35, 22:25] = 7
    places = np.argwhere(label[0])[::5]
    table = np.c_[label[0][tuple(places.T)], places].astype(np.int32)
    return Sample(
        entry=entry,
        case=case,
        patient=case,
        modality="CT",
        unit="HU",
        image=image,
        affine=np.diag([3.0, 1.0, 1.0, 1.0]),
        labels={"organ": SampleLabel(array=label, kind="semantic", classes={1: "liver", 7: "spleen"}, examined=())},
        foreground={"organ": table[np.lexsort(table.T[::-1])]},
        statistics=IntensityStatistics(mean=0.0, std=10.0, minimum=-99.0, maximum=99.0),
    )


def record_of(sample: Sample, plan: Plan) -> CaseRecord:
    return CaseRecord(
        stage="shards",
        entry=sample.entry,
        case=sample.case,
        key=sha256_json([sample.entry, sample.case]),
        code_version="1",
        plan=plan.digest,
    )


def plan_of(entry: str) -> Plan:
    return Plan(name="default", entry=entry, recipe_digest="0", channels=("image",), spacing_mm=None)


def publish_shards(store: Store, plan: Plan, shards: Sequence[Sequence[Sample]]) -> Head:
    """One shard of each group of samples."""
    attachments = {"plan": store.publish_bytes(canonical_json(plan.to_json()), ".json")}
    records = [record_of(sample, plan) for samples in shards for sample in samples]
    refs = {record.case: record.ref for record in records}
    rows = []
    for number, samples in enumerate(shards):
        with store.scratch() as scratch:
            pieces = [(sample.case, scratch / str(n)) for n, sample in enumerate(samples)]
            for sample, (_, folder) in zip(samples, pieces, strict=True):
                encode_sample(sample, plan, folder)
            pack_shard(pieces, {"medshard": {"format_version": 1}}, scratch / "shard.zip")
            ref = store.publish_file(scratch / "shard.zip", ".zip")
        rows += index_rows(
            store.path(ref), store.path(ref).name, {sample.case: refs[sample.case] for sample in samples}
        )
        attachments[f"shard-{number:05d}"] = ref
    arrow, parquet = write_index(rows)
    attachments["index"] = store.publish_bytes(arrow, ".arrow")
    attachments["table"] = store.publish_bytes(parquet, ".parquet")
    manifest = Manifest(stage="shards", entry=plan.entry, code_version="1", plan=plan.digest, records=tuple(records))
    head = Head(manifest=publish_manifest(store, manifest), attachments=attachments)
    swap_head(store, plan.entry, "shards", head, plan.name)
    return head
