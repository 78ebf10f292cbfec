"""Splits in the store: tables among its objects, named by digest, and names for them.

objects/ab/<sha256>.split.jsonl    a table
splits/<name>.json                 {"format_version", "table", "entries", "previous"}: the table of that name now
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medshard.errors import SplitError, StoreError
from medshard.registry.splits.table import SUFFIX, Split, check_no_leak
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.manifests import read_head
from medshard.registry.store.objects import ObjectRef, Store, check_format_version, read_json

FORMAT_VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True)
class NamedSplit:
    """What a name stands for. entries: entry -> digest of the manifest of its cases when the split was made."""

    name: str
    table: ObjectRef
    entries: Mapping[str, str]
    previous: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "table": self.table.to_json(),
            "entries": dict(self.entries),
            "previous": self.previous,
        }


def save_split(store: Store, name: str, split: Split, entries: Mapping[str, str]) -> NamedSplit:
    """Keep a table and give it a name, which another table may have had before.

    Raises SplitError[split.name], and [split.leak] for a table that leaks.
    """
    if not NAME.fullmatch(name) or _DIGEST.fullmatch(name):
        raise SplitError(
            "split.name",
            where=name,
            problem="a split cannot be called so",
            details={"expected": "small letters, digits, points and dashes, and not a digest"},
        )
    check_no_leak(split)
    table = store.publish_bytes(split.to_bytes(), SUFFIX)
    before = read_named(store, name)
    previous = before.table.digest if before and before.table != table else before.previous if before else None
    named = NamedSplit(name=name, table=table, entries=dict(entries), previous=previous)
    store.write(_path(store, name), canonical_json(named.to_json()) + b"\n")
    return named


def read_named(store: Store, name: str) -> NamedSplit | None:
    path = _path(store, name)
    if not NAME.fullmatch(name) or not path.exists():
        return None
    document = read_json(path)
    check_format_version(document, where=str(path))
    return NamedSplit(
        name=name,
        table=ObjectRef.from_json(document["table"]),
        entries=document["entries"],
        previous=document["previous"],
    )


def split_names(store: Store) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (store.root / "splits").glob("*.json")))


def find_table(store: Store | None, split: ObjectRef | str | Path) -> Path:
    """The file of a split: of its name, of the recipe that it belongs to, of its digest (8 digits or more) or a path.

    Raises SplitError[split.unknown] and [split.ambiguous].
    """
    if isinstance(split, ObjectRef):
        if store is None:
            raise _unknown(split.digest, store)
        return store.path(split)
    text = os.fspath(split)
    if store is not None and isinstance(split, str):
        if (named := read_named(store, text)) is not None:
            return store.path(named.table)
        if NAME.fullmatch(text) and (head := read_head(store, text, "split")) is not None:
            return store.path(head.attachments["split"])
        if _DIGEST.fullmatch(text):
            found = sorted((store.root / "objects" / text[:2]).glob(f"{text}*{SUFFIX}"))
            if len(found) > 1:
                raise SplitError(
                    "split.ambiguous",
                    where=text,
                    problem="several splits have a digest that begins so",
                    details={"digests": ", ".join(path.name.removesuffix(SUFFIX) for path in found)},
                )
            if found:
                return found[0]
    if not Path(split).is_file():
        raise _unknown(text, store)
    return Path(split)


def load_split(store: Store | None, split: ObjectRef | str | Path) -> Split:
    """A split as it is, leaks and all. Raises SplitError as `find_table` does, and when it cannot be read."""
    path = find_table(store, split)
    try:
        return Split.from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(
            "object.missing",
            where=str(path),
            problem="the table of the split is not in the store",
            action="Make the split again with `medshard split make`.",
        ) from None
    except OSError as error:
        raise SplitError("split.unreadable", where=str(path), problem=f"cannot be read: {error}") from error
    except SplitError as error:
        raise SplitError(
            error.code, where=str(path), problem=error.problem, details=error.details, action=error.action
        ) from error


def read_split(store: Store | None, split: ObjectRef | str | Path) -> Split:
    """A split by its name, its digest (8 digits or more), the recipe that it belongs to, or a path; checked.

    Raises SplitError when there is none, when it cannot be read, and when a component stands on two sides of it.
    """
    found = load_split(store, split)
    check_no_leak(found)
    return found


def _path(store: Store, name: str) -> Path:
    return store.root / "splits" / f"{name}.json"


def _unknown(text: str, store: Store | None) -> SplitError:
    names = ", ".join(split_names(store)) if store else ""
    return SplitError(
        "split.unknown",
        where=text,
        problem="there is no split of this name or digest, and no such file",
        details={"splits": names or "none"},
        action="Make it with `medshard split make NAME ENTRY...`.",
    )
