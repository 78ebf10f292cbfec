"""Batches: tensors of one shape are stacked in shared memory, everything ragged stays a list, nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from made_items import build_item_store
from torch.utils.data import DataLoader, get_worker_info

from medshard.errors import CatalogError, StoreError
from medshard.loaders import ShardDataset, collate_samples
from medshard.loaders.companions import Signal
from medshard.loaders.views import CaseView, WholeView
from medshard.registry.store import Head, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, publish: Callable[..., Head]) -> Store:
    return build_item_store(tmp_path_factory.mktemp("batches") / "store", publish)


def test_tensors_are_stacked_and_the_rest_is_listed() -> None:
    items = [
        {"image": torch.full((1, 2), n), "case_id": f"e/{n}", "rows": {"a": [n]}, "number": n, "rate": 0.5}
        for n in range(3)
    ]
    batch = collate_samples(items)
    assert torch.equal(batch["image"], torch.tensor([[[0, 0]], [[1, 1]], [[2, 2]]]))
    assert batch["case_id"] == ["e/0", "e/1", "e/2"]
    assert batch["rows"] == [{"a": [0]}, {"a": [1]}, {"a": [2]}]
    assert batch["number"].tolist() == [0, 1, 2]
    assert batch["rate"].tolist() == [0.5] * 3


def test_what_an_item_lacks_is_none() -> None:
    batch = collate_samples([{"signal": torch.zeros(2), "text": "a"}, {"text": "b"}])
    assert batch["signal"][1] is None
    assert torch.equal(batch["signal"][0], torch.zeros(2))


def test_different_shapes_are_refused_by_name_or_listed() -> None:
    items = [{"image": torch.zeros(1, n), "case_id": f"e/{n}"} for n in (2, 3)]
    with pytest.raises(CatalogError, match=r"batch\.shapes") as caught:
        collate_samples(items)
    assert caught.value.details == {"e/2": "(1, 2)", "e/3": "(1, 3)"}
    assert [tuple(image.shape) for image in collate_samples(items, ragged=["image"])["image"]] == [(1, 2), (1, 3)]


def test_stored_numbers_of_different_width_meet_in_the_wider() -> None:
    items = [{"image": torch.tensor([200], dtype=torch.uint8)}, {"image": torch.tensor([-1000], dtype=torch.int16)}]
    batch = collate_samples(items)
    assert batch["image"].dtype == torch.int16
    assert batch["image"].flatten().tolist() == [200, -1000]


def test_whole_volumes_come_as_lists_and_batches_of_records_as_they_are(store: Store) -> None:
    whole = ShardDataset(store, ["scans"], view=WholeView())
    batch = next(iter(DataLoader(whole, batch_size=3, collate_fn=partial(collate_samples, ragged=("image", "label")))))
    assert sorted(image.shape[1] for image in batch["image"]) == [24, 28, 32]
    beside = [Signal("ecg", 100), "annotations/beats", "tables/blood"]
    records = ShardDataset(store, ["recordings"], view=CaseView(), with_=beside, samples_per_epoch=4)
    batch = next(iter(DataLoader(records, batch_size=4, collate_fn=collate_samples)))
    assert batch["signals/ecg"].shape == (4, 2, 100)
    assert batch["signals/ecg/rate_hz"].tolist() == [1000.0] * 4
    assert [rows["concept"] for rows in batch["annotations/beats"]] == [["beat"]] * 4
    assert [item.keys() for item in batch["tables/blood"]] == [{"name": 0, "value": 0}.keys()] * 4
    assert batch["tables/blood"][0]["name"] == ["K", "Na"]


def _collated_here(items: list[dict[str, Any]]) -> dict[str, Any]:
    batch = collate_samples(items)
    batch["is_shared"] = batch["image"].is_shared()
    batch["is_worker"] = get_worker_info() is not None
    return batch


def test_workers_stack_straight_into_shared_memory(store: Store) -> None:
    dataset = ShardDataset(store, ["scans"], patch_size=(8, 16, 16), samples_per_epoch=4)
    loader = DataLoader(dataset, 2, num_workers=1, collate_fn=_collated_here, multiprocessing_context="fork")
    for batch in loader:
        assert batch["is_worker"]
        assert batch["is_shared"]


def test_a_damaged_shard_is_named_by_the_worker_that_met_it(tmp_path: Any, publish: Callable[..., Head]) -> None:
    store = build_item_store(tmp_path / "store", publish)
    dataset = ShardDataset(store, ["scans"], patch_size=(24, 60, 50), samples_per_epoch=12, foreground=0.0)
    row = next(dataset.rows())
    image = row.arrays["image"]
    shard = next(path for path in (tmp_path / "store").rglob(row.shard))
    damaged = bytearray(shard.read_bytes())
    # The sizes at the beginning of its first chunk no longer are those of a chunk.
    begin = image.offset + int(np.min(image.chunk_offsets))
    damaged[begin : begin + 16] = bytes(16)
    shard.chmod(0o644)
    shard.write_bytes(damaged)
    loader = DataLoader(dataset, 2, num_workers=2, collate_fn=collate_samples, multiprocessing_context="fork")
    # torch cannot make an error of several parts anew in the parent, and raises its text as a RuntimeError.
    with pytest.raises((StoreError, RuntimeError), match=r"StoreError\[shard\.corrupt\]") as caught:
        list(loader)
    message = str(caught.value)
    assert row.name in message
    assert row.shard in message
    assert "image" in message
    assert f"{begin} to " in message
