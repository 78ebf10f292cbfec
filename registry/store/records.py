"""What a stage made of one case: written once, found again by a key that digests all that went in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard.errors import MedshardError
from medshard.registry.store.digests import canonical_json, sha256_bytes, sha256_json
from medshard.registry.store.objects import (
    FORMAT_VERSION,
    ObjectRef,
    Store,
    check_format_version,
    read_json,
)


@dataclass(frozen=True, kw_only=True)
class RecordRef:
    """One record, by the key it is found under and the digest of its content."""

    key: str
    digest: str

    def to_json(self) -> dict[str, str]:
        return {"key": self.key, "digest": self.digest}


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """What one stage made of one case (or, in `raw`, of one source).

    inputs: the records of earlier stages that this one was made from.
    sources: the raw files that it was made from, {path in the raw tree: SHA-256}.
    decoders: name -> version of the libraries that read the files.
    output: the object that was made; None when the case failed.
    facts: what is worth knowing of the result, as plain JSON.
    verdicts: purpose -> reasons against it; an empty list means fit for that purpose.
    error: None, or why the case is excluded from here on.
    """

    stage: str
    entry: str
    case: str
    key: str
    code_version: str
    plan: str | None = None
    inputs: tuple[RecordRef, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    decoders: Mapping[str, str] = field(default_factory=dict)
    output: ObjectRef | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Mapping[str, list[str]] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> RecordRef:
        return RecordRef(key=self.key, digest=self.digest)

    @property
    def digest(self) -> str:
        return sha256_json(self.to_json())

    def fit_for(self, purpose: str) -> bool:
        return self.error is None and not self.verdicts.get(purpose, [])

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "stage": self.stage,
            "entry": self.entry,
            "case": self.case,
            "key": self.key,
            "code_version": self.code_version,
            "plan": self.plan,
            "inputs": [ref.to_json() for ref in self.inputs],
            "sources": dict(self.sources),
            "decoders": dict(self.decoders),
            "output": self.output.to_json() if self.output else None,
            "facts": dict(self.facts),
            "verdicts": dict(self.verdicts),
            "error": dict(self.error) if self.error else None,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> CaseRecord:
        fields = {name: value for name, value in document.items() if name != "format_version"}
        fields["inputs"] = tuple(RecordRef(**ref) for ref in document["inputs"])
        fields["output"] = ObjectRef.from_json(document["output"]) if document["output"] else None
        fields["warnings"] = tuple(document["warnings"])
        return cls(**fields)


def record_key(
    *,
    stage: str,
    code_version: str,
    entry: str,
    case: str,
    parameters: Any,
    inputs: tuple[RecordRef, ...] = (),
    sources: Mapping[str, str] | None = None,
    plan: str | None = None,
) -> str:
    """The digest of everything that decides the outcome of one stage for one case."""
    return sha256_json(
        {
            "stage": stage,
            "code_version": code_version,
            "entry": entry,
            "case": case,
            "parameters": parameters,
            "inputs": [ref.digest for ref in inputs],
            "sources": dict(sources or {}),
            "plan": plan,
        }
    )


def error_to_json(error: MedshardError) -> dict[str, Any]:
    return {
        "code": error.code,
        "problem": error.problem,
        "details": error.details,
        "action": error.action,
        "where": error.where,
        "text": str(error),
    }


def record_path(store: Store, key: str) -> Path:
    return store.root / "records" / key[:2] / f"{key}.json"


def write_record(store: Store, record: CaseRecord) -> None:
    store.write(record_path(store, record.key), canonical_json(record.to_json()))


def read_record(store: Store, key: str) -> CaseRecord | None:
    """The record under a key, or None. A record whose object is gone does not count."""
    path = record_path(store, key)
    if not path.exists():
        return None
    document = read_json(path)
    check_format_version(document, where=str(path))
    record = CaseRecord.from_json(document)
    if record.output is not None and not store.has(record.output):
        return None
    return record


def record_bytes_digest(store: Store, key: str) -> str:
    """SHA-256 of a record's file as it lies on disk, for verification."""
    return sha256_bytes(record_path(store, key).read_bytes())
