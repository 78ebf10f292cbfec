"""Everything that is promised of shards and loaders, measured in one go: a JSON of ratios, and a figure.

    python benchmarks/data_plane.py --peers .venv-peers/bin/python --json data-plane.json --figure data-plane.png

Each measurement is a program of its own beside this one, which says what it asks of whom; they run one after the
other, so that none disturbs another. A goal that is missed is shown as such.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medshard.registry.store import Store
from medshard.registry.store.manifests import read_manifest, require_head

HERE = Path(__file__).parent
ENTRY = "pyradiomics-cases"
Measure = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    measures = [
        {"of": name, **measure} for name, extra in programs(options).items() for measure in measured(name, extra)
    ]
    for measure in measures:
        print(line_of(measure))
    if options.json:
        options.json.write_text(json.dumps({"name": "data plane", "measures": measures}, indent=2) + "\n")
    if options.figure:
        draw(measures, options.figure)
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--root", default="data", help="a store that holds the real scans (make demo)")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"), help="made by `make peers`")
    parser.add_argument("--only", action="append", help="only this program; may be repeated")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="a PNG")
    return parser.parse_args(arguments)


def programs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Program -> what it is told beside `--json`."""
    scans = scans_of(Store.open(options.root, create=False))
    lungs = ["--lung1", str(scans["lung1"]), "--lung2", str(scans["lung2"])]
    peers = ["--peers", str(options.peers)]
    every = {
        "windows": peers,
        "peer_loaders": peers,
        "resampling": ["--peer", str(options.peers), *lungs],
        "foreground_draw": peers,
        "item_cost": [],
        "worker_scaling": [],
        "worker_memory": [],
        "resume": [],
        "object_store": ["--scan", str(scans["lung2"])],
    }
    return {name: told for name, told in every.items() if not options.only or name in options.only}


def scans_of(store: Store) -> dict[str, Path]:
    """Case -> its image file in the raw tree. Raises StoreError[stage.not_built]."""
    manifest = read_manifest(store, require_head(store, ENTRY, "raw").manifest)
    found: dict[str, Path] = {}
    for record in manifest.good:
        if record.output is not None:
            tree = store.path(record.output)
            found |= {path.name.removesuffix("_image.nrrd"): path for path in sorted(tree.rglob("*_image.nrrd"))}
    return found


def measured(name: str, extra: Sequence[str], root: str) -> list[Measure]:
    """What one program measured. It prints its own table meanwhile."""
    with tempfile.TemporaryDirectory(prefix="data-plane-") as folder:
        out = Path(folder) / "measures.json"
        started = time.monotonic()
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *extra, "--json", str(out)]
        done = subprocess.run(command, env={**os.environ, "MEDSHARD_ROOT": root}, check=False)
        if done.returncode != 0 or not out.exists():
            return [{"name": name, "value": None, "goal": None, "reached": False, "unit": "", "how": "did not finish"}]
        print(f"{name} took {time.monotonic() - started:.0f} s\n", flush=True)
        measures: list[Measure] = json.loads(out.read_text())["measures"]
        return measures


def line_of(measure: Measure) -> str:
    value = "-" if measure["value"] is None else f"{measure['value']:.4g}"
    goal = (
        "" if measure["goal"] is None else f"goal {measure['goal']:g}, {'reached' if measure['reached'] else 'MISSED'}"
    )
    return f"{measure['of']:16} {measure['name']:70} {value:>10} {measure['unit']:14} {goal}"


def draw(measures: Sequence[Measure], file: Path) -> None:
    """Each measure that has a goal, as a share of it: left of the line is reached (of a rate, right of it)."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second)

    shown = [measure for measure in measures if measure["goal"] and measure["value"]]
    figure = Figure(figsize=(9, 0.24 * len(shown) + 1), dpi=110, layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    shares = [measure["value"] / measure["goal"] for measure in shown]
    colours = ["#0072B2" if measure["reached"] else "#D55E00" for measure in shown]
    axes.barh(places, shares, color=colours, height=0.7)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(places, [f"{measure['of']}: {measure['name']}" for measure in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("value / goal (blue: reached, orange: missed)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    figure.savefig(file, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
