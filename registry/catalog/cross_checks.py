"""What the entries of a catalog say about one another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from medshard.registry.catalog.entry_checks import EntryFault
from medshard.registry.schema import Entry


def check_entries(
    entries: Mapping[str, Entry], also_there: frozenset[str] = frozenset()
) -> Iterator[tuple[str, EntryFault]]:
    """(id, fault) of every entry that contradicts another one.

    also_there: ids of entries that exist and are not valid themselves: an overlap with them is no fault.
    """
    yield from _rows_belong_to_one_entry(entries)
    yield from _overlaps_are_declared_once(entries, also_there)


def _rows_belong_to_one_entry(entries: Mapping[str, Entry]) -> Iterator[tuple[str, EntryFault]]:
    owners: dict[tuple[int, str, str | None], str] = {}
    for entry in entries.values():
        for number, row in enumerate(entry.paper):
            if row.group is None:
                continue  # the survey's rows may stand for several sets: "MSD", "VerSe"
            owner = owners.setdefault((row.table, row.name, row.modality), entry.id)
            if owner != entry.id:
                message = f"this row of table {row.table} belongs to {owner} already"
                yield entry.id, EntryFault(("paper", number, "name"), message)


def _overlaps_are_declared_once(
    entries: Mapping[str, Entry], also_there: frozenset[str]
) -> Iterator[tuple[str, EntryFault]]:
    declared: dict[frozenset[str], str] = {}
    for entry in entries.values():
        for number, overlap in enumerate(entry.overlaps):
            at = ("overlaps", number, "entry")
            if overlap.entry not in entries and overlap.entry not in also_there:
                near = difflib.get_close_matches(overlap.entry, list(entries), n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                yield entry.id, EntryFault(at, f"no entry has the id {overlap.entry!r}{hint}")
            pair = frozenset((entry.id, overlap.entry))
            if declared.setdefault(pair, entry.id) != entry.id:
                message = f"{declared[pair]} declares this overlap already; one of the two is enough"
                yield entry.id, EntryFault(at, message)
