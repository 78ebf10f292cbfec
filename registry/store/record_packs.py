"""Records of many small cases in one file, and records found wherever they lie.

    records/packs/ab/<key>.jsonl    a line {"format_version", "keys"}, then one record a line, in the order of the keys

A pack is written once, when all its cases are done; its key is the digest of their keys. A case that was done again,
since its object had gone, stands in two packs: the record whose object is there counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from medshard.registry.store.digests import canonical_json, sha256_json
from medshard.registry.store.objects import FORMAT_VERSION, ObjectRef, Store, check_format_version, read_json
from medshard.registry.store.records import CaseRecord, RecordRef, read_record, record_path

# Packs whose lines stay in memory while lineage walks from stage to stage, a few thousand cases each.
OPEN_PACKS = 6


def write_pack(store: Store, records: Sequence[CaseRecord]) -> None:
    """Write the records of one batch, whole or not at all."""
    keys = [record.key for record in records]
    header = {"format_version": FORMAT_VERSION, "keys": keys}
    lines = [canonical_json(header), *(canonical_json(record.to_json()) for record in records)]
    store.write(pack_path(store, sha256_json(sorted(keys))), b"\n".join(lines) + b"\n")


def pack_path(store: Store, key: str) -> Path:
    return _folder(store) / key[:2] / f"{key}.jsonl"


def find_records(store: Store, keys: Collection[str]) -> dict[str, CaseRecord]:
    """The records under these keys, those whose objects are gone left out, as in `read_record`."""
    there = _Presence(store)
    wanted = set(keys)
    found = {record.key: record for record in _of_packs(store, wanted) if there.has(record.output)}
    for key in wanted - found.keys():
        if (record := read_record(store, key)) is not None:
            found[key] = record
    return found


def recorded(store: Store, ref: RecordRef) -> tuple[CaseRecord | None, Path]:
    """The record that a reference names and where it lies; else one of its key, and None where there is none."""
    candidates = [(read, record_path(store, ref.key)) for read in _of_file(store, ref.key)]
    for path, number in _places(_packs(store)).get(ref.key, ()):
        candidates.append((_parsed(_lines(path)[number], path), path))
    right = (found for found in candidates if found[0].digest == ref.digest)
    return next(right, candidates[0] if candidates else (None, record_path(store, ref.key)))


def _of_file(store: Store, key: str) -> Iterator[CaseRecord]:
    path = record_path(store, key)
    if path.exists():
        document = read_json(path)
        check_format_version(document, where=str(path))
        yield CaseRecord.from_json(document)


def _of_packs(store: Store, wanted: Collection[str]) -> Iterator[CaseRecord]:
    for path in _packs(store):
        numbers = [number for number, key in enumerate(_keys(path), start=1) if key in wanted]
        if numbers:
            lines = path.read_bytes().split(b"\n")
            yield from (_parsed(lines[number], path) for number in numbers)


def _packs(store: Store) -> tuple[Path, ...]:
    return tuple(sorted(_folder(store).glob("*/*.jsonl")))


def _folder(store: Store) -> Path:
    return store.root / "records" / "packs"


@lru_cache(maxsize=4)
def _places(packs: tuple[Path, ...]) -> Mapping[str, list[tuple[Path, int]]]:
    """key -> (pack, number of the line) of every pack that holds it."""
    found: dict[str, list[tuple[Path, int]]] = {}
    for path in packs:
        for number, key in enumerate(_keys(path), start=1):
            found.setdefault(key, []).append((path, number))
    return found


def _keys(path: Path) -> Iterable[str]:
    with path.open("rb") as stream:
        header: dict[str, Any] = json.loads(stream.readline())
    check_format_version(header, where=str(path))
    keys: list[str] = header["keys"]
    return keys


@lru_cache(maxsize=OPEN_PACKS)
def _lines(path: Path) -> Sequence[bytes]:
    return path.read_bytes().split(b"\n")


def _parsed(line: bytes, path: Path) -> CaseRecord:
    document = json.loads(line)
    check_format_version(document, where=str(path))
    return CaseRecord.from_json(document)


class _Presence:
    """Whether objects are there, each looked up once: thousands of cases share a stack."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[ObjectRef, bool] = {}

    def has(self, ref: ObjectRef | None) -> bool:
        if ref is None:
            return True
        if ref not in self._known:
            self._known[ref] = self._store.has(ref)
        return self._known[ref]
