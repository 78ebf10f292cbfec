"""Families -> groups of cases: which family finds the cases, which are further images of them, which are masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from medshard.pipelines.adding.attached import Attached, Group, attached_to, role_text, shared_depth, split_said
from medshard.pipelines.adding.keys import SLOTS, Family, Row, plain_words
from medshard.pipelines.adding.kinds import Kind, KnownFamily
from medshard.pipelines.adding.templates import bindings, fields_of, same_slots
from medshard.pipelines.adding.words import channel_of, is_for_people, speaks_of_image, speaks_of_mask

_CONTENT_KINDS = (Kind.SLIDE, Kind.VOLUME, Kind.PICTURE, Kind.VIDEO, Kind.MESH, Kind.SIGNAL)
_FEWEST_HITS = 0.5
_FEWEST_SHARED = 0.3
_PAIRS_COMPARED = 2


def looks_like_mask(known: KnownFamily) -> bool:
    """By its names, and where they are silent by its content."""
    said = _names_say_mask(known)
    return known.flat if said is None else said


def _names_say_mask(known: KnownFamily) -> bool | None:
    """The file's own word counts before that of its folders, the nearer folder before the farther. None: no word."""
    *folders, own = role_text(known.family).split(" / ")
    if ".seg." in known.family.name or speaks_of_mask(own) or any(map(speaks_of_mask, folders[-1:])):
        return True
    if channel_of(own) is not None and known.kind is Kind.VOLUME:
        return False
    if speaks_of_image(own) and not known.flat:
        return False
    said = next((folder for folder in reversed(folders) if speaks_of_mask(folder) or speaks_of_image(folder)), None)
    return None if said is None else speaks_of_mask(said)


def groups(
    known: Sequence[KnownFamily], same_grid: Callable[[str, str], bool]
) -> tuple[tuple[Group, ...], tuple[KnownFamily, ...]]:
    """The groups of cases, largest first, and the families that none of them needs.

    same_grid: whether two files are images of one shape.
    """
    contents = [one for one in known if one.kind in _CONTENT_KINDS]
    shown = [one for one in contents if is_for_people(role_text(one.family)) and len(contents) > 1]
    masks = [one for one in contents if one not in shown and looks_like_mask(one)]
    images = [one for one in contents if one not in shown and one not in masks]
    masks += [one for one in known if one.kind is Kind.OUTLINES]
    if not images:
        images, masks = [one for one in masks if not one.flat], [one for one in masks if one.flat]
    if not images:
        images, masks = masks, []
    images = images or [one for one in known if one.kind is Kind.TABLE]
    made, previews = _image_groups(images, masks, same_grid)
    made, idle = _with_masks(made, masks)
    others = [one for one in known if one not in images and one.kind in {Kind.TEXT, Kind.JSON, Kind.XML, Kind.TABLE}]
    made, left = _with_others(made, others)
    rest = [one for one in known if one.kind in {Kind.OTHER, Kind.DATA}]
    return tuple(made), (*shown, *previews, *idle, *left, *rest)


def _image_groups(
    images: Sequence[KnownFamily], masks: Sequence[KnownFamily], same_grid: Callable[[str, str], bool]
) -> tuple[list[Group], list[KnownFamily]]:
    """Groups, and the pictures that only show what volumes beside them are."""
    made: list[Group] = []
    previews = []
    for one in sorted(images, key=_anchor_order):
        if any(_is_preview(group, one) for group in made):
            previews.append(one)
            continue
        options = ((place, _further_image(group, one, masks, same_grid)) for place, group in enumerate(made))
        home, further = next(((place, found) for place, found in options if found is not None), (0, None))
        if further is None:
            made.append(_new_group(one))
        else:
            made[home] = replace(made[home], images=(*made[home].images, further))
    return made, previews


def _is_preview(group: Group, known: KnownFamily) -> bool:
    if group.kind is not Kind.VOLUME or known.kind is not Kind.PICTURE:
        return False
    if group.anchor.family.key[:-1] != known.family.key[:-1]:
        return False
    attached = attached_to(group, known)
    return attached is not None and not attached.extra


def _anchor_order(known: KnownFamily) -> tuple[object, ...]:
    """The family with the most cases finds them; among equals contents before pictures, plain names before channels."""
    family = known.family
    cases = len(bindings(family, fields_of(family)))
    return (known.kind not in {Kind.SLIDE, Kind.VOLUME}, -cases, known.kind is Kind.PICTURE, family.key)


def _new_group(known: KnownFamily) -> Group:
    family = known.family
    fields = fields_of(family)
    cases = bindings(family, fields)
    anchor = Attached(known, same_slots(family, fields), frozenset(cases), frozenset(row.path for row in family.rows))
    return Group(fields=fields, cases=cases, images=(anchor,), split=split_said(family))


def _further_image(
    group: Group, known: KnownFamily, masks: Sequence[KnownFamily], same_grid: Callable[[str, str], bool]
) -> Attached | None:
    """The family as one more image of the group's cases, where names and folders say so."""
    if not _may_be_further(group, known, masks):
        return None
    attached = attached_to(group, known)
    if attached is None or attached.extra:
        return None
    hits = len(attached.bound) / max(len(bindings(known.family, fields_of(known.family))), 1)
    if hits < _FEWEST_HITS:
        return None
    return attached if _says_channel(group, known) or _same_grids(group.anchor, attached, same_grid) else None


def _may_be_further(group: Group, known: KnownFamily, masks: Sequence[KnownFamily]) -> bool:
    """Whether kind, part of the split, folders and words allow it. What has masks of its own has cases of its own."""
    anchor = group.anchor.family
    if known.kind is Kind.TABLE or known.kind is not group.kind or split_said(known.family) is not group.split:
        return False
    key = known.family.key
    if any(shared_depth(key, one.family.key) > shared_depth(anchor.key, one.family.key) for one in masks):
        return False
    if known.kind is Kind.PICTURE and key[-1] != anchor.name and channel_of(key[-1]) is None:
        return False
    return _is_beside(group.anchor, known.family)


def _says_channel(group: Group, known: KnownFamily) -> bool:
    """Whether a word, or a folder of each case, says that it is one more image; `lung1` beside `brain1` is not."""
    anchor = group.anchor.family
    if channel_of(known.family.name) is not None or known.family.key[:-1] != anchor.key[:-1]:
        return True
    return any(sign in part for part in anchor.key[:-1] for sign in SLOTS)


def _same_grids(anchor: Attached, other: Attached, same_grid: Callable[[str, str], bool]) -> bool:
    return all(same_grid(one, two) for one, two in _pairs(anchor, other)[:_PAIRS_COMPARED])


def _pairs(one: Attached, other: Attached) -> list[tuple[str, str]]:
    """Files of the same case."""

    def told(attached: Attached, row: Row) -> tuple[tuple[str, str], ...]:
        return tuple(sorted({(name, row.values[slot]) for slot, name in attached.mapping.items()}))

    paths = {told(one, row): row.path for row in one.family.rows}
    return [(paths[key], row.path) for row in other.family.rows if (key := told(other, row)) in paths]


def _is_beside(anchor: Attached, other: Family) -> bool:
    """Whether folders differ below the folder of a case, or in words for images: what merely counts alike is no more
    than that. `aaaaaaaa/t001` and `aaaaaabc/t001` are two persons.
    """
    one = anchor.family
    depth = shared_depth(one.key, other.key)
    if depth == len(one.key) - 1 == len(other.key) - 1:
        return True
    shared_slots = sum(sign in SLOTS for part in one.key[:depth] for sign in part)
    if any(slot in anchor.mapping for slot in range(shared_slots)):
        return abs(len(one.key) - len(other.key)) <= 1
    if len(one.key) != len(other.key):
        return False
    pairs = [(a, b) for a, b in zip(one.key[:-1], other.key[:-1], strict=True) if a != b]
    return len(pairs) <= 2 and all(_are_channels(plain_words(a), plain_words(b)) for a, b in pairs)


def _are_channels(one: str, other: str) -> bool:
    """Two different channels by their words, or a channel beside the images."""
    ours, theirs = channel_of(one), channel_of(other)
    if ours is None and theirs is None:
        return False
    return ours != theirs and all(
        said is not None or speaks_of_image(text) for said, text in ((ours, one), (theirs, other))
    )


def _with_masks(made: Sequence[Group], masks: Sequence[KnownFamily]) -> tuple[list[Group], list[KnownFamily]]:
    """Each family of masks with the groups whose cases it names, the nearest first, as long as it has news for them."""
    found = list(made)
    idle = []
    for mask in masks:
        homes = _homes(found, mask)
        for place, attached in homes:
            found[place] = replace(found[place], masks=(*found[place].masks, attached))
        idle += [] if homes else [mask]
    return found, idle


def _homes(made: Sequence[Group], known: KnownFamily) -> list[tuple[int, Attached]]:
    part = split_said(known.family)
    options = []
    for place, group in enumerate(made):
        if part is not None and group.split is not None and part is not group.split:
            continue
        attached = attached_to(group, known)
        if attached is not None:
            depth = shared_depth(group.anchor.family.key, known.family.key)
            options.append((-_share(attached), -depth, place, attached))
    options.sort(key=lambda option: option[:3])
    chosen: list[tuple[int, Attached]] = []
    covered: set[str] = set()
    for negative_share, _, place, attached in options:
        if attached.paths - covered and (not chosen or -negative_share >= _FEWEST_SHARED):
            chosen.append((place, attached))
            covered |= attached.paths
    return chosen


def _share(attached: Attached) -> float:
    slots = sorted(attached.mapping)
    told = {tuple(row.values[slot] for slot in slots) for row in attached.family.rows}
    return round(min(len(attached.bound) / max(len(told), 1), 1.0), 2)


def _with_others(made: Sequence[Group], others: Sequence[KnownFamily]) -> tuple[list[Group], list[KnownFamily]]:
    """Texts and the like, one for each case."""
    found = list(made)
    left = []
    for one in others:
        homes = [home for home in _homes(found, one) if not home[1].extra] if one.family.slots else []
        for place, attached in homes[:1]:
            found[place] = replace(found[place], others=(*found[place].others, attached))
        left += [] if homes else [one]
    return found, left
