"""Files of `name: value` lines as one row: ACDC's Info.cfg, the comments of WFDB headers; and 3D Slicer's fcsv."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medshard.converters.annotations.rows.rows import Cell, Row, Rows
from medshard.converters.annotations.rows.text_tables import open_text, text_lines

SUFFIXES = (".cfg", ".hea", ".ini")

_PAIR = re.compile(r"^[#;\s]*([A-Za-z][\w .()/-]{0,60}?)\s*[:=]\s*(.*)$")
_FCSV_COLUMNS = ("label", "x", "y", "z", "sel", "vis")
_FRAMES = {"0": "RAS", "1": "LPS"}


def read_pairs(path: Path, *, encoding: str) -> Rows:
    """A name that occurs again has a list. Lines that are no pair are skipped: signals of a WFDB header, for one."""
    row: dict[str, Cell] = {}
    with open_text(path, encoding) as stream:
        for line in text_lines(path, stream):
            if found := _PAIR.match(line.strip()):
                name, value = found[1].strip(), found[2].strip()
                row[name] = value if name not in row else [*_listed(row[name]), value]
    return Rows(columns=tuple(row), rows=[row] if row else [], format="pairs")


def read_fcsv(path: Path, *, encoding: str) -> Rows:
    """Fiducials of 3D Slicer: x, y, z in mm, `label`, and in `space` the frame, RAS where the file is silent.

    Format: Slicer's documentation of markups; versions before 4.11 write the frame as 0 (RAS) or 1 (LPS).
    """
    names: Sequence[str] = _FCSV_COLUMNS
    frame = "RAS"
    rows: list[Row] = []
    with open_text(path, encoding) as stream:
        for line in text_lines(path, stream):
            if line.startswith("#"):
                name, _, value = line.lstrip("# ").partition("=")
                if name.strip().lower() == "columns":
                    names = [part.strip() for part in value.split(",")]
                elif name.strip().lower() == "coordinatesystem":
                    frame = _FRAMES.get(value.strip(), value.strip())
            elif line.strip():
                cells = [cell.strip() for cell in line.split(",")]
                rows.append({**dict(zip(names, cells, strict=False)), "space": frame})
    return Rows(columns=(*names, "space"), rows=rows, format="fcsv")


def _listed(cell: Cell) -> list[Cell]:
    return cell if isinstance(cell, list) else [cell]
