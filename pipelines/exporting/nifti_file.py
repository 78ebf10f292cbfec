"""Arrays of a volume -> NIfTI, as they are: stored numbers with slope and intercept in the header, nothing resampled.

NIfTI-1 keeps affines and rescale in float32; what that costs is measured and said. NIfTI-2 keeps float64, and fewer
programs read it (SimpleITK 2.5 does not). Source: the headers nifti1.h and nifti2.h of the NIfTI data format working
group.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Affine, Array, LeadingAxis, Rescale, spacing_of
from medshard.errors import CaseError

LONGEST_SIDE_OF_NIFTI_1 = 32767
GZIP_LEVEL = 1
# Cosine of the angle between two axes up to which they count as perpendicular, so that a quaternion holds them.
PERPENDICULAR = 1e-6
INTENT_VECTOR = 1007
SCANNER, ALIGNED = 1, 2
_SLAB_BYTES = 1 << 24
_WIDER: Mapping[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.float32),
}


@dataclass(frozen=True, kw_only=True)
class NiftiFacts:
    """What a file holds, and what it cost.

    shape: of the header, (x, y, z[, t[, c]]). affine: the exact one of the volume, index (x, y, z, 1) -> RAS+ mm.
    affine_error_mm: by how much the header's affine displaces the farthest corner. values: `stored` numbers, with the
    rescale in the header where there is one, or `physical` ones, where no header can hold it.
    sheared: no quaternion holds the affine; only the sform is set.
    """

    shape: tuple[int, ...]
    dtype: str
    affine: Affine
    affine_error_mm: float
    version: int
    values: str
    sheared: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "affine": self.affine.tolist(),
            "affine_error_mm": self.affine_error_mm,
            "nifti": self.version,
            "values": self.values,
            "sheared": self.sheared,
            "notes": list(self.notes),
        }


def write_nifti(
    path: Path,
    array: Array,
    affine: Affine,
    *,
    rescale: Rescale | None = None,
    leading: LeadingAxis | None = None,
    trusted: bool = True,
    exact: bool = False,
    where: str = "",
) -> NiftiFacts:
    """Write (c, z, y, x) or (t, c, z, y, x) as `.nii.gz`, equal bytes for equal input and zlib.

    affine: index (z, y, x, 1) -> RAS+ mm. exact: NIfTI-2 where NIfTI-1 would round affine, slope or intercept.
    trusted: whether the affine means places in the body; said by the code of the sform.
    Raises CaseError[export.dtype] for numbers that NIfTI does not have.
    """
    rescale = rescale or Rescale()
    notes: list[str] = []
    stored, rescale, values = _stored(array, rescale, exact=exact, notes=notes)
    timed = stored if stored.ndim == 5 else stored[None]
    shape = _shape(timed)
    xyz = affine[:, [2, 1, 0, 3]].astype(np.float64)
    version = 2 if max(shape) > LONGEST_SIDE_OF_NIFTI_1 or (exact and not _fits_float32(xyz, rescale)) else 1
    header = nib.Nifti1Header() if version == 1 else nib.Nifti2Header()
    try:
        header.set_data_dtype(timed.dtype)
    except Exception as error:
        raise CaseError(
            "export.dtype", where=where, problem="NIfTI has no such numbers", details={"found": timed.dtype}
        ) from error
    header.set_data_shape(shape)
    sheared = _set_geometry(header, xyz, trusted=trusted)
    _set_time(header, shape, leading, notes)
    if len(shape) == 5:
        header["intent_code"] = INTENT_VECTOR
    header["scl_slope"], header["scl_inter"] = rescale.slope[0], rescale.intercept[0]
    header["magic"] = b"n+1" if version == 1 else b"n+2"
    header["vox_offset"] = header.sizeof_hdr + 4
    _write(path, header.binaryblock + bytes(4), timed)
    displacement = _displacement(xyz, np.asarray(header.get_sform(), np.float64), shape)
    return NiftiFacts(
        shape=shape,
        dtype=timed.dtype.name,
        affine=xyz,
        affine_error_mm=displacement,
        version=version,
        values=values,
        sheared=sheared,
        notes=tuple(notes),
    )


def _stored(array: Array, rescale: Rescale, *, exact: bool, notes: list[str]) -> tuple[Array, Rescale, str]:
    """The numbers to be written, the rescale of the header, and what they are."""
    one = not rescale.per_slice
    in_float32 = one and all(float(np.float32(number)) == number for number in (*rescale.slope, *rescale.intercept))
    if one and (in_float32 or exact) and rescale.slope[0] != 0:
        wider = _WIDER.get(array.dtype)
        return (array if wider is None else array.astype(wider)), rescale, "stored"
    notes.append(
        "every slice has a rescale of its own: physical values in float32"
        if rescale.per_slice
        else "slope or intercept is no float32: physical values in float32"
    )
    return rescale.apply(array), Rescale(unit=rescale.unit), "physical"


def _shape(timed: Array) -> tuple[int, ...]:
    t, c, z, y, x = timed.shape
    if c > 1:
        return x, y, z, t, c
    return (x, y, z, t) if t > 1 else (x, y, z)


def _fits_float32(affine: Affine, rescale: Rescale) -> bool:
    numbers = [*affine[:3].ravel().tolist(), rescale.slope[0], rescale.intercept[0]]
    return all(float(np.float32(number)) == number for number in numbers)


def _set_geometry(header: Any, affine: Affine, *, trusted: bool) -> bool:
    """Both forms where a quaternion holds the axes, else the sform alone. Returns True in the latter case."""
    code = SCANNER if trusted else ALIGNED
    steps = np.array(spacing_of(affine))
    axes = affine[:3, :3] / steps
    sheared = bool(np.abs(axes.T @ axes - np.eye(3)).max() > PERPENDICULAR)
    header["pixdim"][1:4] = steps
    if not sheared:
        header.set_qform(affine, code=code)
    header.set_sform(affine, code=code)
    return sheared


def _set_time(header: Any, shape: tuple[int, ...], leading: LeadingAxis | None, notes: list[str]) -> None:
    header.set_xyzt_units("mm", "sec" if leading is not None and leading.kind == "time" else "unknown")
    if leading is None or len(shape) < 4 or leading.kind != "time" or not leading.values or shape[3] < 2:
        return
    steps = np.diff(np.asarray(leading.values, np.float64))
    header["pixdim"][4] = steps.mean()
    if not np.allclose(steps, steps[0], rtol=1e-4, atol=0):
        notes.append("the time points are not evenly spaced; the header has their mean step")


def _displacement(exact: NDArray[np.float64], written: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    corners = np.array([[*corner, 1.0] for corner in product(*((0, side - 1) for side in shape[:3]))])
    return float(np.linalg.norm(((written - exact) @ corners.T)[:3], axis=0).max())


def _write(path: Path, head: bytes, timed: Array) -> None:
    """x runs fastest, then y, z, t, c: the C order of (c, t, z, y, x)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=GZIP_LEVEL, mtime=0) as stream,
    ):
        stream.write(head)
        for slab in _slabs(timed.swapaxes(0, 1)):
            stream.write(slab)


def _slabs(array: Array) -> Iterator[bytes]:
    little = array.dtype.newbyteorder("<")
    depth = max(1, _SLAB_BYTES // max(1, math.prod(array.shape[3:]) * array.dtype.itemsize))
    for c, t in np.ndindex(*array.shape[:2]):
        for first in range(0, array.shape[2], depth):
            yield np.ascontiguousarray(array[c, t, first : first + depth], dtype=little).tobytes()
