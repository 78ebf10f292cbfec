"""The parts of a card and their two forms: Markdown, and plain text of a given width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medshard.registry.places import DOI_RESOLVER

NARROWEST, WIDEST = 60, 160
FILES_IN_TERMINAL = 8
DIGEST_IN_TERMINAL = 19

# Between these stand file names and templates: Markdown sets them as code, a terminal prints them as they are. No text
# of a catalog can hold them, since YAML allows no control characters.
_CODE, _END = "\x0e", "\x0f"
# A space at which no line ends: a value stays with its concept.
GLUE = "\x11"


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Items:
    """A list. A terminal prints at most `shown` of them and counts the rest."""

    texts: tuple[str, ...]
    shown: int | None = None


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Columns of text; `compact` is the same content as running text, for where a table has no room."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    compact: str


Block = Paragraph | Heading | Items | Facts | Table


def markdown(blocks: Iterable[Block]) -> str:
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def plain_text(blocks: Iterable[Block], width: int) -> str:
    """Widths beyond 60 to 160 columns are brought to the nearer end."""
    room = min(max(width, NARROWEST), WIDEST)
    return "\n".join(line.rstrip() for block in blocks for line in _plain(block, room)).strip() + "\n"


def code(text: str) -> str:
    return f"{_CODE}{text}{_END}"


def joined(parts: Iterable[str]) -> str:
    """Phrases one after the other, by commas; after a full stop the next one starts a sentence."""
    text = ""
    for part in parts:
        if text.endswith("."):
            text += f" {part[:1].upper()}{part[1:]}"
        elif text:
            text += f"{', ' if part[:1].islower() or part.startswith((_CODE, 'http')) else '. '}{part}"
        else:
            text = part
    return text


_ADDRESS = re.compile(r"https?://[^\s<>]*[^\s<>.,;:)\]'\"]")
_MARKED = re.compile(f"{_CODE}([^{_END}]*){_END}")


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            # A heading drops the number signs that it ends in.
            shown = re.sub(r"(?<= )(#+)$", r"\\\1", _inline(text))
            return f"{'#' * level} {shown}"
        case Paragraph(text):
            return _inline(text)
        case Items(texts):
            return "\n".join(f"- {_inline(text)}" for text in texts)
        case Facts(rows):
            return _pipes(("Fact", "Value"), rows)
        case Table(header, rows):
            filled = [number for number in range(len(header)) if any(row[number] for row in rows)]
            return _pipes([header[number] for number in filled], [[row[number] for number in filled] for row in rows])
    raise TypeError(block)


def _pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_inline(cell, in_table=True) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _inline(text: str, *, in_table: bool = False) -> str:
    """Text as Markdown: code as code, addresses as links, everything else as it is printed."""
    parts: list[str] = []
    for number, part in enumerate(_MARKED.split(" ".join(text.split()))):
        parts += [_as_code(part)] if number % 2 else _prose(part)
    shown = "".join(parts)
    return shown.replace("|", "\\|") if in_table else _escaped_start(shown)


def _prose(text: str) -> Iterator[str]:
    """Text outside of code; what an entry puts between backticks is code, too."""
    for number, part in enumerate(re.split(r"`([^`]+)`", text)):
        if number % 2:
            yield _as_code(part)
            continue
        end = 0
        for found in _ADDRESS.finditer(part):
            yield from (_escaped(part[end : found.start()]), _link(found[0]))
            end = found.end()
        yield _escaped(part[end:])


def _link(address: str) -> str:
    doi = address.removeprefix(DOI_RESOLVER)
    return f"<{address}>" if doi == address else f"[doi:{_escaped(doi)}](<{address}>)"


def _as_code(text: str) -> str:
    """Between more backticks than it has itself."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, room = "`" * (longest + 1), " " if "`" in text else ""
    return f"{fence}{room}{text}{room}{fence}"


def _escaped(text: str) -> str:
    """Without what Markdown would read as its own. An underscore inside a word is none of that."""
    plain = re.sub(r"([\\`*<>\[\]~]|&(?=[#A-Za-z]))", r"\\\1", text)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)


def _escaped_start(text: str) -> str:
    """The start of a block, that would make it a heading, a list or a line. A cell of a table knows none of these."""
    marked = re.sub(r"^(?=([#+=-])\1*(\s|$))", r"\\", text)
    return re.sub(r"^(\d+)(?=[.)](\s|$))", r"\1\\", marked)


def _plain(block: Block, width: int) -> Iterator[str]:
    match block:
        case Heading(text, 1):
            yield from (*_wrapped(text, width), "=" * min(len(text), width))
        case Heading(text, 2):
            yield from ("", text.upper())
        case Heading(text, _):
            yield from ("", f"{text}")
        case Paragraph(text):
            yield from _wrapped(text, width, "  ")
        case Items(texts, shown):
            for text in texts[:shown]:
                yield from _wrapped(_short_digests(text) if shown else text, width, "  - ", "    ")
            if shown is not None and len(texts) > shown:
                yield f"  - and {len(texts) - shown} more"
        case Facts(rows):
            yield from _aligned(rows, width)
        case Table(compact=compact):
            yield from _wrapped(compact, width, "    ")


def _aligned(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    known = list(rows)
    column = min(max(len(name) for name, _ in known), width // 3)
    for name, value in known:
        lead = f"  {name:<{column}}  "
        if len(lead) > column + 4:
            yield lead.rstrip()
            lead = " " * (column + 4)
        yield from _wrapped(value, width, lead, " " * (column + 4))


def _wrapped(text: str, width: int, lead: str = "", indent: str | None = None) -> Iterator[str]:
    plain = _MARKED.sub(r"\1", " ".join(text.split()))
    lines = textwrap.wrap(
        plain,
        width,
        initial_indent=lead,
        subsequent_indent=lead if indent is None else indent,
        break_on_hyphens=False,
        break_long_words=True,
    )
    yield from (line.replace(GLUE, " ") for line in lines or [lead])


def _short_digests(text: str) -> str:
    return re.sub(rf"\b((?:md5|sha1|sha256):[0-9a-f]{{{DIGEST_IN_TERMINAL - 7}}})[0-9a-f]+", r"\1...", text)
