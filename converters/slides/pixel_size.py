"""Size of a pixel and power of the objective, as slide files state them.

Sources: the TIFF 6.0 specification (XResolution, ResolutionUnit), Aperio's description of its files (keys MPP and
AppMag in ImageDescription), the OME data model 2016-06 (PhysicalSizeX and its unit, NominalMagnification).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# A microscope resolves 0.2 micrometres; slides are scanned at 0.1 to 1, and reduced copies of them at more. The
# resolutions that programs write when they know none (72, 96, 300 dots an inch) are far above.
SMALLEST_MICRONS = 0.01
LARGEST_MICRONS = 20.0
MOST_UNEQUAL = 1.1
LARGEST_POWER = 400.0

MICRONS_OF_UNIT = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "\u00c5": 1e-4,
    "in": 25400.0,
}
MICRONS_OF_RESOLUTION_UNIT = {2: 25400.0, 3: 10000.0}

Pair = tuple[float, float]


def checked_microns(stated: Pair | None) -> tuple[Pair | None, list[str]]:
    """The stated (y, x) where it can be the pixel size of a slide, else None; and what is doubtful."""
    if stated is None:
        return None, ["no pixel size is stated"]
    plausible = all(math.isfinite(n) and SMALLEST_MICRONS <= n <= LARGEST_MICRONS for n in stated)
    if not plausible:
        return None, [f"the stated pixel size cannot be that of a slide: {stated[0]:g} by {stated[1]:g} micrometres"]
    if max(stated) / min(stated) > MOST_UNEQUAL:
        return stated, [f"the stated pixels are not square: {stated[0]:g} by {stated[1]:g} micrometres (y, x)"]
    return stated, []


def checked_power(stated: float | None) -> tuple[float | None, list[str]]:
    """The stated power of the objective where one can have it, else None; and what is doubtful."""
    if stated is None:
        return None, []
    if math.isfinite(stated) and 0 < stated <= LARGEST_POWER:
        return stated, []
    return None, [f"the stated power of the objective is none: {stated:g}"]


def aperio_number(description: str, key: str) -> float | None:
    """The number of one `|key = number` of Aperio's ImageDescription."""
    found = re.search(rf"\|\s*{re.escape(key)}\s*=\s*([^|\r\n]{{1,40}})", description)
    return None if found is None else number(found.group(1))


def ome_microns(pixels: str) -> Pair | None:
    """(y, x) of the start tag of an OME `Pixels` element; None where a side or its unit is not one of length."""
    sides = [_length(pixels, side) for side in ("PhysicalSizeY", "PhysicalSizeX")]
    y, x = sides
    return None if y is None or x is None else (y, x)


def ome_power(document: str) -> float | None:
    """NominalMagnification of the only objective of an OME document."""
    found = set(re.findall(r"""\bNominalMagnification\s*=\s*["']([^"']{1,40})["']""", document))
    return number(found.pop()) if len(found) == 1 else None


def resolution_microns(x: Sequence[int] | None, y: Sequence[int] | None, unit: int) -> Pair | None:
    """(y, x) from TIFF's resolutions, as fractions, and their unit (2 inch, 3 centimetre); None without a unit."""
    length = MICRONS_OF_RESOLUTION_UNIT.get(unit)
    if length is None or x is None or y is None:
        return None
    sides = [length * side[1] / side[0] if side[0] else math.inf for side in (y, x)]
    return sides[0], sides[1]


def attribute(tag: str, name: str) -> str | None:
    """Value of one attribute in the start tag of an XML element."""
    found = re.search(rf"""\s{re.escape(name)}\s*=\s*(?:"([^"]*)"|'([^']*)')""", tag)
    return None if found is None else found.group(1) or found.group(2) or ""


def number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _length(pixels: str, name: str) -> float | None:
    size = number(attribute(pixels, name))
    unit = attribute(pixels, f"{name}Unit")
    factor = 1.0 if unit is None else MICRONS_OF_UNIT.get(_unescaped(unit))
    return None if size is None or factor is None else size * factor


def _unescaped(unit: str) -> str:
    """Units are written with character references in files that are plain ASCII."""
    text = re.sub(r"&#x([0-9A-Fa-f]{1,4});", lambda found: chr(int(found.group(1), 16)), unit)
    return re.sub(r"&#(\d{1,4});", lambda found: chr(int(found.group(1))), text)
