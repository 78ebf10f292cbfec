"""The manifest of raw files: path, bytes, SHA-256, the archive and member that each came out of, and its address."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord

COLUMNS = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("archive", pa.string()),
        ("archive_sha256", pa.string()),
        ("member", pa.string()),
        ("url", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one raw file came from.

    path: below the part's folder. archive: names of the archives around it, outermost first, joined by ` > `; None for
    a file that came as it is. archive_sha256: of the outermost one. member: its name in the innermost one. url: the
    address that was asked, without secrets; None for files of this machine.
    """

    path: str
    bytes: int
    sha256: str
    archive: str | None = None
    archive_sha256: str | None = None
    member: str | None = None
    url: str | None = None


def provenance_table(files: Iterable[Provenance]) -> bytes:
    """Parquet, sorted by path: the same files give the same bytes."""
    ordered = sorted(files, key=lambda file: file.path)
    columns = {name: [getattr(file, name) for file in ordered] for name in COLUMNS.names}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=COLUMNS), sink, compression="zstd")
    return sink.getvalue()


def origins_of(store: Store, record: CaseRecord) -> list[Provenance]:
    """Where the files of a raw record came from; those that were re-encoded were made here."""
    if "provenance" in record.facts:
        return read_provenance(store.read_bytes(ObjectRef.from_json(record.facts["provenance"])))
    files = store.tree_files(record.output) if record.output is not None else []
    return [Provenance(path=file.path, bytes=file.size, sha256=file.sha256) for file in files]


def read_provenance(table: bytes) -> list[Provenance]:
    return [Provenance(**row) for row in pq.read_table(io.BytesIO(table)).to_pylist()]
