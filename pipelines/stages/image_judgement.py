"""What the images and surfaces of one case are, and what speaks against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medshard.converters.formats.format import Header
from medshard.converters.volume import AttributeValue
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry import inclusion
from medshard.registry.inclusion import Fault

# Modalities that DICOM and the catalog call by the same code.
COMPARED = frozenset({"CT", "MR", "PT", "US"})
# DICOM objects that may have pixels and are no scans (PS3.3 C.7.3.1.1.1).
NOT_SCANS = frozenset({"SEG", "RTDOSE", "RTIMAGE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "DOC", "PLAN"})


def size_faults(payload: CasePayload, images: dict[str, Any]) -> list[Fault]:
    smallest = payload.entry.inclusion.smallest_shape
    shapes = [image["shape"] for image in images.values()][:1]
    small = [shape for shape in shapes if any(n < least for n, least in zip(shape, smallest, strict=True))]
    return [inclusion.too_small(shape, smallest) for shape in small]


def image_facts(header: Header, files: Sequence[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "format": header.format,
        "files": len(files),
        "shape": list(header.shape),
        "channels": header.channels,
        "timepoints": header.timepoints,
        "spacing_mm": [round(float(step), 6) for step in header.spacing_mm],
        "dtype": header.dtype,
        "modality": header.modality,
        "trusted_geometry": header.trusted_geometry,
    }
    further = {
        "sequence": header.sequence,
        "leading": header.leading.kind if header.leading else None,
        "attributes": {name: _json_value(value) for name, value in sorted(header.attributes.items())},
        "burned_in": header.burned_in,
    }
    return facts | {name: value for name, value in further.items() if value}


def _json_value(value: AttributeValue) -> Any:
    return list(value) if isinstance(value, tuple) else value


def modality_faults(payload: CasePayload, images: dict[str, Any]) -> list[Fault]:
    """A header that says CT where the catalog says MR is a wrong entry or a wrong file; either way it is not used."""
    faults = []
    for name, image in images.items():
        stated = (payload.group.images[name].modality or payload.group.modality).value
        found = image["modality"]
        if found in NOT_SCANS or (found in COMPARED and stated in COMPARED and found != stated):
            faults.append(inclusion.wrong_modality(name, stated, found))
    return faults
