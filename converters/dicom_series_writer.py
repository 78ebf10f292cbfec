"""Writes an image as a DICOM CT series: real voxels under made headers.

Some real scans exist without their DICOM headers only. Written this way they exercise the DICOM path end to end. Every
header value is made, stands for no patient, and is a function of the arguments: two writes are equal byte for byte. The
series description and the derivation description say that the series is re-encoded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from medshard.converters.geometry import LPS_TO_RAS
from medshard.converters.volume import Affine, Array, Image
from medshard.errors import CaseError

SUFFIX = " (re-encoded)"
LONGEST_DESCRIPTION = 64
IMPLEMENTATION_NAME = "MEDSHARD"
DECIMALS = 9
PERPENDICULAR = 1e-5


def write_ct_series(
    image: Image, folder: Path, *, patient_id: str, series_description: str, uid_seed: str
) -> list[Path]:
    """Write one file per z slice, `slice-0001.dcm` for z = 0 and so on; explicit VR little endian, not compressed.

    image: (1, z, y, x) integers that fit into 16 bits; rows and columns perpendicular, z in any direction (a sheared
        affine becomes the positions of a tilted gantry). Readers sort along the slice normal, which is row x column
        direction: an image in canonical orientation comes back in the same order, one with a mirrored z axis reversed.
    uid_seed: all UIDs are derived from it.
    Returns the files in z order. Raises CaseError[dicom_writer.unsupported].
    """
    stored = _sixteen_bits(image, patient_id)
    slopes, intercepts = _per_slice(image)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for z in range(len(stored)):
        dataset = FileDataset("", {}, file_meta=_file_meta(uid_seed, z), preamble=b"\0" * 128)
        _add_patient_and_study(dataset, patient_id, uid_seed)
        _add_series(dataset, series_description, uid_seed)
        _add_plane(dataset, image.affine, z)
        _add_rescale(dataset, slopes[z], intercepts[z], image.rescale.unit)
        _add_pixels(dataset, stored[z])
        path = folder / f"slice-{z + 1:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def derived_uid(uid_seed: str, role: str) -> UID:
    """A UID under 2.25 from 128 bits of SHA-256, where DICOM PS3.5 B.2 puts UUIDs: no registry is needed."""
    digest = hashlib.sha256(f"{uid_seed}\n{role}".encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def _sixteen_bits(image: Image, where: str) -> Array:
    array = image.array
    if array.ndim != 4 or array.shape[0] != 1 or array.dtype.kind not in "iu":
        raise _unsupported(where, "the image is not one channel of integers", shape=array.shape, dtype=array.dtype)
    for dtype in (np.int16, np.uint16):
        limits = np.iinfo(dtype)
        if limits.min <= int(array.min()) and int(array.max()) <= limits.max:
            return array[0].astype(dtype)
    raise _unsupported(where, "the numbers do not fit into 16 bits", low=array.min(), high=array.max())


def _per_slice(image: Image) -> tuple[list[float], list[float]]:
    z = image.shape[0]
    slopes = np.broadcast_to(np.asarray(image.rescale.slope), z)
    intercepts = np.broadcast_to(np.asarray(image.rescale.intercept), z)
    return slopes.tolist(), intercepts.tolist()


def _file_meta(uid_seed: str, z: int) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = derived_uid(uid_seed, f"instance {z}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = derived_uid("medshard", "implementation")
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return meta


def _add_patient_and_study(dataset: Any, patient_id: str, uid_seed: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = patient_id
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyInstanceUID = derived_uid(uid_seed, "study")
    dataset.StudyDate = ""
    dataset.StudyTime = ""
    dataset.StudyID = ""
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _add_series(dataset: Any, series_description: str, uid_seed: str) -> None:
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT"
    dataset.Manufacturer = ""
    dataset.SeriesInstanceUID = derived_uid(uid_seed, "series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = series_description[: LONGEST_DESCRIPTION - len(SUFFIX)] + SUFFIX
    dataset.PatientPosition = ""
    dataset.FrameOfReferenceUID = derived_uid(uid_seed, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.DerivationDescription = (
        "Voxels of a published scan re-encoded by medshard; all other header values are made"
    )
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.KVP = None
    dataset.AcquisitionNumber = None


def _add_plane(dataset: Any, affine: Affine, z: int) -> None:
    """Position, orientation and spacing of slice z, in LPS (DICOM PS3.3 C.7.6.2)."""
    lps = LPS_TO_RAS @ affine
    step, column, row = lps[:3, 0], lps[:3, 1], lps[:3, 2]
    between_rows, between_columns = float(np.linalg.norm(column)), float(np.linalg.norm(row))
    row, column = row / between_columns, column / between_rows
    if abs(float(row @ column)) > PERPENDICULAR:
        where = str(dataset.PatientID)
        raise _unsupported(where, "rows and columns are not perpendicular", cosine=f"{float(row @ column):.6f}")
    dataset.ImagePositionPatient = _decimals(lps[:3, 3] + z * step)
    dataset.ImageOrientationPatient = _decimals(np.concatenate([row, column]))
    dataset.PixelSpacing = _decimals(np.array([between_rows, between_columns]))
    thickness = abs(float(np.cross(row, column) @ step))
    dataset.SliceThickness, dataset.SpacingBetweenSlices = _decimals(np.array([thickness, np.linalg.norm(step)]))
    dataset.InstanceNumber = z + 1


def _add_rescale(dataset: Any, slope: float, intercept: float, unit: str) -> None:
    dataset.RescaleSlope = format_number_as_ds(slope)
    dataset.RescaleIntercept = format_number_as_ds(intercept)
    if (float(dataset.RescaleSlope), float(dataset.RescaleIntercept)) != (slope, intercept):
        where = str(dataset.PatientID)
        raise _unsupported(where, "the rescale has more digits than DICOM can hold", slope=slope, intercept=intercept)
    dataset.RescaleType = "HU" if unit == "arbitrary" else unit


def _add_pixels(dataset: Any, plane: Array) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    # A soft-tissue window, so that viewers show something sensible at once.
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "400"
    dataset.PixelData = np.ascontiguousarray(plane.astype(plane.dtype.newbyteorder("<"))).tobytes()


def _decimals(values: NDArray[np.float64]) -> list[str]:
    """Numbers as decimal strings of at most 16 characters, to a millionth of a micrometre.

    Unrounded, a number that rounding lengthens (-99.99999999999989) becomes one character too long.
    """
    return [format_number_as_ds(round(float(value), DECIMALS)) for value in values]


def _unsupported(where: str, problem: str, **details: object) -> CaseError:
    return CaseError(
        "dicom_writer.unsupported",
        where=where,
        problem=problem,
        details=details,
        action="Write another image, or convert it to 16-bit integers first.",
    )
