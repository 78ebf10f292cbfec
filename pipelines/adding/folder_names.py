"""Folders beside one another that hold alike files are names of something: one slot instead of many keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from medshard.pipelines.adding.keys import PICTURES, VOLUMES, WHOLE, Part, Row, ending, slots_of
from medshard.pipelines.adding.words import is_role, speaks_of_mask

_LIKE_ENOUGH = 0.5
_CONTAINED = 0.8
_PICTURES_WORD = "pictures"


def merged_folders(rows: Sequence[Row]) -> list[Row]:
    """Folders beside one another that hold alike files are names of something: one slot."""
    deepest = max((len(row.parts) - 1 for row in rows), default=0)
    found = list(rows)
    for depth in range(deepest):
        whole = _folders_to_merge(found, depth)
        if whole:
            found = [_as_whole(row, depth) if row.key[: depth + 1] in whole else row for row in found]
    return found


def _folders_to_merge(rows: Iterable[Row], depth: int) -> set[tuple[str, ...]]:
    below: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    names: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        if len(row.parts) > depth + 1:
            key = row.key
            below[key[: depth + 1]].add(key[depth + 1 :])
            names[key[: depth + 1]].add(row.path.split("/")[depth])
    siblings: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for key in sorted(below):
        if key[-1] != WHOLE and not any(is_role(name) for name in sorted(names[key])[:3]):
            siblings[key[:-1]].append(key)
    merged: set[tuple[str, ...]] = set()
    for keys in siblings.values():
        for cluster in _clusters(keys, below):
            if len(cluster) > 1 or _varied(cluster[0], rows, depth) > 1:
                merged.update(cluster)
    return merged


def _varied(key: tuple[str, ...], rows: Iterable[Row], depth: int) -> int:
    """How many slots of a folder's name differ between its files: several are better one slot."""
    if slots_of(key[-1]) < 2:
        return 0
    columns = zip(*{row.parts[depth].values for row in rows if row.key[: depth + 1] == key}, strict=True)
    return sum(len(set(column)) > 1 for column in columns)


def _clusters(
    keys: Sequence[tuple[str, ...]], below: Mapping[tuple[str, ...], set[tuple[str, ...]]]
) -> list[list[tuple[str, ...]]]:
    made: list[list[tuple[str, ...]]] = []
    for key in keys:
        home = next((cluster for cluster in made if _alike(below[cluster[0]], below[key])), None)
        if home is None:
            made.append([key])
        else:
            home.append(key)
    return made


def _alike(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> bool:
    shared = len(one & other)
    return shared / len(one | other) >= _LIKE_ENOUGH or shared / min(len(one), len(other)) >= _CONTAINED


def _as_whole(row: Row, depth: int) -> Row:
    name = row.path.split("/")[depth]
    return replace(row, parts=(*row.parts[:depth], Part(WHOLE, (name,)), *row.parts[depth + 1 :]))


def odd_names_in_leaves(rows: Sequence[Row]) -> list[Row]:
    """Folders beside one another, each with files of one ending and names of its own: a slot for folder and file."""
    leaves: dict[tuple[str, ...], set[str]] = defaultdict(set)
    names: dict[tuple[str, ...], str] = {}
    mixed: set[tuple[str, ...]] = set()
    for row in rows:
        for depth in range(1, len(row.parts) - 1):
            mixed.add(row.key[:depth])
        leaves[row.key[:-1]].add(row.parts[-1].key)
        names.setdefault(row.key[:-1], row.path.rpartition("/")[0].rpartition("/")[2])
    siblings: dict[tuple[tuple[str, ...], str, bool], list[tuple[str, ...]]] = defaultdict(list)
    for key in sorted(leaves):
        suffixes = {ending(name).lower() for name in leaves[key]}
        if key and key not in mixed and suffixes <= PICTURES | VOLUMES and not is_role(names[key]):
            is_mask = any(speaks_of_mask(name) for name in leaves[key])
            siblings[key[:-1], _PICTURES_WORD if suffixes <= PICTURES else min(suffixes), is_mask].append(key)
    odd = {key for keys in siblings.values() if len(keys) > 1 and any(key[-1] != WHOLE for key in keys) for key in keys}
    return [_as_odd(row) if row.key[:-1] in odd else row for row in rows]


def _as_odd(row: Row) -> Row:
    *folders, name = row.path.split("/")
    suffix = ending(name)
    slots = (Part(WHOLE, (folders[-1],)), Part(WHOLE + suffix, (name.removesuffix(suffix),)))
    return replace(row, parts=(*row.parts[:-2], *slots))
