"""How fast a nii.gz becomes canonical Zarr, against nibabel and SimpleITK with zarr-python.

    python benchmarks/convert_nifti.py --root data --entry pyradiomics-cases --rounds 7
    python benchmarks/convert_nifti.py --image scan.nii.gz

Scans that are no nii.gz are written as one by SimpleITK first. All three read a file, turn it to canonical
orientation without copying, and write chunks, shard and compressor as medshard does; zarr-python may use as many
threads. They take turns, with the file in the page cache; the figures are medians. What they wrote is compared.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import zarr
from numpy.typing import NDArray
from real_scans import add_scan_options, scans
from zarr.codecs import BloscCodec

from medshard.converters.canonical import write_volume
from medshard.converters.geometry import affine_from_itk, canonical_volume, to_canonical
from medshard.converters.reading import read_image
from medshard.converters.volume import Volume
from medshard.converters.zarr_nodes import BLOCK_BYTES, COMPRESSION_LEVEL, COMPRESSOR, voxel_form
from medshard.converters.zarr_shard import available_threads, shard_shape
from medshard.errors import MedshardError

Converter = Callable[[Path, Path, int], object]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A converter (source, folder, threads), and where below the folder its array lies."""

    name: str
    convert: Converter
    array: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, action="append", help="may be repeated; by default 1 and all cores")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="convert-nifti-") as folder:
        try:
            sources = [as_nifti(scan, Path(folder)) for scan in scans(options)]
        except MedshardError as error:
            print(error, file=sys.stderr)
            return 1
        for threads in options.threads or sorted({1, available_threads()}):
            for scan in sources:
                report(scan, Path(folder), options.rounds, threads)
    return 0


def as_nifti(scan: Path, folder: Path) -> Path:
    """The scan itself, or what SimpleITK makes a nii.gz of."""
    if scan.name.endswith(".nii.gz"):
        return scan
    made = folder / scan.with_suffix(".nii.gz").name
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(scan)), str(made))
    return made


def by_medshard(source: Path, folder: Path, threads: int) -> None:
    volume = Volume(entry="e", case="c", patient="p", images={"scan": read_image([source], where="e/c")})
    write_volume(canonical_volume(volume), folder, threads=threads)


def by_nibabel(source: Path, folder: Path, threads: int) -> None:
    image: Any = nibabel.as_closest_canonical(nibabel.load(source))  # type: ignore[attr-defined]
    zarr_write(np.asanyarray(image.dataobj).transpose(2, 1, 0)[None], folder, threads)


def by_simpleitk(source: Path, folder: Path, threads: int) -> None:
    image = SimpleITK.ReadImage(str(source))
    affine = affine_from_itk(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    array, _ = to_canonical(SimpleITK.GetArrayViewFromImage(image)[None], affine)
    zarr_write(array, folder, threads)


def zarr_write(array: NDArray[Any], folder: Path, threads: int) -> None:
    form = voxel_form(array, "bitshuffle")
    with zarr.config.set({"threading.max_workers": threads}):
        stored = zarr.create_array(
            zarr.storage.LocalStore(folder),
            shape=array.shape,
            dtype=array.dtype,
            chunks=form.inner_chunk,
            shards=shard_shape(array.shape, form.inner_chunk),
            compressors=BloscCodec(
                cname=COMPRESSOR, clevel=COMPRESSION_LEVEL, shuffle=form.shuffle, blocksize=BLOCK_BYTES
            ),
            fill_value=0,
            dimension_names=form.axes,
        )
        stored[...] = array


CONTESTANTS = (
    Contestant(name="medshard", convert=by_medshard, array="images/scan/0"),
    Contestant(name="nibabel + zarr-python", convert=by_nibabel, array=""),
    Contestant(name="SimpleITK + zarr-python", convert=by_simpleitk, array=""),
)


def report(scan: Path, folder: Path, rounds: int, threads: int) -> None:
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in CONTESTANTS}
    sizes: dict[str, int] = {}
    for number in range(-1, rounds):  # one round to warm up
        for contestant in CONTESTANTS if number % 2 == 0 else reversed(CONTESTANTS):
            target = folder / contestant.name
            shutil.rmtree(target, ignore_errors=True)
            scan.read_bytes()  # into the page cache
            started = time.perf_counter()
            contestant.convert(scan, target, threads)
            if number >= 0:
                seconds[contestant.name].append(time.perf_counter() - started)
            sizes[contestant.name] = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    arrays = [zarr.open_array(folder / one.name / one.array, mode="r")[...] for one in CONTESTANTS]
    equal = all(np.array_equal(array, arrays[0]) for array in arrays)
    shape = "x".join(map(str, arrays[0].shape[:0:-1]))
    print(f"{scan.name}, {shape} {arrays[0].dtype}, {threads} thread(s); voxels {'equal' if equal else 'DIFFER'}")
    ours = statistics.median(seconds[CONTESTANTS[0].name])
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times):.3f}-{max(times):.3f}"
        print(f"  {name:24} {median:.3f} s ({spread})  {sizes[name] / 1e6:6.2f} MB  {median / ours:.2f} of medshard")


if __name__ == "__main__":
    raise SystemExit(main())
