"""How fast a zip of NIfTI files is unpacked, hashed and checked, against `unzip`, which does neither.

    python benchmarks/unpack.py --megabytes 1000 --rounds 5

The archive is made first: scanner-like voxels (smooth shapes with noise) that deflate about 2:1. Half of its bytes are
`.nii` files, deflated at level 6; the other half are `.nii.gz` files, stored or deflated once more. Both programs take
turns on it, with the file in the page cache; the figures are medians.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from medshard.registry.acquisition.archives import unpack

SHAPE = (48, 256, 256)
HEADER_BYTES = 352


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the archive")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args(arguments)
    if shutil.which("unzip") is None:
        print("there is no `unzip` on this machine", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=options.folder) as folder:
        archive = make_archive(Path(folder) / "set.zip", options.megabytes * 1_000_000)
        report(archive, Path(folder), options.rounds)
    return 0


def make_archive(path: Path, size: int) -> Path:
    """A zip of at least `size` bytes: four kinds of voxels, so that making it does not take longer than measuring."""
    volumes = [voxels(seed) for seed in range(4)]
    packed = [gzip.compress(volume, 6, mtime=0) for volume in volumes]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for number, deflated in members(path, size):
            name = f"set/case_{number:04d}"
            if deflated:
                archive.writestr(f"{name}/image.nii", volumes[number % 4])
            else:
                form = zipfile.ZIP_STORED if number % 4 == 0 else zipfile.ZIP_DEFLATED
                archive.writestr(f"{name}/image.nii.gz", packed[number % 4], form)
    return path


def members(path: Path, size: int) -> Iterator[tuple[int, bool]]:
    """Numbers of cases until the archive is large enough, and whether it is the zip that deflates them."""
    number = 0
    while not path.exists() or path.stat().st_size < size:
        yield number, number % 2 == 1
        number += 1


def voxels(seed: int) -> bytes:
    """A NIfTI file's bytes: a blank header and int16 voxels."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij", sparse=True)
    body = (grid[0] ** 2 + grid[1] ** 2 + 1.4 * grid[2] ** 2) < 0.8
    values = np.where(body, 40 + 30 * np.sin(9 * grid[1]) * np.cos(7 * grid[2]), -1000)
    values = values + body * rng.normal(0, 14, SHAPE)
    return bytes(HEADER_BYTES) + values.astype("<i2").tobytes()


def report(archive: Path, folder: Path, rounds: int) -> None:
    target = folder / "out"
    contestants: dict[str, Callable[[], object]] = {
        "unzip -qo": lambda: subprocess.run(["unzip", "-qo", str(archive), "-d", str(target)], check=True),
        "medshard": lambda: unpack(archive, target, where="benchmark"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order if number % 2 == 0 else reversed(order):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            archive.read_bytes()  # into the page cache
            started = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - started)
    files = [path for path in target.rglob("*") if path.is_file()]
    unpacked = sum(path.stat().st_size for path in files)
    print(f"archive {archive.stat().st_size / 1e6:.0f} MB, {len(files)} files, {unpacked / 1e6:.0f} MB unpacked")
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times):.2f}-{max(times):.2f}"
        print(f"{name:10} {median:6.2f} s  ({spread})  {unpacked / 1e6 / median:6.0f} MB/s written")
    ratio = statistics.median(seconds["unzip -qo"]) / statistics.median(seconds["medshard"])
    print(f"medshard is {ratio:.2f} times as fast; it also hashes every member and unpacks every .nii.gz to check it")


if __name__ == "__main__":
    raise SystemExit(main())
