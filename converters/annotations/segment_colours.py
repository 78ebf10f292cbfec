"""Display colours of segments as `#rrggbb`: the CIELab triplets of DICOM, and palettes of label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Linear sRGB to X, Y, Z under D65 (IEC 61966-2-1), and the white of that.
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])


def hex_of_dicom_cielab(stored: Iterable[object] | None) -> str | None:
    """`#rrggbb` of Recommended Display CIELab Value; None where there is none or it is no triplet.

    stored: three 16-bit numbers, L* scaled from 0..100, a* and b* from -128..127 (DICOM PS3.3 C.10.7.1.1). The
    standard means them relative to D50, but the tools that write segmentations (dcmqi, highdicom) go by D65, and so
    does this: the liver of 3D Slicer comes out as it went in.
    """
    values = [] if stored is None or isinstance(stored, int) else [float(str(value)) for value in stored]
    if len(values) != 3:
        return None
    lightness, a, b = values[0] / 65535 * 100, values[1] / 65535 * 255 - 128, values[2] / 65535 * 255 - 128
    y = (lightness + 16) / 116
    # The inverse of CIE 15, 8.2.1.
    ratios = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(ratios > 6 / 29, ratios**3, 3 * (6 / 29) ** 2 * (ratios - 4 / 29)) * WHITE_D65
    linear = np.clip(np.linalg.solve(RGB_TO_XYZ, xyz), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + bytes(np.rint(encoded * 255).astype(np.uint8).tolist()).hex()


def palette_colours(dataset: Any) -> Callable[[int], str | None]:
    """Colour of a stored value by the palette of the file (PS3.3 C.7.6.3.1.5), where it has a plain one."""
    tables: list[NDArray[np.uint8]] = []
    first = 0
    for name in ("Red", "Green", "Blue"):
        entry = dataset.get(f"{name}PaletteColorLookupTableDescriptor")
        data = dataset.get(f"{name}PaletteColorLookupTableData")
        if entry is None or not isinstance(data, bytes):
            return lambda _: None
        first, bits = int(entry[1]), int(entry[2])
        little = "<u2" if dataset.original_encoding[1] else ">u2"
        wide = np.frombuffer(data[: len(data) // 2 * 2], little)
        tables.append((wide >> 8).astype(np.uint8) if bits > 8 else np.frombuffer(data, np.uint8))

    def colour(value: int) -> str | None:
        at = value - first
        if not 0 <= at < min(len(table) for table in tables):
            return None
        return "#{:02x}{:02x}{:02x}".format(*(int(table[at]) for table in tables))

    return colour
