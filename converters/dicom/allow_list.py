"""The allow-list: which acquisition attributes leave a DICOM header, and what of each.

A number is kept within a plausible range, a word only when it is on the list of its attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medshard.converters.dicom import defined_terms as terms
from medshard.converters.dicom.values import numbers, text, texts
from medshard.converters.volume import AttributeValue

MOST_VALUES = 16

Kept = tuple[AttributeValue | None, bool]
"""What is kept of an attribute, and whether anything was left out."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute of the allow-list.

    keep: what is kept, of a data set and the keyword under which the attribute stands there.
    elsewhere: sequences and keyword where enhanced objects state the same.
    """

    keyword: str
    keep: Callable[[Any, str], Kept]
    elsewhere: tuple[tuple[str, ...], ...] = ()

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        return ((self.keyword,), *self.elsewhere)


def _number(low: float, high: float, *, several: bool = False) -> Callable[[Any, str], Kept]:
    def keep(dataset: Any, keyword: str) -> Kept:
        stated = numbers(dataset, keyword)[: MOST_VALUES if several else 1]
        if not stated or not all(low <= value <= high for value in stated):
            return None, True
        return (stated if several and len(stated) > 1 else stated[0]), False

    return keep


def _words(allowed: frozenset[str], pattern: str | None = None) -> Callable[[Any, str], Kept]:
    """Words of a list: one as such, several as a tuple. Blanks within one count as underscores do."""

    def known(word: str) -> str | None:
        for spelling in (word, "_".join(word.split())):
            if spelling in allowed or (pattern and re.fullmatch(pattern, spelling)):
                return spelling
        return None

    def keep(dataset: Any, keyword: str) -> Kept:
        stated = [word.upper() for word in texts(dataset, keyword) if word]
        kept = tuple(spelling for word in stated[:MOST_VALUES] if (spelling := known(word)))
        if not kept:
            return None, True
        return (kept[0] if len(kept) == 1 else kept), len(kept) < len(stated)

    return keep


def _body_part(dataset: Any, keyword: str) -> Kept:
    joined = "".join((text(dataset, keyword) or "").upper().split())
    return (joined, False) if joined in terms.BODY_PARTS else (None, True)


def _kernel(dataset: Any, keyword: str) -> Kept:
    """The first word of the list; Siemens states a strength of iteration, one digit, as a second value."""
    stated = [word for word in texts(dataset, keyword) if word]
    if not stated:
        return None, True
    name, rest = stated[0], stated[1:]
    is_known = name.upper() in terms.KERNELS or any(
        re.fullmatch(pattern, name, re.IGNORECASE) for pattern in terms.KERNEL_PATTERNS
    )
    if not is_known:
        return None, True
    strength = [word for word in rest if re.fullmatch(r"\d", word)][:1]
    return " ".join((name, *strength)), len(rest) > len(strength)


def _contrast(dataset: Any, keyword: str) -> Kept:
    """Whether an agent was given; which one is free text."""
    agents = [word.upper() for word in texts(dataset, keyword) if word]
    return any(agent not in terms.NO_CONTRAST for agent in agents), False


def _radionuclide(dataset: Any, keyword: str) -> Kept:
    """Element and mass number, of whatever spelling the code's meaning has: `^18^Fluorine`, `F-18`, `18F`."""
    stated = (text(dataset, keyword) or "").strip("^")
    mass = re.search(r"(?<!\d)(\d{2,3}m?)(?!\d)", stated)
    word = re.search(r"[A-Za-z]{3,}|(?<![A-Za-z])[A-Z][a-z]?(?![A-Za-z])", stated)
    if mass is None or word is None:
        return None, True
    element = terms.ELEMENTS.get(word.group().upper(), word.group())
    nuclide = f"{element}-{mass.group(1)}"
    return (nuclide, False) if nuclide in terms.RADIONUCLIDES else (None, True)


def _field_strength(dataset: Any, keyword: str) -> Kept:
    stated = numbers(dataset, keyword)
    value = tesla(stated[0]) if stated else None
    return value, value is None


def tesla(stated: float) -> float | None:
    """The strength of a magnet, which old scanners state in gauss; None where no magnet has it."""
    value = stated / 1e4 if stated >= 100 else stated
    return value if 0.001 <= value <= 20 else None


_FRAME_TYPES = tuple((f"{kind}FrameTypeSequence", "FrameType") for kind in ("MRImage", "CTImage", "PET"))
_TIMING = "MRTimingAndRelatedParametersSequence"
_CT_FRAME = "CTExposureSequence"
_PET = "RadiopharmaceuticalInformationSequence"

ALLOWED: tuple[Attribute, ...] = (
    Attribute(
        keyword="ImageType",
        keep=_words(terms.IMAGE_TYPES, terms.IMAGE_TYPE_PATTERN),
        elsewhere=_FRAME_TYPES,
    ),
    Attribute(
        keyword="BodyPartExamined",
        keep=_body_part,
    ),
    Attribute(keyword="PatientPosition", keep=_words(terms.PATIENT_POSITIONS)),
    Attribute(keyword="ViewPosition", keep=_words(terms.VIEW_POSITIONS)),
    Attribute(keyword="Laterality", keep=_words(terms.LATERALITIES)),
    Attribute(
        keyword="ImageLaterality",
        keep=_words(terms.LATERALITIES),
        elsewhere=(("FrameAnatomySequence", "FrameLaterality"),),
    ),
    Attribute(keyword="PresentationIntentType", keep=_words(terms.PRESENTATION_INTENTS)),
    Attribute(keyword="LossyImageCompression", keep=_words(terms.LOSSY)),
    Attribute(keyword="LossyImageCompressionRatio", keep=_number(1, 1000, several=True)),
    Attribute(keyword="SliceThickness", keep=_number(0, 500), elsewhere=(("PixelMeasuresSequence", "SliceThickness"),)),
    Attribute(
        keyword="SpacingBetweenSlices",
        keep=_number(-500, 500),
        elsewhere=(("PixelMeasuresSequence", "SpacingBetweenSlices"),),
    ),
    Attribute(keyword="ContrastBolusAgent", keep=_contrast, elsewhere=(("ContrastBolusAgentSequence", "CodeMeaning"),)),
    # computed tomography and projection
    Attribute(keyword="KVP", keep=_number(1, 1000), elsewhere=(("CTXRayDetailsSequence", "KVP"),)),
    Attribute(keyword="XRayTubeCurrent", keep=_number(0, 5000), elsewhere=((_CT_FRAME, "XRayTubeCurrentInmA"),)),
    Attribute(keyword="ExposureTime", keep=_number(0, 1e6), elsewhere=((_CT_FRAME, "ExposureTimeInms"),)),
    Attribute(keyword="Exposure", keep=_number(0, 1e5), elsewhere=((_CT_FRAME, "ExposureInmAs"),)),
    Attribute(keyword="CTDIvol", keep=_number(0, 1000), elsewhere=((_CT_FRAME, "CTDIvol"),)),
    Attribute(
        keyword="ConvolutionKernel", keep=_kernel, elsewhere=(("CTReconstructionSequence", "ConvolutionKernel"),)
    ),
    Attribute(
        keyword="ReconstructionDiameter",
        keep=_number(1, 3000),
        elsewhere=(("CTReconstructionSequence", "ReconstructionDiameter"),),
    ),
    Attribute(
        keyword="SpiralPitchFactor",
        keep=_number(0, 10),
        elsewhere=(("CTTableDynamicsSequence", "SpiralPitchFactor"),),
    ),
    Attribute(
        keyword="GantryDetectorTilt",
        keep=_number(-90, 90),
        elsewhere=(("CTGeometrySequence", "GantryDetectorTilt"),),
    ),
    # magnetic resonance
    Attribute(keyword="MagneticFieldStrength", keep=_field_strength),
    Attribute(keyword="ScanningSequence", keep=_words(terms.SCANNING_SEQUENCES)),
    Attribute(keyword="SequenceVariant", keep=_words(terms.SEQUENCE_VARIANTS)),
    Attribute(keyword="ScanOptions", keep=_words(terms.SCAN_OPTIONS)),
    Attribute(keyword="MRAcquisitionType", keep=_words(terms.ACQUISITION_TYPES)),
    Attribute(
        keyword="AcquisitionContrast",
        keep=_words(terms.ACQUISITION_CONTRASTS),
        elsewhere=(("MRImageFrameTypeSequence", "AcquisitionContrast"),),
    ),
    Attribute(
        keyword="ComplexImageComponent",
        keep=_words(terms.COMPLEX_COMPONENTS),
        elsewhere=(("MRImageFrameTypeSequence", "ComplexImageComponent"),),
    ),
    Attribute(keyword="RepetitionTime", keep=_number(0, 1e6), elsewhere=((_TIMING, "RepetitionTime"),)),
    Attribute(keyword="EchoTime", keep=_number(0, 1e5), elsewhere=(("MREchoSequence", "EffectiveEchoTime"),)),
    Attribute(keyword="InversionTime", keep=_number(0, 1e6), elsewhere=(("MRModifierSequence", "InversionTimes"),)),
    Attribute(keyword="FlipAngle", keep=_number(0, 360), elsewhere=((_TIMING, "FlipAngle"),)),
    Attribute(keyword="EchoNumbers", keep=_number(0, 10000)),
    Attribute(keyword="EchoTrainLength", keep=_number(0, 10000), elsewhere=((_TIMING, "EchoTrainLength"),)),
    Attribute(
        keyword="NumberOfAverages", keep=_number(0, 10000), elsewhere=(("MRAveragesSequence", "NumberOfAverages"),)
    ),
    Attribute(
        keyword="PixelBandwidth", keep=_number(0, 1e7), elsewhere=(("MRImagingModifierSequence", "PixelBandwidth"),)
    ),
    Attribute(
        keyword="InPlanePhaseEncodingDirection",
        keep=_words(terms.PHASE_DIRECTIONS),
        elsewhere=(("MRFOVGeometrySequence", "InPlanePhaseEncodingDirection"),),
    ),
    Attribute(keyword="DiffusionBValue", keep=_number(0, 1e5), elsewhere=(("MRDiffusionSequence", "DiffusionBValue"),)),
    # nuclear medicine
    Attribute(
        keyword="RadionuclideCodeSequence",
        keep=_radionuclide,
        elsewhere=((_PET, "RadionuclideCodeSequence", "CodeMeaning"),),
    ),
    Attribute(keyword="SeriesType", keep=_words(terms.SERIES_TYPES)),
    Attribute(keyword="Units", keep=_words(terms.PIXEL_UNITS)),
    Attribute(keyword="DecayCorrection", keep=_words(terms.DECAY_CORRECTIONS)),
    Attribute(keyword="CorrectedImage", keep=_words(terms.CORRECTIONS)),
    Attribute(keyword="ActualFrameDuration", keep=_number(0, 1e9)),
)
