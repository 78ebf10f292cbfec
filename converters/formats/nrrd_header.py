"""The text header of a NRRD file: fields, key/value pairs, and where the voxels are.

Source of the grammar: teem, "Definition of NRRD file format", sections 2 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes

MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
LARGEST_HEADER = 1 << 20
# Fields whose names teem spells with and without a space.
SPELLINGS = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "blocksize": "block size",
    "axismins": "axis mins",
    "axismaxs": "axis maxs",
    "centers": "centerings",
    "sampleunits": "sample units",
}


@dataclass(frozen=True, kw_only=True)
class TextHeader:
    """What stands in the header.

    fields: name in lower case -> text. pairs: key -> value of the lines `key:=value`.
    listed: the names behind `data file: LIST`. end: offset of what follows the header in its own file.
    """

    fields: Mapping[str, str]
    pairs: Mapping[str, str]
    listed: tuple[str, ...]
    end: int


def is_nrrd(path: Path) -> bool:
    return MAGIC.match(first_bytes(path, 16)) is not None


def header_fields(path: Path) -> dict[str, str]:
    """Fields (names in lower case) and key/value pairs (keys as they are spelled) of a NRRD file, in one mapping.

    Key/value pairs are free text: whoever reads them keeps names of segments, and nothing else.
    Raises CaseError[read.unreadable | read.truncated].
    """
    header = read_text_header(path)
    return {**header.pairs, **header.fields}


def read_text_header(path: Path) -> TextHeader:
    """Raises CaseError[read.unreadable] where a field is stated twice, [read.truncated] without the line of its end."""
    start = first_bytes(path, LARGEST_HEADER)
    blank = re.search(rb"\n\r?\n", start)
    text = start[: blank.start()] if blank else start
    lines = text.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[1:]
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    listed: tuple[str, ...] = ()
    for number, line in enumerate(lines):
        name, separator, value = _split(line)
        if separator == ":=":
            pairs[name] = _unescaped(value)
        elif separator:
            if name in fields:
                raise bad_file(
                    "read.unreadable", path, "a field of the header is stated twice", details={"line": number + 2}
                )
            fields[name] = value
            if name == "data file" and value.split()[:1] == ["LIST"]:
                listed = tuple(entry.strip() for entry in lines[number + 1 :] if entry.strip())
                break
    if blank is None and "data file" not in fields:
        raise bad_file("read.truncated", path, "the header has no end")
    return TextHeader(fields=fields, pairs=pairs, listed=listed, end=blank.end() if blank else len(start))


def _split(line: str) -> tuple[str, str, str]:
    """Name, `: ` or `:=`, and text of a line; no separator for comments and lines that are neither."""
    found = re.search(r":=|:(?=\s|$)", line)
    if found is None or line.startswith("#"):
        return "", "", ""
    name, value = line[: found.start()], line[found.end() :]
    if found.group() == ":=":
        return name, ":=", value
    plain = " ".join(name.split()).lower()
    return SPELLINGS.get(plain, plain), ": ", value.strip()


def _unescaped(value: str) -> str:
    return re.sub(r"\\(\\|n)", lambda found: "\n" if found.group(1) == "n" else "\\", value)
