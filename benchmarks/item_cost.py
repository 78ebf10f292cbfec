"""What one item of a `ShardDataset` costs beside its decoding, and what integers save on their way to the trainer.

    python benchmarks/item_cost.py --root data --json build/item_cost.json
    python benchmarks/item_cost.py --image lung1_image.nrrd

Real chest CTs with a made label map of eight classes (their own labels are small tumours), in the house format. Timed,
taking turns: whole items (`dataset[n]`: draw, row, labelled voxel, image, label, renumbering, tensors) and the bare
reading of the very same windows (`read_windows` of image and label, normalised). The difference is the overhead.
Then: collating and pinning 8 windows, float32 against stored int16 with int8 labels. One thread, files in the page
cache, medians of processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import SimpleITK
import torch
from made_store import ENTRY, blocks_of_classes, made_sample, publish
from real_scans import add_scan_options, scans

from medshard.converters.plan import IntensityRule, Plan
from medshard.loaders import DeviceTransform, ShardDataset, collate_samples
from medshard.loaders.items import LabelType
from medshard.loaders.normalisation import normalisation_of
from medshard.loaders.stream import draw, place_window
from medshard.loaders.window_reading import read_windows
from medshard.loaders.windows import Window
from medshard.registry.store import Store

GOAL_MS = 0.3
GOAL_BYTES = 0.5
CT_PLAN = Plan(
    name="default",
    entry=ENTRY,
    recipe_digest="0",
    channels=("image",),
    spacing_mm=None,
    intensity={"CT": IntensityRule(scheme="dataset", clip=(-1000.0, 400.0), mean=-300.0, std=350.0)},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--windows", type=int, default=60, help="windows of each size")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(Path(folder), scans(options))
        runs = [
            item_cost(store, size, label_type, options.windows, options.rounds)
            for label_type in ("int64", "int8")
            for size in (64, 96, 128)
        ]
        copies = copy_cost(store, options.rounds)
    measures = [
        {
            "name": f"overhead of a {run['size']}^3 item, {run['label_type']} labels",
            "value": run["overhead_ms"],
            "goal": GOAL_MS,
            "reached": run["overhead_ms"] <= GOAL_MS,
            "unit": "ms",
            "how": "processor time: median of dataset[n] minus median of read_windows on the same windows",
        }
        for run in runs
    ]
    measures += [
        {
            "name": name,
            "value": copies[name],
            "goal": GOAL_BYTES if name.startswith("bytes") else None,
            "reached": copies[name] <= GOAL_BYTES if name.startswith("bytes") else None,
            "unit": "ratio",
            "how": "int16 image and int8 label against float32 and int64, 8 windows of 96^3",
        }
        for name in ("bytes", "collate time", "device transform against normalising in the worker")
    ]
    for run in runs:
        print(
            f"{run['size']:>4}^3 {run['label_type']:<5}  item {run['item_ms']:7.3f} ms   "
            f"windows {run['windows_ms']:7.3f} ms   beside them {run['overhead_ms']:6.3f} ms (goal {GOAL_MS})"
        )
    for name, value in copies.items():
        print(f"{name:<52} {value:.3f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"name": "item_cost", "measures": measures, "runs": [*runs, copies]}
        options.json.write_text(json.dumps(document, indent=2))


def build_store(root: Path, images: list[Path]) -> Store:
    """The scans in one shard, each with boxes of eight classes."""
    store = Store.open(root)
    samples = []
    for path in images:
        voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        samples.append(made_sample(path.stem, voxels[None].astype("int16"), blocks_of_classes(voxels.shape, 8)))
    publish(store, samples, plan=CT_PLAN)
    return store


def item_cost(store: Store, size: int, label_type: LabelType, count: int, rounds: int) -> dict[str, Any]:
    dataset = ShardDataset(store, [ENTRY], patch_size=(size, size, size), foreground=1 / 3, label_type=label_type)
    asked = [_windows_of(dataset, n, size) for n in range(count)]
    item_times: list[float] = []
    window_times: list[float] = []
    for turn in range(rounds + 1):
        for n in range(count):
            pair = [
                (item_times, lambda n=n: dataset[n]),
                (window_times, lambda n=n: read_windows(asked[n])),
            ]
            for times, read in pair if (turn + n) % 2 else reversed(pair):
                seconds = _timed(read)
                if turn:  # the first round fills caches
                    times.append(seconds)
    item, windows = (1e3 * statistics.median(times) for times in (item_times, window_times))
    return {
        "size": size,
        "label_type": label_type,
        "item_ms": item,
        "windows_ms": windows,
        "overhead_ms": item - windows,
    }


def _windows_of(dataset: ShardDataset, n: int, size: int) -> list[tuple[Any, Window]]:
    """Image and label window of item n, as the data set asks for them."""
    drawn = draw(dataset.stream, n)
    index = dataset.indices[drawn.entry_index]
    row = index.row(drawn.row)
    label = row.labels["organ"]
    found = (
        index.draw_foreground(row, "organ", tuple(label.classes), drawn.class_fraction, drawn.voxel_fraction)
        if drawn.foreground
        else None
    )
    shape = (size, size, size)
    start = place_window(drawn, row.shape, shape, found[1:] if found else None)
    rule = normalisation_of(row, index.plan)
    return [
        (index, Window(row=row, name="image", start=start, size=shape, pad_value=rule.padding, scale=rule.scale)),
        (index, Window(row=row, name="labels/organ", start=start, size=shape)),
    ]


def copy_cost(store: Store, rounds: int) -> dict[str, float]:
    """Ratios of int16 and int8 against float32 and int64."""
    arguments: dict[str, Any] = {"patch_size": (96, 96, 96)}
    wide = ShardDataset(store, [ENTRY], **arguments)
    narrow = ShardDataset(store, [ENTRY], normalise="device", label_type="int8", **arguments)
    finish = DeviceTransform(device="cpu")
    batches = {name: dataset.__getitems__(list(range(8))) for name, dataset in (("wide", wide), ("narrow", narrow))}
    times: dict[str, list[float]] = {name: [] for name in ("wide", "narrow", "finish", "wide read", "narrow read")}
    for _ in range(rounds):
        for name, items in batches.items():
            times[name].append(_timed(lambda items=items: collate_samples(items)))
        collated = collate_samples(batches["narrow"])
        times["finish"].append(_timed(lambda collated=collated: finish(collated)))
        times["wide read"].append(_timed(lambda: wide.__getitems__(list(range(8)))))
        times["narrow read"].append(_timed(lambda: narrow.__getitems__(list(range(8)))))
    median = {name: statistics.median(values) for name, values in times.items()}
    nbytes = {
        name: sum(item[key].nbytes for item in items for key in ("image", "label")) for name, items in batches.items()
    }
    return {
        "bytes": nbytes["narrow"] / nbytes["wide"],
        "collate time": median["narrow"] / median["wide"],
        "device transform against normalising in the worker": median["finish"]
        / max(1e-9, median["wide read"] - median["narrow read"]),
        "items of stored numbers against float32 ones": median["narrow read"] / median["wide read"],
    }


def _timed(work: Callable[[], object]) -> float:
    # Of the processor: one thread does all the work, and a shared machine would count its other work otherwise.
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


if __name__ == "__main__":
    main()
