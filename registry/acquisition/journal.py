"""When and how a part came into this store: what a person wants to know and no digest may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import FORMAT_VERSION, Store, check_format_version, read_json


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One acquisition of one part.

    when: UTC, ISO 8601. who: user and machine. place: where it came from, in words. seconds: of fetching and
    unpacking. transferred: bytes that came over the wire. failed: mirrors that were tried in vain. files: name -> url,
    validator, attempts. accepted: digest of the licence terms that were accepted; None where none are asked for.
    """

    when: str
    who: str
    place: str
    seconds: float
    transferred: int
    failed: tuple[str, ...] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accepted: str | None = None


def write_journal(store: Store, entry: str, key: str, acquired: JournalEntry) -> None:
    """key: of the record that the acquisition made."""
    document = {"format_version": FORMAT_VERSION, **asdict(acquired)}
    store.write(_path(store, entry, key), canonical_json(document) + b"\n")


def read_journal(store: Store, entry: str, key: str) -> JournalEntry | None:
    """None for what was acquired before there was a journal."""
    path = _path(store, entry, key)
    if not path.exists():
        return None
    document = read_json(path)
    check_format_version(document, where=str(path))
    fields = {name: value for name, value in document.items() if name != "format_version"}
    return JournalEntry(**{**fields, "failed": tuple(fields["failed"])})


def _path(store: Store, entry: str, key: str) -> Path:
    return store.root / "journal" / entry / f"{key}.json"
