"""How much faster two workers convert many cases than one: a build of `volumes` over copies of a real scan.

    python benchmarks/convert_scaling.py --root data --entry pyradiomics-cases --cases 60 --rounds 3
    python benchmarks/convert_scaling.py --image lung2_image.nrrd

Each case is a nii.gz of its own bytes (its first voxel differs), acquired from a folder. One and two workers take
turns; each builds into a new store whose stage `cases` is there already, so the figures are of the stage `volumes`
alone, including the start of the workers. A worker uses one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from real_scans import add_scan_options, scans

from medshard.converters.reading import read_image
from medshard.errors import MedshardError
from medshard.pipelines.build import build
from medshard.pipelines.execution.map_cases import Execution
from medshard.registry import Catalog
from medshard.registry.store import Store

ENTRY = """
format_version: 1
entries:
- id: scaling
  title: Copies of a scan
  description: Copies of one scan, to see what more workers bring.
  version: "1"
  groups: [thorax]
  modalities: [CT]
  tasks: [self-supervised]
  dimensions: [3]
  licence: {id: CC0-1.0}
  access: {kind: open}
  maturity: described
  acquisition: [{kind: folder, path: %s}]
  cases: [{modality: CT, images: {ct: {path: "{case}.nii.gz"}}}]
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="convert-scaling-") as folder:
        try:
            catalog = make_cases(scans(options)[-1], options.cases, Path(folder))
        except MedshardError as error:
            print(error, file=sys.stderr)
            return 1
        report(catalog, Path(folder), options)
    return 0


def make_cases(scan: Path, count: int, folder: Path) -> Catalog:
    image = read_image([scan], where="benchmark")
    voxels = np.ascontiguousarray(image.array[0].T)
    source = folder / "source"
    source.mkdir()
    for number in range(count):
        voxels[0, 0, 0] = number
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), source / f"case{number:03d}.nii.gz")
    file = folder / "catalog.yaml"
    file.write_text(ENTRY % source, encoding="utf8")
    return Catalog.load([file])


def report(catalog: Catalog, folder: Path, options: argparse.Namespace) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(options.rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            store = Store.open(folder / f"store-{number}-{workers}")
            build(store, "scaling", to="cases", catalog=catalog, execution=Execution(workers=2))
            seconds[workers].append(seconds_of_volumes(store, catalog, workers))
    one, two = statistics.median(seconds[1]), statistics.median(seconds[2])
    print(f"{options.cases} cases, {options.rounds} rounds; one worker {one:.2f} s, two {two:.2f} s: {one / two:.2f}")


def seconds_of_volumes(store: Store, catalog: Catalog, workers: int) -> float:
    started = time.perf_counter()
    build(store, "scaling", to="volumes", catalog=catalog, execution=Execution(workers=workers))
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
