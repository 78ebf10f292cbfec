"""Items of every kind: the voxels that they promise, where they promise them, with what belongs to them."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made_items import BOX, CLIP, FRAMES, GRID, TILES, build_item_store, ecg, head_scan, scan
from torch.utils.data import DataLoader

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.plan import ClipRule, Plan
from medshard.converters.samples import make_sample
from medshard.converters.volume import Image, Volume
from medshard.errors import CaseError, CatalogError, StoreError
from medshard.loaders import ShardDataset, collate_samples
from medshard.loaders.companions import Rows, Signal, Text
from medshard.loaders.views import (
    CaseView,
    ClipView,
    CropsView,
    PairView,
    SliceView,
    TilesView,
    WholeView,
    WindowView,
    overlaps,
)
from medshard.registry.store import Head, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, publish: Callable[..., Head]) -> Store:
    return build_item_store(tmp_path_factory.mktemp("items") / "store", publish)


def stored_case(item: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(image, label) of a scan, as it was before it came into the store."""
    depth = 24 + 4 * "abc".index(item["case_id"][-1])
    return head_scan(depth)


def physical(store: Store, entry: str, **more: Any) -> ShardDataset:
    return ShardDataset(store, [entry], normalise=False, **more)


def test_a_whole_volume_is_all_of_it_and_grows_to_a_multiple(store: Store) -> None:
    items = physical(store, "scans", view=WholeView())
    assert len(items) == 3
    for n in range(3):
        image, label = stored_case(items[n])
        np.testing.assert_array_equal(items[n]["image"][0], image)
        np.testing.assert_array_equal(items[n]["label"][0], label)
    assert {items[n]["case_id"] for n in range(3)} == {"scans/case-a", "scans/case-b", "scans/case-c"}
    grown = physical(store, "scans", view=WholeView(multiple_of=(16, 16, 16)))[0]
    assert [length % 16 for length in grown["image"].shape[1:]] == [0, 0, 0]
    # 60 voxels in 64: two in front of the volume, and the affine knows.
    assert np.linalg.solve(GRID, grown["affine"].numpy()[:, 3])[1] == pytest.approx(-2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_a_slice_of_the_volume_along_any_axis(store: Store, axis: int) -> None:
    items = physical(store, "scans", view=SliceView(axis=axis))
    for n in range(12):
        item = items[n]
        image, label = stored_case(item)
        np.testing.assert_array_equal(item["image"][0], image.take(item["slice_number"], axis))
        np.testing.assert_array_equal(item["label"][0], label.take(item["slice_number"], axis))
        # Index (0, row, column) of the item and of the volume are the same place in the body.
        index = [0.0, 2.0, 5.0]
        in_volume = index[1:]
        in_volume.insert(axis, item["slice_number"])
        np.testing.assert_allclose(item["affine"].numpy() @ [*index, 1], GRID @ [*in_volume, 1], atol=1e-9)


def test_a_slice_has_its_neighbours_as_channels(store: Store) -> None:
    items = physical(store, "scans", view=SliceView(axis=1, size=(16, 20), neighbours=2), foreground=1.0)
    ends = 0
    for n in range(40):
        item = items[n]
        image, label = stored_case(item)
        start = np.round(np.linalg.solve(GRID, item["affine"].numpy()[:, 3])[:3]).astype(int)
        rows, columns = slice(start[0], start[0] + 16), slice(start[2], start[2] + 20)
        assert item["image"].shape == (5, 16, 20)
        assert item["slice_number"] == start[1]
        for channel, y in enumerate(range(start[1] - 2, start[1] + 3)):
            expected = image[rows, y, columns] if 0 <= y < 60 else np.zeros((16, 20))
            np.testing.assert_array_equal(item["image"][channel], expected)
            ends += not 0 <= y < 60
        np.testing.assert_array_equal(item["label"][0], label[rows, start[1], columns])
        assert item["label"].any()  # foreground


def test_a_bag_of_tiles_has_no_tile_twice_and_shows_the_foreground(store: Store) -> None:
    items = physical(store, "slides", view=TilesView(5), foreground=1.0, with_=["places"])
    seen: Counter[int] = Counter()
    for n in range(60):
        item = items[n]
        tiles = item["tiles"].tolist()
        assert len(set(tiles)) == 5
        assert tiles[0] == 7
        assert item["label"][0].any()
        assert item["image"].shape == (5, 3, 16, 16)
        assert item["image"].amax(dim=(1, 2, 3)).tolist() == tiles  # the grey value is the number
        np.testing.assert_array_equal(item["places"]["y"][item["tiles"]], item["tiles"] * 16)
        seen.update(tiles[1:])
    assert set(seen) == set(range(TILES)) - {7}
    every = physical(store, "slides", view=TilesView(TILES + 2))[0]["tiles"].tolist()
    assert sorted(every[:TILES]) == list(range(TILES))


def test_a_clip_is_a_run_of_frames_that_crosses_no_cut(store: Store) -> None:
    for view in (ClipView(4), ClipView(3, stride=2, size=(8, 10)), ClipView(CLIP)):
        items = physical(store, "films", view=view)
        starts = set()
        for n in range(60):
            item = items[n]
            frames = item["frames"].tolist()
            assert frames == list(range(frames[0], frames[0] + view.frames * view.stride, view.stride))
            assert frames[0] // CLIP == frames[-1] // CLIP
            assert item["image"][0, :, 0, 0].tolist() == frames
            assert item["image"].shape[:2] == (3, view.frames)
            starts.add(frames[0])
        span = (view.frames - 1) * view.stride + 1
        assert len(starts) == FRAMES // CLIP * (CLIP - span + 1)
    with pytest.raises(CatalogError, match=r"dataset\.view"):
        physical(store, "films", view=ClipView(CLIP + 1))[0]
    single = physical(store, "films", view=SliceView())[0]
    assert single["image"].shape == (3, 20, 30)
    assert single["image"].unique().tolist() == [single["slice_number"]]


def test_crops_say_where_they_lie_and_how_much_they_share(store: Store) -> None:
    view = CropsView(global_size=(12, 30, 30), local_size=(6, 10, 10), global_count=2, local_count=3)
    items = physical(store, "scans", view=view)
    for n in range(10):
        item = items[n]
        image, _ = stored_case(item)
        assert "label" not in item
        for crops, starts in ((item["global"], item["global_start"]), (item["local"], item["local_start"])):
            for crop, (z, y, x) in zip(crops, starts.tolist(), strict=True):
                d, h, w = crop.shape[1:]
                np.testing.assert_array_equal(crop[0], image[z : z + d, y : y + h, x : x + w])
        shared = overlaps(item["local_start"].numpy(), (6, 10, 10), item["global_start"].numpy(), (12, 30, 30))
        for k, j in np.ndindex(3, 2):
            mask = np.zeros(image.shape, int)
            for start, size in ((item["local_start"][k], (6, 10, 10)), (item["global_start"][j], (12, 30, 30))):
                mask[tuple(slice(a, a + b) for a, b in zip(start.tolist(), size, strict=True))] += 1
            assert shared[k, j] == pytest.approx((mask == 2).sum() / 600)
    fewer = physical(store, "scans", view=replace(view, local_count=1))
    # What a crop shows does not depend on how many follow.
    assert all(torch.equal(fewer[n]["local"][0], items[n]["local"][0]) for n in range(5))


def test_a_pair_is_matched_by_place_in_the_body(store: Store) -> None:
    items = physical(store, "pairs", view=PairView(("after",), size=(8, 20, 20), other_size=(4, 10, 10)))
    for n in range(20):
        item = items[n]
        middle = [(length - 1) / 2 for length in item["image"].shape[1:]]
        other_middle = [(length - 1) / 2 for length in item["views/after"].shape[1:]]
        here = item["affine"].numpy() @ [*middle, 1]
        there = item["views/after/affine"].numpy() @ [*other_middle, 1]
        np.testing.assert_allclose(np.linalg.solve(GRID, here - there), 0, atol=0.51)
        # Both show the same head, so where both have voxels these are equal.
        image, label = head_scan(24)
        z0, y0, x0 = np.round(np.linalg.solve(GRID, item["views/after/affine"].numpy()[:, 3])[:3]).astype(int)
        after = np.zeros((4, 10, 10)), np.zeros((4, 10, 10))
        for k, j, i in np.ndindex(4, 10, 10):
            if all(
                low <= at < high for at, low, high in zip((z0 + k, y0 + j, x0 + i), (2, 3, 4), image.shape, strict=True)
            ):
                after[0][k, j, i] = image[z0 + k, y0 + j, x0 + i]
                after[1][k, j, i] = label[z0 + k, y0 + j, x0 + i]
        np.testing.assert_array_equal(item["views/after"][0], after[0])
        np.testing.assert_array_equal(item["views/after/label"][0], after[1])
    whole = physical(store, "pairs", view=PairView(("after",)))[0]
    assert whole["image"].shape == (1, 24, 60, 50)
    assert whole["views/after"].shape == (1, 22, 57, 46)
    with pytest.raises(CatalogError, match=r"dataset\.empty"):
        physical(store, "scans", view=PairView(("after",)))


def test_rows_lie_on_the_grid_of_the_item(store: Store) -> None:
    whole = physical(store, "scans", view=WholeView(), with_=["annotations/findings", "annotations/points"])[0]
    # Two voxels of the volume are one of the sample; edges at 3.5 .. 7.5 there are edges at 1.5 .. 3.5 here.
    expected = [(edge - 0.5) / 2 for end in (0, 1) for edge in (BOX["z"][end], BOX["y"][end], BOX["x"][end])]
    np.testing.assert_allclose(whole["annotations/findings"]["box"], [expected], atol=1e-5)
    assert whole["annotations/findings"]["class"].tolist() == [2]
    np.testing.assert_allclose(whole["annotations/points"]["point"], [[5.0, 2.0, 10.0]], atol=1e-5)
    assert whole["annotations/points"]["class"].tolist() == [0]  # no class of this data set
    window = physical(store, "scans", patch_size=(8, 20, 20), with_=["annotations/findings"])
    for n in range(10):
        item = window[n]
        start = np.round(np.linalg.solve(GRID, item["affine"].numpy()[:, 3])[:3])
        np.testing.assert_allclose(
            item["annotations/findings"]["box"][0], np.array(expected) - np.tile(start, 2), atol=1e-4
        )
    sagittal = physical(store, "scans", view=SliceView(axis=2), with_=["annotations/findings"])[0]
    low = sagittal["annotations/findings"]["box"][0, :3]
    np.testing.assert_allclose(low, [expected[2] - sagittal["slice_number"], expected[0], expected[1]], atol=1e-4)


def test_boxes_on_frames_come_with_their_frame(store: Store) -> None:
    item = physical(store, "films", view=WholeView(), with_=["annotations/tools"])[0]
    rows = item["annotations/tools"]
    # Frame 6 is the third that was kept, frame 7 was not kept.
    np.testing.assert_array_equal(rows["box"], [[1.5, -0.5, -0.5, 2.5, 4.5, 4.5]])
    assert rows["frame"].tolist() == [6]


def test_rows_whose_grid_nobody_stored_are_refused(store: Store, tmp_path: Any, publish: Callable[..., Head]) -> None:
    other = Store.open(tmp_path / "store")
    plan = Plan(name="default", entry="scans", recipe_digest="0", channels=("image",), spacing_mm=None)
    publish(other, plan, [[replace(scan("x", 8), grids={})]])
    with pytest.raises(StoreError, match=r"sample\.grid.*findings"):
        physical(other, "scans", with_=["annotations/findings"])[0]


def test_surfaces_and_tables_come_with_their_case(store: Store) -> None:
    item = physical(store, "scans", view=WholeView(), with_=["meshes/skull", "tables/blood"])[0]
    np.testing.assert_allclose(item["meshes/skull"]["points"], [[3, 4, 5]], atol=1e-4)
    np.testing.assert_allclose(item["meshes/skull"]["vertices"], (GRID @ [[3], [4], [5], [1]])[:3].T, rtol=1e-6)
    assert item["tables/blood"]["name"] == ["Hb"]
    assert item["tables/blood"]["value"].tolist() == [13.5]


def test_signals_are_cut_where_the_draw_says_and_are_in_their_unit(store: Store) -> None:
    items = ShardDataset(store, ["recordings"], view=CaseView(), with_=[Signal("ecg", samples=250)])
    assert len(items) == 2
    expected = ecg() * np.array([[0.00125], [0.0025]]) + np.array([[0.0], [0.5]])
    starts = set()
    for n in range(12):
        item = items[n]
        begin = item["signals/ecg/start"] + {"r1": 0, "r2": 700}[item["case_id"].rpartition("/")[2]]
        np.testing.assert_allclose(item["signals/ecg"], expected[:, begin : begin + 250], rtol=1e-6, atol=1e-6)
        assert item["signals/ecg/rate_hz"] == 1000.0
        starts.add(item["signals/ecg/start"])
    assert len(starts) > 6
    long = ShardDataset(store, ["recordings"], view=CaseView(), with_=[Signal("ecg", samples=1500)])[0]
    assert long["signals/ecg"].shape == (2, 1500)
    assert not long["signals/ecg"][:, 1000:].any()


def test_texts_are_those_of_the_case(store: Store) -> None:
    report = physical(store, "scans", patch_size=(8, 16, 16), text="report")[0]
    assert report["text"] == f"A head, {report['case_id'].rpartition('/')[2]}.\nNormal."
    part = physical(store, "scans", patch_size=(8, 16, 16), text=Text("report", sections=("impression",)))[0]
    assert part["text"] == "Normal."
    asked = physical(store, "scans", patch_size=(8, 16, 16), text="question-answers")
    pairs = {(asked[n]["question"], asked[n]["answer"]) for n in range(40)}
    assert pairs == {(f"Question {n}?", f"Answer {n}") for n in range(3)}
    classes = physical(store, "scans", patch_size=(8, 16, 16), text="classes")[0]
    assert (classes["present"], classes["absent"], classes["text"]) == (["healthy"], ["glioma"], "healthy")
    with pytest.raises(CatalogError, match=r"dataset\.text"):
        physical(store, "scans", text="poem")


def test_what_a_case_lacks_leaves_it_out_unless_it_is_optional(store: Store) -> None:
    both = ["scans", "recordings"]
    with_signal = ShardDataset(store, both, view=CaseView(), with_=["signals/ecg"])
    assert with_signal.samples == [("recordings", "r1"), ("recordings", "r2")]
    assert {out.reason for out in with_signal.left_out} == {"it has no signals/ecg"}
    either = ShardDataset(store, both, view=CaseView(), with_=[Signal("ecg", optional=True), "tables/blood"])
    assert len(either.samples) == 5
    assert Counter("signals/ecg" in either[n] for n in range(5)) == {False: 3, True: 2}
    with pytest.raises(CatalogError, match=r"dataset\.with"):
        ShardDataset(store, both, view=CaseView(), with_=["labels/liver"])
    images = ShardDataset(store, both, patch_size=(8, 16, 16), with_=[Rows("annotations/beats", optional=True)])
    assert {out.reason for out in images.left_out} == {"the sample has no image"}


def test_channels_are_mapped_and_missing_ones_show_nothing(store: Store) -> None:
    with pytest.raises(CaseError, match=r"dataset\.channels"):
        ShardDataset(store, ["scans", "films"], patch_size=(4, 8, 8))
    maps = {"scans": [None, "image"], "films": [2, 0]}
    mixed = ShardDataset(store, ["scans", "films"], patch_size=(4, 8, 8), channels=maps, normalise=False)
    items = [mixed[n] for n in range(12)]
    assert {item["image"].shape for item in items} == {(2, 4, 8, 8)}
    assert all(not item["image"][0].any() for item in items if item["case_id"].startswith("scans"))
    for channels in (["image", "t2"], {"scans": [0]}, {"scans": [0], "films": [0, 1]}):
        with pytest.raises(CatalogError, match=r"dataset\.channels"):
            ShardDataset(store, ["scans", "films"], channels=channels)
    with pytest.raises(CaseError, match="films"):
        ShardDataset(store, ["scans", "films"], channels={"scans": [0, 0], "films": [0, 5]})


@pytest.mark.parametrize(
    "view",
    [
        WindowView((8, 16, 16)),
        SliceView(axis=1, size=(16, 16), neighbours=1),
        CropsView(global_size=(8, 16, 16), local_size=(4, 8, 8)),
        CaseView(),
    ],
    ids=lambda view: type(view).__name__,
)
def test_items_do_not_depend_on_their_batch_or_process(store: Store, view: Any) -> None:
    dataset = ShardDataset(store, ["scans"], view=view, with_=["annotations/findings"], text="report", foreground=0.5)
    alone = [dataset[n] for n in range(6)]
    together = pickle.loads(pickle.dumps(dataset)).__getitems__(list(reversed(range(6))))
    loader = DataLoader(
        dataset, batch_size=3, num_workers=2, collate_fn=collate_samples, multiprocessing_context="fork"
    )
    batch = next(iter(loader))
    for n, other in enumerate(reversed(together)):
        assert alone[n].keys() == other.keys()
        for key, value in alone[n].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[key])
                assert n > 2 or torch.equal(value, batch[key][n])
            elif isinstance(value, str):
                assert value == other[key]
                assert n > 2 or value == batch[key][n]


def test_voxels_without_a_number_are_judged_by_nobody(tmp_path: Any, publish: Callable[..., Head]) -> None:
    store = Store.open(tmp_path / "store")
    plan = Plan(name="default", entry="scans", recipe_digest="0", channels=("image",), spacing_mm=None)
    invalid = np.zeros((1, 24, 60, 50), np.uint8)
    invalid[0, 3:9, 10:20, 10:20] = 1
    publish(store, plan, [[replace(scan("case-a", 24), masks={"not_finite": invalid})]])
    for label_type in ("int64", "int8"):
        label = physical(store, "scans", view=WholeView(), label_type=label_type)[0]["label"].numpy()
        np.testing.assert_array_equal(label, np.where(invalid, -100, head_scan(24)[1][None].astype(np.int64)))


def test_no_label_map_is_read_where_none_is_wanted(store: Store) -> None:
    item = ShardDataset(store, ["scans"], patch_size=(8, 16, 16), labels=False)[0]
    assert "label" not in item
    small = ShardDataset(store, ["scans"], patch_size=(8, 16, 16), label_type="int8")
    wide = ShardDataset(store, ["scans"], patch_size=(8, 16, 16))
    assert small[1]["label"].dtype == torch.int8
    assert torch.equal(small[1]["label"].long(), wide[1]["label"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: WindowView((8, 8)),
        lambda: SliceView(neighbours=-1),
        lambda: SliceView(axis=3),
        lambda: TilesView(0),
        lambda: ClipView(0),
        lambda: CropsView(global_count=0),
        lambda: PairView(("after",), size=(0, 1, 1)),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(CatalogError, match=r"dataset\.(view|patch_size)"):
        make()


def cine(annotations: dict[str, AnnotationTable]) -> tuple[Volume, Plan]:
    """Three slices at four moments, whose pixels the plan makes twice as large."""
    array = np.random.default_rng(0).integers(0, 200, (4, 1, 3, 16, 16)).astype(np.uint8)
    image = Image(array=array, affine=np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([8.0, 1.0, 1.0, 1.0]), modality="MR")
    plan = Plan(
        name="default", entry="cines", recipe_digest="0", channels=("cine",), spacing_mm=(8.0, 2.0, 2.0),
        kind="clips", clips=ClipRule(), slice_axis=0,
    )  # fmt: skip
    images = {"cine": image}
    return Volume(entry="cines", case="c", patient="p", images=images, annotations=annotations), plan


def test_rows_on_a_moving_image_go_to_their_slice_at_their_moment(tmp_path: Any, publish: Callable[..., Head]) -> None:
    plane = {"y_min": 3.5, "y_max": 7.5, "x_min": 1.5, "x_max": 9.5}
    boxes = [
        {"concept": "heart", "frame": 1, "z_min": 1.5, "z_max": 2.5, **plane},
        {"concept": "heart", "frame": 3, "z_min": 0.5, "z_max": 2.5, **plane},
        {"concept": "heart", "frame": 9, "z_min": 0.5, "z_max": 2.5, **plane},
    ]
    points = [{"concept": "apex", "frame": frame, "z": z, "y": 8.0, "x": 8.0} for frame, z in ((1, 2.0), (0, 5.0))]
    tables = {
        "boxes": AnnotationTable(kind="boxes", table=rows_table("boxes", boxes), image="cine"),
        "points": AnnotationTable(kind="landmarks", table=rows_table("landmarks", points), image="cine"),
    }
    volume, plan = cine(tables)
    store = Store.open(tmp_path / "store")
    publish(store, plan, [[make_sample(volume, plan)]])
    whole = physical(store, "cines", view=WholeView(), with_=["annotations/boxes", "annotations/points"])
    item = whole[0]
    assert item["image"].shape == (1, 12, 8, 8)
    # Four moments of slice 0, then of slice 1, then of slice 2; the second box goes through slices 1 and 2.
    expected = [[z - 0.5, 1.5, 0.5, z + 0.5, 3.5, 4.5] for z in (2 * 4 + 1, 1 * 4 + 3, 2 * 4 + 3)]
    np.testing.assert_allclose(item["annotations/boxes"]["box"], expected, atol=1e-5)
    assert item["annotations/boxes"]["frame"].tolist() == [1, 3, 3]
    np.testing.assert_allclose(item["annotations/points"]["point"], [[9, 3.75, 3.75]], atol=1e-5)
