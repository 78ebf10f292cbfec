"""Our reading of DICOM folders against dcm2niix's, image by image: count, shape, voxels, affine.

    python benchmarks/dicom_fidelity.py FOLDER [--limit N] [--verbose]

Every folder below FOLDER that holds DICOM files is converted by both. dcm2niix runs as a child, writes plain NIfTI and
is told to leave the numbers alone. Images are matched by series, then by what fits best. Both are brought to the
canonical orientation; physical values must be equal to float32 rounding, and the far corner of the affines must agree
to 1e-4 mm, plus what float32 leaves of a coordinate (dcm2niix stores its affine so).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np

from medshard.converters.dicom.headers import looks_like_dicom, remarks
from medshard.converters.dicom.series import survey
from medshard.converters.dicom.split import Image as Scan
from medshard.converters.dicom.values import text
from medshard.converters.formats import dicom
from medshard.converters.spooling import IN_MEMORY
from medshard.errors import CaseError

CORNER_MM = 1e-4
FLOAT32_PARTS = 4e-7
VALUE_PARTS = 1e-5
DCM2NIIX = Path(sys.executable).with_name("dcm2niix")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """array: (x, y, z, t) physical values in canonical orientation; echo_ms: None where unknown."""

    series: str
    name: str
    array: np.ndarray
    affine: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    kind: str
    what: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="so many folders at most")
    parser.add_argument("--verbose", action="store_true", help="equal images too")
    arguments = parser.parse_args()
    totals: Counter[str] = Counter()
    for number, folder in enumerate(_dicom_folders(arguments.folder), start=1):
        for verdict in compare_folder(folder):
            totals[verdict.kind] += 1
            if verdict.kind != "equal" or arguments.verbose:
                print(f"{verdict.kind:12} {folder.relative_to(arguments.folder)}: {verdict.what}", flush=True)
        if number == arguments.limit:
            break
    print(", ".join(f"{count} {kind}" for kind, count in totals.most_common()))


def compare_folder(folder: Path) -> Iterator[Verdict]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and looks_like_dicom(path))
    ours: list[Picture] = []
    for item in _ours(files):
        if isinstance(item, Verdict):
            yield item
        else:
            ours.append(item)
    theirs = _theirs(folder)
    for picture in theirs:
        candidates = [one for one in ours if one.series == picture.series] or ours
        verdicts = [(_compare(candidate, picture), candidate) for candidate in candidates]
        if not verdicts:
            yield Verdict(kind="theirs only", what=f"{picture.name} {picture.array.shape}")
            continue
        verdict, used = min(verdicts, key=lambda pair: RANKS.index(pair[0].kind))
        if verdict.kind in ("equal", "order"):
            ours = [one for one in ours if one is not used]
        yield verdict
    for picture in ours:
        if not any(_compare(picture, other).kind in RANKS[:4] for other in theirs):
            yield Verdict(kind="ours only", what=f"{picture.name} {picture.array.shape}")


RANKS = ["equal", "order", "affine", "voxels", "steps", "shape"]


def _compare(ours: Picture, theirs: Picture) -> Verdict:
    name = f"{ours.name} | {theirs.name}"
    if ours.array.shape[:3] != theirs.array.shape[:3]:
        return Verdict(kind="shape", what=f"{name}: ours {ours.array.shape}, theirs {theirs.array.shape}")
    if ours.array.shape != theirs.array.shape:
        return Verdict(kind="steps", what=f"{name}: ours {ours.array.shape}, theirs {theirs.array.shape}")
    corner = np.array([*(size - 1 for size in ours.array.shape[:3]), 1.0])
    points = np.array([ours.affine @ p for p in (corner, [0, 0, 0, 1])])
    away = float(np.abs(points - [theirs.affine @ p for p in (corner, [0, 0, 0, 1])]).max())
    allowed = CORNER_MM + FLOAT32_PARTS * float(np.abs(points).max())
    different = _different(ours.array, theirs.array)
    if different and ours.array.shape[3] > 1 and _permuted(ours.array, theirs.array):
        return Verdict(kind="order", what=f"{name}: the same volumes in another order")
    if different:
        gap = float(np.abs(ours.array - theirs.array).max())
        return Verdict(
            kind="voxels", what=f"{name}: {different:.2%} of the voxels, by at most {gap:g}; corner {away:.3g} mm"
        )
    if away > allowed:
        return Verdict(kind="affine", what=f"{name}: {away:.5f} mm apart, {allowed:.5f} allowed")
    return Verdict(kind="equal", what=f"{name}: {ours.array.shape}, corner {away:.6f} mm")


def _different(a: np.ndarray, b: np.ndarray) -> float:
    """The part of the voxels that differs by more than rounding."""
    limit = VALUE_PARTS * max(1.0, float(np.abs(b).max()))
    return float((np.abs(a - b) > limit).mean())


def _permuted(a: np.ndarray, b: np.ndarray) -> bool:
    sums = [sorted(float(v) for v in np.abs(one).sum((0, 1, 2), dtype=np.float64)) for one in (a, b)]
    return bool(np.allclose(*sums, rtol=1e-6))


def _ours(files: list[Path]) -> Iterator[Picture | Verdict]:
    with remarks():
        try:
            images = survey(files).images
        except CaseError as error:
            if error.code != "read.unsupported":
                yield Verdict(kind="refused", what=f"{error.code}: {error.problem} {error.details}")
            return
        for scan in images:
            series = text(scan.frames[0].source.dataset, "SeriesInstanceUID") or ""
            try:
                meant = dicom._prepared(scan, ())
                image, header = dicom._image(meant, IN_MEMORY), dicom._header(meant)
            except CaseError as error:
                yield Verdict(kind="refused", what=f"{dicom.description(scan)}: {error.problem} {error.details}")
                continue
            values = image.rescale.apply(image.array)
            stepped = values if image.leading is not None else values[None]
            whole = Picture(
                series=series,
                name=f"{dicom.description(scan)}, {_off_positions_mm(scan):.6f} mm off the positions",
                array=np.moveaxis(stepped[:, 0], 0, -1).transpose(2, 1, 0, 3),
                affine=image.affine[:, [2, 1, 0, 3]],
                warnings=header.warnings,
            )
            yield from _as_dcm2niix_counts(_canonical(whole), header.leading.kind if header.leading else "")


def _off_positions_mm(scan: Scan) -> float:
    """How far at most the first pixel of a slice of the first step lies from where its header places it."""
    assert scan.stack is not None
    slices = scan.ordered[: scan.stack.slices]
    if any(frame.position is None for frame in slices):
        return 0.0
    stated = np.array([frame.position for frame in slices]) * [-1, -1, 1]
    placed = [scan.stack.affine @ [z, 0, 0, 1] for z in range(len(slices))]
    return float(np.abs(np.array(placed)[:, :3] - stated).max())


def _as_dcm2niix_counts(picture: Picture, kind: str) -> Iterator[Picture]:
    """dcm2niix writes a file for each echo."""
    if kind != "echo":
        yield picture
        return
    for step in range(picture.array.shape[3]):
        yield replace(picture, array=picture.array[..., step : step + 1], name=f"{picture.name} echo {step + 1}")


def _theirs(folder: Path) -> list[Picture]:
    with tempfile.TemporaryDirectory() as out:
        # -p n: the rescale to display values of the standard, not Philips' private one.
        options = ["-d", "0", "-z", "n", "-b", "y", "-ba", "n", "-l", "o", "-p", "n", "-f", "%s_%p_%e", "-o"]
        subprocess.run([DCM2NIIX, *options, out, folder], check=False, capture_output=True)
        found = []
        for path in sorted(Path(out).glob("*.nii")):
            image = nibabel.load(path)
            if image.ndim not in (3, 4) or image.get_data_dtype().fields:
                continue
            array = np.asarray(image.get_fdata(dtype=np.float32))
            side = path.with_suffix(".json")
            series = json.loads(side.read_text(errors="replace")).get("SeriesInstanceUID", "") if side.exists() else ""
            array = array if array.ndim == 4 else array[..., None]
            found.append(_canonical(Picture(series=series, name=path.stem, array=array, affine=image.affine)))
    return found


def _canonical(picture: Picture) -> Picture:
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(picture.array.astype(np.float32), picture.affine))
    return replace(picture, array=np.asarray(image.dataobj), affine=image.affine)


def _dicom_folders(root: Path) -> list[Path]:
    folders = {path.parent for path in root.rglob("*") if path.is_file() and path.suffix not in (".gz", ".json")}
    return sorted(
        folder for folder in folders if any(looks_like_dicom(path) for path in folder.iterdir() if path.is_file())
    )


if __name__ == "__main__":
    main()
