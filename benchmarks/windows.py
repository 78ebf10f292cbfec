"""Random windows of a real CT, the bytes they lie in and the time to write them, against nnU-Net and zarr-python.

    python benchmarks/windows.py --peers PEERS/bin/python --root data --json windows.json
    python benchmarks/windows.py --peers PEERS/bin/python --image lung2_image.nrrd

PEERS is an environment of the same Python that has nnunetv2 2.8, which is imported from there. Without it, what needs
nnU-Net is reported as not measured.

Every reader delivers the same thing, a normalised float32 window, checked to be within half a step of quantisation. All
take turns on the same windows, first in turn, one process on one core, files in the page cache. Time is that of the
processor, system calls and all threads included, which other processes disturb less than the clock. They are asked:

- medshard: `SampleIndex.read_window` of one shard, whatever the size of the window; int16, clipped and normalised as it
  is decoded.
- nnU-Net: `nnUNetDatasetBlosc2.save_case` of normalised float32 with `comp_blosc2_params` for exactly this size of
  window and its own choice of a filter; `load_case` once, then only the slice of the array is timed.
- zarr-python: the very same Zarr arrays, unpacked from the zip, which is how it reads fastest; then numpy's clip,
  subtraction and division.

Two scans: `native`, the CT as it is, mirrored along z until the largest window fits; `resampled`, the CT at 1 mm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import zarr
from made_store import ENTRY, publish
from numpy.typing import NDArray
from real_scans import add_scan_options, scans

from medshard.converters.label_resampling import resample_labels
from medshard.converters.plan import Plan, Shape
from medshard.converters.quantisation import quantise
from medshard.converters.resampling import resample_array, target_grid
from medshard.converters.samples import Sample, SampleLabel
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.converters.volume import Image, LabelLayer, Rescale
from medshard.errors import MedshardError
from medshard.loaders.chunk_decoding import window_kernel
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.windows import Scale
from medshard.registry.store import Store

SIZES = (128, 96, 64)
GOALS = {"nnunet": 0.5, "zarr": 0.17, "bytes": 0.67, "write": 0.15}
ZARR_EVERY = 10  # it is so slow that it takes part in every tenth round
PLAN = Plan(name="default", entry=ENTRY, recipe_digest="0", channels=("image",), spacing_mm=None)

Window = NDArray[np.float32]
Read = Callable[[Shape], Window]


@dataclass(frozen=True)
class Scan:
    """values: (1, z, y, x) float32, physical. label: (1, z, y, x) uint8. source: the image that they come from."""

    name: str
    values: NDArray[np.float32]
    label: NDArray[np.uint8]
    source: Image

    @cached_property
    def scale(self) -> Scale:
        """As nnU-Net normalises CT: clipped to percentiles, then to mean and standard deviation."""
        low, high = np.percentile(self.values[:, ::4, ::4, ::4], [0.5, 99.5]).tolist()
        inside = np.clip(self.values, low, high)
        return Scale(low=low, high=high, mean=float(inside.mean()), std=float(inside.std()))

    @cached_property
    def normalised(self) -> NDArray[np.float32]:
        """(1, z, y, x), what nnU-Net stores."""
        clipped = np.clip(self.values, self.scale.low, self.scale.high)
        return (clipped - np.float32(self.scale.mean)) / np.float32(self.scale.std)


@dataclass(frozen=True)
class Written:
    seconds: float
    nbytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    if options.peers:
        ask = [options.peers, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        sys.path.append(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        measures, runs = measure_all(options)
    except MedshardError as error:
        print(error, file=sys.stderr)
        return 1
    print_table(measures)
    if options.json:
        document = {"name": "windows", "measures": measures, "runs": runs}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add_scan_options(parser)
    parser.add_argument("--peers", help="the python of an environment with nnunetv2")
    parser.add_argument("--windows", type=int, default=30, help="windows in a run")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(arguments)


def measure_all(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    measures: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for scan in made_scans(scans(options)[-1]):
        with tempfile.TemporaryDirectory(prefix="windows-") as folder:
            found_measures, found_runs = measure_scan(scan, Path(folder), options)
        measures += found_measures
        runs += found_runs
    return measures, runs


def made_scans(path: Path) -> list[Scan]:
    picture = SimpleITK.ReadImage(str(path))
    voxels = SimpleITK.GetArrayFromImage(picture)[None]
    spacing = picture.GetSpacing()[::-1]
    affine = np.diag([*spacing, 1.0])
    source = Image(array=voxels, affine=affine, rescale=Rescale(unit="HU"), modality="CT")
    label_path = path.with_name(path.name.replace("_image", "_label"))
    label = np.zeros(voxels.shape, np.uint8)
    if label_path != path and label_path.exists():
        label = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(label_path)))[None].astype(np.uint8)
    times = -(-max(SIZES) // voxels.shape[1])
    native = Scan("native", mirrored(voxels, times).astype(np.float32), mirrored(label, times), source)
    shape, grid = target_grid(source.shape, affine, (1.0, 1.0, 1.0))
    values = resample_array(voxels, shape, kernel="cubic", antialias=False)
    layer = LabelLayer(array=label, affine=affine, classes={1: "lesion"}, examined=("lesion",))
    labels = resample_labels(layer, shape, grid).array if label.any() else np.zeros((1, *shape), np.uint8)
    return [native, Scan("resampled", values, labels, source)]


def mirrored(array: NDArray[Any], times: int) -> NDArray[Any]:
    return np.concatenate([array[:, :: 1 if turn % 2 == 0 else -1] for turn in range(times)], axis=1)


def measure_scan(
    scan: Scan, folder: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    where = f"{scan.name} CT of {'x'.join(map(str, scan.values.shape[1:]))}"
    print(f"{where}, {'compiled' if window_kernel is not None else 'numpy'} reader", flush=True)
    measures: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    quantised = quantise(scan.values, sources=[scan.source], resampled=scan.name == "resampled")
    sample = sample_of(scan, quantised.array)
    index = published(sample, folder)
    unpacked = unpack(index, folder / "zarr")
    tolerance = (quantised.error + 1e-3) / scan.scale.std
    if find_spec("nnunetv2") is not None:
        ours, theirs = time_writing(scan, folder, max(3, options.runs // 2))
        measures += writing_measures(scan, ours, theirs)
        runs.append({"scan": scan.name, "written": [write.seconds for write in ours],
                     "nnunet_written": [write.seconds for write in theirs]})  # fmt: skip
    for length in SIZES:
        size = (length, length, length)
        readers = {"medshard": medshard_reader(index, sample.case, scan.scale, size)}
        if find_spec("nnunetv2") is not None:
            readers["nnunet"] = nnunet_reader(scan, size, folder)
        readers["zarr"] = zarr_reader(unpacked, sample.case, scan.scale, size)
        medians = [
            time_windows(scan, readers, size, windows=options.windows, tolerance=tolerance, run=run)
            for run in range(options.runs)
        ]
        runs += [{"scan": scan.name, "size": length, **median} for median in medians]
        for peer in ("nnunet", "zarr"):
            ratios = [median["medshard"] / median[peer] for median in medians if peer in median]
            seconds = {name: statistics.median(median[name] for median in medians) for name in medians[0]}
            how = ", ".join(f"{name} {value * 1e3:.2f} ms" for name, value in seconds.items())
            measures.append(measure(f"{scan.name} {length}^3 / {peer}", ratios, GOALS[peer], how))
    return measures, runs


def sample_of(scan: Scan, stored: NDArray[Any]) -> Sample:
    layer = SampleLabel(array=scan.label, kind="semantic", classes={1: "lesion"}, examined=("lesion",))
    return Sample(entry=ENTRY, case="scan", patient="scan", modality="CT", unit="HU", image=stored, affine=np.eye(4),
                  labels={"lesion": layer})  # fmt: skip


def published(sample: Sample, folder: Path) -> SampleIndex:
    store = Store.open(folder / "store")
    publish(store, [sample], plan=PLAN)
    return SampleIndex.open(store, ENTRY, PLAN.name)


def unpack(index: SampleIndex, folder: Path) -> Path:
    shard = index.row(0).shard
    with zipfile.ZipFile(index.store.root / "objects" / shard[:2] / shard) as archive:
        archive.extractall(folder)
    return folder


def medshard_reader(index: SampleIndex, case: str, scale: Scale, size: Shape) -> Read:
    row = index.find(case)
    return lambda start: index.read_window(row, "image", start, size, scale=scale)[0]


def zarr_reader(folder: Path, case: str, scale: Scale, size: Shape) -> Read:
    image = zarr.open_array(zarr.storage.LocalStore(folder), path=f"{case}/image", mode="r")

    def read(start: Shape) -> Window:
        values = np.asarray(image[(0, *box(start, size))]).astype(np.float32)
        np.clip(values, scale.low, scale.high, out=values)
        np.subtract(values, np.float32(scale.mean), out=values)
        return np.divide(values, np.float32(scale.std), out=values)

    return read


def nnunet_reader(scan: Scan, size: Shape, folder: Path) -> Read:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2  # noqa: PLC0415 (a peer)

    place = folder / f"nnunet-{size[0]}"
    place.mkdir()
    save_nnunet(scan, size, place)
    data = nnUNetDatasetBlosc2(str(place), ["case"]).load_case("case")[0]
    return lambda start: data[(slice(0, 1), *box(start, size))][0]


def save_nnunet(scan: Scan, size: Shape, folder: Path) -> None:
    """As its preprocessor saves a case under a plan with this patch size."""
    from nnunetv2.training.dataloading.nnunet_dataset import (  # noqa: PLC0415 (a peer)
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )

    labels = scan.label.astype(np.int16)
    blocks, chunks = comp_blosc2_params(scan.normalised.shape, size, scan.normalised.itemsize)
    label_blocks, label_chunks = comp_blosc2_params(labels.shape, size, labels.itemsize)
    nnUNetDatasetBlosc2.save_case(scan.normalised, labels, {"spacing": [1.0, 1.0, 1.0]}, str(folder / "case"),
                                  chunks=chunks, blocks=blocks, chunks_seg=label_chunks,
                                  blocks_seg=label_blocks)  # fmt: skip


def time_writing(scan: Scan, folder: Path, rounds: int) -> tuple[list[Written], list[Written]]:
    """In turns: physical float32 values and labels to a packed shard; normalised ones to nnU-Net's files."""
    ours, theirs = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            ours.append(timed(lambda place=Path(place): write_shard(scan, place), Path(place), "shard.zip"))
        with tempfile.TemporaryDirectory(dir=folder) as place:
            theirs.append(timed(lambda place=Path(place): save_nnunet(scan, (128, 128, 128), place), Path(place), "*"))
    return ours, theirs


def timed(write: Callable[[], None], folder: Path, kept: str) -> Written:
    begin = time.process_time()
    write()
    seconds = time.process_time() - begin
    return Written(seconds, sum(path.stat().st_size for path in folder.glob(kept)))


def write_shard(scan: Scan, folder: Path) -> None:
    stored = quantise(scan.values, sources=[scan.source], resampled=scan.name == "resampled").array
    encode_sample(sample_of(scan, stored), PLAN, folder / "piece")
    pack_shard([("scan", folder / "piece")], {"medshard": {"format_version": 1}}, folder / "shard.zip")


def writing_measures(scan: Scan, ours: Sequence[Written], theirs: Sequence[Written]) -> list[dict[str, Any]]:
    seconds = [a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)]
    size = f"{ours[0].nbytes / 2**20:.1f} MiB and {theirs[0].nbytes / 2**20:.1f} MiB, image and labels"
    how = (
        f"{statistics.median(a.seconds for a in ours):.2f} s and {statistics.median(b.seconds for b in theirs):.2f} s;"
        " ours with quantisation and packing"
    )
    return [
        measure(f"{scan.name} bytes / nnunet", [ours[0].nbytes / theirs[0].nbytes], GOALS["bytes"], size),
        measure(f"{scan.name} time to write / nnunet", seconds, GOALS["write"], how),
    ]


def time_windows(
    scan: Scan, readers: Mapping[str, Read], size: Shape, *, windows: int, tolerance: float, run: int
) -> dict[str, float]:
    """Median seconds of each reader in one run. Raises MedshardError when a window is not what it should be."""
    rng = np.random.default_rng(run)
    times: dict[str, list[float]] = {name: [] for name in readers}
    order = itertools.cycle(itertools.permutations(readers))
    for turn in range(-2, windows):  # two rounds to warm up
        z, y, x = (int(rng.integers(0, extent - n + 1)) for extent, n in zip(scan.values.shape[1:], size, strict=True))
        for name in next(order):
            if name == "zarr" and turn % ZARR_EVERY:
                continue
            begin = time.process_time()
            window = readers[name]((z, y, x))
            seconds = time.process_time() - begin
            if turn >= 0:
                times[name].append(seconds)
            elif np.abs(window - scan.normalised[(0, *box((z, y, x), size))]).max() > tolerance:
                raise MedshardError("benchmark.differs", where=name, problem="the window has other voxels",
                                    details={"start": (z, y, x), "size": size})  # fmt: skip
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def box(start: Shape, size: Shape) -> tuple[slice, slice, slice]:
    z, y, x = (slice(begin, begin + length) for begin, length in zip(start, size, strict=True))
    return z, y, x


def measure(name: str, ratios: Sequence[float], goal: float, how: str) -> dict[str, Any]:
    value = statistics.median(ratios) if ratios else None
    return {
        "name": name,
        "value": None if value is None else round(value, 4),
        "goal": goal,
        "reached": None if value is None else value <= goal,
        "unit": "ratio",
        "how": how if ratios else "not measured: there is no nnunetv2 in this environment (--peers)",
    }


def print_table(measures: Sequence[Mapping[str, Any]]) -> None:
    print("\n| measure | ratio | must reach | |")
    print("|---|---|---|---|")
    for one in measures:
        value = "-" if one["value"] is None else f"{one['value']:.3f}{'' if one['reached'] else ' MISSED'}"
        print(f"| {one['name']} | {value} | {one['goal']} | {one['how']} |")


if __name__ == "__main__":
    sys.exit(main())
