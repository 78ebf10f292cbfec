"""Segmentations on a made CT series, written by highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.volume import Image

SHAPE = (7, 36, 44)
COLOURS = ("#d98265", "#20c040", "#3050ff")


def ct_series(folder: Path, affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> list[pydicom.Dataset]:
    """Headers and pixels of a CT series in z order."""
    rng = np.random.default_rng(5)
    image = Image(array=rng.integers(0, 2000, (1, *shape), np.int16), affine=affine)
    files = write_ct_series(image, folder, patient_id="Made^One", series_description="test", uid_seed="seed")
    return [pydicom.dcmread(file) for file in files]


def descriptions(names: list[str]) -> list[SegmentDescription]:
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
            display_color=CIELabColor.from_rgb(*bytes.fromhex(COLOURS[(number - 1) % 3][1:])),
        )
        for number, name in enumerate(names, start=1)
    ]


def write_seg(
    path: Path,
    sources: list[pydicom.Dataset],
    pixels: np.ndarray,
    names: list[str],
    *,
    kind: str = "BINARY",
    syntax: str = ExplicitVRLittleEndian,
    **options: object,
) -> Path:
    """pixels: (z, y, x) label numbers, or (z, y, x, segment) masks or fractions, as highdicom takes them."""
    seg = Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=descriptions(names),
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="made",
        manufacturer_model_name="made",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
        **options,
    )
    seg.save_as(path)
    return path
