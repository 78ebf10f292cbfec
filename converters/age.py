"""Ages in bands of ten years; everybody from 90 on is in one band, as HIPAA's safe harbour asks (45 CFR 164.514)."""

from __future__ import annotations

import re
from datetime import date

OLDEST = 130
YEARS_OF_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def band(years: float) -> str | None:
    """`60-69`; None for an age that nobody has."""
    if not 0 <= years <= OLDEST:
        return None
    if years >= 90:
        return "90+"
    decade = int(years) // 10 * 10
    return f"{decade}-{decade + 9}"


def age_band(stated: str) -> str | None:
    """Band of a DICOM age string (PS3.5 AS): `045Y`, `18M`, `3W`, `12D`; a bare number counts years.

    None for what is no age, and for `000Y`: infants are stated in months, weeks or days, and tools that blank a header
    write the zero.
    """
    found = re.fullmatch(r"(\d{1,3})([YMWD]?)", stated.strip().upper())
    if found is None:
        return None
    count, unit = int(found.group(1)), found.group(2) or "Y"
    return None if count == 0 and unit == "Y" else band(count * YEARS_OF_UNIT[unit])


def age_band_between(born: str, examined: str) -> str | None:
    """Band of the whole years between two DICOM dates (`YYYYMMDD`, or `YYYY.MM.DD` of old files).

    None where one of them is no date or birth comes after the examination.
    """
    first, last = _day(born), _day(examined)
    if first is None or last is None or last < first:
        return None
    had_birthday = (last.month, last.day) >= (first.month, first.day)
    return band(last.year - first.year - (0 if had_birthday else 1))


def _day(stated: str) -> date | None:
    found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", stated.strip())
    if found is None:
        return None
    try:
        return date(*(int(part) for part in found.groups()))
    except ValueError:
        return None
