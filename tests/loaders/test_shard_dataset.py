"""Items of a `ShardDataset`: the right voxels at the right place, the same in every process, labels that mean it."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureTyped, RandFlipd, RandGaussianNoised, RandRotate90d
from range_server import RangeServer
from torch.utils.data import DataLoader

from medshard.converters.plan import IntensityRule, Plan
from medshard.converters.samples import Sample
from medshard.errors import CaseError, CatalogError, SplitError, StoreError
from medshard.loaders import SampleStream, ShardDataset
from medshard.loaders.class_balance import BalanceRule
from medshard.loaders.remote_store import RemoteStore
from medshard.loaders.shard_reader import SampleIndex, open_store
from medshard.registry.store import Head, Store

ALL = ["brains", "slices", "noises"]
PATCH = (16, 48, 40)
Makers = dict[str, Callable[..., Sample]]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
        for key, value in one.items()
    )


def start_of(item: dict[str, Any], whole: dict[str, Any]) -> tuple[int, ...]:
    """The index in the whole volume of an item's first voxel, by their affines alone."""
    index = np.linalg.solve(whole["affine"].numpy(), item["affine"].numpy()[:, 3])[:3]
    assert np.abs(index - np.round(index)).max() < 1e-6
    return tuple(np.round(index).astype(int).tolist())


def cut(array: np.ndarray, start: tuple[int, ...], size: tuple[int, ...], outside: float) -> np.ndarray:
    """A window by an independent rule: voxel by voxel index arithmetic on a whole array (c, z, y, x)."""
    axes = [np.arange(a, a + n) for a, n in zip(start, size, strict=True)]
    inside = [(axis >= 0) & (axis < extent) for axis, extent in zip(axes, array.shape[1:], strict=True)]
    clipped = [np.clip(axis, 0, extent - 1) for axis, extent in zip(axes, array.shape[1:], strict=True)]
    values = array[(slice(None), *np.ix_(*clipped))]
    z, y, x = inside
    return np.where(z[:, None, None] & y[:, None] & x, values, np.asarray(outside, values.dtype))


def test_an_item_has_the_promised_types_and_shapes(shard_store: Store) -> None:
    item = ShardDataset(shard_store, ALL, patch_size=PATCH)[0]
    found = {key: (value.dtype, tuple(value.shape)) for key, value in item.items() if isinstance(value, torch.Tensor)}
    assert found == {
        "image": (torch.float32, (1, *PATCH)),
        "label": (torch.int64, (1, *PATCH)),
        "examined": (torch.bool, (3,)),
        "has_label": (torch.bool, ()),
        "affine": (torch.float64, (4, 4)),
    }
    entry, case = item["case_id"].split("/", 1)
    assert item["sample_id"] == SampleIndex.open(shard_store, entry).find(case).sample_id
    assert 0 <= item["augmentation_seed"] < 2**32


@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_a_window_is_the_part_of_the_volume_that_its_affine_says(shard_store: Store, foreground: float) -> None:
    dataset = ShardDataset(shard_store, ["brains", "noises"], patch_size=(33, 48, 40), foreground=foreground)
    for n in range(40):
        item = dataset[n]
        whole = dataset.whole(*item["case_id"].split("/", 1))
        start = start_of(item, whole)
        label = cut(whole["label"].numpy(), start, (33, 48, 40), 0)
        np.testing.assert_array_equal(item["label"].numpy(), label)
        # What the image shows outside is tested below; here, that its inside is in the right place.
        inside = cut(np.ones_like(whole["label"].numpy()), start, (33, 48, 40), 0).astype(bool)
        image = cut(whole["image"].numpy(), start, (33, 48, 40), 0)
        np.testing.assert_array_equal(item["image"].numpy()[inside], image[inside])


def test_the_whole_case_has_the_values_of_the_sample(shard_store: Store, sample_makers: Makers) -> None:
    sample = sample_makers["brain"]("case/a", (slice(60, 90), slice(30, 130), slice(40, 121)))
    whole = ShardDataset(shard_store, ["brains"]).whole("brains", "case/a")
    assert sample.statistics is not None
    expected = (sample.image * 0.5 - sample.statistics.mean) / sample.statistics.std
    np.testing.assert_allclose(whole["image"].numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(whole["affine"].numpy(), sample.affine)
    np.testing.assert_array_equal(
        whole["label"].numpy(), sample.labels["tissue"].array.astype(int) // 3 + (sample.labels["tissue"].array > 0)
    )
    with pytest.raises(StoreError, match=r"sample\.unknown"):
        ShardDataset(shard_store, ["brains"]).whole("brains", "case/z")


def test_intensities_follow_the_rule_of_the_modality(shard_store: Store, sample_makers: Makers) -> None:
    hounsfield = sample_makers["ct_slice"]("small").image
    normalised = ShardDataset(shard_store, ["slices"]).whole("slices", "small")["image"].numpy()
    np.testing.assert_allclose(normalised, (np.clip(hounsfield, -900, 400) + 100) / 250, atol=1e-6)
    physical = ShardDataset(shard_store, ["slices"], normalise=False).whole("slices", "small")["image"].numpy()
    np.testing.assert_array_equal(physical, hounsfield)


def test_outside_of_a_small_volume_is_what_the_modality_shows_where_nothing_is(shard_store: Store) -> None:
    air = ShardDataset(shard_store, ["slices"], patch_size=(4, 96, 96))[0]
    assert torch.equal(air["image"][0, [0, 2, 3]], torch.full((3, 96, 96), (-900 + 100) / 250))
    assert air["image"][0, 1].std() > 0.1
    physical = ShardDataset(shard_store, ["slices"], patch_size=(4, 96, 96), normalise=False)[0]
    assert physical["image"][0, 0].unique().tolist() == [-1024.0]
    brain = ShardDataset(shard_store, ["brains"], patch_size=(80, 16, 16))
    item = brain[0]
    whole = brain.whole(*item["case_id"].split("/", 1))
    assert item["image"][0, 0].unique().tolist() == [float(whole["image"].min())]  # an exact zero of the template
    assert item["label"][0, 0].max() == 0


def test_a_sample_without_a_label_says_so(shard_store: Store) -> None:
    item = ShardDataset(shard_store, ["slices"], patch_size=PATCH, classes=["lesion"], foreground=1.0)[5]
    assert not item["has_label"]
    assert not item["examined"].any()
    assert item["label"].abs().sum() == 0


def test_classes_are_numbered_over_all_entries(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL)
    assert dataset.classes == ("grey matter", "white matter", "lesion")
    brain = dataset.whole("brains", "case/a")
    lesion = dataset.whole("noises", "one")
    assert set(brain["label"].unique().tolist()) == {0, 1, 2}
    assert set(lesion["label"].unique().tolist()) == {0, 3}
    assert brain["examined"].tolist() == [True, True, False]
    assert lesion["examined"].tolist() == [False, True, True]


def test_classes_can_be_chosen_and_the_rest_is_background(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL, classes=["lesion", "white matter"])
    raw = SampleIndex.open(shard_store, "brains")
    stored = raw.read_array(raw.find("case/a"), "labels/tissue")
    expected = np.where(stored == 3, 2, 0)
    np.testing.assert_array_equal(dataset.whole("brains", "case/a")["label"].numpy(), expected)
    with pytest.raises(CatalogError, match=r"dataset\.classes"):
        ShardDataset(shard_store, ALL, classes=["lesion", "lesion"])


def test_a_layer_can_be_chosen_for_one_entry(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL, layer={"noises": "cells"})
    assert dataset.classes == ("grey matter", "white matter", "cell")
    cells = dataset.whole("noises", "two")["label"]
    assert (cells == 3).sum() == 2 * 3 * 2
    assert (cells != 0).sum() == 2 * 3 * 2
    with pytest.raises(CatalogError, match=r"dataset\.layer") as caught:
        ShardDataset(shard_store, ALL, layer="liver")
    assert caught.value.details == {"brains": "tissue", "slices": "no labels", "noises": "cells, lesion"}


def test_foreground_windows_hold_their_class_and_classes_take_turns(shard_store: Store) -> None:
    small = (4, 4, 4)
    lesions = ShardDataset(shard_store, ["noises"], patch_size=small, foreground=1.0)
    assert all((lesions[n]["label"] == 1).any() for n in range(60))
    anywhere = ShardDataset(shard_store, ["noises"], patch_size=small, foreground=0.0)
    assert np.mean([bool((anywhere[n]["label"] == 1).any()) for n in range(200)]) < 0.05
    third = ShardDataset(shard_store, ["noises"], patch_size=small, foreground=0.33)
    assert 0.25 < np.mean([bool((third[n]["label"] == 1).any()) for n in range(400)]) < 0.41
    # One voxel: the window is the voxel that was drawn, and classes are balanced however large they are.
    voxels = ShardDataset(shard_store, ["brains"], patch_size=(1, 1, 1), foreground=1.0)
    drawn = Counter(int(voxels[n]["label"]) for n in range(400))
    assert set(drawn) == {1, 2}
    assert abs(drawn[1] - 200) < 50


def test_entries_are_mixed_by_weight(shard_store: Store) -> None:
    dataset = ShardDataset(
        shard_store, ALL, patch_size=(1, 2, 2), foreground=0, weights={"brains": 1, "slices": 2, "noises": 1}
    )
    drawn = Counter(dataset[n]["case_id"].split("/")[0] for n in range(2000))
    assert abs(drawn["slices"] - 1000) < 100
    assert abs(drawn["brains"] - 500) < 90
    assert set(drawn) == set(ALL)
    only = ShardDataset(
        shard_store, ALL, patch_size=(1, 2, 2), weights={"brains": 0, "slices": 2, "noises": 0}, samples_per_epoch=30
    )
    assert {item["case_id"] for item in only} == {"slices/small"}


def test_a_mesh_alone_is_left_out_and_counted(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ["noises"])
    assert dataset.samples == [("noises", "one"), ("noises", "two")]
    assert [(out.entry, out.case, out.reason) for out in dataset.left_out] == [
        ("noises", "tooth", "the sample has no image")
    ]
    with pytest.raises(CatalogError, match=r"dataset\.empty"):
        ShardDataset(shard_store, ["noises"], cases=[("noises", "tooth")])


def test_cases_restrict_and_missing_ones_are_counted(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ["brains"], cases=[("brains", "case/b"), ("brains", "gone"), ("other", "x")])
    assert dataset.samples == [("brains", "case/b")]
    assert [(out.case, out.reason) for out in dataset.left_out] == [("gone", "plan 'default' has no sample of it")]
    assert {dataset[n]["case_id"] for n in range(5)} == {"brains/case/b"}


def test_a_part_of_a_split_restricts(shard_store: Store, tmp_path: Path) -> None:
    parts = {"case/a": "train", "case/b": "test", "case/c": "train"}
    lines = [
        json.dumps({"entry": "brains", "case": case, "patient": case, "component": case, "part": part})
        for case, part in parts.items()
    ]
    table = tmp_path / "split.jsonl"
    table.write_text("\n".join(lines) + "\n")
    ref = shard_store.publish_bytes(table.read_bytes(), ".split.jsonl")
    for split in (ref, table, str(table)):
        train = ShardDataset(shard_store, ["brains"], split=split, part="train")
        assert train.samples == [("brains", "case/a"), ("brains", "case/c")]
    both = ShardDataset(shard_store, ["brains"], split=ref, part="train", cases=[("brains", "case/c")])
    assert both.samples == [("brains", "case/c")]
    with pytest.raises(SplitError, match=r"split\.part.*'val'"):
        ShardDataset(shard_store, ["brains"], split=ref, part="val")
    with pytest.raises(SplitError, match=r"split\.unknown"):
        ShardDataset(shard_store, ["brains"], split=tmp_path / "none.jsonl", part="train")
    with pytest.raises(CatalogError, match=r"dataset\.split"):
        ShardDataset(shard_store, ["brains"], split=ref)


def test_a_split_that_names_other_patients_than_the_shards_is_refused(shard_store: Store, tmp_path: Path) -> None:
    rows = [("case/a", "case/a", "train"), ("case/b", "another", "test"), ("gone", "nobody", "test")]
    table = tmp_path / "split.jsonl"
    table.write_text(
        "".join(
            json.dumps({"entry": "brains", "case": case, "patient": patient, "component": case, "part": part}) + "\n"
            for case, patient, part in rows
        )
    )
    for part in ("train", "test"):
        with pytest.raises(SplitError, match=r"split\.other_patient(.|\n)*case/b +another in the split, case/b in the"):
            ShardDataset(shard_store, ["slices", "brains"], split=table, part=part)


def test_different_numbers_of_channels_name_the_culprits(
    tmp_path: Path, publish: Callable[..., Head], sample_makers: Makers, make_plan: Callable[..., Plan]
) -> None:
    store = Store.open(tmp_path / "store")
    noise = sample_makers["noise"]
    publish(store, make_plan("noises"), [[noise("one"), noise("pair", channels=2), noise("three")]])
    with pytest.raises(CaseError, match=r"dataset\.channels") as caught:
        ShardDataset(store, ["noises"])
    assert caught.value.details == {"1 channels": "2 samples", "2 channels": "noises/pair"}
    pair = ShardDataset(store, ["noises"], patch_size=PATCH, cases=[("noises", "pair")])
    assert pair[0]["image"].shape == (2, *PATCH)


def test_a_rule_without_numbers_is_refused(
    tmp_path: Path, publish: Callable[..., Head], sample_makers: Makers, make_plan: Callable[..., Plan]
) -> None:
    store = Store.open(tmp_path / "store")
    publish(
        store, make_plan("noises", intensity={"CT": IntensityRule(scheme="dataset")}), [[sample_makers["noise"]("one")]]
    )
    with pytest.raises(StoreError, match=r"plan\.intensity.*noises/one"):
        ShardDataset(store, ["noises"])[0]


def test_the_length_is_the_number_of_patches_that_tile_the_samples(shard_store: Store) -> None:
    # (30, 100, 81) in patches of (16, 48, 40): 2 x 3 x 3
    assert len(ShardDataset(shard_store, ["brains"], patch_size=PATCH, cases=[("brains", "case/a")])) == 18
    assert len(ShardDataset(shard_store, ["slices"])) == 4
    dataset = ShardDataset(shard_store, ALL, patch_size=PATCH, samples_per_epoch=7)
    assert len(dataset) == 7
    assert sum(1 for _ in dataset) == 7


def test_epochs_go_on_in_the_stream(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL, patch_size=PATCH, samples_per_epoch=10)
    expected = dataset[23]
    dataset.set_epoch(2)
    assert same(dataset[3], expected)
    with pytest.raises(IndexError):
        dataset[-1]


def test_an_item_does_not_depend_on_what_was_read_before(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL, patch_size=PATCH)
    forwards = [dataset[n] for n in range(12)]
    again = pickle.loads(pickle.dumps(dataset))
    assert all(same(again[n], forwards[n]) for n in reversed(range(12)))
    other_seed = ShardDataset(shard_store, ALL, patch_size=PATCH, seed=1)
    assert not all(same(other_seed[n], forwards[n]) for n in range(12))


def augmentation() -> Compose:
    return Compose(
        [
            EnsureTyped(keys=["image", "label"]),
            RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=2),
            RandRotate90d(keys=["image", "label"], prob=0.5, spatial_axes=(1, 2)),
            RandGaussianNoised(keys=["image"], prob=0.7),
        ]
    )


def batches(dataset: ShardDataset, workers: int, method: str | None) -> list[dict[str, Any]]:
    loader = DataLoader(dataset, batch_size=3, num_workers=workers, multiprocessing_context=method)
    return list(loader)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_any_kind_give_the_same_batches(shard_store: Store, method: str) -> None:
    # A spawned worker would spend ten seconds importing MONAI.
    transform = augmentation() if method == "fork" else None
    dataset = ShardDataset(
        shard_store, ALL, patch_size=(16, 40, 40), samples_per_epoch=9, transform=transform, foreground=0.5
    )
    here = batches(dataset, 0, None)  # the parent has read every shard before its workers start
    there = batches(dataset, 2, method)
    assert len(here) == len(there) == 3
    assert all(same(one, other) for one, other in zip(here, there, strict=True))
    assert here[0]["image"].shape == (3, 1, 16, 40, 40)
    assert here[0]["has_label"].dtype == torch.bool
    assert len(here[0]["case_id"]) == 3


def test_monai_transforms_are_seeded_for_each_item(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ["brains"], patch_size=(8, 32, 32), transform=augmentation())
    plain = ShardDataset(shard_store, ["brains"], patch_size=(8, 32, 32))
    items = [dataset[n] for n in range(8)]
    assert all(same(dataset[n], items[n]) for n in reversed(range(8)))
    changed = [not torch.equal(torch.as_tensor(items[n]["image"]), plain[n]["image"]) for n in range(8)]
    assert any(changed)
    # Flips and rotations reach image and label alike: only their histogram is the same.
    assert all(torch.equal(items[n]["label"].sum(), plain[n]["label"].sum()) for n in range(8))


def test_training_resumes_at_a_number_with_the_same_samples(shard_store: Store) -> None:
    dataset = ShardDataset(shard_store, ALL, patch_size=(8, 16, 16))
    stream = SampleStream(24, global_batch=4)
    unbroken = list(DataLoader(dataset, sampler=stream, batch_size=stream.batch_size))
    resumed_stream = SampleStream(24, global_batch=4)
    resumed_stream.load_state_dict(SampleStream(24, global_batch=4).state_dict(batches_done=4))
    resumed = list(DataLoader(dataset, sampler=resumed_stream, batch_size=resumed_stream.batch_size))
    assert len(unbroken) == 6
    assert len(resumed) == 2
    assert all(same(one, other) for one, other in zip(unbroken[4:], resumed, strict=True))


@pytest.mark.parametrize("patch_size", [(32, 96), (0, 1, 1)])
def test_a_patch_has_three_sizes(shard_store: Store, patch_size: tuple[int, ...]) -> None:
    with pytest.raises(CatalogError, match=r"dataset\.patch_size"):
        ShardDataset(shard_store, ALL, patch_size=patch_size)


def test_a_folder_that_is_no_store_is_not_made_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"store\.missing"):
        ShardDataset(tmp_path / "nothing", ALL)
    assert not (tmp_path / "nothing").exists()


def test_without_torch_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import medshard.loaders.shard_reader\n"
        "from medshard.errors import MissingExtraError\n"
        "try:\n"
        "    from medshard.loaders import ShardDataset\n"
        "except MissingExtraError as error:\n"
        "    print(error.action)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Install it with: pip install medshard[loaders]"


def test_a_transform_without_a_seed_of_its_own_is_repeatable_and_leaves_no_trace(shard_store: Store) -> None:
    def noisy(item: dict[str, Any]) -> dict[str, Any]:
        noise = torch.randn(()) + float(np.random.rand()) + random.random()
        return {**item, "image": item["image"] + noise}

    dataset = ShardDataset(shard_store, ["brains"], patch_size=(4, 8, 8), transform=noisy)
    torch.manual_seed(0)
    items = [dataset[n] for n in range(4)]
    after = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(torch.rand(()), after)
    assert all(same(dataset[n], items[n]) for n in reversed(range(4)))


def test_torchio_transforms_are_repeatable(shard_store: Store) -> None:
    torchio = pytest.importorskip("torchio", reason="a peer; run with the peers' environment")

    def change(item: dict[str, Any]) -> dict[str, Any]:
        subject = torchio.Subject(
            image=torchio.ScalarImage(tensor=item["image"]), label=torchio.LabelMap(tensor=item["label"])
        )
        changed = torchio.Compose([torchio.RandomFlip(axes=(0, 1, 2)), torchio.RandomNoise(std=1.0)])(subject)
        return {**item, "image": changed.image.data, "label": changed.label.data}

    dataset = ShardDataset(shard_store, ["brains"], patch_size=(8, 16, 16), transform=change)
    items = [dataset[n] for n in range(4)]
    assert all(same(dataset[n], items[n]) for n in reversed(range(4)))


def test_classes_are_balanced_across_cases_on_request(shard_store: Store) -> None:
    both = ["brains", "noises"]
    dataset = ShardDataset(shard_store, both, patch_size=(1, 1, 1), foreground=1.0, balance=BalanceRule())
    drawn = Counter(int(item["label"]) for item in dataset.__getitems__(range(1024)))
    assert set(drawn) == {1, 2, 3}
    assert max(drawn.values()) - min(drawn.values()) <= 12


def test_a_batch_behind_a_url_is_read_in_two_round_trips(
    shard_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"patch_size": (16, 40, 40), "foreground": 1.0}
    here = ShardDataset(shard_store, ["brains", "noises"], **arguments)
    with RangeServer(shard_store.root) as server:
        there = ShardDataset(open_store(server.url, cache=tmp_path / "cache"), ["brains", "noises"], **arguments)
        trips = []
        read = RemoteStore.read_ranges

        def counted(store: RemoteStore, *asked: Any, **more: Any) -> Any:
            trips.append(asked)
            return read(store, *asked, **more)

        monkeypatch.setattr(RemoteStore, "read_ranges", counted)
        items = there.__getitems__(list(range(8)))
        assert len(trips) == 2  # the tables of labelled voxels, then all images and labels
        assert all(same(item, here[n]) for n, item in enumerate(items))


def test_a_number_type_that_is_too_narrow_for_the_classes_is_refused(shard_store: Store) -> None:
    classes = [*ShardDataset(shard_store, ["brains"]).classes, *(f"class {n}" for n in range(200))]
    with pytest.raises(CatalogError, match=r"dataset\.label_type"):
        ShardDataset(shard_store, ["brains"], classes=classes, label_type="int8")


def test_classes_of_which_none_is_known_are_refused(shard_store: Store) -> None:
    with pytest.raises(CatalogError, match=r"dataset\.classes"):
        ShardDataset(shard_store, ["brains"], classes=["leison"])
