"""What BIDS calls an image, and what it has no name for.

Source: the Brain Imaging Data Structure, version 1.10.0, the pages on magnetic resonance and on PET.
CT is a proposal (BEP 24) and no part of the standard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from medshard.converters.volume import Image
from medshard.registry.vocabulary import Sequence

BIDS_VERSION = "1.10.0"
CONTRAST = "contrast"


@dataclass(frozen=True, kw_only=True)
class BidsName:
    """Where an image belongs. entities: of its name, in the standard's order. official: whether the standard has it.

    why: what keeps it from being official.
    """

    datatype: str
    suffix: str
    entities: Mapping[str, str] = field(default_factory=dict)
    official: bool = True
    why: str = ""


def _anat(suffix: str, **entities: str) -> BidsName:
    return BidsName(datatype="anat", suffix=suffix, entities=entities)


OF_SEQUENCE: Mapping[str, BidsName] = MappingProxyType(
    {
        Sequence.T1: _anat("T1w"),
        Sequence.T1C: _anat("T1w", ce=CONTRAST),
        Sequence.T1_ARTERIAL: _anat("T1w", acq="arterial", ce=CONTRAST),
        Sequence.T1_VENOUS: _anat("T1w", acq="venous", ce=CONTRAST),
        Sequence.T1_DELAYED: _anat("T1w", acq="delayed", ce=CONTRAST),
        Sequence.T2: _anat("T2w"),
        Sequence.T2_SPIR: _anat("T2w", acq="spir"),
        Sequence.T2_SPACE: _anat("T2w", acq="space"),
        Sequence.FLAIR: _anat("FLAIR"),
        Sequence.PD: _anat("PDw"),
        Sequence.T2_STAR: _anat("T2starw"),
        Sequence.TOF: _anat("angio", acq="tof"),
        Sequence.B0: BidsName(datatype="dwi", suffix="dwi", entities={"acq": "b0"}),
    }
)

# DICOM keyword -> field of the sidecar, and by what its number is multiplied: BIDS counts seconds.
_FIELDS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "EchoTime": ("EchoTime", 1e-3),
        "RepetitionTime": ("RepetitionTime", 1e-3),
        "InversionTime": ("InversionTime", 1e-3),
        "FlipAngle": ("FlipAngle", 1.0),
        "SliceThickness": ("SliceThickness", 1.0),
        "MagneticFieldStrength": ("MagneticFieldStrength", 1.0),
    }
)


def bids_name(image: Image, modality: str) -> BidsName:
    """By modality and sequence. modality: of the case, where the image states none."""
    modality = image.modality or modality
    if modality == "MR":
        return _name_of_mr(image)
    if modality in {"CT", "CTA", "CBCT"}:
        return _unofficial("ct", "ct", "BIDS has no CT (BEP 24 is a proposal)")
    if modality == "PT":
        return _unofficial("pet", "pet", "a PET sidecar needs tracer and injected dose, which are not known")
    return _unofficial("other", "image", f"BIDS has no name for {modality or 'an unstated modality'}")


def _name_of_mr(image: Image) -> BidsName:
    if image.sequence is None:
        return _unofficial("other", "image", "the MR sequence is not known")
    found = OF_SEQUENCE.get(image.sequence)
    if found is None:
        suffix = "".join(letter for letter in image.sequence if letter.isalnum())
        return _unofficial("other", suffix, f"BIDS has no name for {image.sequence} without more facts than are known")
    if image.array.ndim == 5 or image.array.shape[-4] > 1:
        return _unofficial("other", found.suffix, f"{found.suffix} has no further axis in BIDS")
    return found


def sidecar(image: Image) -> dict[str, Any]:
    """Fields of the standard that are known of an image."""
    fields: dict[str, Any] = {}
    for keyword, (name, scale) in _FIELDS.items():
        value = image.attributes.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            fields[name] = round(float(value) * scale, 9)
    if isinstance(maker := image.attributes.get("Manufacturer"), str):
        fields["Manufacturer"] = maker
    if image.rescale.unit not in {"arbitrary", ""}:
        fields["Units"] = image.rescale.unit
    return fields


def _unofficial(datatype: str, suffix: str, why: str) -> BidsName:
    return BidsName(datatype=datatype, suffix=suffix, official=False, why=why)
