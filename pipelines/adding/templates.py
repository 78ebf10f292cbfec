"""Families -> templates of the layout language, and which slots of one family are the fields of another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medshard.pipelines.adding.keys import BACK, NUMBER, SLOTS, STAR, WHOLE, Family, Row
from medshard.pipelines.adding.words import PATIENT_WORDS, SPLITS

_RESERVED = frozenset({"class", "instance", "rater"})
_ENOUGH = 0.5
_UNIQUE = 0.9
_MOST_MAPPINGS = 400
_NUMBER_WORDS = {"ses": "session", "pat": "patient", "sub": "subject", "pt": "patient", "pid": "patient"}


@dataclass(frozen=True)
class Field:
    """A slot of the anchor that tells cases apart. slot: its number. number: whether it holds digits only."""

    name: str
    slot: int
    number: bool


@dataclass(frozen=True)
class Fit:
    """How a family follows an anchor. mapping: slot of the family -> field. bound: the cases that have a file of it.

    paths: its files that a case has.

    score: how good a reading it is: cases, share of files with a case, no slots left over, fields.
    """

    mapping: Mapping[int, str]
    bound: frozenset[tuple[str, ...]]
    paths: frozenset[str]
    score: tuple[float, ...]


def fields_of(family: Family) -> tuple[Field, ...]:
    """The slots of an anchor that vary; of a single file all within the last two names, so that more can come."""
    signs = slot_signs(family)
    varied = [slot for slot in range(family.slots) if len(family.distinct(slot)) > 1]
    if not varied:
        depth = [place for place, part in enumerate(family.key) for sign in part if sign in SLOTS]
        last = max(depth, default=0)
        inside = [slot for slot in range(family.slots) if depth[slot] == last]
        varied = sorted(inside, key=lambda slot: (-len(family.rows[0].values[slot]), -slot))[:1]
    kept: list[int] = []
    for slot in varied:
        column = [row.values[slot] for row in family.rows]
        if not any(column == [row.values[other] for row in family.rows] for other in kept):
            kept.append(slot)
    names: dict[int, str] = {}
    for slot in kept:
        names[slot] = _name(family, slot, set(names.values()), last=slot == kept[-1])
    return tuple(Field(names[slot], slot, signs[slot] == NUMBER) for slot in kept)


def slot_signs(family: Family) -> list[str]:
    return [sign for part in family.key for sign in part if sign in SLOTS]


def _name(family: Family, slot: int, taken: set[str], *, last: bool) -> str:
    """What a slot is called: by the word in front of it, else by where it stands."""
    depth, before, sign = _place(family, slot)
    found = re.findall(r"[A-Za-z]+", before.rpartition(WHOLE)[2])
    word = found[-1].lower() if found and sign != WHOLE else ""
    name = _NUMBER_WORDS.get(word, word)
    if len(name) < 2 or name in SPLITS or name in _RESERVED or (last and name not in PATIENT_WORDS):
        name = "case" if last else "folder" if depth < len(family.key) - 1 else "part"
    while name in taken or name in _RESERVED:
        stem, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
        name = f"{stem}{int(number or 1) + 1}"
    return name


def _place(family: Family, slot: int) -> tuple[int, str, str]:
    """Depth of the part that a slot stands in, what stands in front of it there, and its sign."""
    places = [
        (depth, part[:at], sign)
        for depth, part in enumerate(family.key)
        for at, sign in enumerate(part)
        if sign in SLOTS
    ]
    return places[slot]


def same_slots(family: Family, fields: Sequence[Field]) -> dict[int, str]:
    """Slot -> field, of the anchor itself: slots that always hold the same are one field."""
    columns = {field.name: [row.values[field.slot] for row in family.rows] for field in fields}
    found: dict[int, str] = {}
    for slot in range(family.slots):
        column = [row.values[slot] for row in family.rows]
        name = next((name for name, values in columns.items() if values == column), None)
        is_field = any(field.slot == slot for field in fields)
        if name is not None and (is_field or len(set(column)) > 1):
            found[slot] = next((field.name for field in fields if field.slot == slot), name)
    return found


def template(family: Family, mapping: Mapping[int, str], row: Row | None = None) -> str:
    """The path of a family with fields. Slots without one stand as they are in the row, the first if none is given."""
    shown = row or family.rows[0]
    made: list[str] = []
    slot = 0
    for part in family.key:
        text = []
        for sign in part:
            if sign in SLOTS:
                name = mapping.get(slot)
                text.append(shown.values[slot] if name is None else name if name == "*" else f"{{{name}}}")
                slot += 1
            elif sign == STAR:
                text.append("*")
            elif ord(sign) >= BACK:
                text.append(made[ord(sign) - BACK])
            else:
                text.append(sign)
        made.append("".join(text))
    return "/".join(made)


def bindings(family: Family, fields: Sequence[Field]) -> tuple[tuple[str, ...], ...]:
    """What the fields hold, once for each case."""
    return tuple(dict.fromkeys(tuple(row.values[field.slot] for field in fields) for row in family.rows))


def fit(
    family: Family, fields: Sequence[Field], known: Sequence[tuple[str, ...]], folders: Mapping[int, str | None]
) -> Fit | None:
    """The best reading of a family's slots as fields of an anchor; None where its files go with no case of it.

    known: the bindings of the anchor. folders: slots of folders that both share, and the field of each.
    A field may be missing where the others tell the cases apart.
    """
    places = {field.name: place for place, field in enumerate(fields)}
    columns = {field.name: {binding[place] for binding in known} for place, field in enumerate(fields)}
    options: list[list[str | None]] = []
    for slot in range(family.slots):
        if slot in folders:
            options.append([folders[slot]])
            continue
        values = set(family.distinct(slot))
        fitting = [name for name, column in columns.items() if len(values & column) >= _ENOUGH * len(values)]
        options.append([*fitting, None])
    best: Fit | None = None
    for mapping in _mappings(options):
        names = sorted(set(mapping.values()), key=places.__getitem__)
        if not names:
            continue
        projected: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for binding in known:
            projected.setdefault(tuple(binding[places[name]] for name in names), []).append(binding)
        if len(projected) < _UNIQUE * len(known):
            continue
        rows = [_projection(row, mapping, names) for row in family.rows]
        hits = sum(row in projected for row in rows) / len(rows)
        bound = frozenset(binding for row in rows if row is not None for binding in projected.get(row, ()))
        extra = sum(len(family.distinct(slot)) > 1 for slot in range(family.slots) if slot not in mapping)
        score = (len(bound), hits, -extra, len(mapping))
        if hits > 0 and (best is None or score > best.score):
            paths = frozenset(row.path for row, said in zip(family.rows, rows, strict=True) if said in projected)
            best = Fit(mapping, bound, paths, score)
    return best


def _projection(row: Row, mapping: Mapping[int, str], names: Sequence[str]) -> tuple[str, ...] | None:
    """What the mapped slots of a file say of the fields; None where two slots of one field disagree."""
    told: dict[str, str] = {}
    for slot, name in mapping.items():
        if told.setdefault(name, row.values[slot]) != row.values[slot]:
            return None
    return tuple(told[name] for name in names)


def _mappings(options: Sequence[Sequence[str | None]]) -> Iterator[dict[int, str]]:
    """Ways to read slots as fields, at most a few hundred."""
    made: list[dict[int, str]] = [{}]
    for slot, names in enumerate(options):
        made = [{**mapping, slot: name} if name is not None else mapping for mapping in made for name in names][
            :_MOST_MAPPINGS
        ]
    yield from made


def is_patient_word(name: str) -> bool:
    return re.sub(r"\d+$", "", name) in PATIENT_WORDS
