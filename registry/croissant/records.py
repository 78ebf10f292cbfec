"""The cases of an entry as file sets and record sets of Croissant 1.1.

A record set for the cases of a group, and one for each further kind of file: fields of one record set that come from
several file sets need a join for every pair of them, and mlcroissant makes only the first. Record sets of one group
have the fields of the path in common, which says what belongs together.

Fields of the path are regular expressions on it. A case whose name is made of several fields has them all as its key.

Volumes have no data type of their own. Their bytes are `sc:Text`, which mlcroissant reads as bytes; `ImageObject` would
send a NIfTI file to a decoder of pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from medshard.registry.concepts import Vocabulary
from medshard.registry.croissant.paths import PICTURES, TABLES, encoding_of, glob_of, path_regex, sentence, slug
from medshard.registry.layout import label_templates
from medshard.registry.schema import (
    AnyAnnotation,
    CaseGroup,
    Entry,
    ImageSpec,
    LabelSpec,
    PatientColumn,
    SplitColumn,
    SplitField,
)
from medshard.registry.schema.annotations import (
    FileAnnotation,
)
from medshard.registry.schema.cases import FREE_FIELDS
from medshard.registry.templates import template_fields
from medshard.registry.vocabulary import SplitName

Json = dict[str, Any]

BYTES = ["sc:Text", "sc:MediaObject"]
SPLITS = {
    SplitName.TRAIN: "cr:TrainingSplit",
    SplitName.VALIDATION: "cr:ValidationSplit",
    SplitName.TEST: "cr:TestSplit",
}
Holding = Callable[[str], tuple[list[str], str]]
"""A path of the raw tree -> what it is contained in, and the path below that."""


@dataclass(frozen=True)
class _Files:
    """A file set, the record set that reads it, and the templates of its paths below what it is contained in."""

    name: str
    record_set: str
    paths: tuple[str, ...]
    where: Mapping[str, str]


@dataclass
class RecordSets:
    """What the cases of an entry add to a document: file sets, and the record sets that read them."""

    vocabulary: Vocabulary
    holding: Holding
    file_sets: list[Json] = field(default_factory=list)
    enumerations: dict[str, Json] = field(default_factory=dict)
    record_sets: list[Json] = field(default_factory=list)
    split_words: dict[str, SplitName] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: {"splits"})

    @classmethod
    def of(cls, entry: Entry, vocabulary: Vocabulary, holding: Holding) -> Self:
        made = cls(vocabulary, holding)
        for number, group in enumerate(entry.cases, start=1):
            made._add_group(group, slug("cases" if len(entry.cases) == 1 else f"cases-{number}", made.taken))
        return made

    @property
    def nodes(self) -> list[Json]:
        return [*self._splits(), *self.enumerations.values(), *self.record_sets]

    def _add_group(self, group: CaseGroup, name: str) -> None:
        anchor, *others = group.contents.items()
        marks = {mark: self._below(name, mark) for mark in group.annotations}
        listed = {mark: self._words(marks[mark], annotation) for mark, annotation in group.annotations.items()}
        keys = _told_by_path(group, listed)
        if isinstance(group.split, SplitField):
            self.split_words.update(group.split.values)
        self._add_contents(group, name, anchor, told=_told_of_group(group), keys=keys)
        self.record_sets[-1]["field"] += self._constants(group, name)
        for content in others:
            told = f"Belongs to the cases of `{name}`."
            self._add_contents(group, self._below(name, content[0]), content, told=told, keys=self._key_of(group, name))
        for layer, label in group.labels.items():
            self._add_layer(group, self._below(name, layer), label, cases=name)
        for mark, annotation in group.annotations.items():
            # A class folder is a field of the path, which the record set of the cases has.
            if annotation.kind != "class-folder":
                self._add_annotation(group, marks[mark], annotation, cases=name, listed=listed[mark])
        if isinstance(group.patient, PatientColumn):
            table = group.patient
            columns = {"key": table.key_column, "patient": table.column}
            self._add_table(
                group, self._below(name, "patients"), table.path, columns, told="The patients of the cases."
            )

    def _below(self, name: str, part: str) -> str:
        return slug(f"{name}.{part}", self.taken)

    def _add_contents(
        self, group: CaseGroup, name: str, content: tuple[str, ImageSpec], *, told: str, keys: Mapping[str, str]
    ) -> None:
        title, spec = content
        facts = [str(spec.modality or group.modality), *([str(spec.sequence)] if spec.sequence else [])]
        facts += [f"channels {', '.join(spec.channels)}"] if spec.channels else []
        facts += [f"array `{spec.key}` of the file"] if spec.key else []
        facts += [f"unit {spec.unit}"] if spec.unit else []
        facts += ["not every case has it"] if spec.optional else []
        files = self._add_files(group, name, [spec.path])
        video = title in group.videos
        mesh = ["sc:Text", "sc:3DModel"] if title in group.meshes else None
        types = ["sc:VideoObject"] if video else mesh or _content_types(spec.path)
        body = _content_field(name, title, files, types, f"{', '.join(facts)}.")
        self._add_record_set(group, name, [body, *self._of_path(files, {title})], told=told, keys=keys)

    def _constants(self, group: CaseGroup, name: str) -> Iterable[Json]:
        """What holds for every case of the group."""
        yield _constant(name, "modality", str(group.modality))
        if isinstance(group.split, SplitName):
            self.split_words[group.split.value] = group.split
            yield _constant(name, "split", group.split.value)
        if isinstance(group.patient, str) and not template_fields(group.patient):
            yield _constant(name, "patient", group.patient)

    def _add_layer(self, group: CaseGroup, name: str, label: LabelSpec, *, cases: str) -> None:
        rows = [self._row(value, concept, label.also.get(value, ())) for value, concept in label.concepts.items()]
        named = {**label.names, **{number: soft.path for number, soft in enumerate(label.maps, start=1)}}
        rows = [{**row, "source_name": named.get(row["value"])} for row in rows]
        rows += [_no_concept(value, reason) for value, reason in label.unmapped.items()]
        rows += [_no_concept(value, "Nobody judged these voxels.") for value in label.ignore]
        _mark_examined(rows, label.examined_concepts)
        listed = self._enumerate(f"{name}.classes", "sc:Integer", rows)
        told = f"Label layer ({label.kind}) of `{cases}`. Its values stand in `{listed}`."
        told += f" Foreground from {label.threshold}." if label.threshold else ""
        told += " Cases without it are unlabelled." if label.optional else ""
        paths = list(label_templates(label)) if label.kind == "soft" else list(label.paths)
        files = self._add_files(group, name, paths)
        types = _content_types(paths[0])
        types = ["cr:SegmentationMask", *[one for one in types if one != "sc:MediaObject"]]
        note = f"By {label.rater}." if label.rater else "Voxels of the layer."
        body = _content_field(name, "mask", files, types, note)
        fields = [body, *self._of_path(files, {"mask"})]
        self._add_record_set(group, name, fields, told=told, keys=self._key_of(group, cases))

    def _words(self, name: str, annotation: AnyAnnotation) -> str:
        """The enumeration of an annotation's words; empty when it has none."""
        rows = [self._row(word, concept, annotation.also.get(word, ())) for word, concept in annotation.values.items()]
        rows += [_no_concept(word, reason) for word, reason in annotation.unmapped.items()]
        _mark_examined(rows, annotation.examined_concepts)
        return self._enumerate(f"{name}.classes", "sc:Text", rows) if rows else ""

    def _add_annotation(
        self, group: CaseGroup, name: str, annotation: FileAnnotation, *, cases: str, listed: str
    ) -> None:
        told = f"Annotation ({annotation.kind}) of `{cases}`."
        told += f" Its words stand in `{listed}`." if listed else ""
        told += f" {sentence(annotation.note)}" if annotation.note else ""
        columns = _columns(annotation)
        if columns and TABLES & set(encoding_of(annotation.path)):
            self._add_table(group, name, annotation.path, columns, told=told)
            return
        files = self._add_files(group, name, [annotation.path])
        body = _content_field(name, "content", files, BYTES, f"Format: {_format_of(annotation)}.")
        fields = [body, *self._of_path(files, {"content"})]
        self._add_record_set(group, name, fields, told=told, keys=self._key_of(group, cases))

    def _add_table(self, group: CaseGroup, name: str, path: str, columns: Mapping[str, str], *, told: str) -> None:
        files = self._add_files(group, name, [path])
        fields = [
            {
                **_field(name, title, "sc:Text", f"Column `{column}`."),
                "source": {"fileSet": {"@id": files.name}, "extract": {"column": column}},
            }
            for title, column in columns.items()
        ]
        self._add_record_set(group, name, fields, told=told, keys={})

    def _add_files(self, group: CaseGroup, record_set: str, paths: list[str]) -> _Files:
        held: list[str] = []
        below: list[str] = []
        for path in paths:
            names, rest = self.holding(path)
            held += names
            below.append(rest)
        contained = {"containedIn": [{"@id": one} for one in dict.fromkeys(held)]} if held else {}
        encodings = [encoding for path in paths for encoding in encoding_of(path)]
        files = _Files(f"files.{record_set}", record_set, tuple(below), group.where)
        self.file_sets.append(
            {
                "@type": "cr:FileSet",
                "@id": files.name,
                "name": files.name,
                "description": f"Layout: {', '.join(f'`{path}`' for path in paths)}"
                + ("" if held else ", in no archive, to lie beside this document"),
                **contained,
                "encodingFormat": list(dict.fromkeys(encodings)),
                "includes": list(dict.fromkeys(glob for path in below for glob in glob_of(path, group.where))),
            }
        )
        return files

    def _of_path(self, files: _Files, taken: set[str]) -> Iterable[Json]:
        """The fields of a path, each by its regular expression."""
        for part in dict.fromkeys(part for path in files.paths for part in template_fields(path)):
            title = f"{part}_in_path" if part in taken else part
            source = {"fileSet": {"@id": files.name}, **_extracted(files, part)}
            yield {**_field(files.record_set, title, "sc:Text", f"`{part}` of the path."), "source": source}

    def _add_record_set(
        self, group: CaseGroup, name: str, fields: list[Json], *, told: str, keys: Mapping[str, str]
    ) -> None:
        """keys: field of the path -> field of another record set that it refers to."""
        known = {one["name"] for one in fields}
        parts = template_fields(group.case)
        # One record for each case: only where the path has no fields but those of the anchor.
        single = not (known & FREE_FIELDS) - set(template_fields(group.anchor)) and set(parts) <= known
        _refer(fields, {f"{name}/{part}": target for part, target in keys.items()})
        self.record_sets.append(
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "description": told,
                **({"key": [{"@id": f"{name}/{part}"} for part in parts]} if parts and single else {}),
                "field": fields,
            }
        )

    def _key_of(self, group: CaseGroup, cases: str) -> dict[str, str]:
        """The field that the cases of a group are known by; none where several make the name."""
        parts = template_fields(group.case)
        known = {one["name"] for node in self.record_sets if node["@id"] == cases for one in node["field"]}
        return {parts[0]: f"{cases}/{parts[0]}"} if len(parts) == 1 and parts[0] in known else {}

    def _row(self, value: int | str, concept: str, further: tuple[str, ...]) -> Json:
        known = self.vocabulary.concepts.get(concept)
        code = known.code.removeprefix("SCT:") if known and known.code else None
        return {
            "value": value,
            "name": concept,
            "url": f"http://snomed.info/id/{code}" if code else None,
            "also": ", ".join(further) or None,
            "source_name": None,
            "note": None,
        }

    def _enumerate(self, name: str, value_type: str, rows: list[Json]) -> str:
        """An enumeration of these rows; layers that mean the same share one, called after the first."""
        for known, node in self.enumerations.items():
            if [_unqualified(row) for row in node["data"]] == rows:
                return known
        types = {"value": value_type, "url": "sc:URL", "examined": "sc:Boolean"}
        fields = [_field(name, title, types.get(title, "sc:Text"), ROW_FIELDS[title]) for title in ROW_FIELDS]
        self.enumerations[name] = {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": "What the values mean: concepts of medshard's vocabulary.",
            "dataType": "sc:Enumeration",
            "key": {"@id": f"{name}/value"},
            "field": fields,
            "data": [{f"{name}/{title}": row.get(title) for title in ROW_FIELDS} for row in rows],
        }
        return name

    def _splits(self) -> Iterable[Json]:
        if self.split_words:
            yield {
                "@type": "cr:RecordSet",
                "@id": "splits",
                "name": "splits",
                "description": "The split as shipped: the source's words and what they mean.",
                "dataType": "cr:Split",
                "key": {"@id": "splits/name"},
                "field": [
                    _field("splits", "name", "sc:Text", "The source's word."),
                    _field(
                        "splits", "url", ["sc:URL", "cr:Split"], "The part in the words of Croissant, where it has one."
                    ),
                    _field("splits", "part", "sc:Text", "The part in the words of medshard."),
                ],
                "data": [
                    {"splits/name": word, "splits/url": SPLITS.get(part), "splits/part": part.value}
                    for word, part in sorted(self.split_words.items())
                ],
            }


ROW_FIELDS = {
    "value": "As it stands in the files.",
    "name": "The concept.",
    "url": "The concept's SNOMED CT code, where the vocabulary has one.",
    "also": "Further concepts that the value means at once.",
    "source_name": "The source's own word, or the file of a soft map.",
    "examined": "Whether every case was examined for it, so that its absence means that it is absent.",
    "note": "Why the value stands for no concept.",
}


def _extracted(files: _Files, part: str) -> Json:
    """How a field is read: from the file's name where it stands in it, else from the path."""
    names = [path.rpartition("/")[2] for path in files.paths]
    in_name = all(part in template_fields(name) for name in names) and "**" not in "".join(names)
    return {
        "extract": {"fileProperty": "filename" if in_name else "fullpath"},
        "transform": {"regex": path_regex(names if in_name else files.paths, part, files.where)},
    }


def _refer(fields: list[Json], references: Mapping[str, str]) -> None:
    """Enter a reference, as far as mlcroissant can follow it.

    It follows one for each record set, and overwrites what it read the key from: of a file's name or path, nothing else
    may then be read.
    """
    extracted = [one["source"]["extract"] for one in fields if "source" in one]
    for one in fields:
        if one["@id"] in references and extracted.count(one["source"]["extract"]) == 1:
            one["references"] = {"field": {"@id": references[one["@id"]]}}
            return


def _told_of_group(group: CaseGroup) -> str:
    told = [f"A case is called `{group.case}`."]
    if isinstance(group.patient, str):
        told.append(f"Its patient is `{group.patient}`.")
    told.append(f"Patients: {group.patients_rest_on}. Subject: {group.subject}.")
    if isinstance(group.split, SplitField):
        told.append(f"`{group.split.field}` of the path tells the split; its words stand in `splits`.")
    elif isinstance(group.split, SplitColumn):
        told.append(f"The split stands in column `{group.split.column}` of `{group.split.path}`.")
    elif group.split is not None and not isinstance(group.split, SplitName):
        lists = ", ".join(f"{part}: `{path}`" for part, path in group.split.files.items())
        told.append(f"The split stands in lists of cases: {lists}.")
    for mark, annotation in group.annotations.items():
        if annotation.kind == "class-folder":
            told.append(f"`{annotation.field}` of the path tells `{mark}`.")
    return " ".join(told)


def _told_by_path(group: CaseGroup, listed: Mapping[str, str]) -> dict[str, str]:
    """Fields of the path whose words stand in a record set: the classes of class folders, and the split."""
    found = {
        annotation.field: f"{listed[mark]}/value"
        for mark, annotation in group.annotations.items()
        if annotation.kind == "class-folder"
    }
    if isinstance(group.split, SplitField):
        found.setdefault(group.split.field, "splits/name")
    return found


def _field(record_set: str, title: str, data_type: str | list[str], description: str) -> Json:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{title}",
        "name": title,
        "description": description,
        "dataType": data_type,
    }


def _content_field(record_set: str, title: str, files: _Files, types: list[str], description: str) -> Json:
    return {
        **_field(record_set, title, types if len(types) > 1 else types[0], description),
        "source": {"fileSet": {"@id": files.name}, "extract": {"fileProperty": "content"}},
    }


def _constant(record_set: str, title: str, value: str) -> Json:
    # The specification makes `value` a term of Croissant, mlcroissant reads that of schema.org: both are given.
    return {
        **_field(record_set, title, "sc:Text", "The same for all of these cases."),
        "value": value,
        "sc:value": value,
    }


def _content_types(path: str) -> list[str]:
    return ["sc:ImageObject"] if PICTURES & set(encoding_of(path)) else BYTES


def _columns(annotation: FileAnnotation) -> dict[str, str]:
    """Title of a field -> column, for the annotations that are tables."""
    if annotation.kind == "class-table":
        classes = {"class": annotation.column} if annotation.column else {word: word for word in annotation.values}
    elif annotation.kind == "question-answers":
        classes = {"question": annotation.question or "", "answer": annotation.answer or ""}
    elif annotation.kind == "score-table":
        classes = {"score": annotation.column or ""}
    elif annotation.kind == "report":
        classes = {"text": annotation.column or "", **{section: section for section in annotation.sections}}
    else:
        return {}
    key = {"key": annotation.key_column} if annotation.key_column else {}
    found = {**key, **{title: column for title, column in classes.items() if column}}
    return {re.sub(r"[^A-Za-z0-9_.-]+", "_", title): column for title, column in found.items()}


def _format_of(annotation: FileAnnotation) -> str:
    return getattr(annotation, "format", "") or annotation.kind


def _no_concept(value: int | str, reason: str) -> Json:
    names = {"name": f"no concept ({value})", "url": None, "also": None, "source_name": None}
    return {"value": value, **names, "note": sentence(reason)}


def _mark_examined(rows: list[Json], examined: Iterable[str]) -> None:
    looked_for = set(examined)
    for row in rows:
        row["examined"] = row["name"] in looked_for


def _unqualified(row: Json) -> Json:
    return {name.rpartition("/")[2]: value for name, value in row.items()}
