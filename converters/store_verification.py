"""Whether a store is whole: every object has the bytes of its name, and what HEADs, manifests and indices name fits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medshard.converters.faults import Fault, fault
from medshard.converters.index_format import FORMAT_VERSION, INDEX_SCHEMA, IndexRow
from medshard.converters.index_tables import index_batch
from medshard.converters.plan import read_plan
from medshard.converters.shard_index import index_rows
from medshard.converters.shard_verification import shard_faults
from medshard.errors import MedshardError
from medshard.registry.store.digests import sha256_file, tree_files
from medshard.registry.store.manifests import Head, Manifest, iterate_heads, read_head, read_manifest
from medshard.registry.store.objects import LISTING_SUFFIX, ObjectRef, Store
from medshard.registry.store.records import RecordRef

_DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_ROWS_NAMED = 20


@dataclass
class Verified:
    """What was looked at, and all that is wrong."""

    objects: int = 0
    heads: int = 0
    shards: int = 0
    samples: int = 0
    faults: list[Fault] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("objects", "heads", "shards", "samples")}
        return {**counts, "faults": [each.to_json() for each in self.faults]}


def verify_file(path: Path) -> Verified:
    """One shard file."""
    return Verified(objects=1, shards=1, faults=list(shard_faults(path)))


def verify_store(store: Store, *, entry: str | None = None, plan: str | None = None) -> Verified:
    """A whole store, or what one entry's HEADs (of one plan) name.

    Without an entry every object is hashed, also those that no HEAD names.
    """
    done = Verified()
    hashed: dict[Path, bool] = {}
    if entry is None:
        for path in _objects(store.root / "objects"):
            done.objects += 1
            found = list(_object_faults(path))
            hashed[path] = not found
            done.faults += found
    for head_entry, stage, head_plan in iterate_heads(store):
        if entry in (None, head_entry) and plan in (None, head_plan):
            done.heads += 1
            done.faults += _head_faults(store, (head_entry, stage, head_plan), hashed, done)
    if entry is not None and not done.heads:
        done.faults.append(fault("stage.not_built", store.root, "nothing of this entry is built", entry=entry))
    return done


def _objects(folder: Path) -> Iterator[Path]:
    """Every object: files, and the listings of trees."""
    for prefix in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        for path in sorted(prefix.iterdir()):
            if path.is_file():
                yield path
            elif not path.with_name(f"{path.name[:64]}{LISTING_SUFFIX}").exists():
                yield path  # a tree without its listing


def _object_faults(path: Path) -> Iterator[Fault]:
    name = _DIGEST.match(path.name)
    if name is None or path.parent.name != path.name[:2]:
        yield fault("object.name", path, "this is no object of the store")
    elif path.is_dir():
        yield fault("object.missing", path, "the listing of a tree is missing")
    elif (found := sha256_file(path)) != name[0]:
        yield fault("object.corrupt", path, "the bytes are not those that were published", found=f"sha256 {found}")
    elif path.name == f"{name[0]}{LISTING_SUFFIX}":
        yield from _tree_faults(path)


def _tree_faults(listing: Path) -> Iterator[Fault]:
    digest = listing.name.removesuffix(LISTING_SUFFIX)
    trees = [path for path in listing.parent.glob(f"{digest}*") if path.is_dir()]
    # Trees are removed on purpose when they have done their service; a HEAD that names one says so itself.
    for tree in trees:
        lines = os.fsdecode(listing.read_bytes()).split("\n")[:-1]
        rows = {row[2]: (row[0], int(row[1])) for row in (line.split(" ", 2) for line in lines)}
        for name, (expected, size) in rows.items():
            path = tree / name
            if not path.is_file():
                yield fault("object.missing", path, "a file of a tree is missing")
            elif path.stat().st_size != size or sha256_file(path) != expected:
                yield fault("object.corrupt", path, "the bytes are not those that were published")
        for path in tree_files(tree):
            if path.relative_to(tree).as_posix() not in rows:
                yield fault("object.corrupt", path, "the file was not published with its tree")


def _head_faults(
    store: Store, name: tuple[str, str, str | None], hashed: dict[Path, bool], done: Verified
) -> Iterator[Fault]:
    entry, stage, plan = name
    where = f"heads/{entry}/{stage}@{plan}.json" if plan else f"heads/{entry}/{stage}.json"
    try:
        head = read_head(store, entry, stage, plan)
    except (MedshardError, KeyError, TypeError, AttributeError) as error:
        yield fault("head.unreadable", where, "the HEAD is not what this format has", reader=repr(error))
        return
    if head is None:
        return
    whole: dict[str, bool] = {}
    for attached, ref in (("manifest", head.manifest), *sorted(head.attachments.items())):
        found = list(_reference_faults(store, where, attached, ref, hashed))
        whole[attached] = not found
        yield from found
    if not whole["manifest"]:
        return
    try:
        manifest = read_manifest(store, head.manifest)
    except (MedshardError, ValueError, KeyError, TypeError) as error:
        yield fault("head.manifest", where, "the manifest cannot be read", reader=repr(error))
        return
    if (manifest.entry, manifest.stage) != (entry, stage):
        found_name = f"{manifest.entry}/{manifest.stage}"
        yield fault("head.manifest", where, "the manifest is that of another stage", found=found_name)
    if stage == "shards":
        intact = frozenset(attached for attached, good in whole.items() if good)
        stage_of_shards = _ShardsStage(store=store, where=where, head=head, manifest=manifest, intact=intact)
        yield from _shards_faults(stage_of_shards, done)


def _reference_faults(
    store: Store, where: str, attached: str, ref: ObjectRef, hashed: dict[Path, bool]
) -> Iterator[Fault]:
    """What a HEAD says of one object. Its bytes are hashed once, whoever names it."""
    path = store.path(ref)
    if not store.has(ref):
        yield fault("object.missing", path, "an object that a HEAD names is not there", head=where, name=attached)
        return
    if ref.kind == "file" and path.stat().st_size != ref.size:
        found = f"{path.stat().st_size} bytes"
        problem = "an object has not the size that the HEAD states"
        yield fault("object.size", path, problem, head=where, name=attached, expected=f"{ref.size} bytes", found=found)
        return
    listing = path.with_name(f"{ref.digest}{LISTING_SUFFIX}") if ref.kind == "tree" else path
    if listing not in hashed:
        found_faults = list(_object_faults(listing))
        hashed[listing] = not found_faults
        yield from found_faults
    elif not hashed[listing]:
        yield fault("object.corrupt", path, "a HEAD names an object that is damaged", head=where, name=attached)


@dataclass(frozen=True, kw_only=True)
class _ShardsStage:
    """intact: the attachments whose bytes are those of their names."""

    store: Store
    where: str
    head: Head
    manifest: Manifest
    intact: frozenset[str]


def _shards_faults(stage: _ShardsStage, done: Verified) -> Iterator[Fault]:
    """Each shard inside, the index against a fresh one, and both against manifest and plan."""
    attachments = sorted(stage.head.attachments.items())
    shards = {name: stage.store.path(ref) for name, ref in attachments if name.startswith("shard-")}
    for path in shards.values():
        done.shards += 1
        if path.exists():
            yield from shard_faults(path, hashed=True)
    if "plan" in stage.intact:
        found = read_plan(stage.store, stage.head.attachments["plan"]).digest
        if found != stage.manifest.plan:
            problem = "the plan is not that of the manifest"
            yield fault("head.plan", stage.where, problem, expected=stage.manifest.plan, found=found)
    for missing in sorted({"plan", "index"} - set(stage.head.attachments)):
        yield fault("head.attachment", stage.where, f"the HEAD names no {missing}")
    if "index" not in stage.intact:
        return
    index = stage.store.path(stage.head.attachments["index"])
    try:
        batch = _read_batch(index)
    except (pa.ArrowInvalid, ValueError) as error:
        yield fault("index.unreadable", index, "the index cannot be read", reader=error)
        return
    rows = batch.select(["entry", "case", "shard", "record_key", "record_digest"]).to_pylist()
    done.samples += len(rows)
    yield from _record_faults(stage.where, rows, stage.manifest)
    by_name = {path.name: path if attached in stage.intact else None for attached, path in shards.items()}
    yield from _row_faults(index, batch, rows, by_name)


def _read_batch(path: Path) -> pa.RecordBatch:
    with pa.memory_map(str(path)) as mapped:
        reader = pa.ipc.open_file(mapped)
        version = (reader.schema.metadata or {}).get(b"medshard.format_version", b"none").decode()
        if version != str(FORMAT_VERSION) or reader.num_record_batches != 1:
            message = f"format version {version}, {reader.num_record_batches} record batches"
            raise ValueError(message)
        return reader.get_batch(0)


def _record_faults(where: str, rows: Iterable[Mapping[str, Any]], manifest: Manifest) -> Iterator[Fault]:
    """The samples of the index are those whose records the manifest has."""
    indexed = {row["case"]: RecordRef(key=row["record_key"], digest=row["record_digest"]) for row in rows}
    recorded = {record.case: record.ref for record in manifest.good}
    for case in sorted(set(indexed) | set(recorded)):
        if case not in indexed:
            yield fault("index.case", where, "the index lacks a sample that the manifest has", case=case)
        elif case not in recorded:
            yield fault("index.case", where, "the index has a sample that the manifest lacks", case=case)
        elif indexed[case] != recorded[case]:
            yield fault("index.record", where, "the index names another record than the manifest", case=case)


def _row_faults(
    index: Path, batch: pa.RecordBatch, rows: list[dict[str, Any]], shards: Mapping[str, Path | None]
) -> Iterator[Fault]:
    """Each row is what the shard that it names says of itself. shards: file name -> place, None where damaged."""
    by_shard: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_shard.setdefault(row["shard"], []).append(number)
    if [(row["entry"], row["case"]) for row in rows] != sorted((row["entry"], row["case"]) for row in rows):
        yield fault("index.order", index, "the rows are not sorted by case")
    fresh: dict[str, IndexRow] = {}
    for name, numbers in sorted(by_shard.items()):
        if name not in shards:
            yield fault("index.shard", index, "the index names a shard that the HEAD does not", shard=name)
            continue
        path = shards[name]
        if path is None:  # damaged, and reported as that
            continue
        records = {
            rows[number]["case"]: RecordRef(key=rows[number]["record_key"], digest=rows[number]["record_digest"])
            for number in numbers
        }
        try:
            fresh |= {row["case"]: row for row in index_rows(path, name, records)}
        except (MedshardError, KeyError, ValueError) as error:
            reason = error.problem if isinstance(error, MedshardError) else repr(error)
            yield fault("index.shard", index, "the index does not fit a shard", shard=name, reason=reason)
    known = [number for number, row in enumerate(rows) if row["case"] in fresh]
    expected = index_batch([fresh[rows[number]["case"]] for number in known])
    # Words have numbers over all samples: with some of them damaged, the numbers in `packed` cannot be known.
    names = [name for name in INDEX_SCHEMA.names if name != "packed" or len(known) == len(rows)]
    for place, number in enumerate(known):
        yield from _column_faults(index, names, batch.slice(number, 1), expected.slice(place, 1))


def _column_faults(
    index: Path, names: Iterable[str], found: pa.RecordBatch, expected: pa.RecordBatch
) -> Iterator[Fault]:
    case = expected.column("case").to_pylist()[0]
    for name in names:
        one, other = found.column(name).to_pylist()[0], expected.column(name).to_pylist()[0]
        if one != other and not _both_not_a_number(one, other):
            problem = "a row of the index is not what its shard says"
            yield fault("index.row", index, problem, case=case, column=name, expected=_short(other), found=_short(one))


def _both_not_a_number(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and bool(np.isnan(one) and np.isnan(other))


def _short(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else json.dumps(value, default=str)
    return text if len(text) <= 200 else f"{text[:200]}..."
