"""A small store of made cases: blobs in noise, in the real shard format, and a recipe that trains on it in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from medshard.converters.plan import Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.registry.splits import Part, Split, SplitRow
from medshard.registry.store import (
    CaseRecord,
    Head,
    Manifest,
    ObjectRef,
    Store,
    publish_manifest,
    record_key,
    swap_head,
    write_record,
)
from medshard.registry.store.digests import canonical_json
from medshard.training.evaluate import evaluate
from medshard.training.finetune import finetune
from medshard.training.pretrain import pretrain
from medshard.training.recipe import Recipe

SPACING_MM = (4.0, 1.0, 1.0)
BLOB = (4, 7, 7)
PARTS: dict[tuple[str, str], Part] = {
    ("blobs", "a"): "train",
    ("blobs", "b"): "train",
    ("blobs", "c"): "val",
    ("blobs", "d"): "test",
    ("blobs", "e"): "train",
    ("plain", "p"): "train",
}


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and threads that wait for each other lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def publish_split() -> Callable[..., ObjectRef]:
    return _publish_split


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return _make_store(tmp_path / "store")


@pytest.fixture
def split(store: Store) -> ObjectRef:
    return _publish_split(store, PARTS)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A store in which the tiny recipe has been run. Tests must not change it."""

    store: Store
    split: ObjectRef
    heads: Mapping[str, Head]


@pytest.fixture(scope="session")
def run_recipe() -> Callable[[Path, Recipe], Trained]:
    return _run_recipe


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Trained:
    return _run_recipe(tmp_path_factory.mktemp("trained") / "store", recipe)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "format_version": 1,
            "id": "tiny",
            "title": "Blobs",
            "description": "Blobs in noise.",
            "claim": "Nothing.",
            "seed": 3,
            "threads": 1,
            "classes": ["lesion"],
            "split": {"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
            "model": {
                "patch_size": [8, 32, 32],
                "token_size": [4, 8, 8],
                "hidden_size": 24,
                "mlp_size": 24,
                "layers": 3,
                "heads": 2,
                "decoder_hidden_size": 12,
                "decoder_layers": 1,
                "decoder_heads": 2,
                "features": 2,
            },
            "pretraining": {"entries": ["blobs", "plain"], "steps": 2, "batch_size": 2},
            "finetuning": {
                "entries": ["blobs"],
                "steps": 2,
                "batch_size": 2,
                "validate_every": 1,
                "validation_windows": 2,
            },
            "evaluation": {"entries": ["blobs"], "parts": ["test", "val"], "surface_tolerance_mm": 1.0},
        }
    )


def _make_store(path: Path) -> Store:
    """Entry `blobs`: cases a to d with lesions and e with two channels. Entry `plain`: case p without labels."""
    store = Store.open(path)
    blobs = [_blob("blobs", name, seed=number) for number, name in enumerate("abcd")]
    _publish_entry(store, "blobs", [*blobs, _blob("blobs", "e", seed=9, channels=2)])
    _publish_entry(store, "plain", [_blob("plain", "p", seed=5, labelled=False)])
    return store


def _run_recipe(path: Path, recipe: Recipe) -> Trained:
    store = _make_store(path)
    split = _publish_split(store, PARTS)
    stages = {"pretrained": pretrain, "finetuned": finetune, "evaluation": evaluate}
    heads = {name: stage(store, recipe, split, progress=False) for name, stage in stages.items()}
    return Trained(store=store, split=split, heads=heads)


def _blob(entry: str, case: str, *, seed: int, channels: int = 1, labelled: bool = True) -> Sample:
    generator = np.random.default_rng(seed)
    shape = (10, 40, 36)
    image = generator.integers(-50, 50, (channels, *shape)).astype(np.int16)
    label = np.zeros((1, *shape), np.uint8)
    box = []
    for size, extent in zip(shape, BLOB, strict=True):
        start = int(generator.integers(1, size - extent))
        box.append(slice(start, start + extent))
    label[0, *box] = 1
    image[:, label[0] > 0] += 200
    rows = np.argwhere(label[0] > 0).astype(np.int32)
    labels = {"lesion": SampleLabel(array=label, kind="semantic", classes={1: "lesion"}, examined=("lesion",))}
    return Sample(
        entry=entry,
        case=case,
        patient=f"patient-{case}",
        modality="MR",
        unit="arbitrary",
        image=image,
        affine=np.array([[0.0, 0, 1, 5], [0, 1, 0, -7], [4, 0, 0, 2], [0, 0, 0, 1]]),
        labels=labels if labelled else {},
        foreground={"lesion": np.insert(rows, 0, 1, axis=1)} if labelled else {},
        statistics=IntensityStatistics(
            mean=float(image.mean()), std=float(image.std()), minimum=float(image.min()), maximum=float(image.max())
        ),
    )


def _publish_entry(store: Store, entry: str, samples: Sequence[Sample], plan: Plan | None = None) -> Head:
    plan = plan or Plan(
        name="default", entry=entry, recipe_digest="0" * 64, channels=("image",), spacing_mm=SPACING_MM,
        inner_chunk=(8, 16, 16),
    )  # fmt: skip
    with store.scratch() as scratch:
        for sample in samples:
            encode_sample(sample, plan, scratch / sample.case)
        pieces = [(sample.case, scratch / sample.case) for sample in samples]
        pack_shard(pieces, {"medshard": {"entry": entry}}, scratch / "shard.zip")
        shard = store.publish_file(scratch / "shard.zip", ".zip")
    records = []
    for sample in samples:
        key = record_key(
            stage="shards", code_version="1", entry=entry, case=sample.case, parameters=None, plan=plan.digest
        )
        records.append(
            CaseRecord(
                stage="shards", entry=entry, case=sample.case, key=key, code_version="1", plan=plan.digest, output=shard
            )
        )
        write_record(store, records[-1])
    rows = index_rows(store.path(shard), store.path(shard).name, {record.case: record.ref for record in records})
    arrow, table = write_index(rows)
    manifest = Manifest(stage="shards", entry=entry, code_version="1", plan="default", records=tuple(records))
    head = Head(
        manifest=publish_manifest(store, manifest),
        attachments={
            "plan": store.publish_bytes(canonical_json(plan.to_json()), ".json"),
            "index": store.publish_bytes(arrow, ".arrow"),
            "table": store.publish_bytes(table, ".parquet"),
            "shard-00000": shard,
        },
    )
    swap_head(store, entry, "shards", head, "default")
    return head


def _publish_split(
    store: Store, parts: dict[tuple[str, str], Part], *, components: dict[tuple[str, str], str] | None = None
) -> ObjectRef:
    """A split table; each case is a component of its own unless `components` says otherwise."""
    rows = tuple(
        SplitRow(
            entry=entry,
            case=case,
            patient=f"patient-{case}",
            component=(components or {}).get((entry, case), f"{entry}/patient-{case}"),
            part=part,
        )
        for (entry, case), part in parts.items()
    )
    return store.publish_bytes(Split(rows).to_bytes(), ".split.jsonl")
