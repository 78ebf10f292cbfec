"""What may leave a DICOM header: acquisition attributes of an allow-list, coarse facts, and raw ids for hashing.

docs/de-identification.md lists the attributes with their place in the confidentiality profile of DICOM PS3.15 Annex E.
A number is kept within a plausible range, a word only when it is on the list of its attribute; nothing else leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from medshard.converters.age import age_band, age_band_between
from medshard.converters.dicom import defined_terms as terms
from medshard.converters.dicom.allow_list import ALLOWED, Attribute, Kept, tesla
from medshard.converters.dicom.functional_groups import nearest_groups
from medshard.converters.dicom.makers import canonical_maker, known_model
from medshard.converters.dicom.values import below, is_stated, numbers, text
from medshard.converters.subject import SubjectFacts
from medshard.converters.volume import AttributeValue

IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "InstitutionName")
FIELD_STRENGTHS_T = (0.06, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.55, 0.7, 1.0, 1.2, 1.5, 3.0, 4.7, 5.0, 7.0, 9.4, 11.7)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """attributes: by DICOM keyword. dropped: keywords that are stated and whose value, or part of it, stays behind."""

    attributes: dict[str, AttributeValue]
    dropped: tuple[str, ...]


def acquisition(dataset: Any, number: int = 0) -> Acquisition:
    """The allow-listed attributes of one frame, and the keywords of those that are stated and not kept whole."""
    groups = (*nearest_groups(dataset, number), dataset)
    found: dict[str, AttributeValue] = {}
    dropped = []
    for attribute in ALLOWED:
        value, is_cut = _kept(attribute, groups)
        if value is not None:
            found[attribute.keyword] = value
        if is_cut:
            dropped.append(attribute.keyword)
    maker = text(dataset, "Manufacturer")
    model = text(dataset, "ManufacturerModelName")
    for keyword, stated, kept in (
        ("Manufacturer", maker, canonical_maker(maker or "")),
        ("ManufacturerModelName", model, known_model(model or "", canonical_maker(maker or ""))),
    ):
        if kept is not None:
            found[keyword] = kept
        elif stated:
            dropped.append(keyword)
    return Acquisition(attributes=found, dropped=tuple(dropped))


def acquisition_attributes(dataset: Any, number: int = 0) -> dict[str, AttributeValue]:
    """The allow-listed attributes of one frame, by DICOM keyword."""
    return acquisition(dataset, number).attributes


def dropped_note(dataset: Any, number: int = 0) -> str | None:
    """A sentence for the record that names the attributes whose values stayed behind, without the values."""
    dropped = acquisition(dataset, number).dropped
    if not dropped:
        return None
    return f"{len(dropped)} attributes have values that are on no list, which were dropped: {', '.join(dropped)}"


def modality(dataset: Any) -> str | None:
    """The modality's code; None where none or an unknown one is stated."""
    stated = (text(dataset, "Modality") or "").upper()
    return stated if stated in terms.MODALITIES else None


def subject_facts(dataset: Any) -> SubjectFacts:
    """Coarse facts about the person and the scanner; `site` stays None, since a header knows no entry."""
    sex = (text(dataset, "PatientSex") or "").upper()
    maker = canonical_maker(text(dataset, "Manufacturer") or "")
    strength = numbers(dataset, "MagneticFieldStrength")
    return SubjectFacts(
        sex=sex if sex in {"F", "M", "O"} else None,  # type: ignore[arg-type]
        age_band=_age_band(dataset),
        manufacturer=maker,
        scanner=known_model(text(dataset, "ManufacturerModelName") or "", maker),
        field_strength_t=_sold_field_strength(strength[0]) if strength else None,
    )


def identifiers(dataset: Any) -> dict[str, str]:
    """Keyword -> id as stated, the institution among them. Whoever stores one hashes it first, or makes a pseudonym."""
    found = {keyword: text(dataset, keyword) for keyword in IDENTIFIERS}
    return {keyword: value for keyword, value in found.items() if value}


def _kept(attribute: Attribute, groups: Iterable[Any]) -> Kept:
    """The first place that states something wins, also when nothing of it can be kept."""
    for group in groups:
        for *path, keyword in attribute.paths:
            for dataset in below(group, path):
                if is_stated(dataset, keyword):
                    return attribute.keep(dataset, keyword)
    return None, False


def _sold_field_strength(stated: float) -> float | None:
    """The nearest strength that is sold, where it is within a tenth."""
    value = tesla(stated)
    if value is None:
        return None
    nearest = min(FIELD_STRENGTHS_T, key=lambda sold: abs(sold - value))
    return nearest if abs(nearest - value) <= 0.1 * nearest else None


def _age_band(dataset: Any) -> str | None:
    """From the age as stated, else from birth and examination, whose dates go no further than here."""
    stated = age_band(text(dataset, "PatientAge") or "")
    if stated is not None:
        return stated
    examined = next(
        (day for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate") if (day := text(dataset, keyword))), None
    )
    return age_band_between(text(dataset, "PatientBirthDate") or "", examined or "")
