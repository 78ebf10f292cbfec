"""How long a run takes to go on at step 1,000,000, against torchdata's own samplers.

    .venv/bin/python benchmarks/resume.py --json resume.json

Every loader is torchdata's StatefulDataLoader over a data set whose item n is only the draw of sample n (no voxels are
read), with batches of 8. Timed is from `load_state_dict` to the first batch, in this process, runs interleaved.

    medshard     SampleStream: its state is the next number
    random       torchdata.RandomSampler without replacement over 8,000,008 samples, at its step 1,000,000
    sequential   torch's SequentialSampler, which torchdata winds forward number by number
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import RandomSampler

from medshard.loaders.mixture import MixtureRule, mix
from medshard.loaders.sampler import SampleStream
from medshard.loaders.stream import Stream, draw

BATCH = 8
STEPS = 1_000_000
SAMPLES = BATCH * (STEPS + 1)
GOAL_SECONDS = 1.0


class Draws(Dataset[int]):
    """Item n is the row of sample n in a mixture of 130 entries."""

    def __init__(self) -> None:
        sizes = [10 + 13 * number for number in range(130)]
        entries = [f"entry-{number}" for number in range(130)]
        self.stream = Stream(seed=1, mixture=mix(entries, sizes, MixtureRule(temperature=2.0)), foreground=0.33)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, n: int) -> int:
        return draw(self.stream, n).row


def loader_of(sampler: Any, data: Draws, workers: int) -> StatefulDataLoader:
    return StatefulDataLoader(data, sampler=sampler, batch_size=BATCH, num_workers=workers)


def samplers(data: Draws) -> dict[str, Callable[[], Any]]:
    return {
        "medshard": lambda: SampleStream(SAMPLES, stream=data.stream, global_batch=BATCH, rank=0, world_size=1),
        "random": lambda: RandomSampler(data, generator=torch.Generator().manual_seed(1)),
        "sequential": lambda: SequentialSampler(data),
    }


def state_at_a_million(name: str, make: Callable[[], Any], data: Draws, workers: int) -> dict[str, Any]:
    """A loader's state of its first step, moved on: reaching the step by reading would take hours."""
    loader = loader_of(make(), data, workers)
    next(iter(loader))
    state = loader.state_dict()
    for part in _dicts(state):
        for key in ("samples_yielded", "yielded"):
            if key in part:
                part[key] = BATCH * STEPS
        for key in ("_sampler_iter_yielded", "_num_yielded", "_snapshot_step"):
            if key in part:
                part[key] = STEPS
        if name == "medshard" and "next" in part:
            part["next"] = BATCH * STEPS
    return state


def _dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    return [value, *(found for each in value.values() for found in _dicts(each))]


def seconds_to_first_batch(make: Callable[[], Any], data: Draws, workers: int, state: dict[str, Any]) -> float:
    loader = loader_of(make(), data, workers)
    begin = time.perf_counter()
    loader.load_state_dict(state)
    batch = next(iter(loader))
    seconds = time.perf_counter() - begin
    if isinstance(loader.sampler, SampleStream) and batch.tolist() != [data[n] for n in range(BATCH * STEPS, SAMPLES)]:
        message = f"the resumed batch {batch.tolist()} is not that of step {STEPS}"
        raise SystemExit(message)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message=".set_vital.")
    data = Draws()
    runs: list[dict[str, Any]] = []
    for workers in (0, 2):
        states = {name: state_at_a_million(name, make, data, workers) for name, make in samplers(data).items()}
        for run in range(arguments.runs):
            for name, make in samplers(data).items():
                seconds = seconds_to_first_batch(make, data, workers, states[name])
                runs.append({"run": run, "sampler": name, "workers": workers, "seconds": seconds})
    measures = []
    for workers in (0, 2):
        median = {
            name: statistics.median(
                run["seconds"] for run in runs if (run["sampler"], run["workers"]) == (name, workers)
            )
            for name in samplers(data)
        }
        measures.append(
            {
                "name": f"resume at step 1,000,000, {workers} workers",
                "value": median["medshard"],
                "goal": GOAL_SECONDS,
                "reached": median["medshard"] < GOAL_SECONDS,
                "unit": "s",
                "how": "load_state_dict to the first batch, median",
            }
        )
        measures += [
            {
                "name": f"resume against torchdata's {name} sampler, {workers} workers",
                "value": median["medshard"] / median[name],
                "goal": None,
                "reached": None,
                "unit": "ratio",
                "how": f"{median['medshard']:.4f} s / {median[name]:.4f} s",
            }
            for name in ("random", "sequential")
        ]
    for measure in measures:
        print(f"{measure['name']:<64} {measure['value']:.3g} {measure['unit']:<6} {measure['how']}")
    if arguments.json:
        document = {"name": "resume", "measures": measures, "runs": runs}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
