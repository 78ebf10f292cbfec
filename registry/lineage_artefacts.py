"""What kind of artefact a path is, and which records it names."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard.errors import StoreError
from medshard.registry.splits import Split
from medshard.registry.store.digests import sha256_bytes, sha256_file, tree_listing
from medshard.registry.store.manifests import iterate_heads, read_head, read_manifest
from medshard.registry.store.objects import ObjectRef, Store, read_json
from medshard.registry.store.records import RecordRef

_OBJECT = re.compile(r"^(?P<digest>[0-9a-f]{64})(?P<suffix>\..*)?$")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """Something that lineage is asked of.

    kind: shard, checkpoint, evaluation, or the stage that a store object is the output of.
    expected_sha256: what the artefact should have by its name or by the document beside it; None where nothing says.
    records: the records of the cases that it was made from. parts: `entry/case` -> train, val or test.
    bases: records of the training stages that it builds on.
    training: what is worth showing of the training: recipe, digests of training manifest and split.
    terms: entry -> version and licence, as the shards that were read state them.
    """

    kind: str
    path: Path
    sha256: str
    expected_sha256: str | None
    records: tuple[RecordRef, ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[RecordRef, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": str(self.path), "sha256": self.sha256, **self.training}

    def verify(self) -> str:
        """A line on the artefact. Raises StoreError[object.corrupt] when it does not have the bytes that name it."""
        expected = self.expected_sha256
        if expected is not None and expected != self.sha256:
            raise StoreError(
                "object.corrupt",
                where=str(self.path),
                problem="the bytes are not those that were published",
                details={"expected": f"sha256 {expected}", "found": f"sha256 {self.sha256}"},
                action="Build it again, or restore it from a copy.",
            )
        return f"{self.kind} {self.path.name}: sha256 {self.sha256}"


def identify(path: Path, store: Store) -> Artefact:
    """Raises StoreError[lineage.unknown] for a path that is not of medshard."""
    artefact = _shard(path) or _checkpoint(path, store) or _evaluation(path, store) or _stage_output(path, store)
    if artefact is None:
        raise StoreError(
            "lineage.unknown",
            where=str(path),
            problem="this is no shard, checkpoint, score or other object of medshard",
            action="Give a shard, a checkpoint, an evaluation, a volume or a raw tree; `medshard where` prints them.",
        )
    return artefact


def _shard(path: Path) -> Artefact | None:
    if path.suffix != ".zip":
        return None
    name = _OBJECT.match(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(archive.read("zarr.json")).get("attributes", {}).get("medshard")
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        if name is None:
            return None
        raise StoreError(
            "object.corrupt",
            where=str(path),
            problem="the shard cannot be read; it is cut off or was changed",
            details={"reader": error},
            action="Remove it and build the shards again.",
        ) from error
    if not facts or "samples" not in facts:
        return None
    return Artefact(
        kind="shard",
        path=path,
        sha256=sha256_file(path),
        expected_sha256=name["digest"] if name else None,
        records=tuple(RecordRef(key=row["record_key"], digest=row["record_digest"]) for row in facts["samples"]),
        terms={facts["entry"]: {"version": facts["version"], "licence": facts["licence"]}},
    )


def _terms(store: Store, shards: Mapping[str, Iterable[str]]) -> dict[str, Mapping[str, Any]]:
    """entry -> version and licence, out of the shards of a training that are still in the store."""
    found: dict[str, Mapping[str, Any]] = {}
    for digests in shards.values():
        for digest in digests:
            path = store.root / "objects" / digest[:2] / f"{digest}.zip"
            artefact = _shard(path) if path.is_file() else None
            found |= artefact.terms if artefact else {}
    return found


def _checkpoint(path: Path, store: Store) -> Artefact | None:
    folder = path if path.is_dir() else path.parent
    if not (folder / "checkpoint.json").is_file():
        return None
    document = read_json(folder / "checkpoint.json")
    if not {"manifest", "checkpoint_sha256", "training_manifest"} <= document.keys():
        return None
    manifest = document["manifest"]
    base = manifest["base"]
    weights = folder / "checkpoint.pt"
    return Artefact(
        kind="checkpoint",
        path=weights,
        sha256=sha256_file(weights),
        expected_sha256=document["checkpoint_sha256"],
        records=_records(manifest["samples"]),
        parts=_parts(store, manifest["split"]),
        bases=(RecordRef(**base["record"]),) if base else (),
        terms=_terms(store, manifest["shards"]),
        training={
            "recipe": manifest["recipe"],
            "training_manifest": document["training_manifest"],
            "split": manifest["split"],
        },
    )


def _evaluation(path: Path, store: Store) -> Artefact | None:
    folder = path if path.is_dir() else path.parent
    scores = folder / "scores.json"
    if not scores.is_file():
        return None
    document = read_json(scores)
    if not {"samples", "checkpoint_record", "split"} <= document.keys():
        return None
    return Artefact(
        kind="evaluation",
        path=scores,
        sha256=sha256_file(scores),
        expected_sha256=_listed_digest(scores, store),
        records=_records(document["samples"]),
        parts=_parts(store, document["split"]),
        bases=(RecordRef(**document["checkpoint_record"]),),
        training={name: document[name] for name in ("recipe", "training_manifest", "split")},
    )


def _stage_output(path: Path, store: Store) -> Artefact | None:
    """An object that records of a current stage name as their output: a raw tree, a volume or a stack of volumes."""
    folder = _object_path(path, store)
    if folder is None:
        return None
    digest = folder.name[:64]
    for entry, stage, plan in iterate_heads(store):
        head = read_head(store, entry, stage, plan)
        records = read_manifest(store, head.manifest).records if head else ()
        # Small cases share one object.
        made = [record for record in records if record.output is not None and record.output.digest == digest]
        if made and made[0].output is not None:
            return Artefact(
                kind=stage,
                path=path,
                sha256=_object_digest(store, made[0].output),
                expected_sha256=digest,
                records=tuple(record.ref for record in made),
            )
    return None


def _records(samples: Iterable[Mapping[str, Any]]) -> tuple[RecordRef, ...]:
    return tuple(RecordRef(**sample["record"]) for sample in samples)


def _object_path(path: Path, store: Store) -> Path | None:
    """The object of a store that a path is, or lies in."""
    objects = store.root / "objects"
    resolved = path.resolve()
    for candidate in (resolved, *resolved.parents):
        if candidate.parent.parent == objects and _OBJECT.match(candidate.name):
            return candidate
    return None


def _object_digest(store: Store, ref: ObjectRef) -> str:
    path = store.path(ref)
    return sha256_bytes(tree_listing(path)) if path.is_dir() else sha256_file(path)


def _listed_digest(path: Path, store: Store) -> str | None:
    """What the listing of the tree object that a file lies in says of that file."""
    folder = _object_path(path, store)
    if folder is None or not folder.is_dir():
        return None
    listing = folder.with_name(f"{folder.name[:64]}.listing").read_text()
    inner = path.resolve().relative_to(folder).as_posix()
    return next((line[:64] for line in listing.splitlines() if line.split(" ", 2)[2] == inner), None)


def _parts(store: Store, split: str) -> dict[str, str]:
    """`entry/case` -> part, by the split table of that digest; empty when the store does not have it."""
    found = next(iter(sorted((store.root / "objects" / split[:2]).glob(f"{split}.*"))), None)
    if found is None:
        return {}
    return {f"{row.entry}/{row.case}": row.part for row in Split.from_bytes(found.read_bytes()).rows}
