"""A part that the store has already: is it still whole, and what is missing is fetched alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from medshard.registry.acquisition.acquire import fetch_pieces
from medshard.registry.acquisition.archives import Unpacked
from medshard.registry.acquisition.archives.kinds import archive_kind
from medshard.registry.acquisition.assembling import lay_out, unpack_below
from medshard.registry.acquisition.lock import LockedPart, source_changed
from medshard.registry.acquisition.obtaining import link_or_copy, listed_path
from medshard.registry.acquisition.offers import Offer, first_offer
from medshard.registry.acquisition.provenance import Provenance, origins_of
from medshard.registry.acquisition.publishing import kept_archive
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.store.digests import sha256_file
from medshard.registry.store.objects import ObjectRef
from medshard.registry.store.records import CaseRecord

Volumes = list[dict[str, Any]]


def suspects_of(place: Workplace, record: CaseRecord) -> list[str]:
    """Files of a part that are gone or changed: by size and time, or by hash when the options say `verify`."""
    if record.output is None:
        return []
    return place.store.suspects(record.output, verify=place.options.verify)


def kept_archives(place: Workplace, record: CaseRecord) -> list[ObjectRef]:
    """The archives of a part that the store still has."""
    refs = [kept_archive(archive) for archive in record.facts["archives"]]
    return [ref for ref in refs if place.store.has(ref)]


def damaged_archives(place: Workplace, record: CaseRecord) -> list[ObjectRef]:
    """Kept archives of a part whose bytes are no longer those that came; a repair must not unpack them."""
    return [ref for ref in kept_archives(place, record) if sha256_file(place.store.path(ref)) != ref.digest]


def repair(place: Workplace, record: CaseRecord, locked: LockedPart, paths: list[str]) -> int:
    """Put `paths` back, and return how many bytes that took over the wire.

    What an archive brought that the store has kept is unpacked again without a request; for the rest the files that
    brought it are fetched, and no others. Raises AcquisitionError[source.changed] when other bytes come now.
    """
    if record.output is None:
        return 0
    by_path = {origin.path: origin for origin in origins_of(place.store, record)}
    origins = [by_path[path] for path in paths]
    with place.store.scratch() as scratch:
        found: dict[str, Path] = {}
        lost: set[str] = set()
        for number, volumes in enumerate(_pieces(record)):
            wanted = [origin for origin in origins if origin.archive_sha256 == volumes[0]["sha256"]]
            if wanted and _are_kept(place, volumes):
                found |= _out_of_kept(place, volumes, wanted, scratch / f"{number:04d}")
            elif wanted:
                lost |= {volume["listed"] for volume in volumes}
        missing = [origin for origin in origins if origin.path not in found]
        transferred = 0
        if missing:
            more, transferred = _from_the_host(place, locked, missing, lost, scratch / "host")
            found |= more
        _expect_same(place, origins, found)
        place.store.restore(record.output, found)
    place.clear()
    return transferred


def _pieces(record: CaseRecord) -> Iterable[Volumes]:
    """The archives of a part, each as its volumes."""
    for _, volumes in groupby(record.facts["archives"], key=lambda archive: archive["piece"]):
        yield list(volumes)


def _are_kept(place: Workplace, volumes: Volumes) -> bool:
    refs = [kept_archive(volume) for volume in volumes]
    return all(place.store.has(ref) and sha256_file(place.store.path(ref)) == ref.digest for ref in refs)


def _out_of_kept(place: Workplace, volumes: Volumes, wanted: list[Provenance], folder: Path) -> dict[str, Path]:
    """path -> file, of one archive that is unpacked again."""
    paths = [folder.with_name(f"{folder.name}.packed") / volume["name"] for volume in volumes]
    for path, volume in zip(paths, volumes, strict=True):
        link_or_copy(place.store.path(kept_archive(volume)), path)
    first = volumes[0]
    kind = archive_kind(paths, first["kind"], where=place.where)
    unpacked: Unpacked = unpack_below(place, paths, folder, kind=kind, include=first["include"], strip=first["strip"])
    below = PurePosixPath(first["listed"]).parent
    here = {(below / member.path).as_posix(): folder / member.path for member in unpacked.members}
    return {origin.path: here[origin.path] for origin in wanted if origin.path in here}


def _from_the_host(
    place: Workplace, locked: LockedPart, missing: list[Provenance], archives: set[str], tree: Path
) -> tuple[dict[str, Path], int]:
    """path -> file, and bytes that came over the wire. archives: listed names of the archives that are needed."""
    offer = _reduced(place, first_offer(place, prefer=locked.mirror), missing, archives)
    pieces = fetch_pieces(place, offer, locked)
    came = {origin.path for origin in lay_out(pieces, tree, where=place.where)}
    transferred = sum(file.transferred for piece in pieces for file in piece.files)
    return {origin.path: tree / origin.path for origin in missing if origin.path in came}, transferred


def _reduced(place: Workplace, offer: Offer, missing: list[Provenance], archives: set[str]) -> Offer:
    """The offer without the files that bring none of the paths. Raises AcquisitionError[source.changed] for no file."""
    plain = {origin.path for origin in missing if origin.archive is None}
    files = tuple(
        file
        for file in offer.listing.files
        if file.name in archives or listed_path(file, where=place.where).as_posix() in plain
    )
    if not files:
        raise source_changed(["what brought the damaged files is gone"], where=place.where)
    return replace(offer, listing=replace(offer.listing, files=files))


def _expect_same(place: Workplace, origins: list[Provenance], found: Mapping[str, Path]) -> None:
    lines = []
    for origin in origins:
        sha256 = sha256_file(found[origin.path]) if origin.path in found else "nothing"
        if sha256 != origin.sha256:
            lines.append(f"{origin.path}: sha256 {origin.sha256[:16]} became {sha256[:16]}")
    if lines:
        place.clear()  # or the next build would take the other bytes for those of the lock
        raise source_changed(lines, where=place.where)
