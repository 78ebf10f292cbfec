"""A gate: what a person has to do before a source can be had, in three lines: what, where, and which folder to fill.

Where terms have to be accepted at the source, nothing is fetched past the person: neither by a plain address that
happens to work, nor without a credential of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.inbox import InboxState, copied_name, named_files, own_folder
from medshard.registry.hosts import Host
from medshard.registry.hosts.host import Credential, Secret
from medshard.registry.hosts.manual import ManualSource
from medshard.registry.places import source_page, source_place
from medshard.registry.schema import Entry, RemoteSource, Source
from medshard.registry.vocabulary import Access

NAMES_SHOWN = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "gate.agreement": "its owner wants an agreement with you first",
        "gate.account": "an account of yours is needed first",
        "gate.by_hand": "no program can fetch it: a person has to",
    }
)
"""The strictest first."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """first, first_where: what the entry asks for before any of its sources, and on which page; empty when nothing.

    do, where, put: what this source asks for, where its files are, which folder they go to. source: what tells it from
    others of the entry. part: the sources of one part are mirrors. folder: as in `put`. elsewhere: whether this is a
    mirror with a page of its own, so that the page of the entry is not where to begin.
    """

    code: str
    entry: str
    source: str
    part: str
    first: str
    first_where: str
    do: str
    where: str
    put: str
    folder: Path
    elsewhere: bool = False

    @property
    def text(self) -> str:
        """Three lines: what to do, where, and which folder to put what into."""
        return "\n".join(self.lines.values())

    @property
    def lines(self) -> dict[str, str]:
        steps = " ".join(step for step in (self.first, self.do) if step)
        return {"do": steps, "where": self._pages, "put": self.put}

    @property
    def _pages(self) -> str:
        if self.elsewhere:
            return f"{self.where}, terms at {self.first_where}"
        return ", files at ".join(dict.fromkeys(page for page in (self.first_where, self.where) if page))


def gate_of(
    entry: Entry,
    number: int,
    source: Source,
    *,
    host: Host[Any],
    credential: Secret | None,
    inbox: InboxState,
    folder: Path,
) -> Gate | None:
    """What stands before a source; None when nothing does, or when its files are in the inbox.

    number: place of the source in `acquisition`. inbox: what was found for it. folder: the inbox of the entry.
    """
    if host.local or inbox.complete or not _is_closed(entry, host, credential):
        return None
    target = folder / inbox.folder
    by_program = host.credential if _can_open(host) else None
    is_open = entry.access.kind is Access.OPEN
    first = "" if is_open else _sentence(entry.access.instructions)
    first_where = "" if is_open else entry.access.url or ""
    where = _where(entry, source)
    return Gate(
        code=_code(entry, host),
        entry=entry.id,
        source=own_folder(number, source),
        part=source.part if isinstance(source, RemoteSource) else "",
        first=first,
        first_where=first_where,
        do=_without_what_is_said(_do(entry, source, by_program), first),
        where=where,
        put=_put(source, inbox, target, by_program),
        folder=target,
        elsewhere=bool(first_where) and _is_mirror(entry, source) and _site(where) != _site(first_where),
    )


def gate_error(gates: Sequence[Gate]) -> AcquisitionError:
    """AcquisitionError[gate.*] of the strictest of the gates: three lines for each, and what all share once."""
    entry = gates[0].entry
    codes = {gate.code for gate in gates}
    code = next(code for code in _PROBLEMS if code in codes)
    return AcquisitionError(
        code,
        where=entry,
        problem=_PROBLEMS[code] + _several(gates),
        details=gates[0].lines if len(gates) == 1 else _lines_of_several(gates),
        action=f"Then run `medshard build {entry}` again: what is in the inbox is checked and taken over.",
    )


def _is_closed(entry: Entry, host: Host[Any], credential: Secret | None) -> bool:
    if host.by_hand:
        return True
    needed = host.credential is not None and host.credential.needed
    opened = credential is not None and _can_open(host)
    return not opened and (needed or entry.access.kind is not Access.OPEN)


def _can_open(host: Host[Any]) -> bool:
    """Whether a credential says anything about what its owner has accepted."""
    return not host.by_hand and host.credential is not None and host.credential.opens_gates


def _code(entry: Entry, host: Host[Any]) -> str:
    if entry.access.kind is Access.AGREEMENT:
        return "gate.agreement"
    if entry.access.kind is Access.ACCOUNT or not host.by_hand:
        return "gate.account"
    return "gate.by_hand"


def _do(entry: Entry, source: Source, credential: Credential | None) -> str:
    if isinstance(source, ManualSource):
        return _sentence(source.instructions)
    if credential is not None:
        places = [*credential.variables, *([credential.file] if credential.file else [])]
        return f"{_sentence(credential.how)} It is read from {_either(places)}."
    return "" if entry.access.kind is not Access.OPEN else f"Fetch the files by hand from {source_place(source)}."


def _where(entry: Entry, source: Source) -> str:
    files = (file.url for file in named_files(source) if file.url)
    stated = entry.access.url if entry.access.kind is not Access.OPEN else None
    page = source_page(source) or stated or next(files, None) or entry.homepage
    return page or source_place(source)


def _without_what_is_said(do: str, first: str) -> str:
    """The steps of a source without the clauses at their beginning that a sentence of `first` begins with."""
    said = [_words(sentence) for sentence in _SENTENCE_END.split(first)]
    clauses = do.rstrip(".").split(", ")
    counts = range(len(clauses), 0, -1)
    count = next((count for count in counts if _is_said(", ".join(clauses[:count]), said)), 0)
    if count == 0:
        return do
    rest = ", ".join(clauses[count:]).removeprefix("and ")
    return f"{rest[:1].upper()}{rest[1:]}." if rest else ""


def _is_said(step: str, said: Sequence[Sequence[str]]) -> bool:
    words = _words(step)
    # One word, such as `Download`, may begin quite different sentences.
    return len(words) > 1 and any(sentence[: len(words)] == words for sentence in said)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\s,.]+", text.lower())


def _is_mirror(entry: Entry, source: Source) -> bool:
    part = source.part if isinstance(source, RemoteSource) else ""
    return any(
        part and isinstance(other, RemoteSource) and other.part == part
        for other in entry.acquisition
        if other != source
    )


def _site(address: str) -> str:
    return urlsplit(address).netloc


def _put(source: Source, inbox: InboxState, folder: Path, credential: Credential | None) -> str:
    growing = [name.removeprefix(f"{inbox.folder}/") for name in inbox.drafts]
    if growing and set(inbox.missing) <= set(inbox.still_growing):
        they_are = "they are" if len(growing) > 1 else "it is"
        return f"Wait until {they_are} whole: {_names(growing)} in {folder}{_not_expected(source, inbox)}"
    lead = "Or fetch by hand, and put" if credential is not None else "Put"
    line = f"{lead} {_wanted(source, inbox)} into {folder}"
    if growing:
        line += f"; being written there now, so wait for it: {_names(growing)}"
    return line + _not_expected(source, inbox)


def _not_expected(source: Source, inbox: InboxState) -> str:
    if not inbox.unknown:
        return ""
    return f"; there, but not expected: {_names(name + _advice(name, source, inbox) for name in inbox.unknown)}"


def _advice(name: str, source: Source, inbox: InboxState) -> str:
    """On a numbered copy of a file of which nothing is stated that could tell it from another."""
    last = name.rpartition("/")[2]
    original = copied_name(last)
    untold = {
        file.name.rpartition("/")[2]
        for file in named_files(source)
        if file.name in inbox.missing and file.size is None and file.checksum is None
    }
    return f" (rename it to {original} if it is that file)" if original != last and original in untold else ""


def _wanted(source: Source, inbox: InboxState) -> str:
    names = [name for name in inbox.missing if name not in inbox.still_growing]
    if names:
        return ("what is still missing, " if inbox.files else "") + _names(names)
    if not isinstance(source, RemoteSource) or not source.archive:
        return "all files, as they come,"
    return f"the download ({source.archive})"


def _names(names: Iterable[str]) -> str:
    shown = list(names)
    more = len(shown) - NAMES_SHOWN
    return ", ".join(shown[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _either(names: Sequence[str], word: str = "or") -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else names[0]


def _several(gates: Sequence[Gate]) -> str:
    names = [gate.source for gate in gates]
    if len(gates) == 1:
        return ""
    if gates[0].part and len({gate.part for gate in gates}) == 1:
        return f" ({_either(names)}: one is enough)"
    return f" ({_either(names, 'and')})"


def _lines_of_several(gates: Sequence[Gate]) -> dict[str, str]:
    first = " ".join(word for word in (gates[0].first, gates[0].first_where) if word)
    lines = {"first": first} if first else {}
    for gate in gates:
        steps = {"do": gate.do, "where": gate.where, "put": gate.put}
        lines |= {f"{gate.source} {name}": step for name, step in steps.items() if step}
    return lines
