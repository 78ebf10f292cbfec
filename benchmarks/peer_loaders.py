"""Windows of the same real CTs through medshard and through the loaders that people use, each in its own way.

    make peers
    python benchmarks/peer_loaders.py --peers .venv-peers/bin/python --root data --json build/peers.json \\
        --figure docs/images/peers.png

Cases: the chest CTs of the entry, mirrored along z until they have 256 slices and cut to 448 rows (--shape); int16,
with their own lesion labels. A window is an image tensor, float32 and normalised (clipped to -1000 and 400 HU, then
mean and deviation), and a label tensor of any integer type; places are uniform, without oversampling of foreground.
Each peer is in a process of its own, one at a time, on one core with one thread, without workers, collation or a
consumer; files are in the page cache. What a peer prepares in threads is on the same core and therefore counts.

Two tasks. `random`: any window of any case, out of whole volumes. `cut`: 32 windows that were cut and normalised
before, in shuffled order; it is weaker, because no other window can ever be seen and every size is stored again.
Windows are checked against the cases: the same voxels within half a unit, the same labels.

A run goes once through all peers, in an order that turns; a ratio is taken within a run, and of the runs the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from peers.figure import draw
from peers.task import CUT_WINDOWS, Task
from real_scans import add_scan_options, scans

from medshard.errors import MedshardError

GOAL = 0.7
OURS = "medshard"
MODULES = {
    OURS: "medshard_shards",
    "nnU-Net loader": "nnunet",
    "nnU-Net data set": "nnunet",
    "TorchIO Queue": "torchio_queue",
    "MONAI PersistentDataset": "monai_persistent",
    "medh5": "medh5_patches",
    "MDS volumes": "mosaicml_mds",
    "WebDataset volumes": "webdataset_tar",
    "litdata volumes": "litdata_chunks",
    "litdata slabs": "litdata_chunks",
    "MDS cut windows": "mosaicml_mds",
    "WebDataset cut windows": "webdataset_tar",
    "litdata cut windows": "litdata_chunks",
}
# The issue asks for nnU-Net's ratio in another benchmark, with a goal of its own.
OUTSIDE_THE_GOAL = ("nnU-Net loader", "nnU-Net data set")

# Who reads what another one wrote.
STORED_BY = {"nnU-Net data set": "nnU-Net loader", "litdata slabs": "litdata volumes"}

Run = dict[str, dict[str, Any]]
"""Peer -> what its process printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    try:
        paths = scans(options)
    except MedshardError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="peers-", dir=options.scratch) as scratch:
        folder = options.folder or Path(scratch)
        task = make_task(paths, folder / "task", options.shape)
        names = options.peer or (list(MODULES) if options.peers else [OURS])
        writing = [
            run_all(names, task, folder, options, action="write", number=number) for number in range(options.writes)
        ]
        reading: list[Run] = []
        for number in range(options.runs):
            reading.append(run_all(names, task, folder, options, action="read", number=number))
            print(f"run {number + 1} of {options.runs}", file=sys.stderr, flush=True)
            document = made_document(reading, writing, options)
    print_tables(document, options.sizes)
    if options.figure:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(document["peers"], OURS, options.sizes, options.figure)
    return 0


def made_document(reading: Sequence[Run], writing: Sequence[Run], options: argparse.Namespace) -> dict[str, Any]:
    """What is known so far, also as a file."""
    document = {
        "name": "peer_loaders",
        "measures": measures(reading, writing, options.sizes),
        "peers": peers_table(reading, writing),
        "runs": [*({"action": "write", **run} for run in writing), *({"action": "read", **run} for run in reading)],
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return document


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--peers", help="the python of the environment that `make peers` makes; without it, ours alone")
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 448, 512), help="of a case, (z, y, x)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 64, 128], help="edges of windows")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--writes", type=int, default=3, help="how often everything is written")
    parser.add_argument("--windows", type=int, default=16, help="of a size in a run, at least")
    parser.add_argument("--seconds", type=float, default=0.7, help="of reading a size in a run, at least")
    parser.add_argument("--peer", action="append", choices=list(MODULES), help="only this one; may be repeated")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--scratch", type=Path, help="where the temporary folder is made; it takes about 6 GB")
    parser.add_argument("--folder", type=Path, help="a folder to keep everything in")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="a PNG")
    return parser.parse_args(arguments)


def make_task(paths: Sequence[Path], folder: Path, shape: Sequence[int]) -> Task:
    """The scans, enlarged, as npy files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        label_path = path.with_name(path.name.replace("_image", "_label"))
        image, label = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(each))) for each in (path, label_path))
        np.save(folder / f"case{number}_image.npy", enlarged(image.astype(np.int16), shape))
        np.save(folder / f"case{number}_label.npy", enlarged((label > 0).astype(np.uint8), shape))
    cases = tuple(f"case{number}" for number in range(len(paths)))
    task = Task(folder=folder, cases=cases, low=-1000.0, high=400.0, mean=-300.0, std=350.0)
    task.save()
    return task


def enlarged(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Mirrored at its end faces, axis by axis, then cut to the shape."""
    pad = [(0, max(0, wanted - size)) for wanted, size in zip(shape, array.shape, strict=True)]
    z, y, x = shape
    return np.ascontiguousarray(np.pad(array, pad, mode="symmetric")[:z, :y, :x])


def run_all(
    names: Sequence[str], task: Task, folder: Path, options: argparse.Namespace, *, action: str, number: int
) -> Run:
    """Every peer once, one after the other, another one first in each run."""
    places = [] if options.peers is None else [packages_of(options.peers)]
    asked = {
        "action": action,
        "task": str(task.folder),
        "folder": str(folder / "stored"),
        "sizes": options.sizes,
        "windows": options.windows,
        "seconds": options.seconds,
        "seed": number,
        "cpu": options.cpu,
        "peers": places,
    }
    found = {}
    for name in [*names[number % len(names) :], *names[: number % len(names)]]:
        stored = STORED_BY.get(name, name)
        if action == "write" and stored != name and stored in names:
            continue
        found[name] = run_one({**asked, "module": MODULES[name], "name": name, "stored": stored})
    return {name: found[name] if name in found else found[STORED_BY[name]] for name in names}


def run_one(asked: Mapping[str, Any]) -> dict[str, Any]:
    worker = Path(__file__).parent / "peers" / "worker.py"
    command = [sys.executable, str(worker), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{asked['name']}, {asked['action']}: {done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def packages_of(python: str) -> str:
    """Where an environment has its packages; those of medshard's own come after them."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()


def peers_table(reading: Sequence[Run], writing: Sequence[Run]) -> list[dict[str, Any]]:
    """Medians over the runs, a row for every peer."""
    rows = []
    for name, facts in reading[0].items():
        written = writing[0][name]["written"]
        rows.append(
            {
                "name": name,
                **{key: facts[key] for key in ("task", "version", "how", "windows_per_volume", "per_size")},
                "ms": {size: _median(run[name]["read"][size]["ms"] for run in reading) for size in facts["read"]},
                "cpu_ms": {
                    size: _median(run[name]["read"][size]["cpu_ms"] for run in reading) for size in facts["read"]
                },
                "times_ours": {size: _median(_over_ours(run, name, size) for run in reading) for size in facts["read"]},
                "import_s": _median(run[name]["import_s"] for run in reading),
                "first_window_s": _median(next(iter(run[name]["read"].values()))["first_window_s"] for run in reading),
                "mib": {size: one["nbytes"] / 2**20 for size, one in written.items()},
                "write_s": {
                    size: _median(run[name]["written"][size]["seconds"] for run in writing) for size in written
                },
            }
        )
    return rows


def measures(reading: Sequence[Run], writing: Sequence[Run], sizes: Sequence[int]) -> list[dict[str, Any]]:
    found = []
    for size in map(str, sizes):
        ratios = {name: _ratio(reading, name, size, "ms") for name in reading[0] if name != OURS}
        same = {name: ratio for name, ratio in ratios.items() if reading[0][name]["task"] == "random"}
        asked = {name: ratio for name, ratio in same.items() if name not in OUTSIDE_THE_GOAL}
        if asked:
            best = max(asked, key=lambda name: asked[name])
            found.append(_measure(f"{size}^3 random windows, time / best peer ({best})", asked[best], goal=GOAL))
        for name, ratio in ratios.items():
            cpu = _ratio(reading, name, size, "cpu_ms")
            how = f"{reading[0][name]['task']} windows; ratio of processor time {cpu:.3f}"
            found.append(_measure(f"{size}^3, time / {name}", ratio, how=how))
    for name in writing[0]:
        if name != OURS and STORED_BY.get(name) not in writing[0]:
            found += _writing_measures(writing, name, str(sizes[-1]))
    return found


def _writing_measures(writing: Sequence[Run], name: str, size: str) -> list[dict[str, Any]]:
    ours, theirs = ([run[each]["written"][size] for run in writing] for each in (OURS, name))
    seconds = _median(a["seconds"] / b["seconds"] for a, b in zip(ours, theirs, strict=True))
    how = f"{CUT_WINDOWS} windows of {size}^3" if writing[0][name]["task"] == "cut" else "the same cases"
    return [
        _measure(f"bytes / {name}", ours[0]["nbytes"] / theirs[0]["nbytes"], how=how),
        _measure(f"time to write / {name}", seconds, how=how),
    ]


def _over_ours(run: Run, name: str, size: str) -> float:
    ours = run[OURS if OURS in run else name]["read"][size]["ms"]
    return float(run[name]["read"][size]["ms"] / ours)


def _ratio(reading: Sequence[Run], name: str, size: str, key: str) -> float:
    return _median(run[OURS]["read"][size][key] / run[name]["read"][size][key] for run in reading)


def _median(values: Any) -> float:
    return float(statistics.median(values))


def _measure(name: str, value: float, *, goal: float | None = None, how: str = "") -> dict[str, Any]:
    reached = None if goal is None else value <= goal
    return {"name": name, "value": round(value, 4), "goal": goal, "reached": reached, "unit": "ratio", "how": how}


def print_tables(document: dict[str, Any], sizes: Sequence[int]) -> None:
    keys = [str(size) for size in sorted(sizes)]
    print(
        "| peer | version | task | " + " | ".join(f"{key}^3 ms" for key in keys) + " | MiB | write s | first window s |"
    )
    print("|---|---|---|" + "---|" * (len(keys) + 3))
    for row in document["peers"]:
        times = " | ".join(f"{row['ms'][key]:.2f}" for key in keys)
        last = keys[-1]
        print(
            f"| {row['name']} | {row['version']} | {row['task']} | {times} | {row['mib'][last]:.0f} "
            f"| {row['write_s'][last]:.2f} | {row['first_window_s']:.3f} |"
        )
    print("\n| measure | value | goal | how |\n|---|---|---|---|")
    for one in document["measures"]:
        goal = "" if one["goal"] is None else f"{one['goal']}{'' if one['reached'] else ' MISSED'}"
        print(f"| {one['name']} | {one['value']:.3f} | {goal} | {one['how']} |")


if __name__ == "__main__":
    sys.exit(main())
