"""Radiographs as DICOM: one picture without a place in the patient."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from made_dicom import put, put_pixels, uid
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

SOP_CLASSES = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
}
"""Computed and digital radiography, and secondary capture."""


def write_radiograph(
    path: Path, pixels: NDArray[np.generic], *, sop_class: str = "SC", jpeg: bool = False, **fields: Any
) -> Dataset:
    """(y, x) of uint8 or uint16; `jpeg` packs 8 bits as JPEG baseline. fields: attributes by keyword, None for none."""
    dataset = Dataset()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SOP_CLASSES[sop_class]
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid(path.name)
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study", path.name), uid("series", path.name)
    dataset.Modality = "DX" if sop_class == "DX" else "CR"
    dataset.PatientID, dataset.PatientName = "made", "Made^Up"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.PixelSpacing = "CHEST", "PA", [0.143, 0.143]
    put_pixels(dataset, np.asarray(pixels))
    if jpeg:
        packed = io.BytesIO()
        Image.fromarray(np.asarray(pixels)).save(packed, "JPEG", quality=100)
        dataset.PixelData = encapsulate([packed.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.LossyImageCompression = "01"
    put(dataset, **fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset
