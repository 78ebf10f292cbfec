"""The few pieces of HTML that a report is put together from. Text is escaped; markup has a type of its own."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

DIGITS_SHOWN = 12

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c2430; background: #fff;
  max-width: 1160px; margin: 2rem auto 5rem; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .3rem; }
h2 { font-size: 1.3rem; margin-top: 3rem; padding-bottom: .3rem; border-bottom: 2px solid #d5dbe3; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { max-width: 50rem; }
.statement { border-left: 4px solid #b4540a; background: #fdf5ec; padding: .7rem 1rem; max-width: 50rem; }
.dim { color: #5c6775; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-size: .85rem; }
caption { text-align: left; color: #5c6775; padding-bottom: .2rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e4e8ee; }
th { font-weight: 600; border-bottom-color: #aab4c0; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
code[title] { white-space: nowrap; }
pre { background: #f4f6f9; padding: .8rem 1rem; overflow-x: auto; font-size: .87rem; }
figure { margin: .8rem 0 1.2rem; }
figcaption { color: #5c6775; font-size: .87rem; }
img { max-width: 100%; height: auto; border: 1px solid #e4e8ee; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: #1d5fa8; }
nav a { margin-right: 1.2rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
.row figure { flex: 1 1 420px; margin: .4rem 0; }
"""


@dataclass(frozen=True)
class Html:
    """Text that is markup already."""

    markup: str


Content = str | Html


def page(title: str, parts: Iterable[Html]) -> str:
    """A whole document that asks for no other file."""
    body = "\n".join(part.markup for part in parts)
    return (
        f'<!doctype html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def element(name: str, content: Content, *, kind: str = "", anchor: str = "") -> Html:
    """One element; kind: its class, anchor: what links within the page call it."""
    attributes = "".join(
        f' {attribute}="{html.escape(value)}"' for attribute, value in (("class", kind), ("id", anchor)) if value
    )
    return Html(f"<{name}{attributes}>{_markup(content)}</{name}>")


def join(*parts: Content, separator: str = "\n") -> Html:
    return Html(separator.join(_markup(part) for part in parts))


def link(address: str, text: str) -> Html:
    return Html(f'<a href="{html.escape(address)}">{html.escape(text)}</a>')


def digest(value: str | None) -> Html:
    """The first digits of a digest, the whole of it under the pointer."""
    if value is None:
        return Html("–")
    return Html(f'<code title="{html.escape(value)}">{html.escape(value[:DIGITS_SHOWN])}</code>')


def figure(png: bytes, caption: str) -> Html:
    """A picture inside the page."""
    source = base64.b64encode(png).decode()
    text = html.escape(caption)
    return Html(
        f'<figure><img alt="{text}" src="data:image/png;base64,{source}"><figcaption>{text}</figcaption></figure>'
    )


def details(summary: str, content: Html) -> Html:
    """Something that opens on a click."""
    return Html(f"<details><summary>{html.escape(summary)}</summary>\n{content.markup}\n</details>")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> Html:
    """A table; numbers stand to the right, and None is a dash."""
    rows = [list(row) for row in rows]
    numeric = [
        all(_is_number(row[n]) for row in rows) and any(row[n] is not None for row in rows) for n in range(len(header))
    ]
    lines = [f"<caption>{html.escape(caption)}</caption>"] if caption else []
    lines.append(
        "<tr>" + "".join(_cell("th", title, number) for title, number in zip(header, numeric, strict=True)) + "</tr>"
    )
    lines += [
        "<tr>" + "".join(_cell("td", value, number) for value, number in zip(row, numeric, strict=True)) + "</tr>"
        for row in rows
    ]
    return Html('<div class="scroll"><table>' + "\n".join(lines) + "</table></div>")


def megabytes(size: float) -> str:
    """Bytes for people, 1 MB being 10^6 bytes."""
    if size < 1e6:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _cell(name: str, value: Any, number: bool) -> str:
    kind = ' class="number"' if number else ""
    if value is None:
        text = "–"
    elif isinstance(value, float):
        text = f"{value:.3f}"
    else:
        text = _markup(value if isinstance(value, Html) else str(value))
    return f"<{name}{kind}>{text}</{name}>"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _markup(content: Content) -> str:
    return content.markup if isinstance(content, Html) else html.escape(content)
