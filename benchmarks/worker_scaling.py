"""Windows per second that a `DataLoader` delivers with two workers against one.

    python benchmarks/worker_scaling.py --root data --json build/worker_scaling.json

96^3 windows with labels of real chest CTs, batches of 4, no consumer: each batch is taken and dropped. One and two
workers take turns; every run starts its workers anew and is timed from its second batch on. Each worker has one thread.
Beside it the same with workers that only make up tensors of that size and send them: what the machine and torch's
transport allow at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import torch
from item_cost import build_store
from made_store import ENTRY
from real_scans import add_scan_options, scans
from torch.utils.data import DataLoader, Dataset

from medshard.loaders import ShardDataset, collate_samples

GOAL = 1.4
BATCH = 4
SIZE = (96, 96, 96)


class MadeUp(Dataset[dict[str, Any]]):
    """Tensors of the size of an item after as much arithmetic as decoding one takes, about."""

    def __init__(self, length: int, seconds: float) -> None:
        self.length = length
        self.seconds = seconds

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> dict[str, Any]:
        end = time.perf_counter() + self.seconds
        total = 0
        while time.perf_counter() < end:
            total += n
        return {"image": torch.zeros(1, *SIZE), "label": torch.zeros(1, *SIZE, dtype=torch.int64), "total": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(Path(folder), scans(options))
        count = BATCH * options.batches
        ways: tuple[tuple[str, Literal["device"] | bool, Any], ...] = (
            ("float32", True, "int64"),
            ("stored", "device", "int8"),
        )
        datasets: dict[str, Dataset[Any]] = {
            name: ShardDataset(
                store, [ENTRY], patch_size=SIZE, samples_per_epoch=count, normalise=normalise, label_type=label_type
            )
            for name, normalise, label_type in ways
        }
        wide = datasets["float32"]
        begin = time.perf_counter()
        for n in range(40):
            wide[n]
        datasets["made up"] = MadeUp(count, (time.perf_counter() - begin) / 40)
        rates: dict[str, dict[int, list[float]]] = {name: {1: [], 2: []} for name in datasets}
        for turn in range(options.rounds):
            for name, dataset in datasets.items():
                for workers in (1, 2) if turn % 2 else (2, 1):
                    rates[name][workers].append(rate(dataset, workers, options.batches))
    runs = []
    for name, of_workers in rates.items():
        one, two = (statistics.median(of_workers[workers]) for workers in (1, 2))
        ratio = statistics.median(b / a for a, b in zip(of_workers[1], of_workers[2], strict=True))
        runs.append({"name": name, "one": one, "two": two, "ratio": ratio, "rates": of_workers})
        print(f"{name:<8}  1 worker {one:7.1f}/s   2 workers {two:7.1f}/s   ratio {ratio:.2f}")
    print(f"goal {GOAL}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.json:
        measures = [
            {
                "name": f"two workers against one, {run['name']}",
                "value": run["ratio"],
                "goal": None if run["name"] == "made up" else GOAL,
                "reached": None if run["name"] == "made up" else run["ratio"] >= GOAL,
                "unit": "ratio",
                "how": "median over rounds of windows/s, 96^3, batches of 4, no consumer",
            }
            for run in runs
        ]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"name": "worker_scaling", "measures": measures, "runs": runs}, indent=2))


def rate(dataset: Dataset[Any], workers: int, batches: int) -> float:
    """Windows per second from the second batch on."""
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=collate_samples,
        multiprocessing_context="fork",
    )
    taken = iter(loader)
    next(taken)
    begin = time.perf_counter()
    for _ in taken:
        pass
    return BATCH * (batches - 1) / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
