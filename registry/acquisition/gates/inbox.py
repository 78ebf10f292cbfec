"""The inbox: the folder of the store where a person puts what no program may or can fetch.

`<store>/inbox/<entry>/`. A file that the catalog (or the host's listing) names is recognised by its name, in any
folder of it. A source without named files takes everything: of its own folder `<number>-<kind>`, or of the whole inbox
where no other source would have to share it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medshard.registry.acquisition.gates.contents import has_page_name
from medshard.registry.acquisition.gates.presence import PresentFile, parts_of_name, present_files
from medshard.registry.acquisition.gates.taking import ExpectedFile, FoundFile, TakenFile, take
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import Listing
from medshard.registry.hosts.source import RemoteFile
from medshard.registry.schema import Entry, RemoteSource, Source
from medshard.registry.store.objects import Store

# `name (1).zip` and, from some browsers, `name (1).tar.gz` or `name.tar (1).gz`.
_COPY = re.compile(r" \(\d+\)((?:\.[A-Za-z0-9]+){0,2})$")


@dataclass(frozen=True, kw_only=True)
class InboxState:
    """What the inbox has for one source.

    where: entry and source, for errors. folder: where files for this source go, below the entry's inbox. files: what is
    there of what is wanted. missing: names that are not. unknown: names that no source of the entry expects.
    still_growing: names that are still being written. drafts: what those are called in the inbox for now.
    """

    where: str
    folder: str = ""
    files: tuple[FoundFile, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    still_growing: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()

    @property
    def found(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self.files)

    @property
    def complete(self) -> bool:
        """Everything is there, as far as anybody can know, and nothing is still being written."""
        return bool(self.files) and not self.missing and not self.still_growing

    @cached_property
    def by_name(self) -> Mapping[str, TakenFile]:
        """The files that are whole, read and compared. Raises AcquisitionError: inbox.wrong_file, inbox.growing."""
        whole = [file for file in self.files if file.expected.name not in self.still_growing]
        return {file.expected.name: take(file, where=self.where) for file in whole}


def inbox_of(store: Store, entry: Entry) -> Path:
    return store.root / "inbox" / entry.id


def own_folder(number: int, source: Source) -> str:
    """`<number>-<kind>`, counted from 00 in the order of the entry: no other source looks there."""
    return f"{number:02d}-{source.kind}"


def copied_name(name: str) -> str:
    """What a file was called before a browser numbered it; the name itself when none did."""
    return _COPY.sub(r"\1", name)


def expected_files(source: Source, listing: Listing | None = None) -> tuple[ExpectedFile, ...]:
    """The files that the catalog names, else those that the host lists; empty when nobody knows their names."""
    named = listing.files if listing else named_files(source)
    return tuple(
        ExpectedFile(
            name=file.name,
            size=file.size,
            checksum=file.checksum,
            archive=file.archive,
            may_be_page=has_page_name(file.name),
        )
        for file in named
    )


def named_files(source: Source) -> tuple[RemoteFile, ...]:
    """Without manifests of a download tool: they name files, and hold none."""
    files = source.files if isinstance(source, RemoteSource) else ()
    return tuple(file for file in files if not file.name.endswith(".tcia"))


def look(inbox: Path, entry: Entry, number: int, source: Source, listing: Listing | None = None) -> InboxState:
    """What is there for a source, by names, sizes and times only; nothing is opened.

    inbox: of the entry. number: place of the source in `acquisition`. listing: what the host has, where it was asked.
    """
    own = own_folder(number, source)
    others = {own_folder(place, other) for place, other in enumerate(entry.acquisition) if place != number}
    present = [file for file in present_files(inbox) if file.parts[0] not in others]
    expected = expected_files(source, listing)
    if expected:
        return _look_for(expected, present, entry, source, own)
    return _look_at_all(present, entry, source, own)


def _look_for(
    expected: tuple[ExpectedFile, ...], present: list[PresentFile], entry: Entry, source: Source, own: str
) -> InboxState:
    folders = (own, source.into if isinstance(source, RemoteSource) else "")
    ready = [file for file in present if not file.is_unfinished]
    shared = _shares_a_name(entry, source)
    found = _matches(expected, [file for file in ready if not shared or _place(file, folders) < len(folders)], folders)
    matched = {file.path for file in found.values()}
    begun = [file for file in present if file.is_unfinished]
    drafts = {file.name: _draft(file, found.get(file.name), begun) for file in expected}
    growing = {name: draft for name, draft in drafts.items() if draft is not None}
    return InboxState(
        where=f"{entry.id}/{own}",
        folder=own if shared else "",
        files=tuple(FoundFile(expected=file, path=found[file.name].path) for file in expected if file.name in found),
        missing=tuple(file.name for file in expected if file.name not in found),
        unknown=tuple(_unknown(entry, [file for file in ready if file.path not in matched])),
        still_growing=tuple(growing),
        drafts=tuple(growing.values()),
    )


def _look_at_all(present: list[PresentFile], entry: Entry, source: Source, own: str) -> InboxState:
    mine = [file for file in present if file.parts[0] == own]
    rest = [file for file in present if file.parts[0] != own]
    whole = _takes_the_whole_inbox(entry, source)
    if whole:
        mine += _not_named(entry, rest)
    growing = tuple(file.name for file in mine if file.is_unfinished or file.is_young)
    archive = source.archive if isinstance(source, RemoteSource) and len(mine) == 1 else None
    only_pages = all(has_page_name(file.name) for file in mine)
    files = tuple(
        FoundFile(
            expected=ExpectedFile(
                name=file.name.removeprefix(f"{own}/"),
                archive=archive,
                is_named=False,
                may_be_page=has_page_name(file.name) and not only_pages,
            ),
            path=file.path,
        )
        for file in mine
        if not file.is_unfinished
    )
    return InboxState(
        where=f"{entry.id}/{own}",
        folder="" if whole else own,
        files=files,
        unknown=() if whole else tuple(_unknown(entry, rest)),
        still_growing=growing,
        drafts=growing,
    )


def _takes_the_whole_inbox(entry: Entry, source: Source) -> bool:
    """True for the only source without named files that comes by hand, or for the only one at all where none does."""
    unnamed = [other for other in entry.acquisition if not host_of(other.kind).local and not named_files(other)]
    by_hand = [other for other in unnamed if host_of(other.kind).by_hand]
    return (by_hand or unnamed) == [source]


def _shares_a_name(entry: Entry, source: Source) -> bool:
    """Whether another source, which is no mirror of this one, has a file of the same name."""
    names = {file.name for file in named_files(source)}
    strangers = (other for other in entry.acquisition if other != source and not _mirror(other, source))
    return any(file.name in names for other in strangers for file in named_files(other))


def _mirror(one: Source, other: Source) -> bool:
    parts = {source.part for source in (one, other) if isinstance(source, RemoteSource)}
    return len(parts) == 1 and parts != {""}


def _matches(
    expected: tuple[ExpectedFile, ...], present: list[PresentFile], folders: tuple[str, ...]
) -> dict[str, PresentFile]:
    """Name -> its file. The last part of a name is enough, where it is the only one of that name."""
    last_parts = Counter(parts_of_name(file.name)[-1] for file in expected)
    found: dict[str, PresentFile] = {}
    free: dict[str, list[PresentFile]] = defaultdict(list)
    for file in present:
        for last in {file.parts[-1], copied_name(file.parts[-1])}:
            free[last].append(file)
    # The longest names first: a short one may be the end of a long one.
    for wanted in sorted(expected, key=lambda file: -len(parts_of_name(file.name))):
        name = parts_of_name(wanted.name)
        match = _match(wanted, name[-1:] if last_parts[name[-1]] == 1 else name, free[name[-1]], folders)
        if match is not None:
            found[wanted.name] = match
            for last in {match.parts[-1], copied_name(match.parts[-1])}:
                free[last].remove(match)
    return found


def _match(
    wanted: ExpectedFile, ending: tuple[str, ...], present: list[PresentFile], folders: tuple[str, ...]
) -> PresentFile | None:
    """The file of that name; else one that a browser numbered, when its size or a checksum can tell it from another."""
    exact = [file for file in present if file.parts[-len(ending) :] == ending]
    copies = [
        file
        for file in present
        if (*file.parts[-len(ending) : -1], copied_name(file.parts[-1])) == ending
        and (file.size == wanted.size if wanted.size else wanted.checksum is not None)
    ]
    return min(exact or copies, key=lambda file: (_place(file, folders), len(file.parts)), default=None)


def _place(file: PresentFile, folders: tuple[str, ...]) -> int:
    """Which of the folders a file lies in, the nearest first; their number when in none."""
    inside = (place for place, folder in enumerate(folders) if folder and file.name.startswith(f"{folder}/"))
    return next(inside, len(folders))


def _draft(wanted: ExpectedFile, file: PresentFile | None, begun: list[PresentFile]) -> str | None:
    """What a file that is still being written is called for now; None when it is not."""
    if file is None:
        return _unfinished(wanted.name, begun)
    if wanted.size is not None and file.size == wanted.size:
        return None
    return _unfinished(file.name, begun) or (file.name if file.is_young else None)


def _unfinished(name: str, begun: list[PresentFile]) -> str | None:
    last = parts_of_name(name)[-1]
    drafts = (file for file in begun if file.parts[-1].lstrip(".").startswith(last))
    return next((file.name for file in drafts), None)


def _unknown(entry: Entry, files: list[PresentFile]) -> Iterator[str]:
    """A numbered copy that matched nothing is one of them: somebody has to say which file it is."""
    if any(_takes_the_whole_inbox(entry, source) for source in entry.acquisition):
        return
    named = _named_anywhere(entry)
    yield from (file.name for file in files if file.parts[-1] not in named and not file.is_unfinished)


def _not_named(entry: Entry, files: list[PresentFile]) -> list[PresentFile]:
    named = _named_anywhere(entry)
    return [file for file in files if copied_name(file.parts[-1]) not in named]


def _named_anywhere(entry: Entry) -> set[str]:
    return {parts_of_name(file.name)[-1] for source in entry.acquisition for file in named_files(source)}


__all__ = [
    "ExpectedFile",
    "FoundFile",
    "InboxState",
    "TakenFile",
    "copied_name",
    "expected_files",
    "inbox_of",
    "look",
    "named_files",
    "own_folder",
]
