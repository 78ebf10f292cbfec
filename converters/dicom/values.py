"""Values of DICOM elements as plain text and numbers, read without pydicom's conversion.

pydicom checks a value against its VR while it converts it, and its warnings and errors quote the value. Headers are
full of such values, and a quoted one may be a name; what is read here is quoted by nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydicom.charset import python_encoding
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID

from medshard.converters.formats.faults import BAD_FILE

BINARY_NUMBERS = {"FD": "f8", "FL": "f4", "US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8"}
MOST_BYTES = 1 << 16
"""Longer values are none that is asked for here."""


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """The values of a text element without their padding; empty where it is absent, empty or no text."""
    stated = _stated(dataset, keyword)
    if isinstance(stated, RawDataElement):
        raw = stated.value
        if not isinstance(raw, bytes) or len(raw) > MOST_BYTES or _vr(stated) in {*BINARY_NUMBERS, "SQ"}:
            return ()
        parts = raw.decode(_encoding(dataset), "replace").split("\\")
    else:
        parts = [str(value) for value in _several(stated)]
    cleaned = [part.strip(" \0\t\r\n") for part in parts]
    return tuple(cleaned) if any(cleaned) else ()


def text(dataset: Any, keyword: str) -> str | None:
    """The only or the first value of a text element; None where it is absent or empty."""
    return next((part for part in texts(dataset, keyword) if part), None)


def numbers(dataset: Any, keyword: str) -> tuple[float, ...]:
    """The finite values of a numeric element; empty where it is absent, empty, or one of its values is no number."""
    stated = _stated(dataset, keyword)
    found = _raw_numbers(stated) if isinstance(stated, RawDataElement) else _as_floats(_several(stated))
    return found if all(math.isfinite(value) for value in found) else ()


def items(dataset: Any, keyword: str) -> tuple[Any, ...]:
    """The data sets of a sequence; empty where it is absent or cannot be parsed."""
    try:
        sequence = dataset.get(keyword)
        return tuple(sequence) if sequence is not None and not isinstance(sequence, str | bytes) else ()
    except (*BAD_FILE, Warning):
        return ()


def is_stated(dataset: Any, keyword: str) -> bool:
    """Whether an element is there and has a value of any kind."""
    stated = _stated(dataset, keyword)
    value = stated.value if isinstance(stated, RawDataElement) else stated
    if isinstance(stated, RawDataElement) and value and _vr(stated) in BINARY_NUMBERS:
        return True  # the bytes of 0 and of 32 look like padding
    if isinstance(value, bytes | str):
        blank = b" \0" if isinstance(value, bytes) else " \0"
        return bool(value.strip(blank))  # type: ignore[arg-type]
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def name_of_uid(uid: str | None) -> str:
    """The standard's name of a UID; of one that it does not know nothing, since anything may stand in its place."""
    known = UID(uid, validation_mode=IGNORE) if uid else UID("")
    return known.name if known.name != known else "none that the standard knows"


def below(dataset: Any, path: Sequence[str]) -> Iterator[Any]:
    """The first items along a path of sequences; nothing where one is missing."""
    for keyword in path:
        found = items(dataset, keyword)
        if not found:
            return
        dataset = found[0]
    yield dataset


def _stated(dataset: Any, keyword: str) -> Any:
    """A raw element, or the value of one that pydicom has converted already; None where it is absent."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None
    try:
        element = dataset.get_item(tag)
        return element if isinstance(element, RawDataElement) else element.value
    except (*BAD_FILE, Warning):
        return None


def _raw_numbers(element: RawDataElement) -> tuple[float, ...]:
    raw = element.value
    if not isinstance(raw, bytes) or len(raw) > MOST_BYTES:
        return ()
    vr = _vr(element)
    if vr in BINARY_NUMBERS:
        form = np.dtype(BINARY_NUMBERS[vr]).newbyteorder("<" if element.is_little_endian else ">")
        return tuple(float(value) for value in np.frombuffer(raw, form)) if len(raw) % form.itemsize == 0 else ()
    return _as_floats(raw.decode("ascii", "replace").strip(" \0").split("\\"))


def _as_floats(stated: Sequence[Any]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in stated)
    except (ValueError, TypeError, ArithmeticError):
        return ()


def _vr(element: RawDataElement) -> str:
    if element.VR is not None and element.VR != "UN":
        return str(element.VR)
    try:
        return str(dictionary_VR(element.tag)).split(" ", maxsplit=1)[0]
    except KeyError:
        return "UN"


def _several(stated: Any) -> tuple[Any, ...]:
    if stated is None or stated == "":
        return ()
    if isinstance(stated, str | bytes) or not hasattr(stated, "__iter__"):
        return (stated,)
    return tuple(stated)


def _encoding(dataset: Any) -> str:
    """The codec of the data set's text; that of Western Europe, which reads any byte, where none is known."""
    stated = _stated(dataset, "SpecificCharacterSet") if "SpecificCharacterSet" in dataset else None
    raw = stated.value if isinstance(stated, RawDataElement) else stated
    name = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(next(iter(_several(raw)), ""))
    return str(python_encoding.get(name.split("\\", maxsplit=1)[0].strip(" \0"), "latin-1"))
