"""The device path: the same numbers as the workers', half the bytes, and changes that belong to the item alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import build_item_store
from monai.transforms import Affine as MonaiAffine
from scipy import ndimage
from torch.utils.data import DataLoader

from medshard.converters.plan import IntensityRule
from medshard.errors import CatalogError
from medshard.loaders import Augmentation, DeviceTransform, ShardDataset, collate_samples
from medshard.loaders.augmentation import change_of, index_matrix
from medshard.loaders.device import labels_linear, labels_nearest, normalised
from medshard.loaders.normalisation import Normalisation
from medshard.loaders.views import ClipView, CropsView, PairView, SliceView, TilesView, WholeView, WindowView
from medshard.registry.store import Head, Store

CPU = DeviceTransform(device="cpu")
TURNED = Augmentation(rotation_degrees=(30, 20, 10), scaling=(0.8, 1.25), affine_probability=1.0, flips=(0, 1, 2))
MIRRORED = Augmentation(flips=(0, 1, 2), affine_probability=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, publish: Callable[..., Head]) -> Store:
    return build_item_store(tmp_path_factory.mktemp("device") / "store", publish)


def batch_of(dataset: ShardDataset, numbers: list[int]) -> dict[str, Any]:
    return collate_samples(dataset.__getitems__(numbers))


@pytest.mark.parametrize(
    ("entry", "view"),
    [
        ("scans", WindowView((8, 20, 20))),
        ("scans", WindowView((40, 70, 20))),
        ("scans", SliceView(axis=1, size=(16, 16), neighbours=2)),
        ("scans", CropsView(global_size=(30, 16, 16), local_size=(4, 8, 8))),
        ("films", ClipView(4, size=(32, 32))),
        ("slides", TilesView(3)),
        ("pairs", PairView(("after",), size=(8, 20, 20), other_size=(30, 10, 10))),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_device_path_gives_the_workers_numbers_bit_for_bit(store: Store, entry: str, view: Any) -> None:
    in_workers = batch_of(ShardDataset(store, [entry], view=view), list(range(6)))
    stored = batch_of(ShardDataset(store, [entry], view=view, normalise="device", label_type="int8"), list(range(6)))
    assert all(
        not stored[key].is_floating_point() for key in ("image", "global", "local", "views/after") if key in stored
    )
    found = CPU(stored)
    assert found.keys() == in_workers.keys()
    for key, expected in in_workers.items():
        if isinstance(expected, torch.Tensor):
            assert found[key].dtype == expected.dtype
            assert torch.equal(found[key], expected), key
        else:
            assert found[key] == expected


def test_a_loader_carries_half_the_bytes(store: Store) -> None:
    def loaded(normalise: Any) -> dict[str, Any]:
        dataset = ShardDataset(store, ["scans"], patch_size=(8, 20, 20), samples_per_epoch=4, normalise=normalise)
        loader = DataLoader(dataset, 4, num_workers=1, collate_fn=collate_samples, multiprocessing_context="fork")
        return next(iter(loader))

    image, stored = loaded(True)["image"], loaded("device")["image"]
    assert stored.dtype == torch.int16
    assert 2 * stored.nbytes == image.nbytes


finite = st.floats(-2e3, 2e3)
rules = st.builds(
    Normalisation,
    slope=st.floats(0.01, 1e3),
    intercept=finite,
    clip=st.none() | st.tuples(st.floats(-1e3, 0), st.floats(1, 1e3)),
    mean=finite,
    std=st.floats(0.01, 1e3),
    outside=finite,
)


@given(stored=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=30), rule=rules)
@settings(max_examples=80, deadline=None)
def test_normalising_a_batch_is_normalising_each_sample(stored: list[int], rule: Normalisation) -> None:
    low, high = rule.clip or (-np.inf, np.inf)
    numbers = [rule.slope, rule.intercept, low, high, rule.mean, rule.std, rule.padding]
    image = torch.tensor(stored, dtype=torch.int16).reshape(1, 1, 1, 1, -1)
    expected = rule.apply(image[0].numpy().astype(np.float32))
    found = normalised(image, torch.tensor([numbers], dtype=torch.float32), [None])
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_a_change_belongs_to_the_item_and_not_to_its_batch(store: Store) -> None:
    augmentation = Augmentation(
        rotation_degrees=(30, 20, 10),
        scaling=(0.8, 1.25),
        affine_probability=0.5,
        flips=(1, 2),
        noise=0.2,
        noise_probability=0.5,
        brightness=(0.7, 1.3),
        brightness_probability=0.5,
        gamma=(0.7, 1.5),
        gamma_probability=0.5,
    )
    dataset = ShardDataset(store, ["scans"], patch_size=(12, 24, 20), normalise="device")
    change = DeviceTransform(device="cpu", augmentation=augmentation)
    together = change(batch_of(dataset, list(range(8))))
    plain = CPU(batch_of(dataset, list(range(8))))
    changed = 0
    for n in range(8):
        alone = change(batch_of(dataset, [n]))
        for key in ("image", "label", "affine"):
            assert torch.equal(alone[key][0], together[key][n]), key
        changed += not torch.equal(plain["image"][n], together["image"][n])
    assert changed >= 5


def test_mirrored_items_are_mirrored_exactly(store: Store) -> None:
    dataset = ShardDataset(store, ["scans"], patch_size=(12, 24, 20), normalise="device", foreground=1.0)
    plain = CPU(batch_of(dataset, list(range(8))))
    found = DeviceTransform(device="cpu", augmentation=MIRRORED)(batch_of(dataset, list(range(8))))
    seen = set()
    for n in range(8):
        axes = change_of(MIRRORED, int(plain["augmentation_seed"][n]), (1, 1, 1)).flips
        seen.add(axes)
        dims = [axis + 1 for axis in axes]
        assert torch.equal(found["image"][n], plain["image"][n].flip(dims))
        assert torch.equal(found["label"][n], plain["label"][n].flip(dims))
        # The affine still says where each voxel lies in the body.
        corner = [n_voxels - 1 if axis in axes else 0 for axis, n_voxels in enumerate((12, 24, 20))]
        np.testing.assert_allclose(
            found["affine"][n].numpy() @ [0, 0, 0, 1], plain["affine"][n].numpy() @ [*corner, 1], atol=1e-9
        )
    assert len(seen) > 3


def test_turned_images_are_those_of_scipy_at_the_places_that_the_affine_says(store: Store) -> None:
    dataset = ShardDataset(store, ["scans"], patch_size=(16, 30, 26), normalise="device")
    batch = batch_of(dataset, [0, 1, 2])
    plain = CPU(batch)
    found = DeviceTransform(device="cpu", augmentation=TURNED)(batch)
    for n in range(3):
        to_before = np.linalg.solve(plain["affine"][n].numpy(), found["affine"][n].numpy())
        padding = float(batch["image_scale"][n, 6])
        source = np.pad(plain["image"][n, 0].numpy(), 1, constant_values=padding)
        expected = ndimage.affine_transform(
            source,
            to_before[:3, :3],
            to_before[:3, 3] + 1,
            output_shape=(16, 30, 26),
            order=1,
            mode="constant",
            cval=padding,
        )
        np.testing.assert_allclose(found["image"][n, 0], expected, atol=2e-3)
        label = ndimage.affine_transform(
            np.pad(plain["label"][n, 0].numpy(), 1, constant_values=-100),
            to_before[:3, :3],
            to_before[:3, 3] + 1,
            output_shape=(16, 30, 26),
            order=0,
            mode="constant",
            cval=-100,
        )
        # Of places halfway between two voxels either may be the nearest.
        assert (found["label"][n, 0].numpy() == label).mean() > 0.999
        assert (found["label"][n] == -100).any()


@pytest.mark.parametrize("augmentation", [MIRRORED, TURNED], ids=["mirrored", "turned"])
@pytest.mark.parametrize(
    "view", [WindowView((16, 30, 26)), SliceView(axis=1, size=(20, 30))], ids=lambda view: type(view).__name__
)
def test_what_lies_beside_the_voxels_stays_at_its_place_in_the_body(
    store: Store, view: Any, augmentation: Augmentation
) -> None:
    beside = ["annotations/findings", "annotations/points", "meshes/skull"]
    batch = batch_of(ShardDataset(store, ["scans"], view=view, with_=beside, normalise="device"), list(range(6)))
    plain, found = CPU(batch), DeviceTransform(device="cpu", augmentation=augmentation)(batch)
    changed = 0
    for n in range(6):
        before, after = plain["affine"][n].numpy(), found["affine"][n].numpy()
        for key, name in (("annotations/points", "point"), ("meshes/skull", "points")):
            body = [before @ [*point, 1] for point in plain[key][n][name].tolist()]
            expected = np.array([np.linalg.solve(after, place)[:3] for place in body])
            np.testing.assert_allclose(found[key][n][name], expected, atol=1e-3)
            assert found[key][n][name].dtype == torch.float32
            changed += not np.allclose(plain[key][n][name], expected, atol=1e-3)
        (edges,) = plain["annotations/findings"][n]["box"].tolist()
        corners = [before @ [*corner, 1] for corner in product(*zip(edges[:3], edges[3:], strict=True))]
        corners = np.array([np.linalg.solve(after, corner)[:3] for corner in corners])
        hull = [*corners.min(axis=0), *corners.max(axis=0)]
        np.testing.assert_allclose(found["annotations/findings"][n]["box"], [hull], atol=1e-3)
        assert found["annotations/findings"][n]["class"].tolist() == [2]
        assert torch.equal(found["meshes/skull"][n]["vertices"], batch["meshes/skull"][n]["vertices"])  # millimetres
    assert changed > 3


def test_a_box_goes_where_its_voxels_go() -> None:
    image = torch.zeros(40, 1, 4, 6, 8)
    image[:, :, 0:1, 1:3, 5:8] = 1
    rows = [{"box": torch.tensor([[-0.5, 0.5, 4.5, 0.5, 2.5, 7.5]])} for _ in range(38)] + [
        None,
        {"box": torch.ones(0, 6)},
    ]
    batch = {"image": image, "augmentation_seed": torch.arange(40), "annotations/findings": rows}
    found = DeviceTransform(device="cpu", augmentation=MIRRORED)(batch)
    seen = set()
    for volume, each in zip(found["image"][:38, 0], found["annotations/findings"], strict=False):
        voxels = volume.nonzero()
        around = [*(voxels.amin(dim=0) - 0.5).tolist(), *(voxels.amax(dim=0) + 0.5).tolist()]
        assert each["box"].tolist() == [around]
        seen.add(tuple(around))
    assert len(seen) == 8
    assert found["annotations/findings"][38] is None
    assert found["annotations/findings"][39]["box"].shape == (0, 6)
    assert rows[0]["box"].tolist() == [[-0.5, 0.5, 4.5, 0.5, 2.5, 7.5]]  # the caller's batch stays


@pytest.mark.parametrize("labels", ["nearest", "linear"])
def test_the_tiles_of_a_bag_change_as_slices_do_each_colour_on_its_own(store: Store, labels: Any) -> None:
    augmentation = Augmentation(
        rotation_degrees=(40, 0, 0), scaling=(0.8, 1.25), affine_probability=0.5, flips=(0, 1, 2)
    )
    change = DeviceTransform(device="cpu", augmentation=augmentation, labels=labels)
    dataset = ShardDataset(store, ["slides"], view=TilesView(3), foreground=1.0, normalise="device", with_=["places"])
    batch = batch_of(dataset, list(range(8)))
    batch["image"] = torch.randint(0, 99, batch["image"].shape, generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    bag = change(batch)
    for tile in range(3):
        alone = {key: batch[key] for key in ("augmentation_seed", "image_scale")}
        alone |= {"image": batch["image"][:, tile], "label": batch["label"][:, tile]}
        slices = change(alone)
        assert torch.equal(bag["image"][:, tile], slices["image"])
        assert torch.equal(bag["label"][:, tile], slices["label"])
    across = DeviceTransform(device="cpu", augmentation=Augmentation(flips=(0,), affine_probability=0.0))
    assert torch.equal(across(batch)["image"], CPU(batch)["image"])
    assert not torch.equal(bag["image"], CPU(batch)["image"])


def test_rows_that_cannot_follow_a_change_are_refused(store: Store) -> None:
    films = ShardDataset(store, ["films"], view=ClipView(4), with_=["annotations/tools"], normalise="device")
    clips = batch_of(films, [0, 1])
    for moving in (MIRRORED, TURNED):
        with pytest.raises(CatalogError, match=r"batch\.rows.*annotations/tools"):
            DeviceTransform(device="cpu", augmentation=moving)(clips)
    louder = DeviceTransform(device="cpu", augmentation=Augmentation(noise=1.0, noise_probability=1.0))(clips)
    assert louder["annotations/tools"][0]["z_max"].tolist() == clips["annotations/tools"][0]["z_max"].tolist()
    stacked = {"image": torch.zeros(1, 1, 2, 2, 2), "augmentation_seed": torch.zeros(1, dtype=torch.int64)}
    stacked["annotations/findings"] = {"box": torch.zeros(1, 1, 6)}
    with pytest.raises(CatalogError, match=r"(?s)batch\.rows.*collate_samples"):
        DeviceTransform(device="cpu", augmentation=MIRRORED)(stacked)


def test_rotation_is_in_millimetres() -> None:
    """Thick slices: lengths and angles in the body stay, which they would not if voxels were taken for cubes."""
    spacing = np.array([5.0, 1.0, 0.5])
    for seed in range(20):
        change = change_of(Augmentation(rotation_degrees=(20, 30, 40), affine_probability=1.0), seed, spacing)
        assert change.linear is not None
        in_mm = spacing[:, None] * change.linear / spacing[None, :]
        np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)
        scaled = change_of(Augmentation(scaling=(2.0, 2.0), affine_probability=1.0), seed, spacing)
        np.testing.assert_allclose(scaled.linear, np.eye(3) / 2, atol=1e-12)
        matrix = index_matrix(change, (7, 8, 9))
        np.testing.assert_allclose(matrix @ [3, 3.5, 4, 1], [3, 3.5, 4, 1], atol=1e-12)  # the middle stays


def test_labels_stay_labels_and_unjudged_voxels_stay_unjudged() -> None:
    maps = torch.zeros(1, 1, 5, 16, 16, dtype=torch.int64)
    maps[..., :8, :] = 3
    maps[..., 12:] = -100
    angle = np.radians(17.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    theta = torch.zeros(1, 3, 4)
    theta[0, :, :3] = torch.from_numpy(turn[::-1, ::-1].copy())
    grid = torch.nn.functional.affine_grid(theta, [1, 1, 5, 16, 16], align_corners=True)
    for turned in (labels_nearest(maps, grid, -100), labels_linear(maps, grid, -100)):
        assert set(turned.unique().tolist()) == {-100, 0, 3}
        assert (turned[:, :, 1:-1] == 3).sum() > 200
    background = labels_nearest(maps, grid, 0)
    assert (background == 0).sum() > (labels_nearest(maps, grid, -100) == 0).sum()
    # Linear: the class of the largest share, worked out one class at a time.
    shares = {
        value: MonaiAffine(
            affine=torch.from_numpy(np.block([[turn, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])),
            padding_mode="zeros",
            image_only=True,
        )((maps[0] == value).float())
        for value in (-100, 0, 3)
    }
    outside = 1 - sum(shares.values())
    stack = torch.stack([shares[-100] + outside, shares[0], shares[3]]).numpy()
    expected = np.array([-100, 0, 3])[stack.argmax(axis=0)]
    assert (labels_linear(maps, grid, -100)[0].numpy() == expected).mean() > 0.99


def test_slices_are_turned_in_their_plane(store: Store) -> None:
    dataset = ShardDataset(store, ["scans"], view=SliceView(size=(40, 40)), normalise="device")
    change = DeviceTransform(
        device="cpu", augmentation=Augmentation(rotation_degrees=(40, 0, 0), affine_probability=1.0)
    )
    found, plain = change(batch_of(dataset, [0, 1])), CPU(batch_of(dataset, [0, 1]))
    assert found["image"].shape == (2, 1, 40, 40)
    assert found["label"].shape == (2, 1, 40, 40)
    assert not torch.equal(found["image"], plain["image"])
    np.testing.assert_allclose(found["affine"][:, :, 0], plain["affine"][:, :, 0], atol=1e-12)


def test_whole_volumes_of_different_shapes_are_normalised_one_by_one(store: Store) -> None:
    listed = ("image", "label")
    view = WholeView(multiple_of=(16, 16, 16))
    expected = ShardDataset(store, ["scans"], view=view).__getitems__([0, 1, 2])
    stored = ShardDataset(store, ["scans"], view=view, normalise="device", label_type="int8").__getitems__([0, 1, 2])
    found = CPU(collate_samples(stored, ragged=listed))
    for key in listed:
        assert all(torch.equal(one, item[key]) for one, item in zip(found[key], expected, strict=True))
    with pytest.raises(CatalogError, match=r"batch\.shapes"):
        DeviceTransform(device="cpu", augmentation=TURNED)(collate_samples(stored, ragged=listed))


def test_the_gradient_flows_and_other_keys_stay(store: Store) -> None:
    dataset = ShardDataset(store, ["scans"], patch_size=(8, 16, 16), text="report", normalise="device")
    found = CPU(batch_of(dataset, [0, 1]))
    assert found["text"] == batch_of(dataset, [0, 1])["text"]
    assert "image_scale" not in found
    weight = torch.ones((), requires_grad=True)
    (found["image"] * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "wrong", [{"scaling": (0.0, 1.0)}, {"gamma": (2.0, 1.0)}, {"flips": (3,)}, {"noise_probability": 2.0}]
)
def test_an_augmentation_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match=r"dataset\.augmentation"):
        Augmentation(**wrong)


def test_intensities_of_one_modality_have_their_own_rule(
    tmp_path: Any, publish: Callable[..., Head], sample_makers: Any, make_plan: Any
) -> None:
    store = Store.open(tmp_path / "store")
    ct = IntensityRule(scheme="dataset", clip=(-900.0, 400.0), mean=-100.0, std=250.0)
    publish(store, make_plan("slices", intensity={"CT": ct}), [[sample_makers["ct_slice"]("small")]])
    brain = sample_makers["brain"]("case/a", (slice(60, 90), slice(30, 130), slice(40, 121)))
    publish(store, make_plan("brains"), [[brain]])
    arguments: dict[str, Any] = {"patch_size": (4, 40, 40), "weights": {"brains": 1, "slices": 1}}
    expected = batch_of(ShardDataset(store, ["brains", "slices"], **arguments), list(range(8)))
    stored = batch_of(ShardDataset(store, ["brains", "slices"], normalise="device", **arguments), list(range(8)))
    assert len({*expected["case_id"]}) == 2
    assert torch.equal(CPU(stored)["image"], expected["image"])
