"""File names of one kind of folder that vary in words: what they begin and end with, and one slot between."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medshard.pipelines.adding.keys import (
    BACK,
    CODE,
    NUMBER,
    STAR,
    WHOLE,
    Part,
    Row,
    common_start,
    ending,
    is_picture,
    is_volume,
    slots_of,
)
from medshard.pipelines.adding.words import channel_of, is_for_people, speaks_of_mask

_MOST_SLOTS = 3
_FEW_FILES = 3
_MANY_TABLES = 20
_CROWDED = 8


def merged_files(rows: Sequence[Row]) -> list[Row]:
    """File names of one kind of folder that vary in words: what they begin and end with, and one slot between."""
    groups: dict[tuple[tuple[str, ...], str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    recurring = _recurring_names(rows)
    for number, row in enumerate(rows):
        key = row.parts[-1].key
        if key[0] != STAR and key not in recurring:
            suffix = ending(row.path.rpartition("/")[2])
            groups[row.key[:-1], suffix, _role_of(key.removesuffix(suffix))][key].append(number)
    made = list(rows)
    for (_, suffix, _), patterns in groups.items():
        for chosen in _patterns_of_one_thing(patterns, rows):
            numbers = [number for key in chosen for number in patterns[key]]
            before, after = _shared_ends(chosen, suffix)
            for number in numbers:
                made[number] = _with_slot_between(rows[number], before, after)
    return made


def _recurring_names(rows: Sequence[Row]) -> set[str]:
    """Names without a number that volumes have in several folders: what the file is, and no name of a case."""
    folders: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        key = row.parts[-1].key
        if is_volume(key) and not slots_of(key):
            folders[key].add(row.path.rpartition("/")[0])
    return {key for key, places in folders.items() if len(places) > 1}


def _role_of(stem: str) -> str:
    """What a file's own name says that it is; two roles are never one pattern."""
    channel = channel_of(stem)
    number = re.search(r"[_.-]00\d\d$", stem)
    words = (
        speaks_of_mask(stem) and "mask",
        is_for_people(stem) and "shown",
        channel and channel.name,
        number and number[0],
    )
    return " ".join(word for word in words if word)


def _patterns_of_one_thing(patterns: Mapping[str, Sequence[int]], rows: Sequence[Row]) -> list[list[str]]:
    """Sets of patterns that differ in the name of the case, not in what the file is."""
    crowded = [key for key in patterns if slots_of(key) > _MOST_SLOTS]
    folders = {key: {rows[number].path.rpartition("/")[0] for number in of} for key, of in patterns.items()}
    if len(set().union(*folders.values())) > 1:
        if len(patterns) > 1 and _is_crowd_of_folders(patterns, rows, len(set().union(*folders.values()))):
            return [list(patterns)]
        lonely = [key for key in patterns if len(folders[key]) == 1 or key in crowded]
        apart = sum(len(folders[key]) for key in lonely) == len(set().union(*(folders[key] for key in lonely)))
        return [lonely] if len(lonely) > 1 and apart else [[key] for key in crowded]
    return [list(patterns)] if len(patterns) > 1 and _is_one_crowd(patterns, rows) else [[key] for key in crowded]


def _is_crowd_of_folders(patterns: Mapping[str, Sequence[int]], rows: Sequence[Row], folders: int) -> bool:
    """Folders with many images each, named in several ways: they are classes or parts, not cases."""
    files = sum(len(of) for of in patterns.values())
    return files >= _CROWDED * folders and all(map(is_picture, patterns)) and _is_one_crowd(patterns, rows)


def _is_one_crowd(patterns: Mapping[str, Sequence[int]], rows: Sequence[Row]) -> bool:
    """Whether the patterns of one folder are names of cases: a number never stands in two of them."""
    seen: set[tuple[str, str]] = set()
    prefixed = _differ_in_first_word(list(patterns))
    for numbers in () if prefixed else patterns.values():
        main = _main_values(numbers, rows)
        if seen & main:
            return False
        seen |= main
    if all(is_picture(key) for key in patterns):
        return True
    if not all(is_volume(key) for key in patterns):
        return sum(len(of) for of in patterns.values()) >= _MANY_TABLES
    referring = any(ord(sign) >= BACK for key in patterns for sign in key)
    return not referring and (len(patterns) >= _FEW_FILES or all(slots_of(key) for key in patterns))


def _differ_in_first_word(keys: Sequence[str]) -> bool:
    """`brain1_image`, `lung1_image`: a word, a number, and what all end with."""
    stems = [key.removesuffix(ending(key)) for key in keys]
    parts = [re.fullmatch(rf"[A-Za-z]+[_-]?{NUMBER}(?P<tail>.*)", stem) for stem in stems]
    return all(parts) and len({part["tail"] for part in parts if part}) == 1


def _main_values(numbers: Sequence[int], rows: Sequence[Row]) -> set[tuple[str, str]]:
    """What stands in the slot that varies most, with the folder that it stands in."""
    columns = zip(*(rows[number].parts[-1].values for number in numbers), strict=True)
    main = max(columns, key=lambda column: len(set(column)), default=())
    folders = (rows[number].path.rpartition("/")[0] for number in numbers)
    return set(zip(folders, main, strict=False))


def _shared_ends(keys: Sequence[str], suffix: str) -> tuple[str, str]:
    """What all keys begin with up to a separator or back reference, and what they end with from a separator on."""
    stems = [key.removesuffix(suffix) for key in keys]
    before = common_start(stems)
    before = before[: max((at + 1 for at, sign in enumerate(before) if sign in "_-. " or ord(sign) >= BACK), default=0)]
    if len(keys) == 1:
        before = before if any(ord(sign) >= BACK for sign in before) else ""
        before = before[: max((at + 1 for at, sign in enumerate(before) if ord(sign) >= BACK), default=0)]
    rests = [stem[len(before) :][::-1] for stem in stems]
    after = common_start(rests)[::-1]
    if len(keys) == 1 or any(len(after) == len(rest) for rest in rests):
        after = after[1:]
    found = re.search(r"[_\-. ]+([A-Za-z][A-Za-z0-9]*|00\d\d)$", after)
    return _plain_until(before), (found[0] if found else "") + suffix


def _plain_until(before: str) -> str:
    """A beginning without slots of its own; they become part of the slot behind it."""
    return before[: min((before.index(slot) for slot in (NUMBER, CODE, WHOLE) if slot in before), default=len(before))]


def _with_slot_between(row: Row, before: str, after: str) -> Row:
    names = row.path.split("/")
    said = "".join(names[ord(sign) - BACK] if ord(sign) >= BACK else sign for sign in before)
    value = names[-1].removeprefix(said).removesuffix(after)
    return replace(row, parts=(*row.parts[:-1], Part(before + WHOLE + after, (value,))))
