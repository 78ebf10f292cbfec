"""Variant calls: VCF and BCF. A row is a site, with its eight fixed columns; genotypes are counted, not kept.

Persons are the columns of such a file and its sample ids are theirs: how many there are is kept, the ids are not.
`key: genotypes` keeps the calls as well, as text in the order of the file: `FORMAT`, and `calls`, list<string>.
Source: "The Variant Call Format Specification", VCF 4.3 and BCF 2.2, of the samtools group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from medshard.converters.array_types import AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.encodings import Utf8
from medshard.converters.tables.packed import Unpacked, unpacked_start
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, one_file, require_columns
from medshard.errors import CaseError, MissingExtraError

FIXED = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
# POS counts from 1. A dot is how the format writes a missing value.
SITES = pa.schema([(name, {"POS": pa.int64(), "QUAL": pa.float64()}.get(name, pa.string())) for name in FIXED])
WITH_CALLS = pa.schema([*SITES, pa.field("FORMAT", pa.string()), pa.field("calls", pa.list_(pa.string()))])
GENOTYPES = "genotypes"
LARGEST_HEADER = 64 << 20
LONGEST_ROW = 64 << 20
BATCH_BYTES = 32 << 20
NOT_KEPT = "genotypes of {} samples are not kept (`key: genotypes` keeps them), and sample ids never are"

Lines = Callable[[], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class VcfHeader:
    """version: such as `VCFv4.3`. samples: how many. length: bytes of the header."""

    version: str
    samples: int
    length: int


def sniff(files: Files) -> bool:
    return unpacked_start(files[0], 16).startswith(b"##fileformat=VCF")


def sniff_bcf(files: Files) -> bool:
    return unpacked_start(files[0], 5).startswith(b"BCF\x02")


def read(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[read.unreadable | table.no_such_key | table.ragged]."""
    path = _calls_file(files)
    header = vcf_header(path)
    with_calls = _wants_calls(path, request, header.samples)
    batches = (
        partial(_split, path, partial(_lines, path, header), header, with_calls=True)
        if with_calls
        else partial(_sites, path, header)
    )
    return _table(path, batches, header, FORMAT, with_calls=with_calls)


def read_bcf(files: Files, request: TableRequest) -> Table:
    """Raises CaseError as `read`, MissingExtraError[omics.not_installed] without pysam."""
    path = _calls_file(files)
    with _opened(path) as file:
        header = VcfHeader(version=str(file.header.version), samples=len(file.header.samples), length=0)
    with_calls = _wants_calls(path, request, header.samples)
    batches = partial(_split, path, partial(_bcf_lines, path, with_calls=with_calls), header, with_calls=with_calls)
    return _table(path, batches, header, BCF, with_calls=with_calls)


def _calls_file(files: Files) -> Path:
    """The calls, without the index beside them."""
    return one_file([path for path in files if path.suffix not in {".tbi", ".csi"}] or files)


def _table(path: Path, batches: Any, header: VcfHeader, read_by: TableFormat, *, with_calls: bool) -> Table:
    schema = WITH_CALLS if with_calls else SITES
    require_columns(path, schema.names, {})
    warnings = (NOT_KEPT.format(header.samples),) if header.samples and not with_calls else ()
    attributes: dict[str, AttributeValue] = {
        "version": header.version,
        "samples": header.samples,
        "coordinates": "from 1, inclusive",
    }
    return Table(schema=schema, batches=batches, format=read_by.name, attributes=attributes, warnings=warnings)


def _wants_calls(path: Path, request: TableRequest, samples: int) -> bool:
    if request.key in {None, GENOTYPES}:
        return request.key == GENOTYPES and samples > 0
    raise bad_file(
        "table.no_such_key",
        path,
        "of variant calls, `key` can name one thing",
        details={"expected": GENOTYPES, "found": request.key},
        action="Correct `key` in the entry's layout.",
    )


def vcf_header(path: Path) -> VcfHeader:
    """Raises CaseError[read.unreadable]."""
    length = 0
    version = ""
    left = b""
    with Unpacked(path) as stream:
        while length < LARGEST_HEADER and len(left) < LARGEST_HEADER:
            block = stream.read(max(1 << 16, len(left)))
            if not block:
                break
            *lines, left = (left + block).split(b"\n")
            for line in lines:
                length += len(line) + 1
                version = version or line.rpartition(b"=")[2].decode("ascii", "replace").strip()[:16]
                if not line.startswith(b"##"):
                    return VcfHeader(version=version, samples=_samples(path, line), length=length)
    raise _broken(path, "the header has no line of columns")


def _samples(path: Path, line: bytes) -> int:
    names = line.rstrip(b"\r").split(b"\t")
    if [name.decode("ascii", "replace") for name in names[:8]] != ["#CHROM", *FIXED[1:]]:
        raise _broken(path, "the line of columns is not the one of a VCF file")
    return max(0, len(names) - 9)


def _sites(path: Path, header: VcfHeader) -> Iterator[pa.RecordBatch]:
    """By Arrow, which leaves the columns of the samples alone."""
    others = header.samples + 1 if header.samples else 0
    wrong: list[dict[str, object]] = []

    def stop(row: Any) -> str:
        wrong.append({"expected": row.expected_columns, "found": row.actual_columns})
        return "error"

    read = arrow_csv.ReadOptions(column_names=[*FIXED, *map(str, range(others))], block_size=LONGEST_ROW)
    parse = arrow_csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=stop)
    convert = arrow_csv.ConvertOptions(
        column_types={field.name: field.type for field in SITES},
        include_columns=list(FIXED),
        strings_can_be_null=True,
        null_values=["."],
    )
    with Utf8(Unpacked(path), "utf-8") as stream:
        stream.read(header.length)
        try:
            for batch in arrow_csv.open_csv(stream, read, parse, convert):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=SITES)
        except pa.ArrowInvalid as error:
            if wrong:
                raise _ragged(path, wrong[0]) from None
            if "Empty CSV file" not in str(error):
                raise _broken(path, "a line is not one of a VCF file") from None


def _lines(path: Path, header: VcfHeader) -> Iterator[str]:
    with Unpacked(path) as stream:
        stream.read(header.length)
        left = b""
        while block := stream.read(max(1 << 20, len(left))):
            *lines, left = (left + block).split(b"\n")
            if len(left) > LONGEST_ROW:
                raise _broken(path, "a line is longer than lines of VCF files are")
            yield from (line.decode() for line in lines)
        if left:
            yield left.decode()


def _bcf_lines(path: Path, *, with_calls: bool) -> Iterator[str]:
    with _opened(path, drop_samples=not with_calls) as file:
        yield from map(str, file)


def _split(path: Path, lines: Lines, header: VcfHeader, *, with_calls: bool) -> Iterator[pa.RecordBatch]:
    """Lines of VCF as rows, with their calls where they have some."""
    rows: list[list[Any]] = []
    size = 0
    for line in lines():
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 8 or (with_calls and len(cells) != 9 + header.samples):
            raise _ragged(path, {"expected": 9 + header.samples if with_calls else 8, "found": len(cells)})
        rows.append([*cells[:8], cells[8], cells[9:]] if with_calls else cells[:8])
        size += len(line)
        if size > BATCH_BYTES:
            yield _batch(path, rows)
            rows, size = [], 0
    if rows:
        yield _batch(path, rows)


def _batch(path: Path, rows: list[list[Any]]) -> pa.RecordBatch:
    schema = WITH_CALLS if len(rows[0]) > 8 else SITES
    columns = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        if field.name == "calls":
            columns.append(pa.array(values, field.type))
            continue
        try:
            columns.append(
                pa.array([None if value == "." else value for value in values], pa.string()).cast(field.type)
            )
        except pa.ArrowInvalid:
            raise _broken(path, f"a value of {field.name} is no number") from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@contextmanager
def _opened(path: Path, *, drop_samples: bool = False) -> Iterator[Any]:
    try:
        import pysam  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(path.name) from error
    before = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(path), drop_samples=drop_samples) as file:
            yield file
    finally:
        pysam.set_verbosity(before)


def _ragged(path: Path, details: dict[str, object]) -> CaseError:
    return bad_file("table.ragged", path, "a site has another number of columns than the header", details=details)


def _broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)


def _not_installed(where: str) -> MissingExtraError:
    return MissingExtraError(
        "omics.not_installed",
        where=where,
        problem="reading BCF needs pysam",
        action="pip install medshard[omics]",
    )


def _bcf_decoders() -> dict[str, str]:
    try:
        return installed_versions("pysam", "pyarrow")
    except PackageNotFoundError as error:
        raise _not_installed("variants") from error


FORMAT = TableFormat(
    name="VCF", suffixes=(".vcf",), sniff=sniff, read=read, decoders=lambda: installed_versions("pyarrow", "isal")
)
BCF = TableFormat(name="BCF", suffixes=(".bcf",), sniff=sniff_bcf, read=read_bcf, decoders=_bcf_decoders)
