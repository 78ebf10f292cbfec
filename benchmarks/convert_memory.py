"""How much memory the conversion of a volume takes, from the file to canonical Zarr, against the decoded volume.

    python benchmarks/convert_memory.py --side 1024
    python benchmarks/convert_memory.py --side 600 --in-memory

Cubes of noisy int16 voxels are written as .nii, .nii.gz and .mha, axial, and sagittal too, which canonical orientation
turns by permuting all axes. Each is converted in a process of its own with a spool in the temporary folder, as the
stage `volumes` does it, and its peak of resident memory is what the system counted, pages of mapped files included.
`--in-memory` converts without a spool: that is for volumes below the spool's limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from isal import igzip
from numpy.typing import NDArray

MIB = 1 << 20
FORMS = ("axial.nii", "sagittal.nii", "axial.nii.gz", "sagittal.nii.gz", "axial.mha", "sagittal.mha")

# Columns: the direction in RAS of a step along the file's first, second and third axis.
DIRECTIONS = {
    "axial": np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
    "sagittal": np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="voxels along each axis")
    parser.add_argument("--form", action="append", choices=FORMS, help="may be repeated; all by default")
    parser.add_argument("--levels", type=int, default=0, help="pyramid levels")
    parser.add_argument("--in-memory", action="store_true", help="convert without a spool")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.convert is not None:
        print(json.dumps(convert(options.convert, spooled=not options.in_memory, levels=options.levels)))
        return 0
    decoded = 2 * options.side**3 / MIB
    print(f"{options.side}^3 int16, {decoded:.0f} MiB decoded{', without a spool' if options.in_memory else ''}")
    for form in options.form or FORMS:
        with tempfile.TemporaryDirectory(prefix="convert-memory-", dir=options.folder) as folder:
            source = Path(folder) / form
            write_source(source, options.side)
            child = [sys.executable, __file__, "--convert", str(source), "--levels", str(options.levels)]
            child += ["--in-memory"] if options.in_memory else []
            found = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        peak, before = found["peak"] / MIB, found["before"] / MIB
        print(
            f"  {form:18} peak {peak:6.0f} MiB ({before:.0f} before), {peak / decoded:.2f} of the volume"
            f"  {found['seconds']:6.1f} s"
        )
    return 0


def convert(source: Path, *, spooled: bool, levels: int) -> dict[str, float]:
    """Convert one file in this process; bytes of memory before and at the peak, and seconds."""
    from medshard.converters.canonical import write_volume  # noqa: PLC0415  the parent stays small
    from medshard.converters.formats.format import Request  # noqa: PLC0415
    from medshard.converters.geometry import canonical_volume  # noqa: PLC0415
    from medshard.converters.reading import read_image  # noqa: PLC0415
    from medshard.converters.spooling import Spool  # noqa: PLC0415
    from medshard.converters.volume import Volume  # noqa: PLC0415

    before = peak_bytes()
    started = time.perf_counter()
    spool = Spool(folder=source.parent if spooled else None)
    image = read_image([source], where="benchmark/case", request=Request(spool=spool))
    volume = Volume(entry="benchmark", case="case", patient="patient", images={"scan": image})
    write_volume(canonical_volume(volume), source.parent / "case.zarr", pyramid_levels=levels)
    return {"before": before, "peak": peak_bytes(), "seconds": time.perf_counter() - started}


def peak_bytes() -> int:
    """Largest resident memory of this process so far; Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write_source(path: Path, side: int) -> None:
    """A file of `side` planes, written plane by plane."""
    direction = DIRECTIONS[path.name.partition(".")[0]]
    with path.open("wb") as file:
        stream: Any = igzip.IGzipFile(fileobj=file, mode="wb", compresslevel=1) if path.suffix == ".gz" else file
        stream.write(metaimage_header(direction, side) if path.suffix == ".mha" else nifti_header(direction, side))
        for plane in planes(side):
            stream.write(plane.tobytes())
        if stream is not file:
            cast("IO[bytes]", stream).close()


def planes(side: int) -> Iterator[NDArray[np.int16]]:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 14, (side, side))
    ramp = np.linspace(-1, 1, side)
    for z in ramp:
        body = ramp[:, None] ** 2 + ramp[None, :] ** 2 + z**2 < 0.8
        noise = np.roll(noise, (7, 3), axis=(0, 1))
        yield np.where(body, 40 + noise, -1000).astype("<i2")


def nifti_header(direction: NDArray[np.float64], side: int) -> bytes:
    """348 bytes of NIfTI-1 and 4 of extension flags."""
    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, side, side, side, 1, 1, 1, 1], "<i2").tobytes()
    header[70:74] = np.array([4, 16], "<i2").tobytes()
    header[76:112] = np.array([1, 1, 1, 1, 0, 0, 0, 0, 352], "<f4").tobytes()
    header[123] = 2
    header[254:256] = (1).to_bytes(2, "little")
    header[280:328] = np.hstack([direction, np.zeros((3, 1))]).astype("<f4").tobytes()
    header[344:348] = b"n+1\0"
    return bytes(header)


def metaimage_header(direction: NDArray[np.float64], side: int) -> bytes:
    columns = " ".join(f"{value:g}" for value in (np.diag([-1.0, -1, 1]) @ direction).T.ravel())
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        f"TransformMatrix = {columns}",
        "Offset = 0 0 0",
        "ElementSpacing = 1 1 1",
        f"DimSize = {side} {side} {side}",
        "ElementType = MET_SHORT",
        "ElementDataFile = LOCAL",
    ]
    return "\n".join([*lines, ""]).encode()


if __name__ == "__main__":
    raise SystemExit(main())
