"""Drawing a labelled voxel: from the index, and as nnU-Net does it, which loads the case's list of voxels first.

    python benchmarks/foreground_draw.py --peers .venv-peers/bin/python --json build/foreground_draw.json

A made label of 8 and of 200 classes on one grid. Ours: `SampleIndex.draw_foreground` of a row that was asked for
before, and with the row parsed anew. nnU-Net 2.8: `_sample_foreground_locations` writes the case's pickle as its
preprocessor does; timed is what `load_case` and the data loader do for one window: load it, choose a class, choose a
voxel. Interleaved, processor time, medians of rounds of draws, warm cache.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = (8, 200)
SHAPE = (160, 256, 256)
GOAL_MS = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the Python of an environment with nnunetv2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve-nnunet", type=Path, help=argparse.SUPPRESS)  # this file is its own peer
    options = parser.parse_args()
    if options.serve_nnunet:
        serve_nnunet(options.serve_nnunet)
        return
    measures: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="foreground-") as folder:
        for classes in CLASSES:
            runs += measure(Path(folder), classes, options)
            measures += summary(runs, classes)
    for each in measures:
        goal = "" if each["goal"] is None else f"goal {each['goal']}  {'reached' if each['reached'] else 'MISSED'}"
        sys.stdout.write(f"{each['name']:<52} {each['value']:>10.4f} {each['unit']:<6} {goal}\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"name": "foreground_draw", "measures": measures, "runs": runs}
        options.json.write_text(json.dumps(document, indent=2))


def measure(folder: Path, classes: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    from made_store import ENTRY, blocks_of_classes, made_sample, publish  # noqa: PLC0415

    from medshard.loaders.shard_reader import SampleIndex  # noqa: PLC0415
    from medshard.registry.store import Store  # noqa: PLC0415

    label = blocks_of_classes(SHAPE, classes)
    store = Store.open(folder / f"store-{classes}")
    publish(store, [made_sample("case", label.astype(np.int16), label)])
    index = SampleIndex.open(store, ENTRY)
    values = list(range(1, classes + 1))
    fractions = np.random.default_rng(1).random((options.draws, 2)).tolist()
    peer = None
    if options.peers:
        np.save(folder / "label.npy", label)
        command = [str(options.peers), __file__, "--serve-nnunet", str(folder / "label.npy")]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    runs = []
    for number in range(options.rounds):
        row = index.row(0)
        started = time.process_time()
        for of_class, of_voxel in fractions:
            drawn = index.draw_foreground(row, "organ", values, of_class, of_voxel)
        kept_ms = 1e3 * (time.process_time() - started) / options.draws
        assert drawn is not None
        assert label[0, drawn[1], drawn[2], drawn[3]] == drawn[0]
        started = time.process_time()
        for of_class, of_voxel in fractions:
            index._opened.here().rows.clear()
            index.draw_foreground(index.row(0), "organ", values, of_class, of_voxel)
        anew_ms = 1e3 * (time.process_time() - started) / options.draws
        run = {"classes": classes, "round": number, "draw_ms": kept_ms, "row_and_draw_ms": anew_ms}
        if peer is not None and peer.stdin and peer.stdout:
            peer.stdin.write("20\n")
            peer.stdin.flush()
            run |= json.loads(peer.stdout.readline())
        runs.append(run)
    if peer is not None and peer.stdin:
        peer.stdin.close()
        peer.wait()
    return runs


def summary(runs: list[dict[str, Any]], classes: int) -> list[dict[str, Any]]:
    def median(name: str) -> float | None:
        found = [run[name] for run in runs if run["classes"] == classes and name in run]
        return statistics.median(found) if found else None

    measures = []
    named = [
        ("draw_ms", "ms", GOAL_MS, "draw, row at hand"),
        ("row_and_draw_ms", "ms", None, "draw, row parsed anew"),
        ("nnunet_ms", "ms", None, "nnU-Net: load the pickle and choose"),
        ("nnunet_bytes", "bytes", None, "nnU-Net: pickle of the case"),
    ]
    for name, unit, goal, how in named:
        value = median(name)
        if value is not None:
            reached = None if goal is None else value <= goal
            full_name = f"{how}, {classes} classes"
            measures.append(
                {"name": full_name, "value": value, "goal": goal, "reached": reached, "unit": unit, "how": how}
            )
    return measures


def serve_nnunet(label: Path) -> None:
    """For each line with a number, that many loads and choices; answers with their median."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor  # noqa: PLC0415

    seg = np.load(label)
    classes = [int(value) for value in np.unique(seg) if value > 0]
    properties = {"class_locations": DefaultPreprocessor._sample_foreground_locations(seg, classes)}
    path = label.with_suffix(".pkl")
    path.write_bytes(pickle.dumps(properties))
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started = time.process_time()
            loaded = pickle.loads(path.read_bytes())["class_locations"]
            eligible = [each for each in loaded if len(loaded[each]) > 0]
            voxels = loaded[eligible[np.random.choice(len(eligible))]]
            voxels[np.random.choice(len(voxels))]
            times.append(1e3 * (time.process_time() - started))
        answer = {"nnunet_ms": statistics.median(times), "nnunet_bytes": path.stat().st_size}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
