"""How fast a DICOM series becomes canonical Zarr, against dcm2niix and dicom2nifti, which write nii.gz.

    python benchmarks/convert_dicom.py --root data --entry pyradiomics-cases --slices 300 --rounds 5
    python benchmarks/convert_dicom.py --image lung2_image.nrrd

The series is a real CT, mirrored along z until it has as many slices, under made headers, one file a slice, not
compressed. All take turns on the same folder, files in the page cache; the figures are medians. dcm2niix runs as the
program that it is; ours and dicom2nifti are called in this process, after one warm-up that is not counted. Both sides
may use every core (dcm2niix compresses with its own single thread unless `pigz` is installed).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from real_scans import add_scan_options, scans

from medshard.converters.canonical import write_volume
from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.geometry import canonical_volume
from medshard.converters.reading import read_image
from medshard.converters.volume import Volume
from medshard.errors import MedshardError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scan_options(parser)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args(arguments)
    dcm2niix = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or shutil.which("dcm2niix")
    if dcm2niix is None:
        print("there is no `dcm2niix` beside this Python", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="convert-dicom-", dir=options.folder) as folder:
        try:
            series = make_series(scans(options)[-1], options.slices, Path(folder) / "series")
        except MedshardError as error:
            print(error, file=sys.stderr)
            return 1
        report(series, dcm2niix, Path(folder), options.rounds)
    return 0


def make_series(scan: Path, slices: int, folder: Path) -> Path:
    """A folder with one file a slice: the scan, mirrored along z until it is long enough."""
    image = read_image([scan], where="benchmark")
    both = np.concatenate([image.array, image.array[:, ::-1]], axis=1)
    array = np.concatenate([both] * (slices // both.shape[1] + 1), axis=1)[:, :slices]
    long = replace(image, array=np.ascontiguousarray(array))
    write_ct_series(long, folder, patient_id="bench", series_description="long", uid_seed="convert-dicom")
    return folder


def report(series: Path, dcm2niix: str, folder: Path, rounds: int) -> None:
    converters: dict[str, Callable[[Path], None]] = {
        "medshard": lambda output: convert(series, output),
        "dcm2niix": lambda output: run_dcm2niix(dcm2niix, series, output),
        "dicom2nifti": lambda output: run_dicom2nifti(series, output),
    }
    seconds: dict[str, list[float]] = {name: [] for name in converters}
    sizes: dict[str, int] = {}
    for number in range(rounds + 1):
        names = list(converters)
        for name in names[number % 3 :] + names[: number % 3]:
            output = folder / "output"
            output.mkdir()
            started = time.perf_counter()
            converters[name](output)
            if number:
                seconds[name].append(time.perf_counter() - started)
            sizes[name] = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
            shutil.rmtree(output)
    ours = statistics.median(seconds["medshard"])
    megabytes = sum(path.stat().st_size for path in series.iterdir()) / 1e6
    print(f"{len(list(series.iterdir()))} slices, {megabytes:.0f} MB; {rounds} rounds")
    print(f"{'converter':<14}{'median s':>10}{'to ours':>10}{'MB out':>10}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:<14}{median:>10.2f}{median / ours:>10.2f}{sizes[name] / 1e6:>10.1f}")


def convert(series: Path, output: Path) -> None:
    image = read_image(sorted(series.iterdir()), where="benchmark")
    volume = Volume(entry="benchmark", case="series", patient="bench", images={"ct": image})
    write_volume(canonical_volume(volume), output / "series.zarr")


def run_dcm2niix(program: str, series: Path, output: Path) -> None:
    command = [program, "-z", "y", "-f", "series", "-o", str(output), str(series)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_dicom2nifti(series: Path, output: Path) -> None:
    import dicom2nifti  # noqa: PLC0415 - the peer alone needs it

    dicom2nifti.dicom_series_to_nifti(str(series), str(output / "series.nii.gz"), reorient_nifti=False)


if __name__ == "__main__":
    sys.exit(main())
