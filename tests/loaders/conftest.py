"""A store with three small entries, built from real scans where geometry and voxels matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pydicom.data
import pytest

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.converters.volume import Mesh
from medshard.registry.store import Head, Manifest, RecordRef, Store, publish_manifest, swap_head
from medshard.registry.store.digests import canonical_json, sha256_json

Publish = Callable[[Store, Plan, Sequence[Sequence[Sample]]], Head]
RNG = np.random.default_rng(7)
OBLIQUE = np.array([[0.3, 0.1, 0.9, -98], [0.2, 1.1, -0.2, -134], [2.9, -0.3, 0.1, -72], [0, 0, 0, 1]], np.float64)


def publish_shards(store: Store, plan: Plan, shards: Sequence[Sequence[Sample]]) -> Head:
    """What the shards stage does at its end: pack, index, attach, swap the HEAD."""
    attachments = {"plan": store.publish_bytes(canonical_json(plan.to_json()), ".json")}
    rows = []
    for number, samples in enumerate(shards):
        with store.scratch() as scratch:
            pieces = [(sample.case, scratch / str(n)) for n, sample in enumerate(samples)]
            for sample, (_, folder) in zip(samples, pieces, strict=True):
                encode_sample(sample, plan, folder)
            pack_shard(pieces, {"medshard": {"format_version": 1}}, scratch / "shard.zip")
            ref = store.publish_file(scratch / "shard.zip", ".zip")
        records = {sample.case: record_of(sample) for sample in samples}
        rows += index_rows(store.path(ref), store.path(ref).name, records)
        attachments[f"shard-{number:05d}"] = ref
    arrow, parquet = write_index(rows)
    attachments["index"] = store.publish_bytes(arrow, ".arrow")
    attachments["table"] = store.publish_bytes(parquet, ".parquet")
    manifest = Manifest(stage="shards", entry=plan.entry, code_version="1", plan=plan.digest, records=())
    head = Head(manifest=publish_manifest(store, manifest), attachments=attachments)
    swap_head(store, plan.entry, "shards", head, plan.name)
    return head


def record_of(sample: Sample) -> RecordRef:
    return RecordRef(key=sha256_json([sample.entry, sample.case]), digest=sha256_json(sample.case))


def plan_of(entry: str, **changes: object) -> Plan:
    plan = Plan(name="default", entry=entry, recipe_digest="0", channels=("image",), spacing_mm=None)
    return replace(plan, **changes)


def foreground_rows(label: np.ndarray, step: int) -> np.ndarray:
    rows = np.argwhere(label[0])[::step]
    table = np.c_[label[0][tuple(rows.T)], rows].astype(np.int32)
    return table[np.lexsort(table.T[::-1])]


def brain(case: str, crop: tuple[slice, slice, slice], **changes: object) -> Sample:
    """A crop of a real head MR template; white matter is 3, grey matter 1, on an oblique grid."""
    data = Path(find_spec("nilearn").submodule_search_locations[0]) / "datasets" / "data"
    names = ("t1", "gm", "wm")
    image, grey, white = (
        np.asarray(nibabel.load(data / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").dataobj).transpose(
            2, 1, 0
        )[crop]
        for name in names
    )
    label = (np.where(white > 127, 3, 0) + np.where((grey > 127) & (white <= 127), 1, 0)).astype(np.uint8)[None]
    voxels = image.astype(np.int16)[None]
    inside = voxels[voxels != 0] * 0.5
    sample = Sample(
        entry="brains",
        case=case,
        patient=case,
        modality="MR",
        unit="arbitrary",
        image=voxels,
        slope=0.5,
        affine=OBLIQUE,
        labels={
            "tissue": SampleLabel(
                array=label,
                kind="semantic",
                classes={1: "grey matter", 3: "white matter"},
                examined=("grey matter", "white matter"),
            )
        },
        foreground={"tissue": foreground_rows(label, 97)},
        statistics=IntensityStatistics(
            mean=float(inside.mean()), std=float(inside.std()), minimum=float(inside.min()), maximum=float(inside.max())
        ),
    )
    return replace(sample, **changes)


def ct_slice(case: str) -> Sample:
    """A real CT slice without a label."""
    slice_ = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    hounsfield = slice_.pixel_array.astype(np.int16) + np.int16(slice_.RescaleIntercept)
    return Sample(
        entry="slices",
        case=case,
        patient=case,
        modality="CT",
        unit="HU",
        image=hounsfield[None, None],
        affine=np.diag([5.0, 0.66, 0.66, 1.0]),
        statistics=IntensityStatistics(mean=0.0, std=400.0, minimum=-1024.0, maximum=1500.0),
    )


def noise(case: str, *, channels: int = 1) -> Sample:
    """Random numbers with a small, rare lesion and a layer of instances; half of the chunks are empty."""
    image = RNG.integers(-1000, 1000, (channels, 37, 70, 61)).astype(np.int16)
    image[:, :, :35] = 0
    label = np.zeros((1, 37, 70, 61), np.uint8)
    label[0, 5:7, 60:63, 20:22] = 2
    return Sample(
        entry="noises",
        case=case,
        patient=case,
        modality="CT",
        unit="HU",
        image=image,
        affine=np.diag([-2.0, 1.0, 1.5, 1.0]),
        labels={
            "lesion": SampleLabel(
                array=label, kind="semantic", classes={2: "lesion"}, examined=("lesion", "white matter")
            ),
            "cells": SampleLabel(
                array=label.astype(np.uint32) * 70_000, kind="instance", classes={140_000: "cell"}, examined=("cell",)
            ),
        },
        foreground={"lesion": foreground_rows(label, 1), "cells": np.zeros((0, 4), np.int32)},
        statistics=IntensityStatistics(mean=0.0, std=500.0, minimum=-1000.0, maximum=999.0),
    )


def tooth() -> Sample:
    """A mesh without an image."""
    mesh = Mesh(vertices=RNG.normal(size=(3000, 3)), faces=RNG.integers(0, 3000, (5000, 3)))
    return Sample(
        entry="noises",
        case="tooth",
        patient="t",
        modality="",
        unit="",
        image=None,
        affine=np.eye(4),
        meshes={"surface": mesh},
    )


def build_store(root: Path) -> Store:
    """brains: 3 cases in 2 shards. slices: 1 unlabelled plane. noises: 2 cases and a mesh."""
    store = Store.open(root)
    crops = {name: (slice(60, 60 + 10 * n), slice(30, 130), slice(40, 121)) for n, name in enumerate("abc", start=3)}
    brains = [brain(f"case/{name}", crop) for name, crop in crops.items()]
    publish_shards(store, plan_of("brains"), [brains[:2], brains[2:]])
    ct = IntensityRule(scheme="dataset", clip=(-900.0, 400.0), mean=-100.0, std=250.0)
    publish_shards(store, plan_of("slices", intensity={"CT": ct}), [[ct_slice("small")]])
    publish_shards(store, plan_of("noises", intensity={"CT": ct}), [[noise("one"), noise("two"), tooth()]])
    return store


@pytest.fixture(scope="session")
def shard_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Shared by all tests of the loaders: read only."""
    return build_store(tmp_path_factory.mktemp("loaders") / "store")


@pytest.fixture(scope="session")
def publish() -> Publish:
    return publish_shards


@pytest.fixture(scope="session")
def sample_makers() -> dict[str, Callable[..., Sample]]:
    return {"brain": brain, "ct_slice": ct_slice, "noise": noise, "tooth": tooth}


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    return plan_of
