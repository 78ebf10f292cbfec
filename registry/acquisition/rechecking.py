"""A part that the store has already: is it still whole, and what is missing is fetched alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.acquire import Offer, fetch_pieces, first_offer
from medshard.registry.acquisition.assembling import lay_out
from medshard.registry.acquisition.lock import LockedPart
from medshard.registry.acquisition.provenance import Provenance, origins_of
from medshard.registry.acquisition.publishing import kept_archive
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts.host import Listing
from medshard.registry.store.digests import sha256_file
from medshard.registry.store.objects import ObjectRef
from medshard.registry.store.records import CaseRecord


def suspects_of(place: Workplace, record: CaseRecord) -> list[str]:
    """Files of a part that are gone or changed: by size and time, or by hash when the options say `verify`."""
    if record.output is None:
        return []
    return place.store.suspects(record.output, verify=place.options.verify)


def damaged_archives(place: Workplace, record: CaseRecord) -> list[ObjectRef]:
    """Kept archives of a part whose bytes are no longer those that came; a repair must not unpack them."""
    kept = [kept_archive(archive) for archive in record.facts["archives"]]
    return [ref for ref in kept if place.store.has(ref) and sha256_file(place.store.path(ref)) != ref.digest]


def repair(place: Workplace, record: CaseRecord, locked: LockedPart | None, paths: list[str], scratch: Path) -> None:
    """Fetch the files that bring `paths`, and nothing else, and put those paths back.

    An archive that the store has kept is unpacked again without a request. Raises AcquisitionError[source.changed] when
    what comes now has other bytes.
    """
    if record.output is None:
        return
    origins = {origin.path: origin for origin in origins_of(place.store, record)}
    offer = _reduced(first_offer(place), [origins[path] for path in paths])
    pieces = fetch_pieces(place, offer, locked)
    came = {origin.path: origin for origin in lay_out(pieces, scratch, where=place.where)}
    for path in paths:
        if path not in came or came[path].sha256 != origins[path].sha256:
            raise AcquisitionError(
                "source.changed",
                where=place.where,
                problem=f"{path} was damaged in this store, and its source has other bytes now",
                details={
                    "expected": f"sha256 {origins[path].sha256}",
                    "found": came[path].sha256 if path in came else "nothing",
                },
                action="Build with --accept-changes to take the new state over.",
            )
        place.store.restore(record.output, path, scratch / path)
    place.clear()


def _reduced(offer: Offer, origins: Iterable[Provenance]) -> Offer:
    """The offer without the files that bring none of the paths."""
    names = {origin.archive.split(" > ")[0] if origin.archive else origin.path.rsplit("/", 1)[-1] for origin in origins}
    files = tuple(file for file in offer.listing.files if file.name.rsplit("/", 1)[-1] in names)
    listing = Listing(files=files or offer.listing.files, revision=offer.listing.revision, tools=offer.listing.tools)
    return Offer(mirror=offer.mirror, source=offer.source, listing=listing, taken=offer.taken)
