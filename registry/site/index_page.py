"""The index: every entry as a row, filters beside it, and the data that its script searches."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.schema.terms import Licence
from medshard.registry.site.facets import FACETS, Facet
from medshard.registry.site.markup import NOTHING, Html, code, embedded_json, join, link, tag
from medshard.registry.site.words import NOT_STATED, answer, badges, dimensions, licence_doubt, licence_name
from medshard.registry.vocabulary import Confidence

CHOICES_SHOWN = 8
_TEMPLATE = Template((Path(__file__).parent / "index.html").read_text(encoding="utf8"))


def index_body(catalog: Catalog) -> Html:
    """What stands between the head and the end of the index."""
    entries = sorted(catalog, key=lambda entry: (entry.title.casefold(), entry.id))
    data = [_record(entry, catalog) for entry in entries]
    return Html(
        _TEMPLATE.substitute(
            entries=f"{len(entries):,}",
            invalid=_invalid(catalog).markup,
            facets=join(*(_facet(facet, entries) for facet in FACETS), separator="\n").markup,
            rows=join(*(_row(entry) for entry in entries), separator="\n").markup,
            data=embedded_json("catalog-data", {"entries": data, "facets": _titles(entries)}).markup,
        )
    )


def _invalid(catalog: Catalog) -> Html:
    """What the site leaves out, by name."""
    if not catalog.invalid:
        return NOTHING
    names = ", ".join(catalog.invalid)
    return tag(
        "p", f"Not valid and therefore not shown: {names}. ", code("medshard check"), " says why.", kind="notice"
    )


def searchable(text: str) -> str:
    """Lower case, without accents and punctuation; the script does the same to what is typed."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^0-9a-z]+", " ", plain.lower()).strip()


def _record(entry: Entry, catalog: Catalog) -> dict[str, object]:
    return {
        "id": entry.id,
        "names": searchable(" / ".join(entry.all_names)),
        "text": searchable(" / ".join((entry.description, *_words_of(entry, catalog)))),
        "cases": entry.source.cases,
        "year": entry.year,
        "facets": {facet.name: facet.words(entry) for facet in FACETS},
    }


def _words_of(entry: Entry, catalog: Catalog) -> Iterable[str]:
    """Concepts with their synonyms and wider concepts, and the words of the row: "ct liver open" finds what it says."""
    known = catalog.vocabulary.concepts
    named = dict.fromkeys(entry.concepts)
    for name in entry.concepts:
        named.update(dict.fromkeys(catalog.vocabulary.ancestors(name) if name in known else ()))
    for name in named:
        yield name
        yield from known[name].synonyms if name in known else ()
    yield from (*entry.modalities, *entry.regions, *entry.tasks, *entry.groups, dimensions(entry))
    yield from (entry.licence.id, entry.access.kind, *entry.source.formats)


def _titles(entries: Sequence[Entry]) -> list[dict[str, object]]:
    """What the script calls the filters and their words, in the order of the page."""
    return [
        {
            "name": facet.name,
            "title": facet.title,
            "words": {word: facet.shown(word) for word, _ in facet.choices(entries)},
        }
        for facet in FACETS
    ]


def _facet(facet: Facet, entries: Iterable[Entry]) -> Html:
    choices = facet.choices(entries)
    options = [_choice(facet, word, number, place >= CHOICES_SHOWN) for place, (word, number) in enumerate(choices)]
    beyond = len(choices) - CHOICES_SHOWN
    more = tag("button", f"Show {beyond} more", kind="more", type="button") if beyond > 0 else NOTHING
    hint = tag("p", facet.hint, kind="hint") if facet.hint else NOTHING
    summary = tag("summary", tag("span", facet.title), tag("span", kind="chosen"))
    group = tag("div", *options, kind="choices", role="group", aria_label=facet.title)
    return tag("details", summary, hint, group, more, kind="facet", data_facet=facet.name, open=facet.is_open)


def _choice(facet: Facet, word: str, number: int, is_beyond: bool) -> Html:
    box = tag("input", type="checkbox", name=facet.name, value=word)
    name = tag("span", facet.shown(word), kind="word")
    return tag("label", box, name, tag("span", str(number), kind="count"), kind="beyond" if is_beyond else "")


def _row(entry: Entry) -> Html:
    name = join(link(f"entries/{entry.id}.html", entry.title, kind="title"), " ", code(entry.id))
    use = tag(
        "span", tag("span", "commercial use ", kind="in-cards"), answer(entry.licence.commercial_use), kind="under"
    )
    access, maturity, confidence = badges(entry)
    return tag(
        "tr",
        tag("th", name, tag("span", entry.description, kind="under about"), scope="row"),
        _cell(join(", ".join(entry.modalities), _under(dimensions(entry)))),
        _cell(", ".join(entry.regions)),
        _cell(", ".join(entry.tasks)),
        _cell(_cases(entry), kind="number"),
        _cell(str(entry.year or ""), kind="number"),
        _cell(join(_licence(entry.licence), use), kind="last"),
        _cell(join(access, maturity, NOTHING if entry.confidence is Confidence.VERIFIED else confidence), kind="state"),
        id=entry.id,
    )


def _licence(licence: Licence) -> Html:
    """Its name, and how sure it is where it is not."""
    name, doubt = tag("span", licence_name(licence.id), title=licence.id), licence_doubt(licence)
    return name if doubt == NOTHING else join(name, " ", doubt)


def _under(text: str) -> Html:
    return tag("span", text, kind="under") if text else NOTHING


def _cell(content: str | Html, *, kind: str = "") -> Html:
    return tag("td", content, kind=kind)


def _cases(entry: Entry) -> Html:
    if entry.source.cases is None:
        return _under(NOT_STATED)
    return join(f"{entry.source.cases:,}", _under(entry.source.unit))
