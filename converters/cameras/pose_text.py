"""Poses as rows of cells: text with any usual separator, or a sheet of xlsx (openpyxl, an optional part)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import MissingExtraError

Row = tuple[int, list[str]]
"""Number of the line, from 1, and its cells."""

LARGEST_BYTES = 1 << 28
_MOST_CELLS = 64


def is_sheet(path: Path) -> bool:
    return first_bytes(path, 4) == b"PK\x03\x04"


def rows_of(path: Path) -> Iterator[Row]:
    """The rows that hold anything; lines after `#` are comments.

    Raises CaseError[read.unreadable | poses.too_large], MissingExtraError[poses.not_installed] of xlsx.
    """
    return _sheet_rows(path) if is_sheet(path) else _text_rows(path)


def breaks_off(path: Path, rows: Sequence[Row]) -> bool:
    """Whether a text ends within its last row, as a writer leaves it that was stopped."""
    if len(rows) < 3 or is_sheet(path) or len(rows[-1][1]) >= len(rows[-2][1]):
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) not in b"\r\n"


def _text_rows(path: Path) -> Iterator[Row]:
    if path.stat().st_size > LARGEST_BYTES:
        raise _too_large(path)
    content = path.read_bytes()
    if b"\0" in content:
        raise bad_file("read.unreadable", path, "the file is no text")
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    separator = next((mark for mark in ";,\t" if any(mark in line for line in lines[:2])), None)
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip().strip('"') for cell in line.strip().split(separator)]
        # Lines of C++ writers end with a separator.
        yield number, cells[:-1] if cells[-1] == "" else cells


def _sheet_rows(path: Path) -> Iterator[Row]:
    try:
        import openpyxl  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "poses.not_installed",
            where=path.name,
            problem="sheets of poses are read by openpyxl, which is not installed",
            action="Install medshard[tables].",
        ) from error
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > LARGEST_BYTES:
            raise _too_large(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except openpyxl.utils.exceptions.InvalidFileException as error:
        raise bad_file("read.unreadable", path, "the file is no workbook of Excel's") from error
    try:
        if len(book.worksheets) != 1:
            raise bad_file(
                "poses.unclear_table",
                path,
                "the workbook does not hold one sheet",
                details={"expected": "one sheet", "found": f"{len(book.worksheets)} sheets"},
            )
        for number, row in enumerate(book.worksheets[0].iter_rows(values_only=True, max_col=_MOST_CELLS), start=1):
            cells = ["" if cell is None else str(cell).strip() for cell in row]
            if any(cells):
                yield number, cells
    finally:
        book.close()


def _too_large(path: Path) -> Exception:
    return bad_file(
        "poses.too_large", path, "the file is too large for poses", details={"expected": f"{LARGEST_BYTES} bytes"}
    )
