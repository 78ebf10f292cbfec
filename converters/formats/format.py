"""What a file format module provides, and what a header says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from medshard.converters.volume import Affine, Array, Image, Mesh, spacing_of

Files = Sequence[Path]

INTEGER_TYPES = (np.uint8, np.int16, np.uint16, np.int32)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the files of one image (or mesh) state, known without decoding voxels wherever the format allows.

    shape: (z, y, x); (0, 0, 0) for a mesh.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    dtype: of the stored numbers, as numpy names it. Floats may become narrower when the voxels are read.
    modality, sequence, patient_id: None where the format has no place for them, or the place is empty.
    trusted_geometry: False where the format states no position or spacing in space.
    warnings: one sentence each, for the record of the case.
    vertices, faces: counts of a mesh; 0 for an image.
    """

    format: str
    shape: tuple[int, int, int]
    channels: int = 1
    timepoints: int = 1
    affine: Affine
    dtype: str
    modality: str | None = None
    sequence: str | None = None
    patient_id: str | None = None
    trusted_geometry: bool = True
    warnings: tuple[str, ...] = ()
    vertices: int = 0
    faces: int = 0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along (z, y, x)."""
        return spacing_of(self.affine)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of the decoded array in the stored dtype."""
        return math.prod(self.shape) * self.channels * self.timepoints * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format, as plain functions.

    suffixes: what its files are usually called, for messages; recognition goes by content.
    sniff: whether the files look like this format, by their first bytes.
    read_header, read: raise CaseError, or what the library that reads the format raises on a bad file.
    decoders: library -> version, of everything that has a say in the decoded numbers.
    """

    name: str
    kind: Literal["image", "mesh"]
    suffixes: tuple[str, ...]
    sniff: Callable[[Files], bool]
    read_header: Callable[[Files], Header]
    read: Callable[[Files], Image | Mesh]
    decoders: Callable[[], dict[str, str]]


def installed_versions(*distributions: str) -> dict[str, str]:
    """Distribution name -> installed version."""
    return {name: version(name) for name in distributions}


def narrowed(array: Array) -> Array:
    """The array in native byte order, without a float type that it does not need.

    Floats that hold integers only (labels and CT numbers are often stored so) become the smallest integer type that
    holds them exactly, in the order of `INTEGER_TYPES`; other floats become float32. Integers keep their type.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind != "f":
        return native
    if native.size and np.isfinite(native).all() and (native == np.rint(native)).all():
        low, high = float(native.min()), float(native.max())
        for dtype in INTEGER_TYPES:
            limits = np.iinfo(dtype)
            if limits.min <= low and high <= limits.max:
                return native.astype(dtype)
    return native.astype(np.float32, copy=False)


def first_bytes(path: Path, count: int) -> bytes:
    """At most `count` bytes from the start of a file."""
    with path.open("rb") as stream:
        return stream.read(count)
