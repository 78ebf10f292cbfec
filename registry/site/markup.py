"""The few pieces of HTML that the site is put together from. Text is escaped; markup has a type of its own."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CLOSED_BY_THEMSELVES = frozenset({"input", "br"})


@dataclass(frozen=True)
class Html:
    """Text that is markup already."""

    markup: str


Content = str | Html
NOTHING = Html("")


def tag(name: str, /, *content: Content, kind: str = "", **attributes: str | bool | None) -> Html:
    """One element. kind: its class. An attribute that is None or False is left out; `for_` is `for`, `a_b` is `a-b`."""
    stated = {"class": kind or None, **{key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}}
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in stated.items())}>"
    if name in _CLOSED_BY_THEMSELVES:
        return Html(opening)
    return Html(f"{opening}{join(*content).markup}</{name}>")


def join(*parts: Content, separator: str = "") -> Html:
    return Html(separator.join(_escaped(part) for part in parts))


def link(address: str, text: Content, *, kind: str = "", title: str | None = None) -> Html:
    """A link; one that leaves the site tells nobody where the reader comes from."""
    outside = "://" in address
    return tag("a", text, kind=kind, href=address, title=title, rel="noreferrer" if outside else None)


def code(text: str) -> Html:
    return tag("code", text)


def items(parts: Iterable[Content], *, kind: str = "") -> Html:
    return tag("ul", *(tag("li", part) for part in parts), kind=kind)


def pairs(rows: Iterable[tuple[str, Content]]) -> Html:
    """Terms and what is said of them; a row without content is left out."""
    kept = [(term, content) for term, content in rows if content not in ("", NOTHING)]
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", content)) for term, content in kept), kind="pairs")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Content]],
    *,
    kind: str = "",
    numeric: Sequence[int] = (),
    stacks: bool = False,
) -> Html:
    """A table that scrolls sideways where it must, without the columns that nothing fills.

    numeric: columns that stand to the right. stacks: on a narrow screen the cells of a row stand below one another,
    each with the name of its column.
    """
    cells = [list(row) for row in rows]
    filled = [place for place in range(len(header)) if any(row[place] not in ("", NOTHING) for row in cells)]
    head = [_cell("th", header[place], place in numeric, scope="col") for place in filled]
    names = {place: {"data_label": header[place]} if stacks else {} for place in filled}
    body = [
        tag("tr", *(_cell("td", row[place], place in numeric, **names[place]) for place in filled)) for row in cells
    ]
    inner = tag("table", tag("thead", tag("tr", *head)), tag("tbody", join(*body, separator="\n")), kind=kind)
    return tag("div", inner, kind="scroll", tabindex="0", role="group", aria_label=f"Table: {header[0]} and more")


def folded(summary: Content, *content: Content, is_open: bool = False) -> Html:
    """Something that opens on a click, and for the printer."""
    return tag("details", tag("summary", summary), *content, open=is_open)


def embedded_json(identifier: str, value: object) -> Html:
    """Data for the script of the page. No character of it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>')


def _cell(name: str, content: Content, number: bool, **attributes: str) -> Html:
    return tag(name, content, kind="number" if number else "", **attributes)


def _attribute(name: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(value)}"'


def _escaped(content: Content) -> str:
    return content.markup if isinstance(content, Html) else html.escape(content)
