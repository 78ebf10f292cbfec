"""The layout of an entry for people: which files make a case, and what every label value means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlencode

from medshard.registry.concepts import Vocabulary
from medshard.registry.schema import CaseGroup, Entry, LabelSpec, PatientColumn, SplitField
from medshard.registry.schema.annotations import Annotation
from medshard.registry.schema.cases import ImageSpec, SplitColumn, SplitLists
from medshard.registry.site.markup import NOTHING, Content, Html, code, folded, join, link, pairs, table, tag
from medshard.registry.site.words import PATIENTS

VALUES_SHOWN = 40
_SHARED = frozenset({"kind", "path", "values", "also", "unmapped", "examined", "optional", "note"})


def layout(entry: Entry, vocabulary: Vocabulary) -> Html:
    """Every group of cases; layers that a later group repeats are told once."""
    told: list[CaseGroup] = []
    parts: list[Html] = []
    for number, group in enumerate(entry.cases, start=1):
        parts.append(_group(group, number, len(entry.cases), told, vocabulary))
        told.append(group)
    return join(*parts)


def _group(group: CaseGroup, number: int, groups: int, told: list[CaseGroup], vocabulary: Vocabulary) -> Html:
    title = f"Cases {number} of {groups}" if groups > 1 else "Cases"
    facts = pairs(
        [
            ("Named", code(group.case)),
            ("Modality", group.modality),
            ("Patients", _patients(group)),
            ("Shows", "" if group.subject == "patient" else group.subject),
            ("Part", _part(group)),
            ("Only where", _conditions(group)),
        ]
    )
    return join(tag("h3", title), facts, _files(group), _layers(group, told, vocabulary))


def _patients(group: CaseGroup) -> Html:
    basis = PATIENTS[group.patients_rest_on]
    if group.patient is None:
        return Html(basis)
    if isinstance(group.patient, PatientColumn):
        rule = join("column ", code(group.patient.column), " of ", code(group.patient.path))
    else:
        rule = code(group.patient)
    return join(rule, f" ({basis})")


def _part(group: CaseGroup) -> Content:
    if group.split is None:
        return ""
    if isinstance(group.split, SplitField):
        words = ", ".join(f"{word} = {part}" for word, part in group.split.values.items())
        return join("field ", code("{" + group.split.field + "}"), f": {words}")
    if isinstance(group.split, SplitColumn):
        words = ", ".join(f"{word} = {part}" for word, part in group.split.values.items())
        return join("column ", code(group.split.column), " of ", code(group.split.path), f": {words}")
    if isinstance(group.split, SplitLists):
        return join(*(join(f"{part}: ", code(path)) for part, path in group.split.files.items()), separator=", ")
    return group.split


def _conditions(group: CaseGroup) -> Html:
    rules = (join(code("{" + name + "}"), " is ", code(rule)) for name, rule in group.where.items())
    return join(*rules, separator=", ")


def _files(group: CaseGroup) -> Html:
    kinds = (
        *(("image", group.images), ("mesh", group.meshes), ("video", group.videos)),
        *(("signal", group.signals), ("table", group.tables), ("text", group.texts)),
    )
    rows = [(name, kind, code(spec.path), _about(spec)) for kind, specs in kinds for name, spec in specs.items()]
    return table(("Name", "Kind", "Path", "About"), rows)


def _about(spec: ImageSpec) -> str:
    said = (
        *(spec.modality or "", spec.sequence or "", f"in {spec.unit}" if spec.unit else ""),
        f"channels {', '.join(spec.channels)}" if spec.channels else "",
        *(f"array {spec.key}" if spec.key else "", "optional" if spec.optional else ""),
    )
    return ", ".join(part for part in said if part)


def _layers(group: CaseGroup, told: list[CaseGroup], vocabulary: Vocabulary) -> Html:
    own = (group.labels, group.annotations)
    same = next((number for number, other in enumerate(told, 1) if (other.labels, other.annotations) == own), 0)
    if not (group.labels or group.annotations):
        return tag("p", "No annotation.", kind="quiet")
    if same:
        return tag("p", f"Labels and annotations as in cases {same}.", kind="quiet")
    return join(
        *(_label(name, layer, vocabulary) for name, layer in group.labels.items()),
        *(_annotation(name, mark, vocabulary) for name, mark in group.annotations.items()),
    )


def _label(name: str, layer: LabelSpec, vocabulary: Vocabulary) -> Html:
    said = (
        f"array {layer.key}" if layer.key else "",
        f"rater {layer.rater}" if layer.rater else "",
        f"foreground from {layer.threshold}" if layer.threshold is not None else "",
        f"background {layer.background}" if layer.background else "",
        "a case may lack it" if layer.optional else "",
    )
    paths = join(*(code(path) for path in dict.fromkeys(layer.paths)), separator=" ")
    colours = {value: colour for colour, value in layer.colours.items()}
    meanings = {
        **{
            value: _meaning((concept, *layer.also.get(value, ())), layer.examined_concepts, vocabulary)
            for value, concept in layer.concepts.items()
        },
        **{value: _no_concept(why) for value, why in layer.unmapped.items()},
        **{value: _no_concept("judged by nobody") for value in layer.ignore},
    }
    rows = [
        (str(value), layer.names.get(value, ""), colours.get(value, ""), *meaning)
        for value, meaning in meanings.items()
    ]
    header = ("Value", "Called", "Colour", "Concept", "SNOMED CT", "Examined")
    heading = join("Label layer ", code(name), f", {layer.kind}")
    return join(_heading(heading, said), tag("p", paths, kind="path"), _values(header, rows))


def _annotation(name: str, mark: Annotation, vocabulary: Vocabulary) -> Html:
    document = mark.model_dump(mode="json", exclude_defaults=True)
    said = [f"{field.replace('_', ' ')} {_plain(value)}" for field, value in document.items() if field not in _SHARED]
    if mark.optional:
        said.append("a case may lack it")
    rows = [
        (word, *_meaning((concept, *mark.also.get(word, ())), mark.examined_concepts, vocabulary))
        for word, concept in mark.values.items()
    ]
    rows += [(word, *_no_concept(why)) for word, why in mark.unmapped.items()]
    path = tag("p", code(document["path"]), kind="path") if "path" in document else NOTHING
    note = tag("p", mark.note, kind="quiet") if mark.note else NOTHING
    heading = join("Annotation ", code(name), f", {document['kind']}")
    return join(_heading(heading, said), path, note, _values(("Word", "Concept", "SNOMED CT", "Examined"), rows))


def _heading(text: Html, said: Iterable[str]) -> Html:
    about = "; ".join(part for part in said if part)
    return tag("h4", text, tag("span", f"; {about}", kind="quiet") if about else NOTHING)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _meaning(
    concepts: tuple[str, ...], examined: tuple[str, ...], vocabulary: Vocabulary
) -> tuple[Content, Content, Content]:
    """Concept, code and whether it was looked for, of one value."""
    looked_for = all(concept in examined for concept in concepts)
    return (
        join(*(_concept(concept) for concept in concepts), separator=", "),
        join(*_codes(concepts, vocabulary), separator=", "),
        "yes" if looked_for else tag("span", "no: absence is unknown", kind="warn"),
    )


def _no_concept(why: str) -> tuple[Content, Content, Content]:
    return tag("span", f"no concept: {why}", kind="quiet"), "", ""


def _concept(name: str) -> Html:
    return link(f"../index.html#{urlencode({'q': name})}", name, title=f"Entries that speak of {name}")


def _codes(concepts: tuple[str, ...], vocabulary: Vocabulary) -> Iterator[Html]:
    for name in concepts:
        concept = vocabulary.concepts.get(name)
        if concept is not None and concept.code is not None:
            yield join(code(concept.code.removeprefix("SCT:")), f" {concept.side}" if concept.side else "")


def _values(header: tuple[str, ...], rows: Sequence[Sequence[Content]]) -> Html:
    """The table of values; a long one is folded."""
    if not rows:
        return NOTHING
    shown = table(header, rows, kind="values")
    return shown if len(rows) <= VALUES_SHOWN else folded(f"{len(rows)} values", shown)
