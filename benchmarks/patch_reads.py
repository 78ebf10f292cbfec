"""How fast random windows of a real scan are read, against zarr-python, nibabel and blosc2 on the same voxels.

    python benchmarks/patch_reads.py --root data --entry pyradiomics-cases
    python benchmarks/patch_reads.py --image ct.nrrd

Every reader delivers the same thing, a normalised float32 window, and is checked for it. Readers take turns on
the same windows, each first as often as the others, one thread, files in the page cache; the figures are medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import zarr
from numpy.typing import NDArray

from medshard.converters.plan import Plan, Shape
from medshard.converters.samples import Sample
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import node_name, pack_shard
from medshard.errors import MedshardError
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.store import Head, RecordRef, Store, swap_head
from medshard.registry.store.digests import canonical_json

Window = NDArray[np.float32]
SLOW_EVERY = 10  # a reader that needs whole files takes part in every tenth round


@dataclass(frozen=True)
class Reader:
    """name: as in the table. stored_bytes: of the image alone. every: takes part in every n-th round."""

    name: str
    read: Callable[[Shape, Shape], Window]
    stored_bytes: int
    every: int = 1


@dataclass(frozen=True)
class Scan:
    """One image in a shard. stored: (z, y, x), the numbers as they are in the shard."""

    index: SampleIndex
    case: str
    stored: NDArray[Any]

    @cached_property
    def scale(self) -> tuple[np.float32, np.float32]:
        return np.float32(self.stored.mean()), np.float32(self.stored.std())

    def normalised(self, window: NDArray[Any]) -> Window:
        """(window - mean) / std, as all segmentation frameworks feed it to a network."""
        mean, std = self.scale
        values: Window = window.astype(np.float32, copy=False)
        return (values - mean) / std


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    with tempfile.TemporaryDirectory(prefix="patch-reads-") as folder:
        try:
            scan = open_scan(options, Path(folder))
            report(scan, readers_of(scan, options.patch, Path(folder)), options)
        except MedshardError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--root", default=os.environ.get("MEDSHARD_ROOT", "data"), help="the store")
    parser.add_argument("--entry", default="pyradiomics-cases", help="the entry whose largest image is read")
    parser.add_argument("--plan", default="default")
    parser.add_argument("--image", type=Path, help="read this file (anything that SimpleITK reads) instead of a store")
    parser.add_argument("--patch", type=int, nargs=3, default=(32, 96, 96), metavar=("Z", "Y", "X"))
    parser.add_argument("--windows", type=int, default=100, help="number of random windows")
    parser.add_argument("--synthetic-scale", type=int, default=1, metavar="N",
                        help="make the scan N times as long, by mirroring it along z")  # fmt: skip
    return parser.parse_args(arguments)


def open_scan(options: argparse.Namespace, folder: Path) -> Scan:
    """The image as it lies in its shard; a new, temporary shard for `--image` and `--synthetic-scale`."""
    if options.image is None:
        index = SampleIndex.open(Store.open(options.root, create=False), options.entry, options.plan)
        voxels = np.prod(index.table["shape"].combine_chunks().flatten().to_numpy().reshape(-1, 3), axis=1)
        row = index.row(int(np.argmax(voxels)))
        scan = Scan(index, row.case, index.read_array(row, "image")[0])
        if options.synthetic_scale == 1:
            return scan
        sample = sample_of(row.entry, row.case, scan.stored)
        sample = replace(sample, slope=row.slope, intercept=row.intercept, modality=row.modality)
    else:
        sample = sample_of(
            "file", options.image.name, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(options.image)))
        )
    if sample.image is not None and options.synthetic_scale > 1:
        mirrored = np.concatenate([sample.image, sample.image[:, ::-1]], axis=1)
        length = sample.image.shape[1] * options.synthetic_scale
        sample = replace(sample, image=np.concatenate([mirrored] * options.synthetic_scale, axis=1)[:, :length])
    index = store_sample(sample, options.patch, folder)
    return Scan(index, sample.case, index.read_array(index.find(sample.case), "image")[0])


def sample_of(entry: str, case: str, voxels: NDArray[Any]) -> Sample:
    if voxels.ndim != 3:
        raise MedshardError("benchmark.image", where=case, problem="a scan with one channel and three axes is wanted",
                            details={"found": voxels.shape})  # fmt: skip
    return Sample(entry=entry, case=case, patient=case, modality="", unit="", image=voxels[None], affine=np.eye(4))


def store_sample(sample: Sample, patch: Sequence[int], folder: Path) -> SampleIndex:
    """A store with one shard that holds one sample."""
    z, y, x = patch
    plan = Plan(name="default", entry=sample.entry, recipe_digest="", channels=("image",), spacing_mm=None,
                patch_size=(z, y, x))  # fmt: skip
    store = Store.open(folder / "store")
    started = time.perf_counter()
    with store.scratch() as scratch:
        encode_sample(sample, plan, scratch / "piece")
        pack_shard([(sample.case, scratch / "piece")], {"medshard": {"format_version": 1}}, scratch / "shard.zip")
        shard = store.publish_file(scratch / "shard.zip", ".zip")
    print(f"Encoded, packed and published in {time.perf_counter() - started:.2f} s.\n")
    rows = index_rows(store.path(shard), store.path(shard).name, {sample.case: RecordRef(key="", digest="")})
    attachments = {
        "plan": store.publish_bytes(canonical_json(plan.to_json()), ".json"),
        "index": store.publish_bytes(write_index(rows)[0], ".arrow"),
        "shard-00000": shard,
    }
    swap_head(store, sample.entry, "shards", Head(manifest=shard, attachments=attachments), plan.name)
    return SampleIndex.open(store, sample.entry, plan.name)


def readers_of(scan: Scan, patch: Sequence[int], folder: Path) -> list[Reader]:
    shard = scan.index.store.root / "objects" / scan.index.find(scan.case).shard[:2] / scan.index.find(scan.case).shard
    readers = [
        shard_reader(scan),
        # zarr's ZipStore reads a member from its beginning for every chunk: the folder shows zarr-python at its best.
        zarr_reader(scan, "zarr-python, the shard", zarr.storage.ZipStore(shard, mode="r")),
        zarr_reader(scan, "zarr-python, the shard unpacked", zarr.storage.LocalStore(unpacked(shard, folder / "zarr"))),
        nifti_reader(scan, folder),
    ]
    if importlib.util.find_spec("blosc2") is None:
        print("blosc2 is not installed: the comparison with nnU-Net's storage is left out (pip install blosc2).\n")
    else:
        readers.append(blosc2_reader(scan, patch, folder))
    return readers


def shard_reader(scan: Scan) -> Reader:
    row = scan.index.find(scan.case)

    def read(start: Shape, size: Shape) -> Window:
        return scan.normalised(scan.index.read_window(row, "image", start, size, dtype=np.float32)[0])

    return Reader("medshard, shard", read, row.arrays["image"].nbytes)


def zarr_reader(scan: Scan, name: str, store: zarr.abc.store.Store) -> Reader:
    row = scan.index.find(scan.case)
    image = zarr.open_array(store, path=f"{node_name(row.case)}/image", mode="r")

    def read(start: Shape, size: Shape) -> Window:
        return scan.normalised(np.asarray(image[(0, *box(start, size))]))

    slow = isinstance(store, zarr.storage.ZipStore)
    return Reader(name, read, row.arrays["image"].nbytes, SLOW_EVERY if slow else 1)


def unpacked(shard: Path, folder: Path) -> Path:
    with zipfile.ZipFile(shard) as archive:
        archive.extractall(folder)
    return folder


def nifti_reader(scan: Scan, folder: Path) -> Reader:
    path = folder / "scan.nii.gz"
    nibabel.Nifti1Image(scan.stored.transpose(2, 1, 0), np.eye(4)).to_filename(path)

    def read(start: Shape, size: Shape) -> Window:
        image: Any = nibabel.load(path)
        return scan.normalised(np.asanyarray(image.dataobj).transpose(2, 1, 0)[box(start, size)])

    return Reader("nibabel, nii.gz", read, path.stat().st_size, SLOW_EVERY)


def blosc2_reader(scan: Scan, patch: Sequence[int], folder: Path) -> Reader:
    """Normalised float32, as nnU-Net 2.8 stores it: LZ4HC 5, shuffled or not, whichever is smaller.

    Blocks are powers of two of at most 128 KiB, chunks have at most 6 MiB and 1.5 patches along each axis.
    """
    import blosc2  # noqa: PLC0415 (not a dependency)

    blosc2.set_nthreads(1)
    values = scan.normalised(scan.stored)
    blocks = tuple(1 << (length.bit_length() - 1) for length in patch)
    while np.prod(blocks) * 4 > 128 << 10:
        blocks = shortened(blocks, [length // 2 for length in blocks])
    chunks = tuple(int(1.5 * length) // block * block for length, block in zip(patch, blocks, strict=True))
    while np.prod(chunks) * 4 > 6 << 20:
        chunks = shortened(chunks, [length - block for length, block in zip(chunks, blocks, strict=True)])
    chunks = tuple(min(length, size) for length, size in zip(chunks, values.shape, strict=True))
    smallest: Path | None = None
    for name, filters in (("plain", [blosc2.Filter.NOFILTER]), ("shuffled", [blosc2.Filter.SHUFFLE])):
        path = folder / f"{name}.b2nd"
        parameters = {"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": filters, "nthreads": 1}
        fitting = tuple(min(block, chunk) for block, chunk in zip(blocks, chunks, strict=True))
        blosc2.asarray(values, chunks=chunks, blocks=fitting, cparams=parameters, urlpath=str(path), mode="w")
        if smallest is None or path.stat().st_size < smallest.stat().st_size:
            smallest = path
    opened = blosc2.open(str(smallest), mode="r", mmap_mode="r", dparams={"nthreads": 1})

    def read(start: Shape, size: Shape) -> Window:
        return np.asarray(opened[box(start, size)])

    return Reader("blosc2, float32 as in nnU-Net", read, (smallest or folder).stat().st_size)


def shortened(lengths: tuple[int, ...], shorter: Sequence[int]) -> tuple[int, ...]:
    """The lengths with the longest one replaced by its shorter value."""
    longest = int(np.argmax(lengths))
    return tuple(shorter[axis] if axis == longest else length for axis, length in enumerate(lengths))


def box(start: Shape, size: Shape) -> tuple[slice, slice, slice]:
    z, y, x = (slice(begin, begin + length) for begin, length in zip(start, size, strict=True))
    return z, y, x


def report(scan: Scan, readers: Sequence[Reader], options: argparse.Namespace) -> None:
    z, y, x = (min(length, extent) for length, extent in zip(options.patch, scan.stored.shape, strict=True))
    times = measure(scan, readers, (z, y, x), options.windows)
    shape = "x".join(map(str, scan.stored.shape))
    longer = f", made {options.synthetic_scale} times as long" if options.synthetic_scale > 1 else ""
    print(f"{scan.index.entry}/{scan.case}: {shape} {scan.stored.dtype}, {scan.stored.nbytes / 2**20:.1f} MiB{longer}; "
          f"windows of {z}x{y}x{x}, {options.windows} of them, median\n")  # fmt: skip
    print("| reader | stored MiB | ms a window | windows a second | time, medshard = 1 |")
    print("|---|---|---|---|---|")
    ours = statistics.median(times[readers[0].name])
    for reader in readers:
        seconds = statistics.median(times[reader.name])
        print(f"| {reader.name} | {reader.stored_bytes / 2**20:.1f} | {seconds * 1e3:.2f} | {1 / seconds:.0f} "
              f"| {seconds / ours:.2f} |")  # fmt: skip


def measure(scan: Scan, readers: Sequence[Reader], size: Shape, windows: int) -> dict[str, list[float]]:
    """Seconds of every reading, by reader. Raises MedshardError when two readers differ."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {reader.name: [] for reader in readers}
    for turn in range(-2, windows):  # two rounds to warm up
        start = tuple(int(rng.integers(0, extent - n + 1)) for extent, n in zip(scan.stored.shape, size, strict=True))
        z, y, x = start
        expected = scan.normalised(scan.stored[box((z, y, x), size)])
        first = turn % len(readers)
        for reader in [*readers[first:], *readers[:first]]:
            if turn % reader.every:
                continue
            begin = time.perf_counter()
            window = reader.read((z, y, x), size)
            seconds = time.perf_counter() - begin
            if not np.array_equal(window, expected):
                raise MedshardError("benchmark.differs", where=reader.name, problem="the window has other voxels",
                                    details={"start": start})  # fmt: skip
            if turn >= 0:
                times[reader.name].append(seconds)
    return times


if __name__ == "__main__":
    sys.exit(main())
