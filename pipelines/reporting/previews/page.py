"""A preview as one HTML file that asks for no other: every case with its pictures, texts, rows, facts and warnings."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence

from medshard.pipelines.reporting.previews.cases import ShownCase, ShownCases
from medshard.pipelines.reporting.previews.colours import colours_of
from medshard.pipelines.reporting.previews.facts import facts_of
from medshard.pipelines.reporting.previews.sheet import remarks, tile_png
from medshard.pipelines.reporting.previews.shown import Colour, Passage, Rows, Shown
from medshard.pipelines.reporting.previews.views import shown_case
from medshard.pipelines.reporting.report_html import Html, element, figure, join, page, table

SIZE = (1080, 400)
MOST_WARNINGS = 50


def preview_page(title: str, found: ShownCases) -> str:
    """The whole page. Colours stand for the same concept in every case. Equal cases give equal pages."""
    cases = [(case, shown_case(case)) for case in found.cases]
    colours = colours_of(concept for _, shown in cases for each in shown for concept in each.concepts)
    words = remarks((each for _, shown in cases for each in shown), colours, f"{len(cases)} of {found.total} cases. ")
    parts = [element("h1", title), element("p", words), _legend(colours)]
    for case, shown in cases:
        parts += [*_case(case, shown, colours)]
    return page(title, parts)


def _legend(colours: Mapping[str, Colour]) -> Html:
    chips = [
        f'<span style="white-space:nowrap"><span style="display:inline-block;width:.9em;height:.9em;margin-right:.3em;'
        f'vertical-align:-.1em;border:1px solid #555;background:#{red:02x}{green:02x}{blue:02x}"></span>'
        f"{html.escape(concept)}</span>"
        for concept, (red, green, blue) in colours.items()
    ]
    return Html(f"<p>{' &nbsp; '.join(chips)}</p>" if chips else "")


def _case(case: ShownCase, shown: Sequence[Shown], colours: Mapping[str, Colour]) -> Iterator[Html]:
    yield element("h2", case.volume.case)
    pieces: list[Html] = []
    for each in shown:
        piece = join(*_shown(each, colours))
        pieces.append(_beside(pieces.pop(), piece) if each.passages and pieces else piece)
    yield from pieces
    yield table(("", "name", "what is known"), facts_of(case.volume), caption="Facts")
    if case.warnings:
        rows = [element("li", warning) for warning in case.warnings[:MOST_WARNINGS]]
        yield join(element("p", f"{len(case.warnings)} warnings"), element("ul", join(*rows)))


def _beside(left: Html, right: Html) -> Html:
    column = f'<div style="flex:1 1 380px">{right.markup}</div>'
    return element("div", join(left, Html(column)), kind="row")


def _shown(shown: Shown, colours: Mapping[str, Colour]) -> Iterator[Html]:
    """Captions, text and rows stay text, which can be read in any script, copied and searched."""
    caption = " | ".join((*shown.caption, *shown.words))
    if shown.planes or shown.drawing is not None:
        picture = Shown(planes=shown.planes, columns=shown.columns, drawing=shown.drawing, caption=())
        yield figure(tile_png(picture, SIZE, colours), caption)
    else:
        yield element("p", caption)
    for passage in shown.passages:
        yield _passage(passage)
    if shown.rows is not None:
        yield _rows(shown.rows)


def _passage(passage: Passage) -> Html:
    heading = [element("b", passage.heading)] if passage.heading else []
    return element("p", join(*heading, passage.text))


def _rows(rows: Rows) -> Html:
    kinds = [kind for _, kind in rows.header]
    caption = f"{rows.left_out} more columns" if rows.left_out else ""
    return table([name for name, _ in rows.header], [kinds, *rows.cells], caption=caption)
