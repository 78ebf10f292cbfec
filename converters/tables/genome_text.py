"""Text formats of genomes: FASTA, BED and GFF (GTF).

FASTA: a row for each sequence: `name` (up to the first space), `description` (the rest) and `sequence` on one line, its
letter case kept. BED: places count from 0, the end is exclusive. GFF and GTF: from 1, inclusive; `attributes` stay one
text. The attribute `coordinates` says so; nothing is converted from one to the other.
Sources: "The Browser Extensible Data (BED) format" 1.0; "Generic Feature Format Version 3" 1.26; NCBI's "FASTA Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.column_types import Misfit, converted
from medshard.converters.tables.encodings import is_text
from medshard.converters.tables.packed import Unpacked, unpacked_name, unpacked_start
from medshard.converters.tables.refused import refuse
from medshard.converters.tables.table_format import ARROW_TYPES, Files, TableFormat, TableRequest, one_file

FASTA_SUFFIXES = (".fa", ".fasta", ".fna", ".faa", ".ffn", ".fas")
SEQUENCES = pa.schema([("name", pa.string()), ("description", pa.string()), ("sequence", pa.large_string())])
BED_COLUMNS = [
    "chrom",
    "start",
    "end",
    "name",
    "score",
    "strand",
    "thick_start",
    "thick_end",
    "item_rgb",
    "block_count",
    "block_sizes",
    "block_starts",
]
GFF_COLUMNS = ["seqid", "source", "type", "start", "end", "score", "strand", "phase", "attributes"]
INTEGERS = frozenset({"start", "end", "thick_start", "thick_end", "block_count"})
LARGEST_SEQUENCE = 1 << 30
LONGEST_LINE = 16 << 20
BATCH_BYTES = 32 << 20
BATCH_ROWS = 65_536

_SEQUENCE_LINE = re.compile(rb"[A-Za-z*.-]*\r?")
_BED_LINE = re.compile(rb"[^\s]+\t[0-9]+\t[0-9]+(?:\t[^\n]*)?\r?\n")


def sniff_fasta(files: Files) -> bool:
    start = unpacked_start(files[0], 1 << 12)
    lines = start.split(b"\n")[:4]
    return (
        start.startswith(b">")
        and len(lines) > 1
        and all(line.startswith(b">") or _SEQUENCE_LINE.fullmatch(line) for line in lines[:-1])
    )


def sniff_fastq(files: Files) -> bool:
    lines = unpacked_start(files[0], 1 << 12).split(b"\n")
    return len(lines) > 3 and lines[0].startswith(b"@") and lines[2].startswith(b"+")


def sniff_bed(files: Files) -> bool:
    start = _without_tracks(unpacked_start(files[0], 1 << 12))
    return unpacked_name(files[0]).endswith((".bed", "peak")) and _BED_LINE.match(start) is not None


def sniff_gff(files: Files) -> bool:
    start = unpacked_start(files[0], 1 << 14)
    if start.startswith(b"##gff-version"):
        return True
    named = unpacked_name(files[0]).endswith((".gff", ".gff3", ".gtf"))
    return named and is_text(start)


def read_fasta(files: Files, _request: TableRequest) -> Table:
    path = one_file(files)
    return Table(schema=SEQUENCES, batches=partial(_sequences, path), format=FASTA.name)


def read_fastq(files: Files, _request: TableRequest) -> Table:
    refuse(files[0], "reads of a sequencer (FASTQ)")


def read_bed(files: Files, _request: TableRequest) -> Table:
    """All rows have as many columns as the first; the columns of narrower BED files are the first of twelve."""
    path = one_file(files)
    first = next(_rows(path), None)
    width = len(first) if first else 3
    names = [*BED_COLUMNS, *(f"column_{number}" for number in range(13, width + 1))][:width]
    table = _features(path, names, BED.name)
    return replace(table, attributes={"coordinates": "from 0, end exclusive"})


def read_gff(files: Files, _request: TableRequest) -> Table:
    table = _features(one_file(files), GFF_COLUMNS, GFF.name)
    return replace(table, attributes={"coordinates": "from 1, inclusive"})


def _features(path: Path, names: list[str], name: str) -> Table:
    kinds = {column: "integer" if column in INTEGERS else "string" for column in names}
    schema = pa.schema([(column, ARROW_TYPES[kind]) for column, kind in kinds.items()])
    return Table(schema=schema, batches=partial(_feature_batches, path, kinds, schema), format=name)


def _feature_batches(path: Path, kinds: dict[str, str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[list[str]] = []
    start = 0
    for row in _rows(path):
        if len(row) != len(kinds):
            raise bad_file(
                "table.ragged",
                path,
                "a feature has another number of columns than the others",
                details={"row": start + len(rows) + 1, "expected": len(kinds), "found": len(row)},
            )
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield _feature_batch(path, rows, kinds, schema, start)
            start, rows = start + len(rows), []
    if rows:
        yield _feature_batch(path, rows, kinds, schema, start)


def _feature_batch(
    path: Path, rows: list[list[str]], kinds: dict[str, str], schema: pa.Schema, start: int
) -> pa.RecordBatch:
    columns = []
    for (name, kind), values in zip(kinds.items(), zip(*rows, strict=True), strict=True):
        try:
            columns.append(converted(pa.array([None if value == "." else value for value in values]), kind))
        except Misfit as misfit:
            raise bad_file(
                "table.bad_value",
                path,
                "a place on the genome is no integer",
                details={"column": name, "row": start + misfit.row + 1},
            ) from None
    return pa.RecordBatch.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _rows(path: Path) -> Iterator[list[str]]:
    """Lines of features, without comments, tracks, and the sequences that may follow in a GFF file."""
    for line in _lines(path):
        text = line.decode()
        if text.startswith("##FASTA"):
            return
        if text.strip() and not text.startswith(("#", "track ", "browser ")):
            yield text.split("\t")


def _lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    left = b""
    with Unpacked(path) as stream:
        while block := stream.read(max(1 << 20, len(left))):
            *lines, left = (left + block).split(b"\n")
            if len(left) > longest:
                raise bad_file("table.row_too_long", path, "a line is longer than lines of features are")
            yield from (line.rstrip(b"\r") for line in lines)
    if left:
        yield left.rstrip(b"\r")


def _sequences(path: Path) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[str, str | None, str]] = []
    held = 0
    for name, sequence in _records(path):
        first, _, rest = name.partition(" ")
        rows.append((first, rest.strip() or None, sequence))
        held += len(sequence)
        if held > BATCH_BYTES or len(rows) == BATCH_ROWS:
            yield _sequence_batch(rows)
            rows, held = [], 0
    if rows:
        yield _sequence_batch(rows)


def _sequence_batch(rows: list[tuple[str, str | None, str]]) -> pa.RecordBatch:
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), SEQUENCES, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SEQUENCES)


def _records(path: Path) -> Iterator[tuple[str, str]]:
    name: str | None = None
    parts: list[bytes] = []
    length = 0
    for number, line in enumerate(_lines(path, LARGEST_SEQUENCE), start=1):
        if line.startswith(b";"):
            continue  # how old files begin a comment
        if line.startswith(b">"):
            if name is not None:
                yield name, b"".join(parts).decode()
            name, parts, length = line[1:].decode("utf-8", "replace").strip(), [], 0
            continue
        if name is None or not _SEQUENCE_LINE.fullmatch(line.strip()):
            raise bad_file("read.unreadable", path, "a line is no part of a sequence", details={"line": number})
        parts.append(line.strip())
        length += len(line)
        if length > LARGEST_SEQUENCE:
            raise bad_file("table.row_too_long", path, "a sequence is longer than chromosomes are")
    if name is not None:
        yield name, b"".join(parts).decode()


def _without_tracks(start: bytes) -> bytes:
    while start.startswith((b"#", b"track ", b"browser ")):
        _, _, start = start.partition(b"\n")
    return start


def _decoders() -> dict[str, str]:
    return installed_versions("pyarrow", "isal")


FASTA = TableFormat(name="FASTA", suffixes=FASTA_SUFFIXES, sniff=sniff_fasta, read=read_fasta, decoders=_decoders)
FASTQ = TableFormat(name="FASTQ", suffixes=(), sniff=sniff_fastq, read=read_fastq, decoders=_decoders)
BED = TableFormat(name="BED", suffixes=(".bed",), sniff=sniff_bed, read=read_bed, decoders=_decoders)
GFF = TableFormat(name="GFF", suffixes=(".gff", ".gff3", ".gtf"), sniff=sniff_gff, read=read_gff, decoders=_decoders)
