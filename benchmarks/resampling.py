"""Resampling: time and memory against nnU-Net's default, on real CT and one core.

    python benchmarks/resampling.py --peer .venv-peers/bin/python --lung1 lung1_image.nrrd --lung2 lung2_image.nrrd

The scans are images of the entry pyradiomics-cases. nnU-Net runs in the peers' Python: its default for images
(`resample_data_or_seg`: cubic, float64, no low-pass) and, for honesty, its torch variant (`resample_torch_simple`:
trilinear, so another output), each asked for what it asks of itself: float32 in, float32 out, one thread. Ours is asked
for the same output as the default (`antialias=False`), and the largest difference is told; then, beside it, for what
plans other than `nnunet` ask (low-pass on). One child process of each side answers in turn, pinned to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

GOAL_TIME, GOAL_MEMORY = 0.05, 1.5

# Each child reads one job a line and answers with seconds, and with the peak of its memory where that is asked.
OURS = """
from medshard.converters.axis_matrices import axis_matrix
from medshard.converters.resampling import resample_array
def run(image, shape, axis, how):
    axis_matrix.cache_clear()  # every case of a set may have its own shape
    return resample_array(image, shape, antialias=how == "low-pass", slices=axis)
"""
THEIRS = """
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_simple
torch.set_num_threads(1)
def run(image, shape, axis, how):
    if how == "torch":
        return resample_torch_simple(image, shape, is_seg=False, num_threads=1, device=torch.device("cpu"))
    return resample_data_or_seg(image, shape, False, axis, 3, axis is not None, order_z=0)
"""
LOOP = """
import json, sys, time
import numpy as np
for line in sys.stdin:
    job = json.loads(line)
    image = np.load(job["image"])
    start = time.perf_counter()
    out = run(image, tuple(job["shape"]), job["axis"], job["how"])
    seconds = time.perf_counter() - start
    if job["save"]:
        np.save(job["save"], out)
    print(json.dumps(seconds), flush=True)
"""
MEMORY = """
import sys
import numpy as np
from medshard.converters.resampling import resample_array
def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
resample_array(np.zeros((1, 8, 8, 8), np.int16), (9, 9, 9))
before = kib("VmRSS:")
image = np.load(sys.argv[1])
out = resample_array(image, eval(sys.argv[2]), antialias=False, slices=eval(sys.argv[3]))
print(1024 * (kib("VmHWM:") - before) / (image.nbytes + out.nbytes))
"""


@dataclass(frozen=True)
class Case:
    """image: (z, y, x). axis: across which slices are resampled one by one."""

    name: str
    image: NDArray[Any]
    shape: tuple[int, int, int]
    axis: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _options(arguments)
    scans = {name: _read(getattr(asked, name)) for name in ("lung1", "lung2")}
    with tempfile.TemporaryDirectory() as folder:
        runs = [_measure(case, asked, Path(folder)) for case in _cases(scans)]
    measures = list(_measures(runs))
    for measure in measures:
        said = "reached" if measure["reached"] else "-" if measure["goal"] is None else "MISSED"
        print(f"{measure['name']:<58} {measure['value']:>9.4f} {measure['unit']:<9} {said}")
    if asked.json:
        asked.json.write_text(json.dumps({"name": "resampling", "measures": measures, "runs": runs}, indent=2) + "\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=os.environ.get("MEDSHARD_PEERS", ".venv-peers/bin/python"))
    parser.add_argument("--lung1", type=Path, required=True)
    parser.add_argument("--lung2", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def _read(path: Path) -> NDArray[Any]:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def _cases(scans: dict[str, NDArray[Any]]) -> Iterator[Case]:
    for name, image in scans.items():
        nz, ny, nx = image.shape
        yield Case(f"{name}, up", image, (round(nz * 1.5), round(ny * 0.957), round(nx * 0.957)))
        yield Case(f"{name}, down", image, (round(nz * 0.6), round(ny * 0.6), round(nx * 0.6)))
        yield Case(f"{name}, slice by slice", image, (round(nz * 1.3), round(ny * 0.8), round(nx * 0.8)), axis=0)
    # The size that nnU-Net's own issue on the matter talks of: both scans, one upon the other, every other pixel.
    stacked = np.concatenate([scan[:, ::2, ::2] for scan in scans.values()])[:108]
    yield Case("108 x 256 x 256 -> 162 x 245 x 245", np.ascontiguousarray(stacked), (162, 245, 245))


def _measure(case: Case, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    np.save(folder / "float.npy", case.image[None].astype(np.float32))
    np.save(folder / "stored.npy", case.image[None])
    kinds = [("ours", "same"), ("theirs", "same"), ("ours", "low-pass"), ("theirs", "torch")]
    seconds: dict[str, list[float]] = {f"{side} {how}": [] for side, how in kinds}
    with _child(sys.executable, OURS, asked.core) as ours, _child(asked.peer, THEIRS, asked.core) as theirs:
        children = {"ours": ours, "theirs": theirs}
        for turn in range(asked.repeats + 1):
            for side, how in kinds[turn % 4 :] + kinds[: turn % 4]:
                save = str(folder / f"{side}.npy") if turn == 0 and how == "same" else ""
                job = {"image": str(folder / "float.npy"), "shape": case.shape, "axis": case.axis}
                taken = _ask(children[side], {**job, "how": how, "save": save})
                if turn:  # the first is to warm up
                    seconds[f"{side} {how}"].append(taken)
    difference = float(np.abs(np.load(folder / "ours.npy") - np.load(folder / "theirs.npy")).max())
    script = [sys.executable, "-c", MEMORY, str(folder / "stored.npy"), repr(case.shape), repr(case.axis)]
    memory = float(subprocess.run(script, check=True, capture_output=True, text=True, env=_environment()).stdout)
    return {"case": case.name, "from": case.image.shape, "to": case.shape, "seconds": seconds,
            "largest_difference": difference, "memory": memory}  # fmt: skip


def _measures(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for run in runs:
        median = {name: statistics.median(times) for name, times in run["seconds"].items()}
        default = median["theirs same"]
        how = f"median of {len(run['seconds']['ours same'])}, interleaved, one core"
        for name, value, goal, unit, what in (
            ("time / nnU-Net default", median["ours same"] / default, GOAL_TIME, "ratio", how),
            ("largest difference to it", run["largest_difference"], 0.01, "HU", "all voxels"),
            ("peak memory", run["memory"], GOAL_MEMORY, "in + out", "resident set of a process, int16 in, float32 out"),
            ("with low-pass, time / nnU-Net default", median["ours low-pass"] / default, None, "ratio", how),
            ("time / nnU-Net torch, trilinear", median["ours same"] / median["theirs torch"], None, "ratio", how),
        ):
            reached = None if goal is None else bool(value <= goal)
            yield {"name": f"{run['case']}: {name}", "value": value, "goal": goal, "reached": reached, "unit": unit,
                   "how": what}  # fmt: skip


@contextmanager
def _child(python: str, script: str, core: int) -> Iterator[subprocess.Popen[str]]:
    pinned = f"import os\nos.sched_setaffinity(0, {{{core}}})\n" if hasattr(os, "sched_setaffinity") else ""
    command = [python, "-c", pinned + script + LOOP]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_environment()
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _ask(child: subprocess.Popen[str], job: dict[str, Any]) -> float:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(job) + "\n")
    child.stdin.flush()
    while not (line := child.stdout.readline()).startswith(tuple("0123456789")):
        if not line:
            raise SystemExit(f"the process that was to do {job['how']} ended with code {child.wait()}")
    return float(line)


if __name__ == "__main__":
    sys.exit(main())
