"""Tables of other programs, known by their first bytes and refused by name, with what to do instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.table import Table
from medshard.converters.tables.packed import unpacked_start
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest

LOOKED_AT = 512
# Sources: SQLite "Database File Format" 1.3; the Library of Congress' descriptions of SAS7BDAT (fdd000461), SPSS
# (fdd000469) and Stata's dta formats; Arrow's first feather format; the specification of RDS and of R's saved images.
KINDS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("an SQLite data base", re.compile(rb"SQLite format 3\0")),
    ("a SAS table (sas7bdat)", re.compile(rb"\0{12}\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\0\x09\xc7\x31\x8c")),
    ("a SAS transport file (xpt)", re.compile(rb"HEADER RECORD\*{7}LIB")),
    ("an SPSS table (sav)", re.compile(rb"\$FL[23]")),
    ("a Stata table (dta)", re.compile(rb"<stata_dta>|[\x6e-\x73][\x01\x02]\x01\0")),
    ("a feather file of the first version", re.compile(rb"FEA1")),
    ("an R data file", re.compile(rb"RD[AX][23]\n|X\n\0\0\0[\x02\x03]")),
    ("a pickle of Python, which can run anything when it is opened", re.compile(rb"\x80[\x02-\x05](?:\x95|c|\}|\])")),
    ("an Access data base", re.compile(rb"\0\x01\0\0Standard (?:Jet|ACE) DB")),
    ("a PDF document", re.compile(rb"%PDF-")),
    ("an RTF document", re.compile(rb"\{\\rtf")),
    ("reads of a sequencer (SAM, BAM or CRAM)", re.compile(rb"BAM\x01|CRAM[\x02\x03]|@HD\tVN:")),
    ("an index of another file", re.compile(rb"TBI\x01|CSI\x01|BAI\x01")),
)


def sniff(files: Files) -> bool:
    return _kind(files[0]) is not None


def read(files: Files, _request: TableRequest) -> Table:
    refuse(files[0], _kind(files[0]) or "no table")


def refuse(path: Path, kind: str) -> NoReturn:
    """Raises CaseError[table.unsupported_format]."""
    raise bad_file(
        "table.unsupported_format",
        path,
        f"the file is {kind}, which medshard does not read",
        details={"expected": "csv, tsv, xlsx, xls, JSON, Parquet, Arrow, text, or a format of omics"},
        action="Export it as csv or Parquet, or take the file out of the entry's layout.",
    )


def _kind(path: Path) -> str | None:
    packed = first_bytes(path, 2) in {b"\x1f\x8b", b"BZ"}
    start = unpacked_start(path, LOOKED_AT) if packed else first_bytes(path, LOOKED_AT)
    return next((name for name, pattern in KINDS if pattern.match(start)), None)


FORMAT = TableFormat(name="refused", suffixes=(), sniff=sniff, read=read, decoders=dict)
