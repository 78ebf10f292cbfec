"""DICOM as hospitals export it. Arrays are (z, y, x), spacing is (z, y, x) mm, axial slices from the feet upwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_dicom import frames
from made_segments import write_seg
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Array = NDArray[np.generic]
ORIGIN = (-60.0, -55.0, -300.0)
"""Centre of the first voxel, mm LPS: where `voxel_files` puts it too."""


def write_series(
    folder: Path,
    voxels: Array,
    *,
    modality: str = "CT",
    spacing: Sequence[float] = (2.5, 0.8, 0.7),
    name: str = "{n:06d}.dcm",
    first: int = 1,
    intercept: int | None = None,
    **fields: Any,
) -> list[Dataset]:
    """One file per slice, called `name` with n from `first`. CT voxels are Hounsfield units.

    intercept: of the rescaling; -1024 for CT and 0 else where None. Bytes are stored as they are, for masks. fields:
    DICOM attributes of every slice, such as PatientID, StudyInstanceUID or SeriesDescription. Each folder is another
    series. Returns the data sets in the order of z.
    """
    array = np.asarray(voxels)
    offset = intercept if intercept is not None else -1024 if modality == "CT" and array.dtype != np.uint8 else 0
    stored = array if array.dtype == np.uint8 else (array.astype(np.int32) - offset).astype(np.int16)
    if modality == "CT":
        fields = {"RescaleIntercept": offset, **fields}
    fields = {"origin": ORIGIN, **fields}
    made = frames(stored, modality=modality, series=str(folder)[-40:], spacing=spacing, **fields)
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(made, start=first):
        dataset.save_as(folder / name.format(n=number), enforce_file_format=True)
    return made


def write_segmentation(path: Path, series: list[Dataset], masks: dict[str, NDArray[np.bool_]]) -> Path:
    """A DICOM SEG: name of each segment -> its voxels on the series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_seg(path, series, np.stack(list(masks.values()), axis=-1), list(masks))
