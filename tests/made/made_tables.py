"""Small tables, made as files."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medshard.converters.table import Table
from medshard.converters.tables.reading import TableRequest, read_table, read_texts

WHERE = "entry/case"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(*files: Path, key: str | None = None, dtypes: Mapping[str, str] | None = None) -> Table:
    return read_table(files, where=WHERE, request=TableRequest(key=key, dtypes=dtypes or {}))


def texts(*files: Path, key: str | None = None) -> Table:
    return read_texts(files, where=WHERE, request=TableRequest(key=key))


def columns(found: Table) -> dict[str, list[Any]]:
    return dict(found.read().to_pydict())


def types(found: Table) -> list[str]:
    return [str(kind) for kind in found.schema.types]


def workbook(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]], merged: Sequence[str] = ()) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
        for cells in merged:
            sheet.merge_cells(cells)
    book.save(path)
    return path


def with_part(path: Path, part: str, content: bytes) -> Path:
    """A workbook with one part of its archive replaced or added."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, old in {**parts, part: content}.items():
            archive.writestr(name, content if name == part else old)
    return path


def ten_x(folder: Path, dense: np.ndarray, *, shuffled: bool = False) -> list[Path]:
    """The three files of 10x Genomics; dense: (barcodes, features) integers."""
    cells, genes = dense.shape
    barcodes, features = np.nonzero(dense)
    order = np.random.default_rng(1).permutation(len(barcodes)) if shuffled else np.arange(len(barcodes))
    lines = [f"{features[n] + 1} {barcodes[n] + 1} {dense[barcodes[n], features[n]]}" for n in order]
    head = ["%%MatrixMarket matrix coordinate integer general", "%made", f"{genes} {cells} {len(lines)}"]
    contents = {
        "matrix.mtx.gz": "\n".join([*head, *lines, ""]),
        "barcodes.tsv.gz": "".join(f"CELL{n}-1\n" for n in range(cells)),
        "features.tsv.gz": "".join(f"ENSG{n:05}\tGENE{n}\tGene Expression\n" for n in range(genes)),
    }
    return [written(folder, name, gzip.compress(text.encode(), mtime=0)) for name, text in contents.items()]


VCF = """##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##contig=<ID=chr1,length=248956422>
##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA00001\tNA00002
chr1\t10000\trs1\tA\tC,G\t29.5\tPASS\tAF=0.5,0.1\tGT\t0|1\t./.
chr1\t10020\t.\tAT\tA\t.\t.\tAF=0.2\tGT\t1|1\t0|2
"""


def one_hot(rows: int) -> np.ndarray:
    """(rows, 4, 10) uint8, as the sequences of DeepSEA."""
    letters = np.random.default_rng(5).integers(0, 4, (rows, 10))
    return (np.arange(4)[None, :, None] == letters[:, None, :]).astype(np.uint8)


def parquet_bytes(content: pa.Table, **options: Any) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(content, stream, **options)
    return stream.getvalue()
