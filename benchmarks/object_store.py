"""Windows from an object store on loopback that answers after 60 ms.

    python benchmarks/object_store.py --json build/object_store.json

A real chest CT of `pyradiomics-cases` in its own grid, made three times as long, with its label, in the plan's chunks.
The server is a process of its own, which waits before each answer. Four workers of a `DataLoader` each draw a labelled
voxel and read a normalised 128^3 window of the image with its label around it, batch by batch (`--batch`), without a
cache of blocks. Counted by the server: requests and bytes a window, requests for the index in the second run, and
dependent round trips: the longest chain of requests of one batch of which each began when the one before had ended.
Stored bytes a window: its share of the stored bytes of the array, voxel for voxel.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from medshard.loaders.foreground import VoxelDraw, draw_foreground
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.window_reading import read_windows
from medshard.loaders.windows import Scale, Window

SIZE = (128, 128, 128)
TIMES = 3
SERVER = Path(__file__).resolve().parent.parent / "tests" / "made" / "range_server.py"
Request = tuple[str, int, int, float, float]


class Batches(Dataset[int]):
    """Item n: a batch of windows, two round trips for all of them; returns how many."""

    def __init__(self, index: SampleIndex, length: int, batch: int) -> None:
        self.index, self.length, self.batch = index, length, batch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> int:
        torch.set_num_threads(1)
        read_batch(self.index, range(n * self.batch, (n + 1) * self.batch))
        return self.batch


def read_batch(index: SampleIndex, numbers: Sequence[int]) -> list[Any]:
    layer = next(iter(index.row(0).labels))
    rows = [index.row(number % len(index)) for number in numbers]
    draws = [
        VoxelDraw(
            row=row,
            layer=layer,
            values=tuple(row.labels[layer].classes),
            class_fraction=number * 0.37 % 1,
            voxel_fraction=number * 0.6180339887 % 1,
        )
        for row, number in zip(rows, numbers, strict=True)
    ]
    voxels = draw_foreground([(index, draw) for draw in draws])
    asked = []
    for row, voxel in zip(rows, voxels, strict=True):
        assert voxel is not None
        low = [place - size // 2 for place, size in zip(voxel[1:], SIZE, strict=True)]
        starts = [max(0, min(at, extent - size)) for at, extent, size in zip(low, row.shape, SIZE, strict=True)]
        start = (starts[0], starts[1], starts[2])
        asked.append((index, Window(row=row, name="image", start=start, size=SIZE, scale=Scale(std=300.0))))
        asked.append((index, Window(row=row, name=f"labels/{layer}", start=start, size=SIZE)))
    return read_windows(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a chest CT in NRRD; its label lies beside it")
    parser.add_argument("--root", default="data", help="the store that has the scans, without --scan")
    parser.add_argument("--latency", type=float, default=0.06, help="seconds before each answer")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="object-store-") as folder:
        entry = publish_scan(Path(folder) / "store", options)
        with serving(Path(folder) / "store", options.latency) as url:
            measures, runs = run(url, entry, Path(folder) / "cache", options)
    for each in measures:
        goal = "" if each["goal"] is None else f"goal {each['goal']}  {'reached' if each['reached'] else 'MISSED'}"
        sys.stdout.write(f"{each['name']:<52} {each['value']:>10.3f} {each['unit']:<10} {goal}\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"name": "object_store", "measures": measures, "runs": runs}, indent=2))


def run(
    url: str, entry: str, cache: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    index = SampleIndex.open(url, entry, cache=cache)
    len(index)
    first = index_requests(requests_of(url), index)
    index = SampleIndex.open(url, entry, cache=cache)
    len(index)
    second = index_requests(requests_of(url), index)
    trips, requests, overreads = [], [], []
    for number in range(12):
        windows = read_batch(index, range(number, number + 1))
        made = requests_of(url)
        trips.append(longest_chain(made))
        requests.append(len(made))
        stored = 0.0
        row = index.row(0)
        for window, name in zip(windows, ("image", f"labels/{next(iter(row.labels))}"), strict=True):
            array = row.arrays[name]
            stored += array.nbytes * window.size / torch.Size(array.shape).numel()
        overreads.append(sum(end - start for _, start, end, *_ in made) / stored)
    runs = []
    for number in range(options.rounds):
        loader = DataLoader(
            Batches(index, options.batches, options.batch),
            batch_size=None,
            num_workers=options.workers,
            multiprocessing_context="fork",
            prefetch_factor=2,
        )
        batches: Iterator[int] = iter(loader)
        done = sum(next(batches) for _ in range(options.workers))  # until every worker has its connections
        started = time.perf_counter()
        done = sum(batches)
        runs.append({"round": number, "windows_per_s": done / (time.perf_counter() - started)})
    requests_of(url)
    rates = [each["windows_per_s"] for each in runs]
    batch = f"batches of {options.batch}, {options.workers} workers"
    measures = [
        measure("windows a second", statistics.median(rates), 20.0, "windows/s", batch, at_least=True),
        measure("dependent round trips, at most", max(trips), 2, "", "foreground, then image and label"),
        measure("bytes asked for / stored bytes of a window", statistics.median(overreads), 2.5, "", "median of 12"),
        measure("requests a window", statistics.median(requests), None, "", "median of 12"),
        measure("requests for the index, first run", first, None, "", ""),
        measure("requests for the index, second run", second, 0, "", ""),
    ]
    return measures, runs


def longest_chain(requests: Sequence[Request]) -> int:
    """Most requests of which each began when the one before it had ended."""
    chain, ended = 0, float("-inf")
    for _, _, _, begin, end in sorted(requests, key=lambda request: request[4]):
        if begin >= ended:
            chain, ended = chain + 1, end
    return chain


def index_requests(requests: Sequence[Request], index: SampleIndex) -> int:
    return sum(name.startswith(index.head.attachments["index"].digest) for name, *_ in requests)


def requests_of(url: str) -> list[Request]:
    """What was asked since the last time."""
    with urllib.request.urlopen(f"{url}/_log") as answer:
        return [tuple(each) for each in json.load(answer)]


@contextmanager
def serving(folder: Path, latency_s: float) -> Iterator[str]:
    command = [sys.executable, str(SERVER), str(folder), str(latency_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def publish_scan(root: Path, options: argparse.Namespace) -> str:
    import numpy as np  # noqa: PLC0415
    import SimpleITK  # noqa: PLC0415
    from made_store import ENTRY, made_sample, publish  # noqa: PLC0415
    from real_scans import scans  # noqa: PLC0415

    from medshard.registry.store import Store  # noqa: PLC0415

    scan = options.scan
    if scan is None:
        scan = scans(argparse.Namespace(image=None, root=options.root, entry="pyradiomics-cases"))[-1]
    image, label = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        for path in (scan, scan.with_name(scan.name.replace("_image", "_label")))
    )
    # Every second copy the other way round, so that there is no edge between them.
    parts = [slice(None, None, 1 if number % 2 == 0 else -1) for number in range(TIMES)]
    voxels = np.concatenate([image[part] for part in parts]).astype(np.int16)[None]
    classes = np.concatenate([label[part] for part in parts]).astype(np.uint8)[None]
    publish(Store.open(root), [made_sample("lung", voxels, classes)])
    return ENTRY


def measure(
    name: str, value: float, goal: float | None, unit: str, how: str, *, at_least: bool = False
) -> dict[str, Any]:
    reached = None if goal is None else (value >= goal if at_least else value <= goal)
    return {"name": name, "value": value, "goal": goal, "reached": reached, "unit": unit, "how": how}


if __name__ == "__main__":
    main()
