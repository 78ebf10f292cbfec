"""Private memory of the workers of a `DataLoader` over an index of 100,000 cases, and whether it grows.

    python benchmarks/worker_memory.py --json build/worker_memory.json

The index is made: one small sample, listed 100,000 times under other names, each with chunk tables of its own. Windows
of random cases are read with their labels. Private memory of a process is what no other process maps (USS of psutil);
of shared pages nothing is counted. "Per added worker" is the largest mean of any worker over the last tenth of the
steps; growth is the slope of a line through the readings after the first tenth, when caches have filled, over all of
them, as a share of their mean.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from medshard.converters.volume import Array
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.windows import Scale, Window
from medshard.loaders.workers import worker_context

GOAL_MIB = 60.0
GOAL_GROWTH = 0.01
SHAPE = (48, 160, 160)
SIZE = (32, 64, 64)
SAMPLES_A_STEP = 2
READINGS = 400


class RandomWindows(Dataset[int]):
    """Item n: a normalised window and its label from a case that n alone decides; returns a sum, not the voxels."""

    def __init__(self, index: SampleIndex, length: int) -> None:
        self.index = index
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> int:
        torch.set_num_threads(1)
        row = self.index.row(n * 7919 % len(self.index))
        drawn = self.index.draw_foreground(row, "organ", (1, 2, 3), n * 0.37 % 1, n * 0.61 % 1)
        assert drawn is not None
        z, y, x = (place - size // 2 for place, size in zip(drawn[1:], SIZE, strict=True))
        image, label = self.index.read_windows(
            [
                Window(row=row, name="image", start=(z, y, x), size=SIZE, scale=Scale(std=300.0)),
                Window(row=row, name="labels/organ", start=(z, y, x), size=SIZE),
            ]
        )
        return int(image.size) + int(label.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000, help="of every worker")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # Here, because forkserver has every worker run what stands at the top of this file, and writing shards needs much.
    from made_store import ENTRY, made_sample, publish  # noqa: PLC0415

    from medshard.registry.store import Store  # noqa: PLC0415

    measures: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="worker-memory-") as folder:
        store = Store.open(Path(folder) / "store")
        publish(store, [made_sample("case", *image_and_label())], times=options.cases)
        started = time.perf_counter()
        index = SampleIndex.open(store, ENTRY)
        cases = len(index)
        opened_ms = 1e3 * (time.perf_counter() - started)
        rng = np.random.default_rng(0)
        numbers = rng.integers(0, cases, 2000).tolist()
        times = []
        for _ in range(7):
            started = time.process_time()
            for number in numbers:
                index.row(number)
            times.append(1e6 * (time.process_time() - started) / len(numbers))
        row_us = statistics.median(times)
        measures += [
            measure("open the index", opened_ms, None, "ms", f"{cases} cases, to the first length"),
            measure("a row at random", row_us, 50.0, "us", "3 arrays, parsed anew, processor time"),
        ]
        for way in ("fork", "forkserver"):
            run = run_workers(index, way, options)
            runs.append(run)
            per_worker = max(run["late_mib"])
            growth = max(run["growth"])
            measures += [
                measure(f"private memory per worker, {way}", per_worker, GOAL_MIB, "MiB", f"{cases} cases, USS"),
                measure(f"growth over the steps, {way}", growth, GOAL_GROWTH, "", f"{options.steps} steps a worker"),
            ]
    for each in measures:
        goal = "" if each["goal"] is None else f"goal {each['goal']}  {'reached' if each['reached'] else 'MISSED'}"
        sys.stdout.write(f"{each['name']:<44} {each['value']:>10.3f} {each['unit']:<4} {goal}\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"name": "worker_memory", "measures": measures, "runs": runs}, indent=2))


def image_and_label() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    image = rng.integers(-50, 50, (1, *SHAPE)).astype(np.int16)
    label = np.zeros((1, *SHAPE), np.uint8)
    for value in (1, 2, 3):
        label[0, 8 * value : 8 * value + 6, 20 * value : 20 * value + 30, 40:90] = value
    return image, label


def run_workers(index: SampleIndex, way: str, options: argparse.Namespace) -> dict[str, Any]:
    steps = options.steps * options.workers
    loader = DataLoader(
        RandomWindows(index, steps * SAMPLES_A_STEP),
        batch_size=SAMPLES_A_STEP,
        num_workers=options.workers,
        multiprocessing_context=worker_context() if way == "forkserver" else way,
    )
    readings: list[list[float]] = []
    every = max(1, steps // READINGS)
    batches = iter(loader)
    workers = [psutil.Process(worker.pid) for worker in batches._workers]  # type: ignore[attr-defined]
    for step, _ in enumerate(batches):
        if step % every == 0 and step < steps - 2 * options.workers:
            readings.append([worker.memory_full_info().uss / 2**20 for worker in workers])
    tenth = len(readings) // 10
    return {
        "way": way,
        "readings_mib": readings,
        "growth": [growth_of(column[tenth:]) for column in zip(*readings, strict=True)],
        "late_mib": [statistics.mean(column) for column in zip(*readings[-tenth:], strict=True)],
    }


def growth_of(readings: Sequence[float]) -> float:
    slope, _ = np.polyfit(np.arange(len(readings)), readings, 1)
    return float(slope) * len(readings) / statistics.mean(readings)


def measure(name: str, value: float, goal: float | None, unit: str, how: str) -> dict[str, Any]:
    reached = None if goal is None else value <= goal
    return {"name": name, "value": value, "goal": goal, "reached": reached, "unit": unit, "how": how}


if __name__ == "__main__":
    main()
