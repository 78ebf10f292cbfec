"""What a file format module provides, and what a header says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medshard.converters.spooling import IN_MEMORY, Spool, is_spooled, release_pages
from medshard.converters.subject import SubjectFacts
from medshard.converters.volume import Affine, Array, AttributeValue, Image, LeadingAxis, Mesh, spacing_of

Files = Sequence[Path]

INTEGER_TYPES = (np.uint8, np.int16, np.uint16, np.int32)
FLOAT32_MAX = float(np.finfo(np.float32).max)

SLAB_BYTES = 2 << 20
# A copy of up to this part of an array may lie beside it; a larger one is made in the array's own place.
LARGEST_COPY = 0.3


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which image of the files is meant, and where its voxels may lie.

    key: name of the array inside a container file (npz, mat, h5).
    select: DICOM attribute -> pattern with stars, letter case ignored, which the wanted series or stack has, such as
        `{"SeriesDescription": "*t2*"}`.
    grid: of an annotation, the image that it was drawn on, as it is stored: shape (z, y, x) and affine.
    spool: where the decoded voxels go.
    page: number of one picture, from 0, of a file that holds several: a page, a frame, or along the first array axis.
    palette: whether a picture with a palette is its colours, or the indices into the palette (masks often mean those).
    """

    key: str | None = None
    select: Mapping[str, str] = field(default_factory=dict)
    grid: tuple[tuple[int, int, int], Affine] | None = None
    spool: Spool = IN_MEMORY
    page: int | None = None
    palette: Literal["rgb", "index"] = "rgb"


ANY = Request()


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the files of one image (or mesh) state, known without decoding voxels wherever the format allows.

    shape: (z, y, x); (0, 0, 0) for a mesh.
    affine: (4, 4) float64, index (z, y, x, 1) -> RAS+ mm.
    dtype: of the stored numbers, as numpy names it. Floats may become narrower when the voxels are read.
    modality, sequence: None where the format has no place for them, or the place is empty.
    trusted_geometry: False where the format states no position or spacing in space.
    leading: what the leading axis counts, where `timepoints` is more than 1.
    attributes: acquisition attributes of the allow-list; the only part of a header that is kept.
    subject: coarse facts about the person and the scanner.
    identifiers: keyword -> UID as stated. Whoever stores one hashes it first.
    burned_in: why text is suspected in the pixels; None where nothing speaks for it.
    warnings: one sentence each, for the record of the case; never a value that could name a person.
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
    trusted_geometry: bool = True
    leading: LeadingAxis | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    subject: SubjectFacts = field(default_factory=SubjectFacts)
    identifiers: Mapping[str, str] = field(default_factory=dict)
    burned_in: str | None = None
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
    read_header, read: of the image that the request means; raise CaseError, or what the library that reads the format
        raises on a bad file.
    decoders: library -> version, of everything that has a say in the decoded numbers.
    """

    name: str
    kind: Literal["image", "mesh"]
    suffixes: tuple[str, ...]
    sniff: Callable[[Files], bool]
    read_header: Callable[[Files, Request], Header]
    read: Callable[[Files, Request], Image | Mesh]
    decoders: Callable[[], dict[str, str]]


def installed_versions(*distributions: str) -> dict[str, str]:
    """Distribution name -> installed version."""
    return {name: _installed_version(name) for name in distributions}


# Looking one up parses the package's metadata, a millisecond and more, and small cases come by the thousand.
_installed_version = lru_cache(version)


def narrowed(array: Array, spool: Spool = IN_MEMORY, *, reuse: bool = False) -> Array:
    """The array in native byte order, without a float type that it does not need.

    Integers keep their type. Floats that hold integers only (labels and CT numbers are often stored so) become the
    smallest of `INTEGER_TYPES` that holds them exactly and is no wider than the float was. Other floats, which is what
    an array with a NaN or an infinity is, become float32; float16 stays as it is, and so does float64 with a finite
    value that float32 would make infinite. Nothing is lost but the digits of a float64 beyond the 24 bits of float32.

    It works in slabs. spool: where the result goes, of a spooled array. reuse: the array may be overwritten, so that
    array and result together hold at most 1.3 times the bytes of the array.
    """
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    wanted = _narrow_type(array)
    if wanted == array.dtype:
        return array
    spooled = is_spooled(array)
    in_place = reuse and not spooled and array.flags.c_contiguous and array.flags.writeable
    if in_place and wanted.itemsize > LARGEST_COPY * array.dtype.itemsize:
        result = array.reshape(-1).view(np.uint8)[: array.size * wanted.itemsize].view(wanted).reshape(array.shape)
    else:
        result = (spool if spooled else IN_MEMORY).empty(array.shape, wanted)
    with np.errstate(over="ignore", under="ignore"):
        for place in slabs(array):
            # Through a copy: in place, the result of a slab lies on slabs that are done, or on the slab itself.
            result[place] = array[place].astype(wanted)
            release_pages(array)
            release_pages(result)
    return result


def slabs(array: Array) -> Iterator[tuple[int | slice, ...]]:
    """Index after index of parts of about `SLAB_BYTES`, in C order, that cover an array once."""
    leading = array.shape[:-3]
    if array.ndim < 3 or not array.size:
        yield (slice(None),) * array.ndim
        return
    step = max(1, SLAB_BYTES // max(1, math.prod(array.shape[-2:]) * array.dtype.itemsize))
    for index in np.ndindex(*leading):
        for start in range(0, array.shape[-3], step):
            yield (*index, slice(start, start + step))


def _narrow_type(array: Array) -> np.dtype[Any]:
    """What `narrowed` makes of a float array; stops looking as soon as that is clear."""
    native = array.dtype.newbyteorder("=")
    low, high, whole = 0.0, 0.0, bool(array.size)
    for place in slabs(array):
        slab = np.asarray(array[place])
        finite = np.isfinite(slab)
        whole = whole and bool(finite.all()) and bool((slab == np.rint(slab)).all())
        if not whole and native.itemsize <= 4:
            return native
        low = min(low, float(slab.min(where=finite, initial=0)))
        high = max(high, float(slab.max(where=finite, initial=0)))
        release_pages(array)
    if whole:
        for kind in INTEGER_TYPES:
            limits = np.iinfo(kind)
            if limits.min <= low and high <= limits.max and limits.bits <= 8 * native.itemsize:
                return np.dtype(kind)
    return np.dtype(np.float32) if native.itemsize > 4 and max(high, -low) <= FLOAT32_MAX else native


def first_bytes(path: Path, count: int) -> bytes:
    """At most `count` bytes from the start of a file."""
    with path.open("rb") as stream:
        return stream.read(count)
