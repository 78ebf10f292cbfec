"""One peer in a process of its own, on one core: `python peers/worker.py JSON` prints what it measured as JSON."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers.task import Delivered, Peer, Task

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLOSC_NTHREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def main() -> None:
    asked = json.loads(sys.argv[1])
    sys.path[:1] = [str(Path(__file__).resolve().parents[1]), *asked["peers"]]
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    os.sched_setaffinity(0, {asked["cpu"]})
    warnings.filterwarnings("ignore")
    begin = time.perf_counter()
    peer = _peer(asked["module"], asked["name"])
    imported = time.perf_counter() - begin

    import torch  # noqa: PLC0415 (after the settings above)
    from peers.task import Task  # noqa: PLC0415

    torch.set_num_threads(1)
    task = Task.read(Path(asked["task"]))
    result = {"name": peer.name, "import_s": imported, "threads": torch.get_num_threads(), **_description(peer)}
    if asked["action"] == "write":
        result["written"] = {str(size): _write(peer, task, _folder(asked, peer, size), size) for size in asked["sizes"]}
    else:
        result["read"] = {str(size): _read(peer, task, asked, size) for size in asked["sizes"]}
    print("\n" + json.dumps(result), flush=True)
    os._exit(0)  # without waiting for threads that a peer may have left


def _peer(module: str, name: str) -> Peer:
    found: dict[str, Peer] = {peer.name: peer for peer in importlib.import_module(f"peers.{module}").PEERS}
    return found[name]


def _description(peer: Peer) -> dict[str, Any]:
    return {
        "task": peer.task,
        "how": peer.how,
        "version": version(peer.distribution),
        "per_size": peer.per_size,
        "windows_per_volume": peer.windows_per_volume,
    }


def _folder(asked: Mapping[str, Any], peer: Peer, size: int) -> Path:
    name = asked["stored"].replace(" ", "-") + (f"-{size}" if peer.per_size else "")
    return Path(asked["folder"]) / name


def _write(peer: Peer, task: Task, folder: Path, size: int) -> dict[str, float]:
    """Seconds for all cases, and the bytes that are there afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for case in task.cases:  # into the page cache
        task.image(case).max(), task.label(case).max()
    begin, cpu = time.perf_counter(), time.process_time()
    peer.write(task, folder, size)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    nbytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "nbytes": nbytes}


def _read(peer: Peer, task: Task, asked: Mapping[str, Any], size: int) -> dict[str, float]:
    """Milliseconds a window, over at least so many windows and seconds; the warm-up is checked against the cases."""
    begin = time.perf_counter()
    stream = peer.windows(task, _folder(asked, peer, size), size, asked["seed"])
    window = next(stream)
    first = time.perf_counter() - begin
    error = _checked(peer, task, window, size)
    for _ in range(max(1, peer.period) * 2 - 1):  # a whole period, and what was begun
        window = next(stream)
    error = max(error, _checked(peer, task, window, size))
    count, begin, cpu = 0, time.perf_counter(), time.process_time()
    while count < asked["windows"] or count % peer.period or time.perf_counter() - begin < asked["seconds"]:
        window = next(stream)
        count += 1
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    error = max(error, _checked(peer, task, window, size))
    _close(stream)
    return {
        "ms": seconds / count * 1e3,
        "cpu_ms": cpu_seconds / count * 1e3,
        "windows": count,
        "first_window_s": first,
        "largest_error": error,
    }


def _checked(peer: Peer, task: Task, window: Delivered, size: int) -> float:
    """The largest difference of a normalised voxel. Exits when the window is not the one that it says it is."""
    import numpy as np  # noqa: PLC0415
    from peers.task import box  # noqa: PLC0415

    place = window.place()
    image, label = window.image.numpy(), window.label.numpy()
    inside = box(place, size)
    if window.image.shape != (1, size, size, size) or window.label.shape != window.image.shape:
        sys.exit(f"{peer.name}: image {image.shape} and label {label.shape} instead of (1, {size}, {size}, {size})")
    if image.dtype != np.float32 or not np.issubdtype(label.dtype, np.integer):
        sys.exit(f"{peer.name}: image {image.dtype} and label {label.dtype}")
    error = float(np.abs(image[0] - task.normalised(task.image(place[0])[inside])).max())
    if error > 0.51 / task.std + 1e-4:  # half a unit: what may be lost in quantisation
        sys.exit(f"{peer.name}: a voxel of the window at {place} is off by {error}")
    if not np.array_equal(label[0], task.label(place[0])[inside]):
        sys.exit(f"{peer.name}: the window at {place} has another label")
    return error


def _close(stream: Iterator[Delivered]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    main()
