"""One part of an entry, from the question who has it to a finished tree: the first mirror that can give it does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.kinds import volumes_of
from medshard.registry.acquisition.assembling import Piece, below, finished_piece, lay_out, open_piece
from medshard.registry.acquisition.checksums import check_files
from medshard.registry.acquisition.gates.credentials import find_credential
from medshard.registry.acquisition.gates.gate import Gate, gate_error, gate_of
from medshard.registry.acquisition.gates.inbox import InboxState, TakenFile, look
from medshard.registry.acquisition.lock import (
    LockedPart,
    changes,
    lock_of,
    refuse_changes,
    source_changed,
)
from medshard.registry.acquisition.obtaining import Obtained, obtain
from medshard.registry.acquisition.provenance import Provenance
from medshard.registry.acquisition.wanted_files import wanted_files
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import Asking, ListedFile, Listing, LocalAddress
from medshard.registry.schema import RemoteSource, Source

# Another mirror cannot mend these.
_FINAL = {
    *("disk.full", "licence.not_accepted", "source.changed"),
    *("archive.disk", "archive.limit", "archive.password", "archive.no_tool"),
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A source of a part that can be had: its files, and those that a person has put into the inbox.

    by_person: whether the inbox is all there is, and no host was asked.
    """

    mirror: int
    source: Source
    listing: Listing
    taken: Mapping[str, TakenFile] = field(default_factory=dict)
    by_person: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A mirror that was tried in vain."""

    source: Source
    error: AcquisitionError


@dataclass(frozen=True, kw_only=True)
class AcquiredPart:
    """A part as it lies in a folder, ready to be published.

    tree: the files. origins: where each came from. pieces: the archives and files behind them. failed: mirrors that
    were tried in vain, one line each. seconds: of fetching and unpacking.
    """

    offer: Offer
    locked: LockedPart
    tree: Path
    origins: tuple[Provenance, ...]
    pieces: tuple[Piece, ...]
    failed: tuple[str, ...]
    seconds: float

    @property
    def obtained(self) -> list[Obtained]:
        return [file for piece in self.pieces for file in piece.files]

    @property
    def damaged(self) -> list[tuple[str, str]]:
        return [
            (below(piece, item.path), item.problem)
            for piece in self.pieces
            if piece.unpacked
            for item in piece.unpacked.damaged
        ]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        return [(item.name, item.why) for piece in self.pieces if piece.unpacked for item in piece.unpacked.left_out]

    @property
    def tools(self) -> dict[str, str]:
        used = [file.tool for file in self.obtained if file.tool]
        unpackers = [tool for piece in self.pieces if piece.unpacked for tool in piece.unpacked.tools.items()]
        return {**self.offer.listing.tools, **dict(used), **dict(unpackers)}


def local_listing(place: Workplace) -> Listing | None:
    """The files of a part that lies on this machine, which is asked anew each time; None for a remote part."""
    source = place.part.sources[0]
    host = host_of(source.kind)
    if not host.local or host.list_files is None:
        return None
    asking = Asking(web=None, base=place.base, where=place.where)  # type: ignore[arg-type] # local hosts ask nobody
    return wanted_files(source, host.list_files(source, asking), where=place.where)


def acquire_part(
    place: Workplace,
    locked: LockedPart | None,
    tree: Path,
    *,
    consent: Callable[[], None],
    remember: Callable[[LockedPart], None],
    before: Mapping[str, Path] | None = None,
) -> AcquiredPart:
    """Fetch and unpack a part into `tree`, from the first of its mirrors that can give it.

    locked: what the part was when it was first asked. consent: is called when no gate stands, before a host is asked or
    a file of the inbox taken; it raises where the terms are not accepted. remember: is told what a host lists before
    anything is fetched. before: files that an inbox gave earlier, and where they lie now.

    Raises AcquisitionError: gate.* when only a person can go on, the error of the last mirror when none could give it,
    source.changed.
    """
    started = time.monotonic()
    gates: list[Gate] = []
    failures: list[Failure] = []
    for mirror, source in enumerate(place.part.sources):
        try:
            offer = offer_of(place, mirror, source, gates, consent=consent, before=before)
            if offer is None:
                continue
            known = _compared(place, locked, offer)
            remember(known)
            pieces = fetch_pieces(place, offer, known)
            origins = _assemble(place, offer, pieces, tree)
        except AcquisitionError as error:
            if error.code in _FINAL:
                raise
            failures.append(Failure(source=source, error=error))
            shutil.rmtree(tree, ignore_errors=True)
            continue
        return AcquiredPart(
            offer=offer,
            locked=known,
            tree=tree,
            origins=tuple(origins),
            pieces=tuple(pieces),
            failed=tuple(f"{failure.source.kind}: {failure.error.code}" for failure in failures),
            seconds=time.monotonic() - started,
        )
    raise _nobody_has_it(gates, failures)


def _compared(place: Workplace, locked: LockedPart | None, offer: Offer) -> LockedPart:
    """The lock to go by: the old one where the source still says the same, else a new one.

    Another mirror has to bring the same tree; more files in an inbox make another one.
    """
    if locked is None or place.options.accept_changes:
        return lock_of(offer.listing, offer.mirror)
    if locked.mirror != offer.mirror:
        return lock_of(offer.listing, offer.mirror, tree=locked.tree)
    if (
        offer.by_person
        and locked.tree is not None
        and set(locked.by_name) < {file.name for file in offer.listing.files}
    ):
        return locked.extended(lock_of(offer.listing, offer.mirror))
    refuse_changes(locked, offer.listing, where=place.where)
    return locked


def first_offer(place: Workplace, *, prefer: int = 0) -> Offer:
    """The first mirror that can be asked now, beginning with the one that gave the part.

    Raises AcquisitionError: gate.*, or that of the last mirror.
    """
    gates: list[Gate] = []
    failures: list[Failure] = []
    for mirror, source in sorted(enumerate(place.part.sources), key=lambda item: item[0] != prefer):
        try:
            offer = offer_of(place, mirror, source, gates, consent=_given)
        except AcquisitionError as error:
            failures.append(Failure(source=source, error=error))
            continue
        if offer is not None:
            return offer
    raise _nobody_has_it(gates, failures)


def _given() -> None:
    """The terms of what is in the store already were accepted when it came."""


def offer_of(
    place: Workplace,
    mirror: int,
    source: Source,
    gates: list[Gate],
    *,
    consent: Callable[[], None],
    before: Mapping[str, Path] | None = None,
) -> Offer | None:
    """What a source can give now; None, with a gate noted, when a person has to do something first.

    Where a program may go on its own, the inbox only saves downloads; behind a gate it is all there is.
    """
    number = place.part.numbers[mirror]
    if gate_before(place, mirror, source, InboxState(where=place.where)) is None:
        local = host_of(source.kind).local
        if not local:
            consent()
        listing = host_listing(place, source)
        taken = {} if local else look(place.inbox, place.entry, number, source, listing).by_name
        return Offer(mirror=mirror, source=source, listing=listing, taken=taken)
    inbox = look(place.inbox, place.entry, number, source)
    gate = gate_before(place, mirror, source, inbox)
    if gate is not None:
        gates.append(gate)
        return None
    consent()
    listing = _inbox_listing(place, source, inbox, before or {})
    return Offer(mirror=mirror, source=source, listing=listing, taken=inbox.by_name, by_person=True)


def is_by_person(place: Workplace, mirror: int) -> bool:
    """Whether only a person can fetch from a mirror, whatever lies in the inbox."""
    return gate_before(place, mirror, place.part.sources[mirror], InboxState(where=place.where)) is not None


def gates_of(place: Workplace) -> list[Gate]:
    """What a person has to do for each mirror of a part, as things are now."""
    looked = [
        (mirror, source, look(place.inbox, place.entry, place.part.numbers[mirror], source))
        for mirror, source in enumerate(place.part.sources)
    ]
    gates = [gate_before(place, mirror, source, inbox) for mirror, source, inbox in looked]
    return [gate for gate in gates if gate is not None]


def has_changed(place: Workplace, locked: LockedPart) -> bool:
    """Whether a host says otherwise than the lock; True where it states nothing that could tell."""
    if is_by_person(place, locked.mirror):
        return False
    listing = host_listing(place, place.part.sources[locked.mirror])
    is_silent = listing.revision is None and any(file.size is None and file.checksum is None for file in listing.files)
    return is_silent or bool(changes(locked, listing))


def gate_before(place: Workplace, mirror: int, source: Source, inbox: InboxState) -> Gate | None:
    """What a person has to do before this source can be had."""
    host = host_of(source.kind)
    return gate_of(
        place.entry,
        place.part.numbers[mirror],
        source,
        host=host,
        credential=find_credential(host, place.options.environment),
        inbox=inbox,
        folder=place.inbox,
    )


def host_listing(place: Workplace, source: Source) -> Listing:
    """What a source has, reduced to what the catalog wants."""
    local = local_listing(place)
    if local is not None:
        return local
    host = host_of(source.kind)
    if place.connect is None or host.list_files is None:
        raise AssertionError(f"{place.where} is behind a network, and nobody may be asked")
    asking = Asking(web=place.connect(), base=place.base, where=place.where)
    return wanted_files(source, host.list_files(source, asking), where=place.where)


def _inbox_listing(place: Workplace, source: Source, inbox: InboxState, before: Mapping[str, Path]) -> Listing:
    """What a person has fetched, now and before, under the names of the catalog."""
    named = source.files if isinstance(source, RemoteSource) else ()
    stated = {file.name: file for file in named}
    paths = {**before, **{name: taken.path for name, taken in inbox.by_name.items()}}
    files = tuple(
        ListedFile(
            name=name,
            address=LocalAddress(path=path),
            size=stated[name].size if name in stated else None,
            checksum=stated[name].checksum if name in stated else None,
            archive=stated[name].archive if name in stated else None,
        )
        for name, path in sorted(paths.items())
    )
    return wanted_files(source, Listing(files=files), where=place.where)


def fetch_pieces(place: Workplace, offer: Offer, locked: LockedPart | None) -> list[Piece]:
    """Obtain everything, then unpack; or one archive after the other, where each is discarded once it is unpacked."""
    groups = _volume_groups(offer.listing.files)
    pieces: dict[int, Piece] = {}
    for number, group in enumerate(groups):
        known = finished_piece(
            place, group, _unpack_folder(place, number), archives_kept=not place.options.discard_archives
        )
        if known is not None:
            pieces[number] = known
    missing = [number for number in range(len(groups)) if number not in pieces]
    for batch in [[number] for number in missing] if place.options.discard_archives else [missing]:
        listed = [file for number in batch for file in groups[number]]
        obtained = obtain(place, offer.source, listed, place.folder / "files", taken=offer.taken, locked=locked)
        _expect_locked(obtained, locked, where=place.where)
        by_name = {file.listed.name: file for file in obtained}
        for number in batch:
            files = [by_name[file.name] for file in groups[number]]
            pieces[number] = open_piece(place, files, _unpack_folder(place, number))
            if place.options.discard_archives and pieces[number].folder is not None:
                _discard(pieces[number])
    return [pieces[number] for number in range(len(groups))]


def _unpack_folder(place: Workplace, number: int) -> Path:
    return place.folder / "unpacked" / f"{number:04d}"


def _volume_groups(files: tuple[ListedFile, ...]) -> list[list[ListedFile]]:
    """The volumes of one archive together, every other file alone, in the order of the listing."""
    by_path = {Path(file.name): file for file in files}
    return [[by_path[path] for path in group] for group in volumes_of(list(by_path))]


def _discard(piece: Piece) -> None:
    for file in piece.files:
        file.path.unlink(missing_ok=True)


def _expect_locked(obtained: list[Obtained], locked: LockedPart | None, *, where: str) -> None:
    lines = []
    for file in obtained:
        known = locked.file(file.listed.name) if locked else None
        if known and known.repeatable and known.sha256 not in {None, file.sha256}:
            lines.append(f"{file.listed.name}: sha256 {str(known.sha256)[:16]} became {file.sha256[:16]}")
            file.path.unlink(missing_ok=True)  # or the next build would take it for the file of the lock
    if lines:
        raise source_changed(lines, where=where)


def _assemble(place: Workplace, offer: Offer, pieces: list[Piece], tree: Path) -> list[Provenance]:
    origins = lay_out(pieces, tree, where=place.where)
    pinned: Any = getattr(offer.source, "files", None)
    if isinstance(pinned, dict):
        check_files(tree, pinned, where=place.where)
    return origins


def _nobody_has_it(gates: list[Gate], failures: list[Failure]) -> AcquisitionError:
    if not failures:
        return gate_error(gates)
    last = failures[-1].error
    others = {
        f"{failure.source.kind} ({number})": f"{failure.error.code}: {failure.error.problem}"
        for number, failure in enumerate(failures[:-1], start=1)
    }
    by_hand = {gate.source: gate.text.replace("\n", " ") for gate in gates}
    return AcquisitionError(
        last.code,
        where=last.where,
        problem=last.problem,
        details={**last.details, **{f"also tried {kind}": told for kind, told in others.items()}, **by_hand},
        action=last.action,
    )
