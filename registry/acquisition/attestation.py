"""The evidence of a real acquisition, in a form that a contributor can send: what came, its digests, its surprises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml

from medshard.errors import StoreError
from medshard.registry.acquisition.gates.acceptance import accepted
from medshard.registry.acquisition.journal import JournalEntry, read_journal
from medshard.registry.acquisition.lock import LockedPart, read_lock
from medshard.registry.acquisition.parts import Part, parts_of
from medshard.registry.acquisition.provenance import Provenance, origins_of
from medshard.registry.acquisition.publishing import kept_archive
from medshard.registry.hosts import host_of
from medshard.registry.layout import Discovery, discover
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import Manifest, read_manifest, require_head
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord

EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Attestation:
    """document: plain data for YAML. surprises: what is not as the catalog says; none is good news."""

    document: Mapping[str, Any]
    surprises: tuple[str, ...]

    def to_yaml(self) -> str:
        return yaml.safe_dump(dict(self.document), sort_keys=False, allow_unicode=True, width=120)


def attest(store: Store, entry: Entry) -> Attestation:
    """Evidence of what the store holds of an entry, every file hashed again first.

    Raises StoreError: stage.not_built when `raw` was never built, object.corrupt when a file is not what was acquired,
    attest.other_entry when the entry's sources have been edited since.
    """
    manifest = read_manifest(store, require_head(store, entry.id, "raw").manifest)
    locks = read_lock(store, entry.id)
    parts = {part.name: part for part in parts_of(entry, optional=True)}
    _expect_parts(entry, manifest, parts, locks)
    for record in manifest.records:
        kept = [kept_archive(archive) for archive in record.facts["archives"]]
        for ref in (record.output, *(ref for ref in kept if store.has(ref))):
            if ref is not None:
                store.verify(ref)
    origins = {record.case: origins_of(store, record) for record in manifest.records}
    found = discover(entry, [path for record in manifest.records for path in _paths(record, origins[record.case])])
    surprises = tuple(_surprises(entry, manifest, found))
    acceptance = accepted(store, entry)
    document = {
        "attestation": 1,
        "entry": entry.id,
        "version": entry.version,
        "entry_sha256": entry.digest,
        "medshard": version("medshard"),
        "terms_accepted": {"sha256": acceptance.digest, "when": acceptance.when, "how": acceptance.how}
        if acceptance
        else None,
        "parts": [
            _part(
                record, origins[record.case], read_journal(store, entry.id, record.key), parts.get(record.case), locks
            )
            for record in manifest.records
            if "place" in record.facts  # what was encoded again here is no evidence of a source
        ],
        "cases": _counts(entry, found),
        "surprises": list(surprises),
        "proposal": _proposal(entry, manifest, parts, locks, surprises),
    }
    return Attestation(document=document, surprises=surprises)


def _expect_parts(entry: Entry, manifest: Manifest, parts: Mapping[str, Part], locks: Mapping[str, LockedPart]) -> None:
    """Raise StoreError[attest.other_entry] when what was acquired is not what the entry names now."""
    for record in manifest.records:
        if "place" in record.facts and not _is_of(record, parts.get(record.case), locks):
            raise StoreError(
                "attest.other_entry",
                where=f"{entry.id}/{record.case}",
                problem="the entry has been edited since this part was acquired, or its lock is gone",
                details={"acquired from": record.facts["place"]},
                action=f"Build it again: medshard build {entry.id} --to raw",
            )
    acquired = {record.case for record in manifest.records}
    missing = [part.name for part in parts.values() if not part.optional and part.name not in acquired]
    if missing:
        raise StoreError(
            "attest.other_entry",
            where=entry.id,
            problem="the entry names sources that this store has not acquired",
            details={"missing": ", ".join(missing)},
            action=f"Build it first: medshard build {entry.id} --to raw",
        )


def _is_of(record: CaseRecord, part: Part | None, locks: Mapping[str, LockedPart]) -> bool:
    identity = record.facts["identity"]
    if part is None or identity not in [{**words, "revision": identity["revision"]} for words in part.words]:
        return False
    if host_of(identity["kind"]).local:
        return True
    locked = locks.get(part.key)
    return locked is not None and record.output is not None and locked.tree == record.output.digest


def _paths(record: CaseRecord, origins: list[Provenance]) -> Iterator[str]:
    into = record.facts["into"]
    yield from (f"{into}/{origin.path}" if into else origin.path for origin in origins)


def _part(
    record: CaseRecord,
    origins: list[Provenance],
    journal: JournalEntry | None,
    part: Part | None,
    locks: Mapping[str, LockedPart],
) -> dict[str, Any]:
    locked = locks.get(part.key) if part else None
    fetched = [
        {
            "name": file.name,
            "url": (journal.files.get(file.name, {}) if journal else {}).get("url"),
            "bytes": file.bytes,
            "stated": file.checksum,
            "sha256": file.sha256,
        }
        for file in (locked.files if locked else ())
    ]
    return {
        "part": record.case,
        "place": record.facts["place"],
        "revision": record.facts["identity"].get("revision"),
        "acquired": journal.when if journal else None,
        "fetched": fetched,
        "archives": [{key: archive[key] for key in ("name", "size", "sha256")} for archive in record.facts["archives"]],
        "files": len(origins),
        "bytes": sum(origin.bytes for origin in origins),
        "tree_sha256": record.output.digest if record.output else None,
        "suffixes": dict(Counter(_suffix(origin.path) for origin in origins).most_common(EXAMPLES)),
    }


def _suffix(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return ".nii.gz" if name.endswith(".nii.gz") else ("." + name.rsplit(".", 1)[-1] if "." in name else "none")


def _counts(entry: Entry, found: Discovery) -> dict[str, Any]:
    """Counts of the layout beside those that the catalog states."""
    return {
        "found": len({case.case for case in found.cases}),
        "patients": len({case.patient for case in found.cases}),
        "labelled": sum(bool(case.labels) and any(case.labels.values()) for case in found.cases),
        "unmatched_files": len(found.unmatched),
        "stated": {
            name: getattr(entry.source, name)
            for name in ("cases", "released", "labelled", "patients")
            if getattr(entry.source, name) is not None
        },
    }


def _surprises(entry: Entry, manifest: Manifest, found: Discovery) -> Iterator[str]:
    for record in manifest.records:
        yield from (f"{record.case}: {warning}" for warning in record.warnings)
    stated = entry.source.released if entry.source.released is not None else entry.source.cases
    cases = len({case.case for case in found.cases})
    if stated is not None and entry.cases and stated != cases:
        yield f"the layout finds {cases} cases, the catalog states {stated} {entry.source.unit}"
    patients = len({case.patient for case in found.cases})
    if entry.source.patients is not None and entry.cases and entry.source.patients != patients:
        yield f"the layout finds {patients} patients, the catalog states {entry.source.patients}"
    if found.unmatched:
        yield f"files of no case: {len(found.unmatched)}, such as {', '.join(found.unmatched[:EXAMPLES])}"
    if not found.cases:
        yield "the layout finds no case: its templates do not fit these files"


def _proposal(
    entry: Entry,
    manifest: Manifest,
    parts: Mapping[str, Part],
    locks: Mapping[str, LockedPart],
    surprises: tuple[str, ...],
) -> dict[str, Any]:
    """What to change in the catalog entry. Without cases nothing is proven, and the maturity stays."""
    files: dict[str, Any] = {}
    for record in manifest.records:
        locked = locks.get(parts[record.case].key) if record.case in parts else None
        if locked is not None:
            files[record.case] = [
                {"name": file.name, "size": file.bytes, "checksum": f"sha256:{file.sha256}"}
                for file in locked.files
                if file.sha256 and file.repeatable and file.checksum != f"sha256:{file.sha256}"
            ]
    no_case = any("finds no case" in surprise for surprise in surprises)
    proposal: dict[str, Any] = {"maturity": entry.maturity.value if no_case else "acquired"}
    return {**proposal, "files": {name: pins for name, pins in files.items() if pins}}
