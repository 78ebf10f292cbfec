"""A stage's state: the manifest of its case records, and the HEAD that names the current one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from medshard.errors import StoreError
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import (
    FORMAT_VERSION,
    ObjectRef,
    Store,
    check_format_version,
    read_json,
)
from medshard.registry.store.records import CaseRecord

LIKE_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The sorted records of one stage of one entry."""

    stage: str
    entry: str
    code_version: str
    plan: str | None = None
    records: tuple[CaseRecord, ...]

    @property
    def good(self) -> tuple[CaseRecord, ...]:
        return tuple(record for record in self.records if record.error is None)

    @property
    def excluded(self) -> tuple[CaseRecord, ...]:
        return tuple(record for record in self.records if record.error is not None)

    def record(self, case: str) -> CaseRecord | None:
        return next((record for record in self.records if record.case == case), None)

    def to_bytes(self) -> bytes:
        """One line of header, then one line per record, sorted by case."""
        header = {
            "format_version": FORMAT_VERSION,
            "stage": self.stage,
            "entry": self.entry,
            "code_version": self.code_version,
            "plan": self.plan,
        }
        records = sorted(self.records, key=lambda record: record.case)
        lines = [canonical_json(header), *(canonical_json(record.to_json()) for record in records)]
        return b"\n".join(lines) + b"\n"


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is current: a manifest and the objects that belong to it (tables, plan, shards, index)."""

    manifest: ObjectRef
    attachments: Mapping[str, ObjectRef] = field(default_factory=dict)

    @property
    def data_version(self) -> str:
        return self.manifest.digest

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "manifest": self.manifest.to_json(),
            "attachments": {name: ref.to_json() for name, ref in sorted(self.attachments.items())},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Head:
        return cls(
            manifest=ObjectRef.from_json(document["manifest"]),
            attachments={name: ObjectRef.from_json(ref) for name, ref in document["attachments"].items()},
        )


def head_path(store: Store, entry: str, stage: str, plan: str | None = None) -> Path:
    return store.root / "heads" / entry / (f"{stage}@{plan}.json" if plan else f"{stage}.json")


def read_head(store: Store, entry: str, stage: str, plan: str | None = None) -> Head | None:
    path = head_path(store, entry, stage, plan)
    if not path.exists():
        return None
    document = read_json(path)
    check_format_version(document, where=str(path))
    return Head.from_json(document)


def require_head(store: Store, entry: str, stage: str, plan: str | None = None) -> Head:
    """The HEAD of a stage; StoreError when the stage was never built."""
    head = read_head(store, entry, stage, plan)
    if head is None:
        command = f"medshard build {entry}" + (f" --plan {plan}" if plan else "")
        name = f"{entry}/{stage}" + (f"@{plan}" if plan else "")
        raise StoreError(
            "stage.not_built",
            where=name,
            problem="this stage has not been built in this store",
            details={"store": store.root, "built there": ", ".join(_built_like(store, entry, stage)) or "nothing"},
            action=f"Build it first: {command} --root {store.root}",
        )
    return head


def _built_like(store: Store, entry: str, stage: str) -> list[str]:
    """Names that this stage is built under, those most like the wanted one first: a name may be misspelt."""
    heads = sorted((store.root / "heads").glob(f"*/{stage}*.json"))
    names = sorted({head.parent.name for head in heads} - {entry})
    near = get_close_matches(entry, names, n=LIKE_SHOWN)
    plans = [f"{entry}@{head.stem.partition('@')[2]}" for head in heads if head.parent.name == entry]
    return [*plans, *near, *(name for name in names if name not in near)][:LIKE_SHOWN]


def swap_head(store: Store, entry: str, stage: str, head: Head, plan: str | None = None) -> bool:
    """Make a HEAD current. Returns False, and writes nothing, when it already is."""
    if read_head(store, entry, stage, plan) == head:
        return False
    store.write(head_path(store, entry, stage, plan), canonical_json(head.to_json()) + b"\n")
    return True


def publish_manifest(store: Store, manifest: Manifest) -> ObjectRef:
    return store.publish_bytes(manifest.to_bytes(), ".manifest.jsonl")


def read_manifest(store: Store, ref: ObjectRef) -> Manifest:
    return parse_manifest(store.read_bytes(ref), where=str(store.path(ref)))


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    header, *records = (json.loads(line) for line in data.splitlines())
    check_format_version(header, where=where)
    return Manifest(
        stage=header["stage"],
        entry=header["entry"],
        code_version=header["code_version"],
        plan=header["plan"],
        records=tuple(CaseRecord.from_json(record) for record in records),
    )


def iterate_heads(store: Store) -> Iterator[tuple[str, str, str | None]]:
    """(entry, stage, plan) of every HEAD in the store."""
    for path in sorted((store.root / "heads").glob("*/*.json")):
        stage, _, plan = path.stem.partition("@")
        yield path.parent.name, stage, plan or None
