"""Whole slides in DICOM: an instance for each level, with a label and an overview beside them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from made_slides import NAME, MadeSlide, Pixels, reduced
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def dicom_slide(
    folder: Path,
    picture: Pixels,
    *,
    factors: tuple[int, ...] = (4,),
    sparse: bool = False,
    jpeg: bool = False,
    microns: float = 0.5,
    tile: int = 128,
) -> MadeSlide:
    """One instance a level, with a label and an overview beside them; sparse: tiles of bare glass are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = {name: generate_uid() for name in ("study", "series", "frame")}
    levels = (picture, *(reduced(picture, factor) for factor in factors))
    for number, level in enumerate(levels):
        kind = (
            ("ORIGINAL", "PRIMARY", "VOLUME", "NONE") if not number else ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
        )
        spacing = microns * picture.shape[0] / level.shape[0] / 1000
        made = _instance(level, kind, shared, spacing=spacing, tile=tile, sparse=sparse, jpeg=jpeg)
        # In an order that is not that of the levels.
        made.save_as(folder / f"{9 - number}.dcm", enforce_file_format=True)
    for name in ("LABEL", "OVERVIEW"):
        other = np.full((tile, tile, 3), 90, np.uint8)
        made = _instance(other, ("ORIGINAL", "PRIMARY", name, "NONE"), shared, spacing=0.05, tile=tile)
        made.save_as(folder / f"0{name.lower()}.dcm", enforce_file_format=True)
    return MadeSlide(files=tuple(sorted(folder.iterdir())), levels=levels)


def _instance(
    level: Pixels,
    kind: tuple[str, ...],
    shared: dict[str, str],
    *,
    spacing: float,
    tile: int,
    sparse: bool = False,
    jpeg: bool = False,
) -> pydicom.FileDataset:
    height, width = level.shape[:2]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = WHOLE_SLIDE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    made = pydicom.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = WHOLE_SLIDE, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = shared["study"], shared["series"]
    made.FrameOfReferenceUID, made.PatientName, made.PatientID = shared["frame"], NAME, "1"
    made.StudyDate, made.AcquisitionDateTime, made.ContentDate, made.ContentTime = (
        "20200102",
        "20200102",
        "20200102",
        "100000",
    )
    made.Modality, made.ImageType, made.InstanceNumber = "SM", list(kind), 1
    made.ContainerIdentifier, made.VolumetricProperties = NAME, "VOLUME"
    made.BurnedInAnnotation = "YES" if kind[2] == "LABEL" else "NO"
    made.SpecimenLabelInImage = made.BurnedInAnnotation
    made.FocusMethod, made.ExtendedDepthOfField = "AUTO", "NO"
    made.Rows = made.Columns = tile
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = height, width
    made.TotalPixelMatrixFocalPlanes = made.NumberOfOpticalPaths = 1
    made.ImagedVolumeWidth, made.ImagedVolumeHeight, made.ImagedVolumeDepth = width * spacing, height * spacing, 0.001
    colour = level.ndim == 3
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = ("YBR_FULL_422" if jpeg else "RGB") if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = level.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    made.LossyImageCompression = "01" if jpeg else "00"
    made.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    made.TotalPixelMatrixOriginSequence = Items(
        [_dataset(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)]
    )
    made.OpticalPathSequence = Items([_optical_path()])
    measures = _dataset(PixelSpacing=[spacing, spacing], SliceThickness=0.001)
    made.SharedFunctionalGroupsSequence = Items([_dataset(PixelMeasuresSequence=Items([measures]))])
    made.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    organisation = generate_uid()
    made.DimensionOrganizationSequence = Items([_dataset(DimensionOrganizationUID=organisation)])
    frames, places = _frames(level, tile, sparse)
    made.NumberOfFrames = len(frames)
    if sparse:
        made.PerFrameFunctionalGroupsSequence = Items([_place(y, x) for y, x in places])
    if jpeg:
        made.PixelData = encapsulate([_as_jpeg(frame) for frame in frames])
        made["PixelData"].VR = "OB"
    else:
        made.PixelData = b"".join(frame.tobytes() for frame in frames)
        made["PixelData"].VR = "OW" if level.dtype.itemsize == 2 else "OB"
    return made


def _frames(level: Pixels, tile: int, sparse: bool) -> tuple[list[Pixels], list[tuple[int, int]]]:
    height, width = level.shape[:2]
    missing = ((0, -height % tile), (0, -width % tile), (0, 0))[: level.ndim]
    padded = np.pad(level, missing, constant_values=255)
    frames, places = [], []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            frame = padded[y : y + tile, x : x + tile]
            if sparse and (frame == 255).all():
                continue
            frames.append(np.ascontiguousarray(frame))
            places.append((y, x))
    return frames, places


def _place(y: int, x: int) -> Dataset:
    position = _dataset(
        RowPositionInTotalImagePixelMatrix=y + 1,
        ColumnPositionInTotalImagePixelMatrix=x + 1,
        XOffsetInSlideCoordinateSystem=0.0,
        YOffsetInSlideCoordinateSystem=0.0,
        ZOffsetInSlideCoordinateSystem=0.0,
    )
    return _dataset(PlanePositionSlideSequence=Items([position]))


def _optical_path() -> Dataset:
    code = _dataset(CodeValue="111744", CodingSchemeDesignator="DCM", CodeMeaning="Brightfield illumination")
    return _dataset(OpticalPathIdentifier="0", IlluminationTypeCodeSequence=Items([code]), ObjectiveLensPower=20.0)


def _as_jpeg(frame: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _dataset(**elements: Any) -> Dataset:
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made
