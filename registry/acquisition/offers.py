"""What the sources of a part can give now: their listings, what lies in the inbox, and the gates before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.credentials import find_credential
from medshard.registry.acquisition.gates.gate import Gate, gate_error, gate_of
from medshard.registry.acquisition.gates.inbox import InboxState, TakenFile, look
from medshard.registry.acquisition.lock import LockedPart, changes
from medshard.registry.acquisition.wanted_files import wanted_files
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import Asking, ListedFile, Listing, LocalAddress
from medshard.registry.schema import RemoteSource, Source


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


def local_listing(place: Workplace) -> Listing | None:
    """The files of a part that lies on this machine, which is asked anew each time; None for a remote part."""
    source = place.part.sources[0]
    host = host_of(source.kind)
    if not host.local or host.list_files is None:
        return None
    asking = Asking(web=None, base=place.base, where=place.where)  # type: ignore[arg-type] # local hosts ask nobody
    return wanted_files(source, host.list_files(source, asking), where=place.where)


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
    raise nobody_has_it(gates, failures)


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


def nobody_has_it(gates: list[Gate], failures: list[Failure]) -> AcquisitionError:
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
