"""Whether text is suspected in the pixels of a DICOM image, by what its header says about how the pixels came about.

Pixels are not looked at: what is suspected is flagged, and a person decides. Nothing here blackens anything.
"""

from __future__ import annotations

from typing import Any

from medshard.converters.dicom.values import is_stated, items, text, texts

WRITTEN_ON = {
    "US": "ultrasound scanners write the name into the picture",
    "IVUS": "ultrasound scanners write the name into the picture",
    "ES": "endoscopy systems write the name into the picture",
    "GM": "microscope cameras write text into the picture",
    "XC": "photographs may show a face or a name plate",
    "OT": "the modality is not told",
    "SC": "the picture is a secondary capture",
    "HC": "the picture is a scanned print",
    "DOC": "the picture is a document",
    "SR": "the picture is a document",
}
"""Modality -> why its pictures are suspected."""

SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
CONVERSIONS = {
    "DV": "digitised video",
    "DI": "a digital interface's copy of a screen",
    "DF": "a digitised film",
    "DRW": "a drawing",
    "SD": "a scanned document",
    "SI": "a scanned image",
    "WSD": "made on a workstation",
    "SYN": "a synthetic picture",
}
"""Conversion types of PS3.3 C.8.6.1; of these pictures a name plate or a screen can be part."""

SCREEN_WORDS = (
    "SCREEN", "SAVE", "CAPTURE", "REPORT", "DOSE_INFO", "PATIENT_INFO", "RESULTS", "PASTED", "PRINT", "COLLAGE",
)  # fmt: skip
DIGITISERS = ("VIDAR", "LUMISYS", "HOWTEK", "DIGITIZER", "DIGITISER", "FILM SCANNER", "SCANJET", "EPSON")


def suspicion(dataset: Any) -> str | None:
    """Why text is suspected in the pixels; None where nothing speaks for it.

    `Burned In Annotation` (PS3.3 C.7.6.1) decides where it is stated: YES is a suspicion, NO clears what the modality
    alone would raise. A sentence never holds a value of the header.
    """
    if text(dataset, "BurnedInAnnotation") == "YES":
        return "the header says that text is burned in (BurnedInAnnotation)"
    if text(dataset, "RecognizableVisualFeatures") == "YES":
        return "the header says that a person can be recognised (RecognizableVisualFeatures)"
    if _has_overlay(dataset):
        return "a graphic overlay lies in the file (group 60xx); in old files it is part of the pixels' own bits"
    if text(dataset, "BurnedInAnnotation") == "NO":
        return None
    return _of_the_class(dataset) or _of_the_conversion(dataset)


def _of_the_class(dataset: Any) -> str | None:
    modality = (text(dataset, "Modality") or "").upper()
    if modality in WRITTEN_ON:
        return f"{WRITTEN_ON[modality]} (Modality {modality})"
    kind = text(dataset, "SOPClassUID") or ""
    if kind == SECONDARY_CAPTURES or kind.startswith(f"{SECONDARY_CAPTURES}."):
        return "the picture is a secondary capture (SOPClassUID)"
    return None


def _of_the_conversion(dataset: Any) -> str | None:
    conversion = (text(dataset, "ConversionType") or "").upper()
    if conversion in CONVERSIONS:
        return f"the picture is {CONVERSIONS[conversion]} (ConversionType {conversion})"
    image_type = " ".join(texts(dataset, "ImageType")).upper()
    if word := next((word for word in SCREEN_WORDS if word in image_type), None):
        return f"the picture is a copy of a screen or a report (ImageType with {word})"
    if image_type.startswith("DERIVED SECONDARY") and not _has_place(dataset):
        return "the picture is derived and has no position in space (ImageType)"
    maker = " ".join(
        text(dataset, keyword) or "" for keyword in ("Manufacturer", "SecondaryCaptureDeviceManufacturer")
    ).upper()
    if any(word in maker for word in DIGITISERS):
        return "the picture comes from a film digitiser (Manufacturer)"
    return None


def _has_overlay(dataset: Any) -> bool:
    """Whether a graphic overlay of PS3.3 C.9.2 is stated, in a group of its own or in the pixels' unused bits.

    Overlays of type R mark a region of interest and hold no text.
    """
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) not in dataset:
            continue
        raw = dataset.get_item((group, 0x0040))
        kind = raw.value if raw is not None else b""
        stated = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind or "")
        if stated.strip(" \0") != "R":
            return True
    return False


def _has_place(dataset: Any) -> bool:
    """Whether the pixels lie somewhere in space: in the data set, or, with frames, in the frames' own records."""
    return is_stated(dataset, "ImagePositionPatient") or bool(items(dataset, "PerFrameFunctionalGroupsSequence"))
