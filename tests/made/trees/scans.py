"""A scan and its mask in one line, in the format that their names end in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.voxel_files import SPACING, write_analyze, write_itk, write_nifti

Array = NDArray[np.generic]
SHAPE = (10, 32, 36)


def write_scan(path: Path, voxels: Array, spacing: Sequence[float] = SPACING) -> Path:
    """(z, y, x) by the end of the name: nii, nii.gz, mha, mhd, nrrd, hdr, or a picture."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return write_nifti(path, voxels, spacing)
    if name.endswith(".hdr"):
        return write_analyze(path, voxels, spacing)
    if name.endswith((".mha", ".mhd", ".nrrd", ".nhdr")):
        return write_itk(path, voxels, spacing)
    return write_picture(path, voxels)


def scan_with_mask(
    image: Path,
    mask: Path | None,
    concepts: Mapping[int, str],
    *,
    kind: str = "ct",
    shape: Sequence[int] = SHAPE,
    spacing: Sequence[float] = SPACING,
    seed: str = "",
) -> dict[str, int]:
    """Draw a body, write its scan and its mask, and return the voxels of each concept.

    kind: `ct`, `mr`, `pet`, `grey` or `rgb`. seed: of the body, where the name of the image is not its own.
    """
    body = Phantom(seed or image.as_posix()[-60:], shape, values=concepts)
    write_scan(image, voxels_of(body, kind), spacing)
    if mask is None:
        return {}
    small = max(concepts, default=0) < 256
    write_scan(mask, body.labels.astype(np.uint8 if small else np.int16), spacing)
    return body.counts(concepts)


def voxels_of(body: Phantom, kind: str) -> Array:
    """What a scanner or camera of this kind makes of a body; `kind` as of `scan_with_mask`."""
    drawn: Array = getattr(body, kind)()
    return drawn
