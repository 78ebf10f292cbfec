"""Lineage: from a shard, checkpoint, score or volume down to the source files, and the proof that they are still those.

Everything is found from what the artefact itself carries (record keys and digests) and the store's records; Dagster
is not asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard.errors import StoreError
from medshard.registry.acquisition.provenance import Provenance, origins_of
from medshard.registry.acquisition.publishing import kept_archive
from medshard.registry.lineage_artefacts import Artefact, identify
from medshard.registry.store.manifests import read_head
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.record_packs import recorded
from medshard.registry.store.records import CaseRecord, RecordRef


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file as it was acquired.

    origin: what brought it, such as `pip pyradiomics==3.0.1`. archive: name and SHA-256 of the archive it came out of,
    and the member that it was in there. url: the address that was asked for it, or for its archive. made_from: for a
    re-encoded file, the files whose pixels it carries.
    """

    path: str
    sha256: str
    origin: str
    archive: Mapping[str, str] | None
    url: str | None = None
    made_from: tuple[SourceFile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "sha256": self.sha256,
            "origin": self.origin,
            "archive": dict(self.archive) if self.archive else None,
            "url": self.url,
            "made_from": [source.to_json() for source in self.made_from],
        }


@dataclass(frozen=True, kw_only=True)
class CaseLineage:
    """One case that went in: its records from the last stage to the first, and its source files."""

    entry: str
    case: str
    patient: str
    part: str | None
    records: tuple[CaseRecord, ...]
    sources: tuple[SourceFile, ...]

    @property
    def plan(self) -> str | None:
        return next((record.plan for record in self.records if record.plan), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "entry": self.entry,
            "case": self.case,
            "patient": self.patient,
            "part": self.part,
            "plan": self.plan,
            "records": [
                {
                    "stage": record.stage,
                    "key": record.key,
                    "digest": record.digest,
                    "code_version": record.code_version,
                    "decoders": dict(record.decoders),
                }
                for record in self.records
            ],
            "sources": [source.to_json() for source in self.sources],
        }


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """All that an artefact was made from.

    entries: id -> version and licence: as the shards that were read state them, else as the latest acquisition does.
    """

    artefact: Artefact
    cases: tuple[CaseLineage, ...]
    entries: Mapping[str, Mapping[str, Any]]
    base: tuple[Lineage, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": 1,
            "artefact": self.artefact.to_json(),
            "entries": dict(self.entries),
            "cases": [case.to_json() for case in self.cases],
            "base": [base.to_json() for base in self.base],
        }

    @property
    def all_cases(self) -> tuple[CaseLineage, ...]:
        """The cases of this artefact and of everything it was made from, each once."""
        found = {(case.entry, case.case): case for base in self.base for case in base.all_cases}
        found |= {(case.entry, case.case): case for case in self.cases}
        return tuple(found[name] for name in sorted(found))


def trace(path: Path, store: Store | None = None) -> Lineage:
    """The lineage of the artefact at `path`.

    store: where its records are; found by walking up from the path when not given.
    Raises StoreError when the path is no artefact of medshard, when no store is known, or when a record is missing or
    not the one that the artefact names.
    """
    if not path.exists():
        raise StoreError(
            "lineage.missing",
            where=str(path),
            problem="there is no such file",
            action="`medshard where ID STAGE` prints the paths of a stage.",
        )
    store = store or Store.containing(path)
    if store is None:
        raise StoreError(
            "lineage.no_store",
            where=str(path),
            problem="the file does not lie in a medshard store",
            action="Name the store with --root.",
        )
    return _trace(identify(path, store), store)


def verify(lineage: Lineage, store: Store) -> list[str]:
    """Hash everything again, from the artefact to the source files. Returns one line per thing that was checked.

    Raises StoreError[object.corrupt] or [record.changed] at the first thing that is not what it was.
    """
    chain = list(_with_bases(lineage))
    checked = [one.artefact.verify() for one in chain]
    cases = [case for one in chain for case in one.cases]
    # Cases share raw trees and archives, and a base shares cases: each record and object is read once.
    records = {record.key: record for case in cases for record in case.records}
    for record in records.values():
        load_record(store, record.ref)
    for ref in {ref.digest: ref for record in records.values() for ref in _objects_of(store, record)}.values():
        store.verify(ref)
    for case in cases:
        checked.append(f"case {case.entry}/{case.case}: {len(case.records)} records")
        checked += [line for source in case.sources for line in _source_lines(source)]
    return checked


def _with_bases(lineage: Lineage) -> Iterator[Lineage]:
    yield lineage
    for base in lineage.base:
        yield from _with_bases(base)


def _objects_of(store: Store, record: CaseRecord) -> Iterator[ObjectRef]:
    """What a record made, and its archives as far as they were kept. A raw tree's listing holds its files' digests."""
    if record.output is not None:
        yield record.output
    if "provenance" in record.facts:
        yield ObjectRef.from_json(record.facts["provenance"])
    for archive in record.facts.get("archives", ()):
        if store.has(kept_archive(archive)):
            yield kept_archive(archive)


def _source_lines(source: SourceFile) -> Iterator[str]:
    """One line per source file. Its digest is that of a raw tree's listing, which has been verified with its files."""
    yield f"source {source.path}: sha256 {source.sha256}"
    for made_from in source.made_from:
        yield from _source_lines(made_from)


def _trace(artefact: Artefact, store: Store) -> Lineage:
    cases = tuple(_trace_case(store, ref, artefact.parts) for ref in artefact.records)
    cases = tuple(sorted(cases, key=lambda case: (case.entry, case.case)))
    entries = {
        entry: artefact.terms.get(entry) or _entry_snapshot(store, entry)
        for entry in sorted({case.entry for case in cases})
    }
    return Lineage(
        artefact=artefact,
        cases=cases,
        entries=entries,
        base=tuple(_trace(identify(_output_of(store, ref), store), store) for ref in artefact.bases),
    )


def _output_of(store: Store, ref: RecordRef) -> Path:
    record = load_record(store, ref)
    if record.output is None:
        raise StoreError("object.missing", where=f"{record.entry}/{record.stage}", problem="the stage made no output")
    return store.path(record.output)


def _trace_case(store: Store, ref: RecordRef, parts: Mapping[str, str]) -> CaseLineage:
    chain = list(_walk(store, ref))
    stages = tuple(record for record in chain if record.stage != "raw")
    raws = [record for record in chain if record.stage == "raw"]
    last = stages[0] if stages else raws[0]
    sources = {path: digest for record in stages for path, digest in record.sources.items()}
    if not stages:
        sources = {path: origin.sha256 for path, origin in _raw_files(store, raws[0]).items()}
    patient = next((str(record.facts["patient"]) for record in stages if "patient" in record.facts), last.case)
    return CaseLineage(
        entry=last.entry,
        case=last.case,
        patient=patient,
        part=parts.get(f"{last.entry}/{last.case}"),
        records=tuple(chain),
        sources=tuple(_source(store, path, digest, raws) for path, digest in sorted(sources.items())),
    )


def _walk(store: Store, ref: RecordRef) -> Iterator[CaseRecord]:
    """A record and all records that it was made from, each once, nearest first."""
    pending, seen = [ref], set[str]()
    while pending:
        current = pending.pop(0)
        if current.key in seen:
            continue
        seen.add(current.key)
        record = load_record(store, current)
        yield record
        pending += record.inputs


def load_record(store: Store, ref: RecordRef) -> CaseRecord:
    """The record that a reference names. Raises StoreError when it is gone or has other content."""
    record, path = recorded(store, ref)
    if record is None:
        raise StoreError(
            "record.missing",
            where=str(path),
            problem="a record of the lineage is not in this store",
            action="Name the store that the artefact was made in with --root.",
        )
    if record.digest != ref.digest:
        raise StoreError(
            "record.changed",
            where=str(path),
            problem="the record is not the one that the artefact names",
            details={"expected": f"sha256 {ref.digest}", "found": f"sha256 {record.digest}"},
            action="The store was changed after the artefact was made; its lineage cannot be trusted.",
        )
    return record


def _source(store: Store, path: str, digest: str, raws: Iterable[CaseRecord]) -> SourceFile:
    raws = list(raws)
    for record in raws:
        origin = _raw_files(store, record).get(path)
        if origin is not None and origin.sha256 == digest:
            return SourceFile(
                path=path,
                sha256=digest,
                origin=_origin(record),
                archive=_archive(origin),
                url=origin.url,
                made_from=tuple(_source(store, p, d, raws) for p, d in sorted(record.sources.items())),
            )
    raise StoreError(
        "lineage.source",
        where=path,
        problem="no acquisition of the store brought this file",
        details={"sha256": digest},
        action="Build the entry again in this store.",
    )


def _archive(origin: Provenance) -> dict[str, str] | None:
    if origin.archive is None:
        return None
    return {"name": origin.archive, "sha256": origin.archive_sha256 or "", "member": origin.member or ""}


def _raw_files(store: Store, record: CaseRecord) -> dict[str, Provenance]:
    """path in the raw tree -> where it came from."""
    into = record.facts["into"]
    return {(f"{into}/{origin.path}" if into else origin.path): origin for origin in origins_of(store, record)}


def _origin(record: CaseRecord) -> str:
    identity = record.facts["identity"]
    if identity.get("kind") in {"pip", "package"}:
        return f"{identity['kind']} {identity['package']}=={identity['revision']}"
    if "to" in identity:
        return f"re-encoded as {identity['to']}"
    return str(record.facts["place"])


def _entry_snapshot(store: Store, entry: str) -> dict[str, Any]:
    head = read_head(store, entry, "raw")
    if head is None or "entry" not in head.attachments:
        return {"licence": None, "version": None}
    snapshot = json.loads(store.read_bytes(head.attachments["entry"]))
    return {name: snapshot[name] for name in ("version", "licence")}
