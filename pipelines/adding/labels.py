"""Masks of a group -> label layers: which files are one layer, which values they hold, and what those may mean."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medshard.pipelines.adding.attached import Attached, Group
from medshard.pipelines.adding.keys import STAR, Family, Row, common_start, ending
from medshard.pipelines.adding.kinds import Kind
from medshard.pipelines.adding.meanings import concept_of, demand, meanings
from medshard.pipelines.adding.notes import Noted, sentences
from medshard.pipelines.adding.samples import MaskFacts, mask_facts
from medshard.pipelines.adding.templates import template
from medshard.pipelines.adding.walk import FoundFiles
from medshard.pipelines.adding.words import split_of, words_of
from medshard.registry.concepts import Vocabulary

_RECURS = 0.5
_MOST_READ = 40
_MANY_VALUES = 20
_THRESHOLD = 128


@dataclass(frozen=True)
class _File:
    """One kind of mask file: its template, and the masks that follow it. cases: how many have one."""

    path: str
    family: Family
    rows: tuple[Row, ...]
    mask: Attached
    cases: int


@dataclass(frozen=True)
class Reading:
    """What labels are read with. names: value -> word, as a file of the data set declares them."""

    found: FoundFiles
    vocabulary: Vocabulary
    names: Mapping[int, str]


def layers(group: Group, reading: Reading) -> dict[str, Noted | dict[str, Any]]:
    """Layer -> its fields, in the order of their paths."""
    made: dict[str, Noted | dict[str, Any]] = {}
    for files in _clusters(_files(group)):
        for layer, word in _layers_of(files, group, reading):
            made[_free_name(word, made)] = layer
    return made


def _files(group: Group) -> list[_File]:
    """The kinds of mask files; slots that count up several files of a case make a kind for each of their values."""
    made = []
    for mask in group.masks:
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in mask.family.rows:
            rows[_path_of(mask, row, group)].append(row)
        for path, of_path in sorted(rows.items()):
            told = {tuple(row.values[slot] for slot in sorted(mask.mapping)) for row in of_path}
            kept = Family(mask.family.key, tuple(of_path), mask.family.shared)
            made.append(_File(path, kept, tuple(of_path), mask, len(told)))
    return made


def _path_of(mask: Attached, row: Row, group: Group) -> str:
    """The template with what counts up as it stands, or one star for the slices of a volume."""
    path = template(mask.family, mask.mapping, row)
    sliced = mask.known.kind is Kind.PICTURE and group.kind is Kind.VOLUME
    if mask.extra and sliced and mask.family.name[0] != STAR:
        folder, _, name = path.rpartition("/")
        return f"{folder}/*{ending(name)}"
    return path


def _clusters(files: Sequence[_File]) -> list[list[_File]]:
    """Kinds of files whose templates differ in one name only: the classes, raters or findings of one layer."""
    left = list(files)
    made = []
    while left:
        first = left.pop(0)
        parts = first.path.split("/")
        best: list[_File] = []
        for depth in range(len(parts) - 1, -1, -1):
            if depth < len(parts) - 1 and "{" in parts[depth]:
                continue
            alike = [other for other in left if _differs_only_at(first.path, other.path, depth)]
            if len(alike) > len(best):
                best = alike
        made.append([first, *best])
        left = [other for other in left if other not in best]
    return made


def _differs_only_at(one: str, other: str, depth: int) -> bool:
    ours, theirs = one.split("/"), other.split("/")
    if len(ours) != len(theirs) or ending(ours[-1]) != ending(theirs[-1]):
        return False
    return all((a == b) != (place == depth) for place, (a, b) in enumerate(zip(ours, theirs, strict=True)))


def _layers_of(files: Sequence[_File], group: Group, reading: Reading) -> Iterator[tuple[Noted | dict[str, Any], str]]:
    """One layer for files that differ in a class, a finding or an annotator; else one for each. With a word each."""
    together = _together(files, group, reading) if len(files) > 1 else None
    if together is not None:
        yield together
        return
    for file in files:
        yield _single(file, group, reading), _layer_word(file.path, reading)


def _together(files: Sequence[_File], group: Group, reading: Reading) -> tuple[Noted, str] | None:
    words, path = _words_between([file.path for file in files])
    if not all(words) or any(split_of(word) for word in words):
        return None
    facts = [mask_facts(file.family, reading.found) for file in files[:_MOST_READ]]
    known = sum(concept_of(word, reading.vocabulary) is not None for word in words)
    if all(fact.is_binary for fact in facts):
        recurring = sum(file.cases for file in files) / len(files) >= _RECURS * len(group.cases)
        if recurring or known >= len(words) / 2:
            return _per_class(words, path, facts, reading), "structures"
        return _per_instance(path, len(files), files, reading), "findings"
    if all(re.fullmatch(r"\D*\d+", word) for word in words) and "{" not in path.rpartition("{class}")[2]:
        return _per_rater(files, words, path, group, reading), "mask"
    return None


def _words_between(paths: Sequence[str]) -> tuple[list[str], str]:
    """What tells the paths apart, and the template with `{class}` in its place; cut at separators."""
    before = common_start(list(paths))
    before = before[: max((at + 1 for at, sign in enumerate(before) if sign in "/_-. }"), default=0)]
    after = common_start([path[len(before) :][::-1] for path in paths])[::-1]
    cut = re.search(r"[/_\-. {].*$", after)
    after = cut[0] if cut else ""
    return [path[len(before) : len(path) - len(after)] for path in paths], f"{before}{{class}}{after}"


def _per_class(words: Sequence[str], path: str, facts: Sequence[MaskFacts], reading: Reading) -> Noted:
    named = dict(enumerate(words, start=1))
    concepts = {value: concept_of(word, reading.vocabulary) or demand(word) for value, word in named.items()}
    layer: dict[str, Any] = {"path": path, "classes": _noted_classes(concepts, named), "names": named}
    if any(fact.needs_threshold for fact in facts):
        layer["threshold"] = Noted(_THRESHOLD, "guessed: the masks are stored with loss")
    layer["optional"] = Noted(True, "TODO false where a missing file is a defect")
    return Noted(layer, f"guessed: one binary mask per class, told apart by {len(words)} words in the path")


def _per_instance(path: str, count: int, files: Sequence[_File], reading: Reading) -> Noted:
    word = _layer_word(files[0].path, reading)
    layer = {
        "path": path.replace("{class}", "{instance}"),
        "kind": "instance",
        "classes": {1: Noted(concept_of(word, reading.vocabulary) or demand(word), "TODO what each finding is")},
        "optional": True,
    }
    return Noted(layer, f"guessed: one binary file per finding ({count} names, which do not recur from case to case)")


def _per_rater(files: Sequence[_File], words: Sequence[str], path: str, group: Group, reading: Reading) -> Noted:
    layer = _single(files[0], group, reading)
    fields = dict(layer.value if isinstance(layer, Noted) else layer)
    fields["path"] = path.replace("{class}", "{rater}")
    return Noted(fields, f"guessed: the same mask by several annotators: {sentences(list(words))}")


def _single(file: _File, group: Group, reading: Reading) -> Noted | dict[str, Any]:
    """A layer of one file per case, by the values of a few of them."""
    facts = mask_facts(file.family, reading.found)
    optional = {"optional": True} if file.cases < len(group.cases) else {}
    word = _layer_word(file.path, reading)
    if facts.names:
        classes, unmapped = meanings(facts.names, reading.vocabulary)
        named = dict(facts.names)
        layer = {"path": file.path, "classes": _noted_classes(classes, named), "names": named}
        return Noted({**layer, **_if_any("unmapped", unmapped), **optional}, "guessed: the file names its segments")
    if facts.fractional:
        soft = {"path": file.path, "concept": concept_of(word, reading.vocabulary) or demand(word)}
        return Noted({"kind": "soft", "maps": [soft], **optional}, "guessed: values between whole numbers")
    if facts.colours:
        return _coloured(file.path, facts, optional)
    if facts.needs_threshold:
        concept = concept_of(word, reading.vocabulary) or demand(word)
        fields = {"path": file.path, "classes": {1: concept}, "threshold": _THRESHOLD, **optional}
        return Noted(fields, f"guessed: 0 and 255 stored with loss ({len(facts.values)} greys), so a threshold decides")
    return _valued(file.path, word, facts, optional, reading)


def _valued(
    path: str, word: str, facts: MaskFacts, optional: Mapping[str, bool], reading: Reading
) -> Noted | dict[str, Any]:
    values = sorted({*facts.foreground, *(value for value in reading.names if value > 0)})
    if not facts.files:
        why = sentences(sorted(set(facts.failed))) or "no file"
        return Noted({"path": path, "classes": {1: demand(word)}, **optional}, f"TODO no sampled mask was read: {why}")
    if any(value < 0 for value in facts.values) or len(values) > 1000:
        note = f"TODO is this a mask? It holds {len(facts.values)} values, the least {min(facts.values)}"
        return Noted({"path": path, "classes": {1: demand(word)}, **optional}, note)
    contiguous = values == list(range(1, len(values) + 1))
    varying = len(set(facts.in_files.values())) > 1
    if not reading.names and len(values) > _MANY_VALUES and contiguous and varying:
        concept = concept_of(word, reading.vocabulary) or demand(word)
        layer = {"path": path, "kind": "instance", "classes": {1: concept}, **optional}
        return Noted(layer, f"guessed: values count findings (1 to {len(values)}, not the same in every mask)")
    named = {value: reading.names.get(value, word if len(values) == 1 else f"value {value}") for value in values or [1]}
    classes, unmapped = meanings(named, reading.vocabulary)
    remarks = {
        value: f"in {facts.in_files[value]} of {facts.files} masks looked at, {facts.values[value]:,} voxels"
        if value in facts.values
        else "TODO declared, but in none of the masks looked at"
        for value in named
    }
    layer = {"path": path, "classes": {value: Noted(concept, remarks[value]) for value, concept in classes.items()}}
    if reading.names:
        layer["names"] = {value: name for value, name in named.items() if value in reading.names}
    return {**layer, **_if_any("unmapped", {value: Noted(why, remarks[value]) for value, why in unmapped.items()}),
            **optional}  # fmt: skip


def _coloured(path: str, facts: MaskFacts, optional: Mapping[str, bool]) -> Noted:
    shades = [colour for colour in facts.colours if colour != "#000000"]
    if len(shades) > _MANY_VALUES:
        note = f"TODO is this a mask? It is a colour picture with {len(shades)} colours or more"
        return Noted({"path": path, "classes": {1: demand("these colours")}, **optional}, note)
    numbered = dict(enumerate(sorted(shades), start=1))
    layer = {
        "path": path,
        "classes": {value: demand(f"the colour {colour[1:]}") for value, colour in numbered.items()},
        "colours": {colour: Noted(value, f"{facts.colours[colour]:,} pixels") for value, colour in numbered.items()},
        **optional,
    }
    lossy = "; stored with loss, so that exact colours will not do" if facts.lossy else ""
    return Noted(layer, f"guessed: the masks are colour pictures with {len(shades)} colours beside black{lossy}")


def _noted_classes(classes: Mapping[int, str], named: Mapping[int, str]) -> dict[int, Any]:
    return {
        value: concept if concept.startswith("TODO") else Noted(concept, f"guessed: `{named[value]}`")
        for value, concept in classes.items()
    }


def _if_any(name: str, value: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: dict(value)} if value else {}


def _layer_word(path: str, reading: Reading) -> str:
    """The word of a path that may name what is drawn: of the file, else of its folder; else what it is."""
    names = [re.sub(r"\{\w+\}", " ", part) for part in path.split("/")]
    names[-1] = names[-1].removesuffix(ending(names[-1]))
    for name in reversed(names[-3:]):
        if concept_of(name, reading.vocabulary):
            return name
    words = [word for word in words_of(names[-1]) if len(word) > 1 and not word.isdigit()]
    return "_".join(words[:3]) or "mask"


def _free_name(word: str, taken: Iterable[str]) -> str:
    base = "_".join(words_of(word))[:40] or "mask"
    base = base if re.match(r"[a-z]", base) else f"layer_{base}"
    name, number = base, 2
    while name in set(taken):
        name, number = f"{base}_{number}", number + 1
    return name
