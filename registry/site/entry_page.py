"""The page of one entry: its data card, with everything that is known and everything that is not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import urlencode

from medshard.registry.cards.licence_terms import OtherTerms, how_sure, other_terms
from medshard.registry.catalog import Catalog, Origin
from medshard.registry.catalog.overlaps import Edge
from medshard.registry.places import doi_address, source_page, source_place
from medshard.registry.questions.capacity import plan_capacity
from medshard.registry.questions.paper_audit import audit_paper
from medshard.registry.schema import Entry, PaperRow, RemoteSource, Source
from medshard.registry.schema.terms import QUESTIONS
from medshard.registry.site.layout_section import layout
from medshard.registry.site.markup import NOTHING, Content, Html, code, folded, items, join, link, pairs, table, tag
from medshard.registry.site.words import (
    ACTIONS,
    NOT_STATED,
    OVERLAPS,
    PERMISSION_NAMES,
    answer,
    badge,
    badges,
    count,
    dimensions,
    licence_name,
    size,
)
from medshard.registry.vocabulary import Access, PaperField

FILES_SHOWN = 12
SPDX_PAGE = "https://spdx.org/licenses/{}.html"


@dataclass(frozen=True)
class _Section:
    anchor: str
    title: str
    content: Html


def entry_body(entry: Entry, catalog: Catalog, lines: Sequence[str]) -> Html:
    """What stands between the head and the end of an entry's page. lines: those of the entry's file."""
    found = (
        _Section("paper", "Paper and source", _paper(entry)),
        _Section("access", "Access and files", _access(entry)),
        _Section("layout", "Layout and labels", _layout(entry, catalog)),
        _Section("splits", "Splits as shipped", _splits(entry)),
        _Section("overlaps", "Overlaps", _overlaps(entry, catalog)),
        _Section("defects", "Known defects", _defects(entry)),
        _Section("doubts", "Doubts and evidence", _doubts(entry)),
        _Section("expectations", "What a build expects", _expectations(entry)),
        _Section("yaml", "As it stands in the catalog", _yaml(catalog.origins[entry.id], lines)),
    )
    sections = [section for section in found if section.content != NOTHING]
    shown = (
        tag("section", tag("h2", section.title), section.content, id=section.anchor, aria_label=section.title)
        for section in sections
    )
    contents = items(link(f"#{section.anchor}", section.title) for section in sections)
    aside = tag("aside", _licence(entry, catalog), _at_a_glance(entry), _citation(entry), aria_label="At a glance")
    navigation = tag("nav", contents, kind="contents", aria_label="On this page")
    return join(
        tag("nav", link("../index.html", "medshard catalog"), tag("span", entry.id), kind="crumbs", aria_label="Where"),
        tag("div", _head(entry), kind="head"),
        tag("div", navigation, aside, tag("main", *shown), kind="card"),
        separator="\n",
    )


def _head(entry: Entry) -> Html:
    others = [name for name in entry.all_names if name not in {entry.id, entry.title}]
    return join(
        tag("h1", entry.title),
        tag("p", *badges(entry), kind="badges"),
        tag("p", entry.description, kind="lead"),
        tag("p", f"Also called {'; '.join(others)}.", kind="quiet") if others else NOTHING,
        tag("p", link(entry.homepage, entry.homepage), kind="home") if entry.homepage else NOTHING,
    )


def _at_a_glance(entry: Entry) -> Html:
    source = entry.source
    rows: list[tuple[str, Content]] = [
        ("Modality", _filters("modality", entry.modalities)),
        ("Region", _filters("region", entry.regions)),
        ("Task", _filters("task", entry.tasks)),
        ("Group", _filters("group", entry.groups)),
        ("Dimension", dimensions(entry)),
        ("Cases", NOT_STATED if source.cases is None else f"{source.cases:,} {source.unit}"),
        ("Labelled", count(source.labelled)),
        ("Released", "" if source.released is None else count(source.released)),
        ("Patients", count(source.patients)),
        ("Classes", count(source.classes)),
        ("Formats", ", ".join(source.formats)),
        ("Year", str(entry.year or "")),
        ("Version", entry.version),
        ("Looked after by", ", ".join(entry.owners)),
    ]
    return tag("section", tag("h2", "At a glance"), pairs(rows))


def _filters(facet: str, words: Iterable[str]) -> Html:
    """Words that lead to the index, filtered by them."""
    return join(*(link(f"../index.html#{urlencode({facet: word})}", word) for word in words), separator=", ")


def _licence(entry: Entry, catalog: Catalog) -> Html:
    licence = entry.licence
    answers = [(PERMISSION_NAMES[question], answer(getattr(licence, question))) for question in QUESTIONS]
    terms = tag("p", *_licence_parts(licence.id), kind="terms")
    sure = tag("span", how_sure(licence), kind="warn" if licence.is_doubtful else "") if how_sure(licence) else NOTHING
    return tag(
        "section",
        tag("h2", "Licence"),
        terms,
        pairs([("How sure", sure), *answers]),
        tag("p", licence.note) if licence.note else NOTHING,
        tag("p", "Notice: ", licence.notice, kind="quiet") if licence.notice else NOTHING,
        tag("p", link(licence.url, "The terms")) if licence.url else NOTHING,
        *(_elsewhere(terms) for terms in other_terms(entry, catalog)),
    )


def _elsewhere(terms: OtherTerms) -> Html:
    """Another entry with the same data under another licence."""
    there = link(f"{terms.other.id}.html", terms.other.title)
    sure = how_sure(terms.licence)
    said = (" ", terms.relation, " ", licence_name(terms.licence.id), f" ({sure})." if sure else ".")
    return tag("p", "Other terms: ", there, *said, kind="elsewhere")


def _licence_parts(expression: str) -> Iterable[Html]:
    """The expression with a link for every licence that SPDX has a page of."""
    for part in re.split(r"( AND | OR | WITH |[()])", expression):
        is_licence = re.fullmatch(r"[\w.+-]+", part) and not part.startswith("LicenseRef-")
        yield link(SPDX_PAGE.format(part), part) if is_licence else join(licence_name(part))


def _citation(entry: Entry) -> Html:
    cited = entry.citation
    if cited is None or not (cited.text or cited.doi):
        return NOTHING
    doi = link(doi_address(cited.doi), f"doi:{cited.doi}") if cited.doi else NOTHING
    text = tag("p", cited.text) if cited.text else NOTHING
    return tag("section", tag("h2", "Cite"), text, tag("p", doi) if cited.doi else NOTHING, kind="cite")


def _paper(entry: Entry) -> Html:
    """The paper's rows above what the source has, and every point where they differ."""
    if not entry.paper and not entry.differences:
        return NOTHING
    found = audit_paper([entry])
    differing = {item.field for item in found}
    header = ("Stated by", "Name", "Dimension", "Modality", "Task", "Targets", "Size", "Format")
    source = (
        tag("strong", "the source"),
        _marked(entry.title, PaperField.IDENTITY in differing),
        _marked(dimensions(entry) or NOT_STATED, PaperField.DIMENSION in differing),
        _marked(", ".join(entry.modalities), PaperField.MODALITY in differing),
        _marked(", ".join(entry.tasks), PaperField.TASK in differing),
        _marked(count(entry.source.classes), PaperField.TARGETS in differing),
        _marked(_size_of(entry), PaperField.SIZE in differing),
        _marked(", ".join(entry.source.formats) or NOT_STATED, PaperField.FORMAT in differing),
    )
    rows = (
        table(header, [*(_paper_row(row) for row in entry.paper), source], kind="paper", stacks=True)
        if entry.paper
        else NOTHING
    )
    notes = pairs((item.field.capitalize(), item.note or "they differ, and no reason is on record") for item in found)
    return join(rows, tag("div", tag("h3", "Where they differ"), notes, kind="differences") if found else NOTHING)


def _paper_row(row: PaperRow) -> tuple[Content, ...]:
    group = f", {row.group}" if row.group else ", survey"
    cells = (row.dimension, row.modality, row.task, row.targets, row.size, row.format)
    return (f"table {row.table}{group}", row.name, *(cell or "" for cell in cells))


def _marked(text: str, differs: bool) -> Content:
    return tag("span", text, tag("span", "differs", kind="differs")) if differs else text


def _size_of(entry: Entry) -> str:
    return NOT_STATED if entry.source.cases is None else f"{entry.source.cases:,} {entry.source.unit}"


def _access(entry: Entry) -> Html:
    terms = entry.access
    steps = terms.instructions or ("Nothing to sign and no account needed." if terms.kind is Access.OPEN else "")
    where = tag("p", link(terms.url, terms.url)) if terms.url else NOTHING
    lead = tag("p", badge("access", terms.kind, about="Access"), " ", steps)
    if not entry.acquisition:
        return join(lead, where)
    return join(lead, where, _download(entry), _sources(entry.acquisition), _readers(entry))


def _download(entry: Entry) -> Html:
    """The sum of the sizes that are stated, and how many are not."""
    (capacity,) = plan_capacity([entry]).entries
    if not capacity.download_bytes:
        return tag("p", "The size of the download is not stated.", kind="quiet")
    total = f"{size(capacity.download_bytes)} to download"
    if capacity.is_known:
        return tag("p", f"{total}.", kind="quiet")
    unknown = f"{capacity.parts_unknown} of {capacity.parts} parts do not state a size"
    return tag("p", f"At least {total}: {unknown}.", kind="quiet")


def _sources(sources: Iterable[Source]) -> Html:
    parts: set[str] = set()
    rows: list[tuple[Content, ...]] = []
    for source in sources:
        page, place = source_page(source), source_place(source)
        shown: Content = link(page, place) if page else place
        rows.append((str(source.kind), join(shown, _files(source)), " ".join(_about(source, parts))))
        parts.add(getattr(source, "part", ""))
    return table(("Host", "What", "About"), rows, kind="sources")


def _about(source: Source, parts_above: Collection[str]) -> Iterator[str]:
    """Sentences about a source. parts_above: what the sources above it are parts of."""
    if isinstance(source, RemoteSource):
        if source.part and source.part in parts_above:
            yield "The same content as above, from another place."
        if source.optional:
            yield "Only on request."
        yield from (text for text in (getattr(source, "instructions", ""), source.note) if text)


def _files(source: Source) -> Html:
    """The files of a source with what is stated of them: name, size, checksum."""
    if isinstance(source, RemoteSource):
        parts = [_file(file.name, file.url, file.planned_size, file.checksum or "") for file in source.files]
    else:
        pinned = getattr(source, "files", {})
        parts = [_file(name, None, None, f"sha256:{digest}") for name, digest in pinned.items()]
        if digest := getattr(source, "sha256", None):
            parts.append(_file("the archive", None, None, f"sha256:{digest}"))
    if not parts:
        return NOTHING
    listed = items(parts, kind="files")
    return listed if len(parts) <= FILES_SHOWN else folded(f"{len(parts)} files", listed)


def _file(name: str, url: str | None, octets: int | None, checksum: str) -> Html:
    kind, _, digest = checksum.partition(":")
    said = join(
        tag("span", size(octets) if octets else "size not stated", kind="quiet"),
        tag("span", f"{kind} {digest[:12]}…", kind="quiet", title=digest) if digest else NOTHING,
        separator=" ",
    )
    return join(link(url, code(name)) if url else code(name), " ", said)


def _readers(entry: Entry) -> Html:
    """Python that reads what the layout cannot say, and files that are written again in another format."""
    adapter = entry.adapter
    read = tag("p", "Read by ", code(adapter.function), f": {adapter.reason}") if adapter else NOTHING
    written = (
        tag("p", code(made.source), f" becomes {made.to} below ", code(made.folder), f": {made.description}")
        for made in entry.reencode
    )
    return join(read, *written)


def _layout(entry: Entry, catalog: Catalog) -> Html:
    if not entry.cases:
        notes = tag("p", entry.layout_notes) if entry.layout_notes else NOTHING
        return join(tag("p", "No layout is written down yet.", kind="quiet"), notes)
    notes = tag("p", entry.layout_notes) if entry.layout_notes else NOTHING
    return join(notes, layout(entry, catalog.vocabulary))


def _splits(entry: Entry) -> Html:
    if not entry.splits:
        return NOTHING
    words = {True: "yes", False: "no", None: NOT_STATED}
    rows = [
        (str(part.name), count(part.cases), words[part.labelled], words[part.released], part.note)
        for part in entry.splits
    ]
    return table(("Part", "Cases", "Labelled", "Released", "About"), rows, numeric=(1,))


def _overlaps(entry: Entry, catalog: Catalog) -> Html:
    edges = catalog.overlaps.of_entry(entry.id)
    if not edges:
        return tag("p", "None is known.", kind="quiet")
    return items((_overlap(edge, catalog) for edge in edges), kind="edges")


def _overlap(edge: Edge, catalog: Catalog) -> Html:
    there = catalog.entries.get(edge.other)
    other = link(f"{edge.other}.html", there.title) if there else code(edge.other)
    pairs_known = f" {edge.pairs} patients are matched by name." if edge.pairs else ""
    return join(
        tag("p", f"{OVERLAPS[edge.kind].capitalize()} ", other),
        tag("p", f"{edge.evidence}{pairs_known}", tag("span", f" Declared by {edge.declared_by}.", kind="quiet")),
    )


def _defects(entry: Entry) -> Html:
    if not entry.known_defects:
        return NOTHING
    rows = [
        (defect.problem, ", ".join(defect.cases) or "all, or not named", ACTIONS[defect.action])
        for defect in entry.known_defects
    ]
    return table(("Problem", "Cases", "What is done"), rows)


def _doubts(entry: Entry) -> Html:
    doubts = join(tag("h3", "Not certain"), items(entry.doubts)) if entry.doubts else NOTHING
    notes = join(tag("h3", "Notes"), tag("p", entry.notes)) if entry.notes else NOTHING
    evidence = join(tag("h3", "Read in"), items(entry.evidence, kind="evidence")) if entry.evidence else NOTHING
    return join(doubts, notes, evidence)


def _expectations(entry: Entry) -> Html:
    stated = entry.expectations.model_dump(mode="json", exclude_none=True)
    if not stated:
        return NOTHING
    return pairs((field.replace("_", " ").capitalize(), _as_text(value)) for field, value in stated.items())


def _as_text(value: object) -> str:
    return " x ".join(f"{part:g}" for part in value) if isinstance(value, list) else f"{value:,}"


def _yaml(origin: Origin, lines: Sequence[str]) -> Html:
    """The entry's own lines of its file. The file is named without its folder: the site may be given away."""
    own = entry_lines(lines, origin.line)
    place = f"{origin.file.name}, lines {origin.line} to {origin.line + len(own) - 1}"
    return folded(place, tag("pre", tag("code", "\n".join(own)), tabindex="0"))


def entry_lines(lines: Sequence[str], first: int) -> list[str]:
    """The lines of an entry: from its dash to the next line that is indented no deeper."""
    depth = _indent(lines[first - 1])
    below = takewhile(lambda line: not line.strip() or _indent(line) > depth, lines[first:])
    own = [lines[first - 1], *below]
    while not own[-1].strip():
        own.pop()
    return own


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
