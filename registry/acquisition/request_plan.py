"""What a build of `raw` would do: requests, gates, files and disk, before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.gate import Gate
from medshard.registry.acquisition.gates.inbox import look
from medshard.registry.acquisition.lock import LockedPart, changes
from medshard.registry.acquisition.offers import gate_before, host_listing, is_by_person
from medshard.registry.acquisition.transfer.addresses import public_address
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import HttpAddress, ListedFile, ObjectAddress
from medshard.registry.places import file_address, source_place
from medshard.registry.schema import RemoteSource, Source


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """address: where it will be asked for; None until the host has told. rounded_size: where only that is stated."""

    name: str
    size: int | None
    checksum: str | None
    address: str | None
    rounded_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedSource:
    """One mirror of a part.

    requests: addresses that are asked before the first file. files: as far as they are known. gate: what a person has
    to do first. inbox: names that are there already. changes: what the host says now that it did not say before.
    problem: why the host could not be asked. asked: whether it was.
    """

    kind: str
    place: str
    requests: tuple[str, ...] = ()
    files: tuple[PlannedFile, ...] = ()
    gate: Gate | None = None
    inbox: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    problem: str = ""
    asked: bool = False

    @property
    def bytes_known(self) -> int:
        return sum(file.size or 0 for file in self.files)

    @property
    def sizes_unknown(self) -> int:
        return sum(file.size is None for file in self.files)


@dataclass(frozen=True, kw_only=True)
class PlannedPart:
    """A part is had from the first of its sources without a gate."""

    name: str
    optional: bool
    acquired: bool
    sources: tuple[PlannedSource, ...]

    def to_json(self) -> dict[str, Any]:
        sources = [
            {
                "kind": source.kind,
                "place": source.place,
                "gate": source.gate.text if source.gate else None,
                "requests": list(source.requests),
                "files": [vars(file) for file in source.files],
                "inbox": list(source.inbox),
                "changes": list(source.changes),
                "problem": source.problem,
                "asked": source.asked,
            }
            for source in self.sources
        ]
        return {"name": self.name, "optional": self.optional, "acquired": self.acquired, "sources": sources}


def plan_part(place: Workplace, locked: LockedPart | None) -> PlannedPart:
    """The plan of one part. Hosts are asked when the workplace has a connection; else only what is known is told."""
    sources = tuple(_plan_source(place, mirror, source, locked) for mirror, source in enumerate(place.part.sources))
    acquired = locked is not None and locked.tree is not None
    return PlannedPart(name=place.part.name, optional=place.part.optional, acquired=acquired, sources=sources)


def _plan_source(place: Workplace, mirror: int, source: Source, locked: LockedPart | None) -> PlannedSource:
    host = host_of(source.kind)
    inbox = look(place.inbox, place.entry, place.part.numbers[mirror], source)
    planned = PlannedSource(
        kind=source.kind,
        place=source_place(source),
        requests=tuple(public_address(url) for url in host.first_requests(source)),
        files=_named(source),
        inbox=tuple(file.expected.name for file in inbox.files),
    )
    try:
        planned = replace(planned, gate=gate_before(place, mirror, source, inbox))
    except AcquisitionError as error:  # such as a file of credentials that cannot be read
        return replace(planned, problem=f"{error.code}: {error.problem}")
    if is_by_person(place, mirror) or (place.connect is None and not host.local):
        return planned
    return _with_listing(place, planned, source, locked if locked and locked.mirror == mirror else None)


def _with_listing(place: Workplace, planned: PlannedSource, source: Source, locked: LockedPart | None) -> PlannedSource:
    try:
        listing = host_listing(place, source)
    except AcquisitionError as error:
        return replace(planned, problem=f"{error.code}: {error.problem}")
    changed = tuple(changes(locked, listing)) if locked else ()
    return replace(planned, files=tuple(_of_listed(file) for file in listing.files), changes=changed, asked=True)


def _named(source: Source) -> tuple[PlannedFile, ...]:
    if not isinstance(source, RemoteSource):
        return ()
    return tuple(
        PlannedFile(
            name=file.name,
            size=file.size,
            checksum=file.checksum,
            address=file_address(source, file),
            rounded_size=file.rounded_size,
        )
        for file in source.files
    )


def _of_listed(file: ListedFile) -> PlannedFile:
    address = file.address
    where = None
    if isinstance(address, HttpAddress):
        where = public_address(address.url)
    elif isinstance(address, ObjectAddress):
        where = f"{address.protocol}://{address.path}"
    return PlannedFile(name=file.name, size=file.size, checksum=file.checksum, address=where)
