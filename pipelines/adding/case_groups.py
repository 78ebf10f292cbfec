"""One group of cases -> its item under `cases`: names, patients, split, contents, labels, annotations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medshard.pipelines.adding.attached import Group
from medshard.pipelines.adding.conventions import Declared
from medshard.pipelines.adding.images import Guess, image_fields, modality_of
from medshard.pipelines.adding.keys import ending
from medshard.pipelines.adding.kinds import Kind, KnownFamily
from medshard.pipelines.adding.labels import Reading, layers
from medshard.pipelines.adding.meanings import concept_of, word_meanings
from medshard.pipelines.adding.notes import Noted, plain
from medshard.pipelines.adding.patients import patient_reading
from medshard.pipelines.adding.row_files import (
    Table,
    beat_annotations,
    coco_annotations,
    keyed,
    own_annotations,
    table_annotations,
)
from medshard.pipelines.adding.samples import ImageFacts, image_facts
from medshard.pipelines.adding.templates import Field
from medshard.registry.templates import fill, match_template
from medshard.registry.vocabulary import Modality

_MOST_CLASSES = 60
_FEW_PER_CLASS = 4
_SHARED_NAMES = "The same names occur in several folders; they were taken for different cases, of different persons."


@dataclass(frozen=True)
class Material:
    """What every group is described with. left: families that no group needs. about: words of the data set."""

    reading: Reading
    declared: Declared
    tables: Sequence[Table]
    left: Sequence[KnownFamily]
    about: str
    modality: Modality | None


@dataclass(frozen=True)
class DraftedGroup:
    """fields: of the item. cases: names. keyed: tables that speak of the cases. doubts: sentences."""

    fields: dict[str, Any]
    cases: tuple[str, ...]
    patients: int
    modalities: tuple[Modality, ...]
    kind: Kind
    used: frozenset[str]
    doubts: tuple[str, ...]


def drafted_group(group: Group, prefix: str, material: Material) -> DraftedGroup:
    """The item of a group. prefix: in front of the names of its cases, where groups would share names."""
    found = material.reading.found
    class_field = _class_field(group, material)
    persons = [field for field in group.fields if field is not class_field]
    unread = group.kind in {Kind.TABLE, Kind.SIGNAL, Kind.VIDEO}
    facts = [ImageFacts() if unread else image_facts(image.family, found) for image in group.images]
    guesses = [modality_of(image, fact, material.about, material.declared)
               for image, fact in zip(group.images, facts, strict=True)]  # fmt: skip
    if material.modality is not None:
        guesses[0] = Guess(material.modality, "")
    case = prefix + _bare(group)
    patients = patient_reading(group, persons, found)
    fields: dict[str, Any] = {"case": case}
    if patients.patient is not None:
        fields["patient"] = patients.patient
    fields["patient_basis"] = patients.basis
    where = _where(group, found.paths)
    if where:
        fields["where"] = Noted(where, "guessed: so that no other file is taken for a case")
    whole = _modality_of_all(guesses)
    fields["modality"] = Noted(str(whole.modality), whole.why) if whole.why else str(whole.modality)
    if group.split is not None:
        fields["split"] = Noted(str(group.split), "guessed: the folder or file name says so")
    fields.update(image_fields(group, facts, guesses, material.declared))
    labels = layers(group, material.reading)
    if labels:
        fields["labels"] = labels
    annotations, doubts, used = _annotations(group, case, class_field, material)
    if annotations:
        fields["annotations"] = annotations
    if not _is_exact(group, plain(where), found.paths):
        doubts.append(f"{group.anchor.path} takes other files for cases as well: narrow it with `where`.")
    names = tuple(fill(case, _told(group, binding)) for binding in group.cases)
    modalities = tuple(dict.fromkeys(guess.modality for guess in (whole, *guesses)))
    return DraftedGroup(
        fields=fields,
        cases=names,
        patients=patients.count,
        modalities=modalities,
        kind=group.kind,
        used=used,
        doubts=(patients.doubt, *([_SHARED_NAMES] if prefix else []), *doubts),
    )


def bare_names(group: Group) -> tuple[str, ...]:
    """The names of a group's cases, without anything in front of them."""
    return tuple(fill(_bare(group), _told(group, binding)) for binding in group.cases)


def _bare(group: Group) -> str:
    """The fields; of a file without any its name."""
    own = "_".join(f"{{{field.name}}}" for field in group.fields)
    return own or group.anchor.path.rpartition("/")[2].partition(".")[0] or "case"


def _modality_of_all(guesses: Sequence[Guess]) -> Guess:
    kinds = {guess.modality for guess in guesses}
    if kinds == {Modality.PT, Modality.CT}:
        return Guess(Modality.PET_CT, "guessed: images of PT and of CT")
    return guesses[0]


def _told(group: Group, binding: Sequence[str]) -> dict[str, str]:
    return dict(zip((field.name for field in group.fields), binding, strict=True))


def _class_field(group: Group, material: Material) -> Field | None:
    """The folder that is a class, and no person: few names for many cases, or names of the vocabulary."""
    for place, field in enumerate(group.fields):
        if field.number or len(group.fields) < 2 or field.slot >= group.anchor.family.slots - 1:
            continue
        names = sorted({binding[place] for binding in group.cases})
        known = sum(concept_of(name, material.reading.vocabulary) is not None for name in names)
        crowded = len(names) <= _MOST_CLASSES and len(group.cases) >= _FEW_PER_CLASS * len(names)
        if known >= len(names) / 2 or (crowded and not any(re.search(r"\d{3}", name) for name in names)):
            return field
    return None


def _where(group: Group, paths: Sequence[str]) -> dict[str, str]:
    """Expressions for the fields, where the bare template takes other files for cases too or cuts them elsewhere."""
    anchor = group.anchor
    if _is_exact(group, {}, paths):
        return {}
    numbers = {field.name: r"\d+" for field in group.fields if field.number}
    if numbers and _is_exact(group, numbers, paths):
        return numbers
    wanted = {row.path for row in anchor.family.rows}
    astray = [
        path for path in paths if path not in wanted and match_template(anchor.path, path, tuple(numbers.items()))
    ]
    last = group.fields[-1].name
    stems = [path.rpartition("/")[2].removesuffix(ending(path)) for path in astray]
    tails = sorted({found[0] for stem in stems if (found := re.search(r"[_.\- ][A-Za-z0-9]+$", stem))})
    if tails and last not in numbers:
        pattern = ".+" + "".join(f"(?<!{re.escape(tail)})" for tail in tails[:20])
        if _is_exact(group, {**numbers, last: pattern}, paths):
            return {**numbers, last: pattern}
    exact = {
        field.name: "|".join(re.escape(value) for value in sorted({binding[place] for binding in group.cases}))
        for place, field in enumerate(group.fields)
        if len({binding[place] for binding in group.cases}) <= 12
    }
    return {**numbers, **exact} if _is_exact(group, {**numbers, **exact}, paths) else numbers


def _is_exact(group: Group, where: dict[str, str], paths: Sequence[str]) -> bool:
    """Whether template and expressions find these cases and no others."""
    known = set(group.cases)
    narrowed = tuple(sorted(where.items()))
    seen = set()
    for path in paths:
        fields = match_template(group.anchor.path, path, narrowed)
        if fields is not None:
            binding = tuple(fields[field.name] for field in group.fields)
            if binding not in known:
                return False
            seen.add(binding)
    return seen == known


def _annotations(
    group: Group, case: str, class_field: Field | None, material: Material
) -> tuple[dict[str, Any], list[str], frozenset[str]]:
    """Annotations, doubts, and the tables that were used."""
    vocabulary = material.reading.vocabulary
    found = material.reading.found
    made, doubts = own_annotations(group, found, vocabulary)
    annotations: dict[str, Any] = dict(made)
    used: set[str] = set()
    if class_field is not None:
        place = list(group.fields).index(class_field)
        names = sorted({binding[place] for binding in group.cases})
        values, unmapped = word_meanings(names, vocabulary)
        fields = {"kind": "class-folder", "field": class_field.name, "values": values}
        fields |= {"unmapped": unmapped} if unmapped else {}
        note = f"guessed: the folder is the class ({len(names)} of them), not a person"
        annotations = {"finding": Noted(fields, note), **annotations}
    annotations.update(beat_annotations(group, found.paths))
    annotations.update(coco_annotations(material.left, group, found, vocabulary))
    for table in material.tables:
        one = keyed(table, group, case)
        if one is None:
            continue
        used.add(table.path)
        more, passed = table_annotations(one, vocabulary, list(annotations))
        annotations.update(more)
        if passed:
            said = "; ".join(f"{column}: {why}" for column, why in list(passed.items())[:6])
            doubts.append(f"{table.path} speaks of {one.hits:.0%} of the cases in `{one.column}`. Left out: {said}.")
    return annotations, doubts, frozenset(used)
