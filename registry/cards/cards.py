"""Data cards: what the catalog knows of one entry, in a fixed order, for people.

One content, two forms: Markdown for files, and plain text of a given width for terminals. What nobody knows is said to
be unknown; doubts and disagreements with the paper have sections of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from medshard.registry.cards.card_forms import (
    FILES_IN_TERMINAL,
    GLUE,
    Block,
    Facts,
    Heading,
    Items,
    Paragraph,
    Table,
    code,
    joined,
    markdown,
    plain_text,
)
from medshard.registry.cards.licence_terms import licence_in_words, other_terms
from medshard.registry.catalog import Catalog
from medshard.registry.catalog.overlaps import Edge
from medshard.registry.concepts import Vocabulary
from medshard.registry.layout import label_templates
from medshard.registry.places import doi_address, file_address, source_page, source_place
from medshard.registry.schema import (
    AnyAnnotation,
    CaseGroup,
    Entry,
    FolderSource,
    ImageSpec,
    LabelSpec,
    PatientColumn,
    PipSource,
    RemoteSource,
    Source,
    SplitColumn,
    SplitField,
    SplitLists,
)
from medshard.registry.vocabulary import Confidence, Maturity, OverlapKind, PatientBasis

MATURITIES = {
    Maturity.DESCRIBED: "described: facts are written down, no file was read",
    Maturity.LAYOUT_TESTED: "layout-tested: a tree with the source's file names went through the whole chain",
    Maturity.ACQUIRED: "acquired: the real data were read",
}
CONFIDENCES = {
    Confidence.VERIFIED: "verified: the facts were seen in a source",
    Confidence.PARTLY: "partly: some facts were seen in a source, others not",
    Confidence.MEMORY: "memory: the facts are from memory and unverified",
    Confidence.UNSTATED: "not stated: nobody says how well the facts are backed",
}
PATIENT_BASES = {
    PatientBasis.IDENTIFIED: "the source names the patient of each case",
    PatientBasis.ONE_PER_CASE: "one case is one patient",
    PatientBasis.ASSUMED: "that one case is one patient is assumed",
    PatientBasis.UNKNOWN: "two cases may show one person, and nobody can tell",
    PatientBasis.NOT_A_PATIENT: "the cases are no patients",
}
OVERLAPS = {
    OverlapKind.SAME_CASES: "the same cases as",
    OverlapKind.SUBSET_OF: "a part of",
    OverlapKind.SUPERSET_OF: "contains",
    OverlapKind.SHARES_CASES: "shares cases with",
    OverlapKind.SHARES_PATIENTS: "shares patients with",
    OverlapKind.POSSIBLE: "may share people with",
    OverlapKind.NONE_KNOWN: "no overlap is known with",
}


def card(entry: Entry, catalog: Catalog) -> str:
    """The Markdown card of an entry."""
    return markdown(_blocks(entry, catalog))


def card_for_terminal(entry: Entry, catalog: Catalog, width: int = 100) -> str:
    """The card as plain text. Widths beyond 60 to 160 columns are brought to the nearer end."""
    return plain_text(_blocks(entry, catalog), width)


def patients_rest_on(entry: Entry) -> str:
    """What the identity of the patients rests on, over all groups of cases; empty without a layout."""
    bases = dict.fromkeys(
        PATIENT_BASES[group.patients_rest_on] if group.subject == "patient" else f"subject: {group.subject}"
        for group in entry.cases
    )
    text = "; in other groups ".join(bases)
    return text[:1].upper() + text[1:]


def examined_note(layer: LabelSpec | AnyAnnotation) -> str:
    """Says so when not all classes of a layer were looked for in every case; otherwise empty."""
    if layer.examined is None:
        return ""
    return f"only these were looked for in every case: {', '.join(layer.examined) or 'none'}"


def bytes_in_words(size: int) -> str:
    """A size in decimal units, as hosts state it."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def _blocks(entry: Entry, catalog: Catalog) -> Iterator[Block]:
    yield Heading(entry.title, level=1)
    others = [name for name in entry.all_names if name not in {entry.id, entry.title}]
    yield Paragraph(f"{code(entry.id)}" + (f", also called {', '.join(others)}" if others else ""))
    yield Heading("What it is")
    yield Paragraph(entry.description)
    if entry.homepage:
        yield Paragraph(entry.homepage)
    yield Heading("Facts")
    yield Facts(tuple(_facts(entry, catalog)))
    yield Heading("Where the files are")
    yield from _files(entry)
    yield Heading("Layout")
    yield from _layout(entry, catalog.vocabulary)
    yield Heading("Splits as shipped")
    yield _listed([_split(part) for part in _parts(entry)], "None is stated.")
    yield Heading("Expectations")
    yield _listed(list(_expectations(entry)), "None is stated.")
    yield Heading("Overlaps with other entries")
    yield _listed([_overlap(edge, catalog) for edge in catalog.overlaps.of_entry(entry.id)], "None is known.")
    yield Heading("Known defects")
    yield _listed(
        [_defect(defect.cases, defect.problem, defect.action) for defect in entry.known_defects], "None is known."
    )
    if entry.paper or entry.differences:
        yield Heading("Where the paper's row and the source differ")
        yield _listed(
            [f"{difference.field}: {difference.note}" for difference in entry.differences], "No disagreement is known."
        )
    if entry.notes:
        yield Heading("Notes")
        yield Paragraph(entry.notes)
    yield Heading("Doubts")
    yield _listed([*entry.doubts, *_licence_doubts(entry)], "None is stated.")
    yield Heading("Evidence")
    yield _listed(list(entry.evidence), "None is stated.")
    yield Heading("Citation")
    yield from _citation(entry)


def _parts(entry: Entry) -> Sequence[tuple[str, int | None, bool | None, bool, str]]:
    return [(part.name.value, part.cases, part.labelled, part.released, part.note) for part in entry.splits]


def _facts(entry: Entry, catalog: Catalog) -> Iterator[tuple[str, str]]:
    source, access, licence = entry.source, entry.access, entry.licence
    yield "Modality", ", ".join(entry.modalities)
    yield "Region", ", ".join(entry.regions) or "not stated"
    yield "Tasks", ", ".join(entry.tasks)
    yield "Dimension", ", ".join(f"{dimension}-D" for dimension in entry.dimensions) or "no images"
    yield "Groups", ", ".join(entry.groups)
    dated = f" ({entry.year})" if entry.year and str(entry.year) not in entry.version else ""
    yield "Version", entry.version + dated
    yield "At the source", _counts(entry)
    for row in entry.paper:
        told = (row.region, row.dimension, row.modality, row.task)
        targets = f"targets {row.targets}" if row.targets else None
        size = f"size {row.size}" if row.size else None
        yield (
            f"In the paper, table {row.table}",
            "; ".join(part for part in (row.name, *told, targets, size, row.format) if part),
        )
    basis = patients_rest_on(entry)
    number = f"{source.patients:,}" if source.patients is not None else "number unknown"
    yield "Patients", f"{number}. {basis}" if basis else number
    yield "Formats", ", ".join(source.formats) or "not stated"
    yield (
        "Access",
        ". ".join(part.rstrip(".") for part in (str(access.kind), access.instructions, access.url or "") if part),
    )
    yield "Licence", licence_in_words(licence) + (f" {licence.url}" if licence.url else "")
    yield "Commercial use", str(licence.commercial_use)
    yield "Redistribution", str(licence.redistribution)
    yield "Derivatives", str(licence.derivatives)
    if licence.note:
        yield "On the licence", licence.note
    if others := list(other_terms(entry, catalog)):
        elsewhere = (f"{code(terms.other.id)} {terms.relation} {licence_in_words(terms.licence)}" for terms in others)
        yield "Other terms", "; ".join(elsewhere)
    if licence.notice:
        yield "Notice", licence.notice
    yield "Maturity", MATURITIES[entry.maturity]
    yield "Confidence", CONFIDENCES[entry.confidence]
    if entry.owners:
        yield "Entry kept by", ", ".join(entry.owners)


def _counts(entry: Entry) -> str:
    source = entry.source
    told = [f"{source.cases:,} {source.unit}" if source.cases is not None else f"number of {source.unit} unknown"]
    told += [f"{source.labelled:,} with annotations"] if source.labelled is not None else []
    told += [f"{source.released:,} released"] if source.released is not None else []
    told += (
        [f"{source.classes:,} {'class' if source.classes == 1 else 'classes'}"] if source.classes is not None else []
    )
    return ", ".join(told)


def _files(entry: Entry) -> Iterator[Block]:
    if not entry.acquisition:
        yield Paragraph("Nowhere that is known: the data cannot be had.")
    for source in entry.acquisition:
        told = [source_place(source)]
        if page := source_page(source):
            told.append(page)
        if isinstance(source, RemoteSource):
            told += [f"one of several places of part {source.part}"] if source.part else []
            told += ["taken only on request"] if source.optional else []
        told += [f"unpacked into {code(source.into)}"] if source.into else []
        told += [text for text in (getattr(source, "instructions", ""), getattr(source, "note", "")) if text]
        files = list(_file_lines(source))
        if not files:
            told.append("sizes and checksums unknown")
        yield Paragraph(joined(told))
        if files:
            yield Items(tuple(files), shown=FILES_IN_TERMINAL)
    for made in entry.reencode:
        yield Paragraph(
            f"Re-encoded from {code(made.source)} as {made.to} into {code(made.folder)}: {made.description}"
        )


def _file_lines(source: Source) -> Iterator[str]:
    if isinstance(source, RemoteSource):
        for file in source.files:
            size = bytes_in_words(file.planned_size) if file.planned_size else "size unknown"
            address = None if source_page(source) else file_address(source, file)
            told = [code(file.name), size, file.checksum or "checksum unknown", *([address] if address else [])]
            yield ", ".join(told)
        return
    if isinstance(source, PipSource):
        yield f"the distribution, size unknown, sha256:{source.sha256}"
        return
    if isinstance(source, FolderSource) and source.sha256:
        yield f"the archive, size unknown, sha256:{source.sha256}"
    for name, digest in sorted(source.files.items()):
        yield f"{code(name)}, size unknown, sha256:{digest}"


def _layout(entry: Entry, vocabulary: Vocabulary) -> Iterator[Block]:
    if not entry.cases:
        yield Paragraph("No layout is written down: which files make a case is not known well enough.")
    for number, group in enumerate(entry.cases, start=1):
        yield Heading(_group_title(group, number, len(entry.cases)), level=3)
        yield Facts(tuple(_group_facts(group)))
        for name, label in group.labels.items():
            yield from _layer(name, label, vocabulary)
        for name, annotation in group.annotations.items():
            yield from _annotation(name, annotation, vocabulary)
    if entry.adapter:
        yield Paragraph(f"Read by {code(entry.adapter.function)}: {entry.adapter.reason}")
    if entry.layout_notes:
        yield Paragraph(entry.layout_notes)


def _group_title(group: CaseGroup, number: int, of: int) -> str:
    told = [str(group.modality), *([group.group.value] if group.group else [])]
    if isinstance(group.split, str):
        told.append(str(group.split))
    return f"Cases {number} of {of}: {', '.join(told)}" if of > 1 else f"Cases: {', '.join(told)}"


def _group_facts(group: CaseGroup) -> Iterator[tuple[str, str]]:
    where = [f"{name} is {code(pattern)}" for name, pattern in group.where.items()]
    yield "Case", joined([code(group.case), *([f"where {' and '.join(where)}"] if where else [])])
    if isinstance(group.patient, PatientColumn):
        table = group.patient
        yield "Patient", f"column {table.column} of {code(table.path)}, where {table.key_column} is {code(table.key)}"
    elif group.patient:
        yield "Patient", code(group.patient)
    if group.subject != "patient":
        yield "Subject", group.subject
    for kind in ("images", "meshes", "videos", "signals", "tables", "texts"):
        for name, spec in getattr(group, kind).items():
            yield f"{kind.removesuffix('s') if kind != 'meshes' else 'mesh'} {name}", _content(spec)
    if isinstance(group.split, SplitField):
        words = ", ".join(f"{word} is {part}" for word, part in group.split.values.items())
        yield "Split", f"told by {code('{' + group.split.field + '}')}: {words}"
    elif isinstance(group.split, SplitColumn):
        words = ", ".join(f"{word} is {part}" for word, part in group.split.values.items())
        yield "Split", f"column {group.split.column} of {code(group.split.path)}: {words}"
    elif isinstance(group.split, SplitLists):
        yield "Split", "; ".join(f"{part}: {code(path)}" for part, path in group.split.files.items())


def _content(spec: ImageSpec) -> str:
    told = [code(spec.path)]
    told += [str(word) for word in (spec.modality, spec.sequence, spec.unit) if word]
    told += [f"channels {', '.join(spec.channels)}"] if spec.channels else []
    told += [f"array {code(spec.key)}"] if spec.key else []
    told += ["optional"] if spec.optional else []
    return ", ".join(told)


def _layer(name: str, label: LabelSpec, vocabulary: Vocabulary) -> Iterator[Block]:
    paths = (label.path or "",) if label.per_class else label_templates(label)
    told = [f"Label layer {name}, {label.kind}: {', '.join(code(path) for path in paths)}"]
    told += [f"foreground from {label.threshold}"] if label.threshold else []
    told += [f"background is {label.background}"] if label.background else []
    told += [f"by {label.rater}"] if label.rater else []
    told += ["cases without it are unlabelled"] if label.optional else []
    told += [f"values {', '.join(map(str, label.ignore))} were not judged"] if label.ignore else []
    note = examined_note(label)
    yield Paragraph(joined([*told, *([note] if note else [])]))
    rows = [
        (str(value), concept, label.also.get(value, ()), label.names.get(value, ""))
        for value, concept in label.concepts.items()
    ]
    yield _concepts_table(
        "Value", rows, label.examined_concepts, {str(k): v for k, v in label.unmapped.items()}, vocabulary
    )


def _annotation(name: str, annotation: AnyAnnotation, vocabulary: Vocabulary) -> Iterator[Block]:
    if annotation.kind == "class-folder":
        place = f"{code('{' + annotation.field + '}')} of the path"
    else:
        place = code(annotation.path)
    told = [f"Annotation {name}, {annotation.kind}: {place}"]
    for field in ("format", "key_column", "column", "unit", "per", "rater"):
        if value := getattr(annotation, field, None):
            told.append(f"{field.replace('_', ' ')} {value}")
    for field in ("question", "answer"):
        if value := getattr(annotation, field, None):
            told.append(f"the {field} in {code(value)}")
    told += [f"sections {', '.join(sections)}"] if (sections := getattr(annotation, "sections", ())) else []
    told += ["not every case has it"] if annotation.optional else []
    note = examined_note(annotation)
    told += [text for text in (annotation.note, note) if text]
    yield Paragraph(joined(told))
    if annotation.values or annotation.unmapped:
        rows = [(word, concept, annotation.also.get(word, ()), "") for word, concept in annotation.values.items()]
        yield _concepts_table("Word", rows, annotation.examined_concepts, annotation.unmapped, vocabulary)


def _concepts_table(
    first: str,
    rows: Iterable[tuple[str, str, tuple[str, ...], str]],
    examined: Sequence[str],
    unmapped: dict[str, str],
    vocabulary: Vocabulary,
) -> Table:
    """Values and the concepts that they stand for. The compact form is `1 spleen, 2 right kidney, ...`."""
    lines: list[tuple[str, ...]] = []
    words: list[str] = []
    looked_for = set(examined)
    for value, concept, further, named in rows:
        known = vocabulary.concepts.get(concept)
        meant = " + ".join((concept, *further))
        lines.append(
            (value, meant, (known.code or "") if known else "", "yes" if concept in looked_for else "no", named)
        )
        sign = GLUE if first == "Value" else f"{GLUE}={GLUE}"
        words.append(meant if value == concept else f"{value}{sign}{meant}")
    for value, reason in unmapped.items():
        lines.append((value, f"no concept: {reason}", "", "", ""))
        words.append(f"{value}{GLUE}no concept ({reason})")
    return Table((first, "Concept", "SNOMED CT", "Examined", "In the source"), tuple(lines), ", ".join(words))


def _split(part: tuple[str, int | None, bool | None, bool, str]) -> str:
    name, cases, labelled, released, note = part
    told = [f"{cases:,} cases" if cases is not None else "number unknown"]
    if labelled is not None:
        told.append("labelled" if labelled else "not labelled")
    if not released:
        told.append("not released")
    return f"{name}: {', '.join(told)}" + (f". {note}" if note else "")


def _expectations(entry: Entry) -> Iterator[str]:
    expected = entry.expectations
    least, most = expected.spacing_mm_least, expected.spacing_mm_most
    if least or most:
        ends = [f"at least {_triple(least)}"] if least else []
        ends += [f"at most {_triple(most)}"] if most else []
        yield f"spacing (z, y, x) {' and '.join(ends)} mm"
    if expected.shape:
        yield f"a typical image has {' x '.join(map(str, expected.shape))} voxels (z, y, x)"
    if expected.value_range:
        yield f"values from {expected.value_range[0]:g} to {expected.value_range[1]:g}"
    if expected.bytes_unpacked:
        yield f"{bytes_in_words(expected.bytes_unpacked)} unpacked"


def _triple(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _overlap(edge: Edge, catalog: Catalog) -> str:
    other = catalog.entries.get(edge.other)
    title = f" ({other.title})" if other else ""
    pairs = f" {edge.pairs} pairs of patients are known." if edge.pairs else ""
    said_by = f" Said by {edge.declared_by}." if edge.declared_by != edge.entry else ""
    evidence = edge.evidence if edge.evidence.endswith(".") else f"{edge.evidence}."
    return f"{OVERLAPS[edge.kind]} {code(edge.other)}{title}. {evidence}{pairs}{said_by}"


def _defect(cases: Sequence[str], problem: str, action: str) -> str:
    done = {"exclude": "excluded", "repair-header": "the header is repaired", "accept": "accepted"}[action]
    return f"{', '.join(code(case) for case in cases) or 'all cases'}: {problem.rstrip('.')} ({done})"


def _licence_doubts(entry: Entry) -> Iterator[str]:
    unknown = [
        question.replace("_", " ")
        for question in ("commercial_use", "redistribution", "derivatives")
        if getattr(entry.licence, question) == "unknown"
    ]
    if unknown:
        yield f"Licence: what {entry.licence.id} says of {', '.join(unknown)} is unknown."


def _citation(entry: Entry) -> Iterator[Block]:
    citation = entry.citation
    text = citation.text if citation else ""
    doi = doi_address(citation.doi) if citation and citation.doi else ""
    yield Paragraph(" ".join(part for part in (text, doi) if part) or "None is stated.")


def _listed(texts: Sequence[str], nothing: str) -> Block:
    return Items(tuple(texts)) if texts else Paragraph(nothing)
