"""Stored numbers to physical ones: slope, intercept and unit of each frame, and of a stack of them.

The unit words that an image of DICOM can carry stand in `UNITS` and nowhere else. Free text never becomes a unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.dicom.functional_groups import nearest_groups
from medshard.converters.dicom.pixel_layout import pixel_error
from medshard.converters.dicom.private_elements import private_numbers
from medshard.converters.dicom.values import is_stated, items, numbers, text, texts
from medshard.converters.spooling import IN_MEMORY, Spool, release_pages
from medshard.converters.volume import Array, Rescale

ARBITRARY = "arbitrary"
SUV = "SUVbw"
# Terms of Rescale Type (PS3.3 C.11.1.1.2), Units of PET (C.8.9.1.1.3) and Dose Units (C.8.8.3) -> unit.
UNITS = {
    "HU": "HU",  # Hounsfield units
    "HU_MOD": "HU_MOD",  # modified ones, of multi-energy CT
    "MGML": "MGML",  # mg/ml
    "Z_EFF": "Z_EFF",  # effective atomic number
    "ED": "ED",  # electron density, 1e23/ml
    "EDW": "EDW",  # electron density relative to water
    "PCT": "PCT",  # per cent
    "OD": "OD",  # thousandths of optical density
    "BQML": "BQML",  # Bq/ml
    "CNTS": "CNTS",  # counts
    "CPS": "CPS",  # counts per second
    "PROPCNTS": "PROPCNTS",  # proportional to counts
    "PROPCPS": "PROPCPS",  # proportional to counts per second
    "GML": "GML",  # g/ml: a standardised uptake value, of the kind that SUV Type says
    "PCNT": "PCT",
    "CM2": "CM2",
    "CM2ML": "CM2ML",
    "1CM": "1CM",
    "MLML": "MLML",
    "MLG": "MLG",
    "MGMINML": "MGMINML",
    "UMOLMINML": "UMOLMINML",
    "UMOLML": "UMOLML",
    "MLMING": "MLMING",
    "MLMINML": "MLMINML",
    "STDDEV": "STDDEV",  # standard deviations
    "GY": "GY",  # gray
    "RELATIVE": "RELATIVE",  # dose relative to a reference
    "SUVBW": SUV,
}
# Say that nothing is said. `normalized` is how Philips calls the display values of its MR images.
UNSPECIFIED = {"US", "NONE", "NORMALIZED", ""}
# Private blocks of Philips: slope to the numbers before they were fitted into 12 bits.
PHILIPS_SCALE_SLOPE = (0x2005, "Philips MR Imaging DD 001", 0x0E)
PHILIPS_FRAME = 0x2005140F  # its private sequence within the groups of a frame


@dataclass(frozen=True, kw_only=True)
class FrameRescale:
    """value = slope * stored + intercept, in `unit`; note: what the record of the case should say of it, or empty."""

    slope: float
    intercept: float
    unit: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StackRescale:
    """Of a stack of t steps with z slices each.

    rescale: for the array that is kept: one pair, or one for each z slice.
    fold: None where the stored numbers are kept. Else (t, z, 2) float64, slope and intercept, because they differ over
        the steps, which `Rescale` cannot say: the array becomes `folded(array, fold)`, and `rescale` is the identity.
    notes: one sentence each, each once.
    """

    rescale: Rescale
    fold: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def frame_rescale(dataset: Any, number: int = 0, *, file: Path | None = None) -> FrameRescale:
    """Of one frame (from 0), of the numbers that `pixels.decode_file` returns.

    Where: the modality table, which has been applied; Pixel Value Transformation of the frame, then of all frames; the
    object itself; Dose Grid Scaling. An image of MONOCHROME1 (larger numbers are shown darker) without a physical unit
    is turned over, so that a larger value is always brighter; a unit such as HU stands above the display and is kept.
    Raises CaseError[read.unreadable] for numbers that are none.
    """
    if tables := items(dataset, "ModalityLUTSequence"):
        unit, note = _unit(dataset, text(tables[0], "ModalityLUTType"), scaled=True)
        return FrameRescale(slope=1.0, intercept=0.0, unit=unit, note=note)
    group = next((group for group in _transformations(dataset, number) if is_stated(group, "RescaleSlope")), dataset)
    slope = _number(dataset, group, "RescaleSlope", file)
    intercept = _number(dataset, group, "RescaleIntercept", file)
    scaled = slope is not None or intercept is not None
    if slope is None and (dose := _number(dataset, dataset, "DoseGridScaling", file)) is not None:
        slope, scaled = dose, True
    unit, note = _unit(dataset, text(group, "RescaleType"), scaled=scaled)
    notes = [note, *_remarks(dataset, number)]
    if slope == 0.0:
        slope = None
        notes.append("the rescale slope is zero, which no image can mean; 1 is used")
    found = FrameRescale(
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        unit=unit,
        note="; ".join(note for note in notes if note),
    )
    is_turned = text(dataset, "PhotometricInterpretation") == "MONOCHROME1" and unit == ARBITRARY
    return _turned(found, dataset) if is_turned else found


def stack_rescale(frames: Sequence[FrameRescale], *, steps: int = 1) -> StackRescale:
    """frames: steps * slices of them, in the order of the array (t, z): slices fastest."""
    units = list(dict.fromkeys(frame.unit for frame in frames))
    notes = list(dict.fromkeys(frame.note for frame in frames if frame.note))
    if len(units) > 1:
        notes.append(f"the frames differ in unit ({', '.join(sorted(units))}); none is kept")
    unit = units[0] if len(units) == 1 else ARBITRARY
    pairs = np.array([(frame.slope, frame.intercept) for frame in frames], np.float64).reshape(steps, -1, 2)
    if (pairs == pairs[0, 0]).all():
        slices = pairs[0, :1]
    elif (pairs == pairs[0]).all():
        slices = pairs[0]
    else:
        notes.append(
            "the rescale differs over the steps of the leading axis: it is applied, and the numbers are float32"
        )
        return StackRescale(rescale=Rescale(unit=unit), fold=pairs, notes=tuple(notes))
    return StackRescale(
        rescale=Rescale(slope=tuple(slices[:, 0].tolist()), intercept=tuple(slices[:, 1].tolist()), unit=unit),
        notes=tuple(notes),
    )


def folded(array: Array, fold: NDArray[np.float64], spool: Spool = IN_MEMORY) -> Array:
    """Physical values, float32, of a stored array (t, c, z, y, x), step by step; fold: (t, z, 2)."""
    out = spool.empty(array.shape, np.float32)
    for step, pairs in enumerate(fold):
        for z, (slope, intercept) in enumerate(pairs):
            out[step, :, z] = array[step, :, z] * slope + intercept
        release_pages(array)
        release_pages(out)
    return out


def in_suv(scaled: StackRescale, factor: float) -> StackRescale:
    """The same stack in SUVbw. factor: of `suv.suv_scaling`."""
    if scaled.fold is not None:
        return replace(scaled, rescale=replace(scaled.rescale, unit=SUV), fold=scaled.fold * factor)
    slope = tuple(value * factor for value in scaled.rescale.slope)
    intercept = tuple(value * factor for value in scaled.rescale.intercept)
    return replace(scaled, rescale=Rescale(slope=slope, intercept=intercept, unit=SUV))


def _transformations(dataset: Any, number: int) -> Iterator[Any]:
    """Where the rescale of a frame may stand, nearest first (DICOM PS3.3 C.7.6.16.2.9)."""
    for group in nearest_groups(dataset, number):
        yield from items(group, "PixelValueTransformationSequence")[:1]
    yield dataset


def _number(dataset: Any, group: Any, name: str, file: Path | None) -> float | None:
    if not is_stated(group, name):
        return None
    found = numbers(group, name)
    if not found:
        raise pixel_error("read.unreadable", dataset, file, f"{name} of the header is not a number")
    return found[0]


def _unit(dataset: Any, rescale_type: str | None, *, scaled: bool) -> tuple[str, str]:
    """The unit, and a remark where it is not simply stated.

    CT: rescale and HU are required of original images that are no localisers (DICOM PS3.3 C.8.2.1); where the slope is
    missing nothing says that the numbers are HU.
    """
    modality = text(dataset, "Modality")
    words = [word.upper() for word in (rescale_type, text(dataset, "Units"), text(dataset, "DoseUnits")) if word]
    known = next((UNITS[word] for word in words if word in UNITS), None)
    if known:
        return known, ""
    unknown = any(word not in UNSPECIFIED for word in words)
    if modality != "CT" or unknown:
        return ARBITRARY, "the unit is stated in a word that DICOM does not define" if unknown else ""
    if not scaled:
        return ARBITRARY, "the CT states no rescale slope and intercept: whether its numbers are HU is unknown"
    if "LOCALIZER" in texts(dataset, "ImageType"):
        return ARBITRARY, ""
    return "HU", "Rescale Type says unspecified; a CT's numbers are taken as HU" if "US" in words else ""


def _remarks(dataset: Any, number: int) -> Iterator[str]:
    if _maps_real_world(dataset, number):
        yield "a real world value mapping is stated; it is not applied"
    if text(dataset, "Modality") == "MR" and _states_philips_scale(dataset, number):
        yield "Philips states a private scale slope; the rescale to display values is used, not that one"


def _maps_real_world(dataset: Any, number: int) -> bool:
    return any(items(group, "RealWorldValueMappingSequence") for group in (dataset, *nearest_groups(dataset, number)))


def _states_philips_scale(dataset: Any, number: int) -> bool:
    group, creator, element = PHILIPS_SCALE_SLOPE
    nested = (
        item
        for place in nearest_groups(dataset, number)
        if PHILIPS_FRAME in place
        for item in place[PHILIPS_FRAME].value or ()
    )
    found = (private_numbers(place, group, (creator,), element, "FL") for place in (dataset, *nested))
    return any(slope and slope[0] not in (0.0, 1.0) for slope in found)


def _turned(found: FrameRescale, dataset: Any) -> FrameRescale:
    """stored -> (smallest + largest storable) - stored, which maps the range onto itself, before the rescale."""
    is_signed = numbers(dataset, "PixelRepresentation") == (1.0,)
    bits = int((numbers(dataset, "BitsStored") or numbers(dataset, "BitsAllocated") or (16.0,))[0])
    ends = -1.0 if is_signed else 2.0**bits - 1.0
    return replace(found, slope=-found.slope, intercept=found.intercept + found.slope * ends)
