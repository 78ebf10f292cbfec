"""PET numbers as SUVbw: the standardised uptake value by body weight, in g/ml.

SUVbw = activity concentration (Bq/ml) * body weight (g) / dose (Bq), the dose as it is at the moment to which the image
is decay corrected. The rules are those of the QIBA vendor-neutral pseudo-code for SUV (Quantitative Imaging Biomarkers
Alliance, "Vendor-neutral pseudo-code for SUV calculation") in our own words; attributes by DICOM PS3.3 C.8.9.
A scale is stated or it is refused, never guessed: every refusal names the attribute, and no refusal its content.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from medshard.converters.dicom.private_elements import private_numbers, private_value
from medshard.converters.dicom.values import items, numbers, text, texts

WEIGHT = "Patient's Weight (0010,1030)"
DOSE = "Radionuclide Total Dose (0018,1074)"
HALF_LIFE = "Radionuclide Half Life (0018,1075)"
START_TIME = "Radiopharmaceutical Start Time (0018,1072)"
START_DATE_TIME = "Radiopharmaceutical Start Date Time (0018,1078)"
TRACERS = "RadiopharmaceuticalInformationSequence"
UNITS = "Units (0054,1001)"
CORRECTED = "Corrected Image (0028,0051)"
DECAY = "Decay Correction (0054,1102)"

# What a mouse weighs, and more than anybody does: kg. Doses outside are stated in MBq or mCi, not in Bq.
WEIGHT_KG = (0.005, 600.0)
DOSE_BQ = (1e5, 1e12)
HALF_LIFE_S = (10.0, 1e9)
# Half lives in seconds by the code of the nuclide (SNOMED in DICOM CID 4020); a stated one must agree to a twentieth.
# Laboratoire National Henri Becquerel, recommended data.
NUCLIDES = {
    "C-111A1": 6584.0,  # F-18
    "C-105A1": 1221.7,  # C-11
    "C-107A1": 598.0,  # N-13
    "C-B1038": 122.3,  # O-15
    "C-131A3": 4062.6,  # Ga-68
}
NUCLIDE_TOLERANCE = 0.05
MOST_HALF_LIVES = 10.0
# Dynamic scans begin a little before the injection.
EARLY_START_S = 600.0
DAY_S = 86400.0
NO_DAY = date(2000, 1, 1)

GE_SCAN = (0x0009, ("GEMS_PETD_01",), 0x0D)
PHILIPS = ("Philips PET Private Group",)
PHILIPS_SUV, PHILIPS_ACTIVITY = 0x00, 0x09
SAME_IN_ALL = ("Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesTime", "SeriesDate")


@dataclass(frozen=True, kw_only=True)
class SuvScaling:
    """factor: SUVbw = factor * (slope * stored + intercept); None where it cannot be had, then `reason` says why.

    notes: what was assumed on the way, one sentence each.
    """

    factor: float | None
    reason: str = ""
    notes: tuple[str, ...] = ()


class _RefusedError(Exception):
    """The header does not give a scale; the message is the reason."""


def suv_scaling(datasets: Sequence[Any]) -> SuvScaling:
    """The scale of one PET series, from the headers of all its files (all bed positions, all steps)."""
    try:
        return _scaling(datasets)
    except _RefusedError as refusal:
        return SuvScaling(factor=None, reason=str(refusal))


def _scaling(datasets: Sequence[Any]) -> SuvScaling:
    if not datasets or any(_word(dataset, "Modality") != "PT" for dataset in datasets):
        raise _RefusedError("the images are not PET")
    _require_same(datasets)
    first = datasets[0]
    units = _word(first, "Units")
    if units == "GML":
        return _already_suv(first)
    if units not in ("BQML", "CNTS"):
        raise _RefusedError(f"{UNITS} is missing" if not units else f"{UNITS} is none of BQML, CNTS and GML")
    _require_corrections(first)
    if units == "BQML":
        return _by_weight(datasets)
    own = _same_private(datasets, PHILIPS_SUV)
    if own:
        return SuvScaling(factor=own, notes=("the scale is Philips' own SUV factor (7053,xx00)",))
    activity = _same_private(datasets, PHILIPS_ACTIVITY)
    if not activity:
        raise _RefusedError(f"{UNITS} is CNTS, and neither Philips' SUV factor (7053,xx00) nor its activity factor "
                            "(7053,xx09) is stated")  # fmt: skip
    by_weight = _by_weight(datasets)
    notes = (*by_weight.notes, "counts become Bq/ml by Philips' activity factor (7053,xx09)")
    return replace(by_weight, factor=(by_weight.factor or 0.0) * activity, notes=notes)


def _require_same(datasets: Sequence[Any]) -> None:
    for name in SAME_IN_ALL:
        if len({texts(dataset, name) for dataset in datasets}) > 1:
            raise _RefusedError(f"the files of the series differ in {name}")
    if len({_injection_facts(dataset) for dataset in datasets}) > 1:
        raise _RefusedError("the files of the series differ in Radiopharmaceutical Information (0054,0016)")


def _injection_facts(dataset: Any) -> tuple[str, ...]:
    names = (
        "RadionuclideTotalDose",
        "RadionuclideHalfLife",
        "RadiopharmaceuticalStartTime",
        "RadiopharmaceuticalStartDateTime",
    )
    tracers = items(dataset, TRACERS)
    return tuple(str(texts(tracer, name)) for tracer in tracers for name in names)


def _already_suv(dataset: Any) -> SuvScaling:
    kind = _word(dataset, "SUVType")
    if kind not in ("", "BW"):
        raise _RefusedError("SUV Type (0054,1006) is not body weight")
    if texts(dataset, "CorrectedImage"):
        _require_corrected(dataset)
    notes = () if kind else ("Units are g/ml without an SUV Type: taken as SUV by body weight, as the standard says",)
    return SuvScaling(factor=1.0, notes=notes)


def _require_corrections(dataset: Any) -> None:
    _require_corrected(dataset)
    if _word(dataset, "DecayCorrection") not in ("START", "ADMIN"):
        missing = not _word(dataset, "DecayCorrection")
        raise _RefusedError(f"{DECAY} is missing" if missing else f"{DECAY} is neither START nor ADMIN")


def _require_corrected(dataset: Any) -> None:
    words = {word.upper() for word in texts(dataset, "CorrectedImage")}
    if not words:
        raise _RefusedError(f"{CORRECTED} is missing")
    for needed, meaning in (("ATTN", "attenuation"), ("DECY", "decay")):
        if needed not in words:
            raise _RefusedError(f"{CORRECTED} does not name {needed}: the image is not corrected for {meaning}")


def _by_weight(datasets: Sequence[Any]) -> SuvScaling:
    """For images in Bq/ml."""
    first = datasets[0]
    weight_g = 1000.0 * _plausible(first, "PatientWeight", WEIGHT, WEIGHT_KG)
    tracers = items(first, TRACERS)
    if len(tracers) != 1:
        found = "missing" if not tracers else "of several radiopharmaceuticals"
        raise _RefusedError(f"Radiopharmaceutical Information (0054,0016) is {found}")
    dose = _plausible(tracers[0], "RadionuclideTotalDose", DOSE, DOSE_BQ)
    if _word(first, "DecayCorrection") == "ADMIN":
        return SuvScaling(factor=weight_g / dose)
    half_life = _plausible(tracers[0], "RadionuclideHalfLife", HALF_LIFE, HALF_LIFE_S)
    _require_nuclide(tracers[0], half_life)
    scan, notes = _decay_reference(datasets)
    elapsed, more = _elapsed_s(first, tracers[0], scan, half_life)
    return SuvScaling(factor=weight_g / (dose * 2.0 ** (-elapsed / half_life)), notes=(*notes, *more))


def _plausible(group: Any, name: str, tag: str, within: tuple[float, float]) -> float:
    stated = numbers(group, name)
    if not stated:
        raise _RefusedError(f"{tag} is missing")
    number = stated[0]
    if not math.isfinite(number) or number <= 0.0:
        raise _RefusedError(f"{tag} is zero or no number")
    if not within[0] <= number <= within[1]:
        raise _RefusedError(f"{tag} is implausible in the unit that DICOM asks for")
    return number


def _require_nuclide(item: Any, half_life: float) -> None:
    codes = items(item, "RadionuclideCodeSequence")
    known = NUCLIDES.get(text(codes[0], "CodeValue") or "") if codes else None
    if known and abs(half_life / known - 1.0) > NUCLIDE_TOLERANCE:
        raise _RefusedError(f"{HALF_LIFE} is not that of the radionuclide that is stated")


def _decay_reference(datasets: Sequence[Any]) -> tuple[datetime, tuple[str, ...]]:
    """The moment to which START corrects: the begin of the scan.

    The series' own time, unless it lies after the first acquisition, as in series that were made later; then GE's
    private scan time; else the first acquisition of all bed positions.
    """
    acquired = [moment for dataset in datasets if (moment := _acquisition(dataset))]
    if len(acquired) < len(datasets):
        raise _RefusedError("Acquisition Date and Time (0008,0022) (0008,0032) are missing")
    earliest = min(acquired)
    series = _moment(_day(datasets[0], "SeriesDate", "AcquisitionDate"), text(datasets[0], "SeriesTime"))
    if series is not None and series <= earliest:
        return series, ()
    group, creators, element = GE_SCAN
    stated = [_date_time(private_value(dataset, group, creators, element), dataset) for dataset in datasets]
    scans = [moment for moment in stated if moment]
    why = "lies after the first acquisition" if series else "is missing"
    if scans:
        return min(scans), (f"Series Time {why}: decay is counted to GE's scan time (0009,xx0D)",)
    return earliest, (f"Series Time {why}: decay is counted to the earliest acquisition of the files",)


def _elapsed_s(dataset: Any, item: Any, scan: datetime, half_life: float) -> tuple[float, tuple[str, ...]]:
    """Seconds from the injection to the scan."""
    notes: list[str] = []
    start = _date_time(text(item, "RadiopharmaceuticalStartDateTime"), dataset)
    tag = START_DATE_TIME
    if start is None or scan.date() == NO_DAY:
        start, tag = _moment(scan.date(), text(item, "RadiopharmaceuticalStartTime")), START_TIME
        if start is None:
            raise _RefusedError(f"{START_TIME} and {START_DATE_TIME} are missing")
        if (scan - start).total_seconds() < -EARLY_START_S:
            start -= timedelta(days=1)
            notes.append("the injection has a time without a date, later than the scan's: taken as the evening before")
        if half_life > DAY_S:
            notes.append("the injection has a time without a date, and the nuclide lives for days: taken as one day")
    elapsed = (scan - start).total_seconds()
    if elapsed < -EARLY_START_S:
        raise _RefusedError(f"{tag} lies after the scan")
    if elapsed > MOST_HALF_LIVES * half_life:
        raise _RefusedError(f"{tag} lies more than {MOST_HALF_LIVES:g} half lives before the scan")
    if elapsed < 0:
        notes.append("the scan began shortly before the injection")
    return elapsed, tuple(notes)


def _acquisition(dataset: Any) -> datetime | None:
    day = _day(dataset, "AcquisitionDate", "SeriesDate")
    moment = _moment(day, text(dataset, "AcquisitionTime"))
    return moment or _date_time(text(dataset, "AcquisitionDateTime"), dataset)


def _day(dataset: Any, *names: str) -> date:
    """The first of the dates that is stated; an arbitrary day where de-identification took them all."""
    for name in names:
        digits = (text(dataset, name) or "").replace(".", "")
        try:
            return _date(digits)
        except ValueError:
            continue
    return NO_DAY


def _date(digits: str) -> date:
    if len(digits) != 8 or not digits.isdigit():
        raise ValueError("not a date")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def _moment(day: date, value: Any) -> datetime | None:
    clock = _clock(str(value or ""))
    return datetime.combine(day, clock) if clock is not None else None


def _clock(stated: str) -> time | None:
    """A time of DICOM (HHMMSS.FFFFFF, from the right left out), or the colons of ACR-NEMA."""
    digits, _, fraction = stated.strip().replace(":", "").partition(".")
    if len(digits) not in (2, 4, 6) or not digits.isdigit() or (fraction and not fraction.isdigit()):
        return None
    hours, minutes, seconds = (int(digits[at : at + 2] or 0) for at in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return time(hours, minutes, min(seconds, 59), int(fraction[:6].ljust(6, "0")) if fraction else 0)


def _date_time(value: Any, dataset: Any) -> datetime | None:
    """A date-time of DICOM in the local time of the other dates of the object."""
    stated = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")).strip(" \0")
    local, sign, zone = stated, "", ""
    for sign in "+-":
        local, _, zone = stated.partition(sign)
        if zone:
            break
    if len(local) < 10 or not local[:8].isdigit():
        return None
    clock = _clock(local[8:])
    try:
        day = _date(local[:8])
    except ValueError:
        return None
    if clock is None:
        return None
    moment = datetime.combine(day, clock)
    here = _offset(text(dataset, "TimezoneOffsetFromUTC") or "")
    there = _offset(sign + zone) if zone else None
    return moment - there + here if here is not None and there is not None else moment


def _offset(stated: str) -> timedelta | None:
    stated = stated.strip()
    if len(stated) != 5 or stated[0] not in "+-" or not stated[1:].isdigit():
        return None
    size = timedelta(hours=int(stated[1:3]), minutes=int(stated[3:]))
    return -size if stated[0] == "-" else size


def _same_private(datasets: Sequence[Any], element: int) -> float | None:
    """Philips' factor, the same in all files and more than zero; None where it is not stated."""
    found = {private_numbers(dataset, 0x7053, PHILIPS, element)[:1] for dataset in datasets}
    if len(found) > 1:
        raise _RefusedError(f"the files of the series differ in Philips' factor (7053,xx{element:02X})")
    factor = next(iter(found.pop()), 0.0)
    return factor if math.isfinite(factor) and factor > 0 else None


def _word(dataset: Any, name: str) -> str:
    return (text(dataset, name) or "").upper()
