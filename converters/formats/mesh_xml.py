"""XML of surface files: plain elements, without entities, and numbers in text or base64."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_text import decimal, whole
from medshard.converters.volume import Array

COUNT = re.compile(r"\d{1,15}")


def parsed(path: Path, content: bytes) -> ET.Element:
    """Raises CaseError[read.unreadable]."""
    # Entities are how a small document becomes a large one, or one that reads other files. Neither format has any.
    if b"\x00" in content or b"<!ENTITY" in content:
        raise bad_file("read.unreadable", path, "the XML is of an encoding or has entities that the format does not")
    try:
        return ET.fromstring(content)
    except ET.ParseError as error:
        # What the parser says names a line and a column only.
        raise bad_file("read.unreadable", path, "the XML cannot be parsed", details={"reason": str(error)}) from error


def count_of(path: Path, element: ET.Element, name: str, *, default: int | None = None) -> int:
    """A count among the attributes. Raises CaseError[read.unreadable] where it is none, or is missing."""
    text = element.get(name, "").strip()
    if not text and default is not None:
        return default
    if COUNT.fullmatch(text) is None:
        raise bad_file("read.unreadable", path, "a count is missing, or is no number", details={"attribute": name})
    return int(text)


def text_numbers(text: str, dtype: np.dtype[np.generic]) -> Array:
    """Raises ValueError or OverflowError for what is no number of the type."""
    words = text.encode("ascii", "replace").split()
    if dtype.kind == "f":
        return np.array([decimal(word) for word in words], np.float64)
    return np.array([whole(word) for word in words], dtype)


def from_base64(path: Path, text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise bad_file("read.unreadable", path, "numbers in base64 are cut or hold other characters") from error
