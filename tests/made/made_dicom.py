"""DICOM data sets made for tests: single CT, MR and PET frames, and enhanced multi-frame objects.

Every builder returns data sets that can be edited before `write` puts them on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSIC = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "PT": "1.2.840.10008.5.1.4.1.1.128"}
ENHANCED = {
    "CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "MR": "1.2.840.10008.5.1.4.1.1.4.1",
    "PT": "1.2.840.10008.5.1.4.1.1.130",
}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*seed: object) -> str:
    """The same identifier for the same seed."""
    return str(generate_uid(entropy_srcs=[str(part) for part in seed]))


def planes(count: int, rows: int = 6, columns: int = 8, *, start: int = 0) -> np.ndarray:
    """(count, rows, columns) int16, every voxel another number."""
    return np.arange(start, start + count * rows * columns, dtype=np.int16).reshape(count, rows, columns)


def frames(
    voxels: np.ndarray,
    *,
    modality: str = "CT",
    series: str = "series",
    number: int = 1,
    origin: Sequence[float] = (-20.0, 15.0, -310.5),
    spacing: Sequence[float] = (2.5, 0.6, 0.8),
    orientation: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    **fields: Any,
) -> list[Dataset]:
    """One data set for each plane of (z, y, x) voxels, as a scanner writes them.

    spacing: mm between slices, rows, columns. step: vector from slice to slice, mm LPS; along the normal where None.
    fields: further attributes of all of them, by keyword; None takes one away.
    """
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.asarray(step if step is not None else normal * spacing[0], float)
    made = []
    for z, plane in enumerate(voxels):
        dataset = _common(modality, CLASSIC[modality], series, number, seed=z)
        dataset.InstanceNumber = z + 1
        dataset.ImageOrientationPatient = [float(v) for v in orientation]
        dataset.ImagePositionPatient = [round(float(v), 6) for v in np.asarray(origin) + z * along]
        dataset.PixelSpacing = [spacing[1], spacing[2]]
        dataset.SliceThickness = spacing[0]
        if modality != "MR":
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, {"CT": -1024, "PT": 0}[modality]
        if modality == "PT":
            _describe_tracer(dataset)
        put_pixels(dataset, plane)
        put(dataset, **fields)
        made.append(dataset)
    return made


def enhanced(
    voxels: np.ndarray,
    *,
    modality: str = "MR",
    series: str = "series",
    number: int = 1,
    origin: Sequence[float] = (-20.0, 15.0, -310.5),
    spacing: Sequence[float] = (2.5, 0.6, 0.8),
    orientation: Sequence[float] = AXIAL,
    **fields: Any,
) -> Dataset:
    """One multi-frame data set of (t, z, y, x) voxels; frames run t slowest, each with its place and its time index."""
    volumes = voxels if voxels.ndim == 4 else voxels[None]
    times, slices = volumes.shape[:2]
    normal = np.cross(orientation[:3], orientation[3:])
    dataset = _common(modality, ENHANCED[modality], series, number, seed="enhanced")
    dataset.NumberOfFrames = times * slices
    shared = Dataset()
    shared.PixelMeasuresSequence = [item(PixelSpacing=[spacing[1], spacing[2]], SliceThickness=spacing[0])]
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=[float(v) for v in orientation])]
    if modality != "MR":
        transformation = item(RescaleSlope=1, RescaleIntercept=-1024 if modality == "CT" else 0, RescaleType="US")
        shared.PixelValueTransformationSequence = [transformation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for t in range(times):
        for z in range(slices):
            place = [round(float(v), 6) for v in np.asarray(origin) + z * spacing[0] * normal]
            group = Dataset()
            group.PlanePositionSequence = [item(ImagePositionPatient=place)]
            content = item(
                StackID="1",
                InStackPositionNumber=z + 1,
                TemporalPositionIndex=t + 1,
                DimensionIndexValues=[1, z + 1, t + 1],
            )
            group.FrameContentSequence = [content]
            groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    put_pixels(dataset, volumes.reshape(-1, *volumes.shape[2:]))
    put(dataset, **fields)
    return dataset


def item(**fields: Any) -> Dataset:
    """One item of a sequence."""
    made = Dataset()
    put(made, **fields)
    return made


def put(dataset: Dataset, **fields: Any) -> None:
    """Set attributes by keyword; None takes one away."""
    for keyword, value in fields.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def put_pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    """Uncompressed grey pixels (y, x) or (n, y, x) of uint8, int16 or uint16."""
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset["PixelData"] = _pixel_element(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(), bits)


def write(datasets: Iterable[Dataset], folder: Path, *, prefix: str = "image") -> list[Path]:
    """Files in the order given: PREFIX-0001.dcm, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets, start=1):
        path = folder / f"{prefix}-{number:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _common(modality: str, sop_class: str, series: str, number: int, *, seed: object) -> Dataset:
    dataset = Dataset()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid(series, number, seed)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study"), uid(series)
    dataset.FrameOfReferenceUID = uid("frame of reference")
    dataset.SeriesNumber, dataset.Modality = number, modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    dataset.PatientID = "made"
    dataset.PatientName = "Made^Up"
    return dataset


def _describe_tracer(dataset: Dataset) -> None:
    dataset.Units, dataset.DecayCorrection, dataset.CorrectedImage = "BQML", "START", ["DECY", "ATTN"]
    dataset.PatientWeight = 70
    dataset.SeriesDate = dataset.AcquisitionDate = "20200101"
    dataset.SeriesTime = dataset.AcquisitionTime = "120000"
    dataset.RadiopharmaceuticalInformationSequence = [
        item(RadiopharmaceuticalStartTime="110000", RadionuclideTotalDose=3.7e8, RadionuclideHalfLife=6586.2)
    ]


def _pixel_element(value: bytes, bits: int) -> DataElement:
    even = value + b"\0" * (len(value) % 2)
    return DataElement("PixelData", "OB" if bits == 8 else "OW", even)
