"""What the formats that SimpleITK reads have in common.

SimpleITK gives origin, spacing and direction in LPS for NRRD and MetaImage alike, whatever space the file states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Header, installed_versions, narrowed
from medshard.converters.geometry import affine_from_itk
from medshard.converters.volume import Affine, Array, Image

DTYPES = {
    sitk.sitkUInt8: "uint8",
    sitk.sitkInt8: "int8",
    sitk.sitkUInt16: "uint16",
    sitk.sitkInt16: "int16",
    sitk.sitkUInt32: "uint32",
    sitk.sitkInt32: "int32",
    sitk.sitkUInt64: "uint64",
    sitk.sitkInt64: "int64",
    sitk.sitkFloat32: "float32",
    sitk.sitkFloat64: "float64",
    sitk.sitkVectorUInt8: "uint8",
    sitk.sitkVectorInt8: "int8",
    sitk.sitkVectorUInt16: "uint16",
    sitk.sitkVectorInt16: "int16",
    sitk.sitkVectorUInt32: "uint32",
    sitk.sitkVectorInt32: "int32",
    sitk.sitkVectorUInt64: "uint64",
    sitk.sitkVectorInt64: "int64",
    sitk.sitkVectorFloat32: "float32",
    sitk.sitkVectorFloat64: "float64",
}


def read_itk_header(path: Path, *, image_io: str, format_name: str) -> Header:
    """Header of a file, by the named ITK image reader, without its voxels."""
    reader = _reader(path, image_io)
    reader.ReadImageInformation()
    dtype = DTYPES.get(reader.GetPixelIDValue())
    size = [int(n) for n in reader.GetSize()]
    if dtype is None or not 2 <= len(size) <= 4:
        raise bad_file(
            "read.unsupported",
            path,
            "the image is not made of integers or real numbers in two to four dimensions",
            details={"pixel type": sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()), "size": size},
        )
    x, y, z, t = size + [1] * (4 - len(size))
    return Header(
        format=format_name,
        shape=(z, y, x),
        channels=int(reader.GetNumberOfComponents()),
        timepoints=t,
        affine=_affine(reader),
        dtype=dtype,
    )


def read_itk_image(path: Path, *, image_io: str) -> Image:
    """Voxels as (c, z, y, x), or (t, c, z, y, x) of a file with four dimensions."""
    image = _reader(path, image_io).Execute()
    stored = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        stored = stored[..., None]
    # Now (.., y, x, c); two dimensions lack z and t, three lack t.
    full = stored.reshape((1,) * (5 - stored.ndim) + stored.shape)
    array: Array = narrowed(np.ascontiguousarray(np.moveaxis(full, -1, 1)))
    return Image(array=array if len(array) > 1 else array[0], affine=_affine(image))


def itk_decoders() -> dict[str, str]:
    return installed_versions("SimpleITK", "numpy")


def _reader(path: Path, image_io: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    return reader


def _affine(source: Any) -> Affine:
    return affine_from_itk(source.GetOrigin(), source.GetSpacing(), source.GetDirection())
