"""Volumes as their sources write them. Arrays are (z, y, x), or (t, z, y, x); spacing is (z, y, x) mm.

Without an affine a volume lies as a DICOM series that was converted: rows run to the left, columns to the back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import h5py
import nibabel as nib
import numpy as np
import scipy.io
import SimpleITK
from numpy.typing import NDArray

Array = NDArray[np.generic]
SPACING = (2.5, 0.8, 0.7)


def lps_affine(spacing: Sequence[float] = SPACING, origin: Sequence[float] = (60.0, 55.0, -300.0)) -> Array:
    """4x4, index (x, y, z) to RAS mm, of an axial scan whose x runs to the left and whose y runs to the back."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    affine[:3, 3] = origin
    return affine


def ras_affine(spacing: Sequence[float] = SPACING, origin: Sequence[float] = (-60.0, -70.0, -50.0)) -> Array:
    """The same of a volume that was turned to RAS, such as MR in an atlas."""
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = origin
    return affine


def write_nifti(
    path: Path, voxels: Array, spacing: Sequence[float] = SPACING, *, affine: Array | None = None, dtype: object = None
) -> Path:
    """.nii or .nii.gz; .img or .hdr for the pair. A last axis is added for (t, z, y, x)."""
    array = np.asarray(voxels).astype(dtype) if dtype else np.asarray(voxels)
    array = array.astype(np.uint8) if array.dtype in {np.dtype(bool), np.dtype(np.uint16)} else array
    image = nib.Nifti1Image(array.T if array.ndim < 4 else array.transpose(3, 2, 1, 0), _affine(spacing, affine))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def write_analyze(path: Path, voxels: Array, spacing: Sequence[float] = SPACING) -> Path:
    """An Analyze 7.5 pair; path: the .hdr or the .img."""
    array = np.asarray(voxels)
    array = array.astype(np.uint8) if array.dtype in {np.dtype(bool), np.dtype(np.uint16)} else array
    image = nib.AnalyzeImage(array.T, None)
    image.header.set_zooms(tuple(float(step) for step in reversed(spacing)))
    nib.save(image, path)
    return path


def write_itk(
    path: Path,
    voxels: Array,
    spacing: Sequence[float] = SPACING,
    *,
    compressed: bool = True,
    fields: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """.mha, .mhd (with its .raw or .zraw), .nrrd, .nhdr or .vtk, through SimpleITK, on an axial grid in LPS.

    fields: further fields of the header, as text.
    """
    array = np.asarray(voxels)
    image = SimpleITK.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing([float(step) for step in reversed(spacing)])
    image.SetOrigin((-60.0, -55.0, -300.0))
    for key, value in fields.items():
        image.SetMetaData(key, value)
    SimpleITK.WriteImage(image, str(path), compressed)
    return path


def write_numpy(path: Path, voxels: Array | None = None, **members: Array) -> Path:
    """.npy of one array, .npz of several."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **members)
    else:
        np.save(path, np.asarray(voxels))
    return path


def write_matlab(path: Path, **members: object) -> Path:
    """A MATLAB file of level 5. Arrays as they are: MATLAB's own order is (y, x, z)."""
    scipy.io.savemat(path, dict(members), do_compression=True)
    return path


def write_hdf5(path: Path, **members: Array) -> Path:
    """HDF5; a name may have slashes in it."""
    with h5py.File(path, "w") as file:
        for name, array in members.items():
            file.create_dataset(name.replace("__", "/"), data=array, compression="gzip")
    return path


def _affine(spacing: Sequence[float], affine: Array | None) -> Array:
    return lps_affine(spacing) if affine is None else affine


def write_slicer_segment(path: Path, mask: NDArray[np.bool_], name: str, spacing: Sequence[float] = SPACING) -> Path:
    """A .seg.nrrd of 3D Slicer with one segment."""
    fields = {
        "Segment0_ID": "Segment_1",
        "Segment0_Name": name,
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment0_Color": "0.5 0.68 0.5",
    }
    return write_itk(path, mask, spacing, fields=fields)
