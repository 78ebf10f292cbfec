"""Real and made files of every format, damaged at random, and what reading one of them comes to."""

from __future__ import annotations

import gzip
import random
import resource
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data_store
import nibabel
import numpy as np
import pydicom.data
import scipy.io
import SimpleITK
from numpy.typing import NDArray

from medshard.converters.formats.format import Request
from medshard.converters.reading import read_annotation, read_header, read_mesh
from medshard.converters.spooling import Spool
from medshard.converters.volume import Image
from medshard.errors import CaseError

LONGEST_S = 20.0
MOST_MEMORY = 1 << 30
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (b"-1", b"0", b"99999999999", b"nan", b"1e308", b"../../etc", b"raw", b"gzip", b"")
PACKAGED = Path(pydicom.data.__file__).parent / "test_files"
STORED = Path(data_store.__file__).parent / "data"

DICOM = (
    "CT_small", "MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless", "JPEGLSNearLossless_16", "JPGExtended", "JPEG2000", "SC_rgb_jpeg_dcmtk", "SC_rgb_rle",
    "SC_ybr_full_422_uncompressed", "image_dfl", "liver_1frame", "rtdose_1frame", "rtstruct", "examples_palette",
)  # fmt: skip
STORED_DICOM = ("JPGLosslessP14SV1_1s_1f_8b", "emri_small", "emri_small_RLE", "emri_small_jpeg_2k_lossless", "liver")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one damaged file. end: `read`, or the code of the CaseError, or what should not be."""

    seed: str
    number: int
    damage: str
    end: str
    seconds: float
    grown_bytes: int

    @property
    def is_good(self) -> bool:
        clear = self.end == "read" or self.end.split(".")[0] in ("read", "dicom", "geometry", "annotation", "segments")
        return clear and self.seconds < LONGEST_S and self.grown_bytes < MOST_MEMORY


def seed_files(folder: Path) -> dict[str, list[Path]]:
    """Whole files of every format: name -> the files of one image, of which the first is damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(5).integers(-1000, 2000, (9, 20, 17)).astype(np.int16)
    seeds = {name: [PACKAGED / f"{name}.dcm"] for name in DICOM}
    seeds |= {name: [STORED / f"{name}.dcm"] for name in STORED_DICOM}
    seeds |= _nifti(voxels, folder) | _itk(voxels, folder) | _arrays(voxels, folder)
    missing = [str(path) for files in seeds.values() for path in files if not path.is_file()]
    assert not missing, missing
    return seeds


def _nifti(voxels: NDArray[np.int16], folder: Path) -> dict[str, list[Path]]:
    image = nibabel.Nifti1Image(voxels.T, np.diag([2.0, 2.0, 3.0, 1.0]))
    nibabel.save(image, folder / "one.nii")
    nibabel.save(image, folder / "one.nii.gz")
    nibabel.save(nibabel.Nifti2Image(voxels.T, np.eye(4)), folder / "two.nii")
    nibabel.save(nibabel.Nifti1Pair(voxels.T.astype(np.float32), np.eye(4)), folder / "pair.img")
    nibabel.save(nibabel.AnalyzeImage(voxels.T, np.eye(4)), folder / "analyze.img")
    return {
        "nifti": [folder / "one.nii"],
        "nifti-gz": [folder / "one.nii.gz"],
        "nifti-2": [folder / "two.nii"],
        "nifti-pair": [folder / "pair.hdr", folder / "pair.img"],
        "analyze": [folder / "analyze.hdr", folder / "analyze.img"],
    }


def _itk(voxels: NDArray[np.int16], folder: Path) -> dict[str, list[Path]]:
    image = SimpleITK.GetImageFromArray(voxels)
    SimpleITK.WriteImage(image, folder / "raw.mha", useCompression=False)
    SimpleITK.WriteImage(image, folder / "zipped.mha", useCompression=True)
    SimpleITK.WriteImage(image, folder / "raw.nrrd", useCompression=False)
    SimpleITK.WriteImage(image, folder / "zipped.nrrd", useCompression=True)
    SimpleITK.WriteImage(image, folder / "apart.mhd", useCompression=False)
    SimpleITK.WriteImage(image, folder / "points.vtk")
    return {
        "mha": [folder / "raw.mha"],
        "mha-zlib": [folder / "zipped.mha"],
        "mhd": [folder / "apart.mhd", folder / "apart.raw"],
        "nrrd": [folder / "raw.nrrd"],
        "nrrd-gzip": [folder / "zipped.nrrd"],
        "vtk": [folder / "points.vtk"],
    }


def _arrays(voxels: NDArray[np.int16], folder: Path) -> dict[str, list[Path]]:
    import h5py

    np.save(folder / "array.npy", voxels)
    np.savez_compressed(folder / "arrays.npz", image=voxels)
    scipy.io.savemat(folder / "five.mat", {"image": voxels}, do_compression=True)
    with h5py.File(folder / "seven.h5", "w") as file:
        file.create_dataset("image", data=voxels, compression="gzip", chunks=(3, 20, 17))
    return {
        "npy": [folder / "array.npy"],
        "npz": [folder / "arrays.npz"],
        "mat": [folder / "five.mat"],
        "hdf5": [folder / "seven.h5"],
    }


def damaged(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """The bytes with one to three kinds of damage, and what was done."""
    done = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        damage = chance.choice(DAMAGES)
        data = damage(data, chance)
        done.append(damage.__name__.removeprefix("_"))
    return data, "+".join(done)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flipped_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 64))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flipped_header_bits(data: bytes, chance: random.Random) -> bytes:
    edge = min(len(data), 2048)
    return _flipped_bits(data[:edge], chance) + data[edge:]


def _hostile_number(data: bytes, chance: random.Random) -> bytes:
    """A number of the header becomes the largest, the smallest, a negative one."""
    if len(data) < 8:
        return data
    width = chance.choice((1, 2, 4))
    at = chance.randrange(min(len(data), 2048) - width + 1) if len(data) > width else 0
    value = chance.choice(EXTREMES) & ((1 << (8 * width)) - 1)
    return data[:at] + value.to_bytes(width, chance.choice(("little", "big"))) + data[at + width :]


def _hostile_word(data: bytes, chance: random.Random) -> bytes:
    """A run of digits in the header becomes another word."""
    runs = [at for at in range(min(len(data), 4096)) if data[at : at + 1].isdigit()]
    if not runs:
        return _hostile_number(data, chance)
    start = end = chance.choice(runs)
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:start] + chance.choice(WORDS) + data[end:]


def _moved_block(data: bytes, chance: random.Random) -> bytes:
    if len(data) < 64:
        return data
    start = chance.randrange(len(data) - 32)
    block = data[start : start + chance.randrange(1, 4096)]
    at = chance.randrange(len(data))
    return data[:at] + block + data[at:]


def _lost_block(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.randrange(1, 512) :]


def _hostile_float(data: bytes, chance: random.Random) -> bytes:
    if len(data) < 8:
        return data
    at = chance.randrange(min(len(data), 1024) - 3)
    value = chance.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38, 1e-38))
    return data[:at] + struct.pack(chance.choice(("<f", ">f")), value) + data[at + 4 :]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _flipped_bits,
    _flipped_header_bits,
    _flipped_header_bits,
    _hostile_number,
    _hostile_number,
    _hostile_word,
    _hostile_float,
    _moved_block,
    _lost_block,
)


def try_damaged(name: str, files: list[Path], number: int, folder: Path) -> Outcome:
    """Damage the first file and read it: header, then voxels, segments or outlines."""
    chance = random.Random(f"{name}-{number}")
    whole = files[0].read_bytes()
    inside = whole.startswith(b"\x1f\x8b") and chance.random() < 0.6
    data, damage = damaged(gzip.decompress(whole) if inside else whole, chance)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / files[0].name
    target.write_bytes(gzip.compress(data, 1) if inside else data)
    others = [folder / path.name for path in files[1:]]
    for path, copy in zip(files[1:], others, strict=True):
        copy.write_bytes(path.read_bytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    end = _end_of_reading([target, *others], folder)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    for path in (target, *others):
        path.unlink(missing_ok=True)
    seconds = time.monotonic() - started
    return Outcome(seed=name, number=number, damage=damage, end=end, seconds=seconds, grown_bytes=grown)


def _end_of_reading(files: list[Path], folder: Path) -> str:
    request = Request(spool=Spool(folder=folder))
    key = Request(key="image", spool=request.spool)
    wants_key = files[0].suffix in (".npz", ".mat", ".h5")
    try:
        try:
            read_header(files, where="fuzz/case", request=key if wants_key else request)
        except CaseError as error:
            if error.code not in ("read.wrong_kind", "read.unsupported"):
                raise
        found = read_annotation(files, where="fuzz/case", request=key if wants_key else request)
        if isinstance(found, Image):
            int(found.array.ravel()[0])  # it is there
    except CaseError as error:
        if error.code != "read.wrong_kind":
            return error.code
        try:
            read_mesh(files, where="fuzz/case")
        except CaseError as other:
            return other.code
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "read"
