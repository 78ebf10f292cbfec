"""Burned-in text is suspected by how an image came about; the reason never quotes the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from medshard.converters.dicom.burned_in import suspicion


def made(**fields: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in {"Modality": "CT", "ImagePositionPatient": [0, 0, 0], **fields}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation"),
        ({"RecognizableVisualFeatures": "YES"}, "RecognizableVisualFeatures"),
        ({"RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"}, "RecognizableVisualFeatures"),
        ({"Modality": "US"}, "US"),
        ({"Modality": "ES"}, "ES"),
        ({"Modality": "XC"}, "XC"),
        ({"Modality": "OT"}, "OT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary capture"),
        ({"ConversionType": "SD"}, "ConversionType"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "SCREEN"),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "DOSE_INFO"),
        ({"ImageType": ["DERIVED", "SECONDARY"], "ImagePositionPatient": None}, "no position"),
        ({"Manufacturer": "VIDAR SYSTEMS"}, "digitiser"),
    ],
)
def test_suspected(fields: dict[str, Any], word: str):
    reason = suspicion(made(**fields))
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Modality": "MR"},
        {"Modality": "US", "BurnedInAnnotation": "NO"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]},
        {"ConversionType": "DOE^JOHN"},
    ],
)
def test_not_suspected(fields: dict[str, Any]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        assert suspicion(made(**fields)) is None


@pytest.mark.parametrize(
    ("name", "suspected"),
    [
        ("CT_small.dcm", False),
        ("MR_small.dcm", False),
        ("examples_palette.dcm", True),
        ("SC_rgb_small_odd.dcm", True),
        ("MR-SIEMENS-DICOM-WithOverlays.dcm", True),
    ],
)
def test_real_files(name: str, suspected: bool):
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    assert (suspicion(pydicom.dcmread(Path(found), stop_before_pixels=True)) is not None) is suspected


def test_a_region_of_interest_is_no_text_and_a_graphic_may_be():
    dataset = made()
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000040, "CS", "R")
    assert suspicion(dataset) is None
    dataset.add_new(0x60020010, "US", 8)
    dataset.add_new(0x60020040, "CS", "G")
    assert "overlay" in (suspicion(dataset) or "")
