"""One part of an entry, from the question who has it to a finished tree: the first mirror that can give it does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.volumes import volumes_of
from medshard.registry.acquisition.assembling import Piece, below, finished_piece, lay_out, open_piece
from medshard.registry.acquisition.checksums import check_files
from medshard.registry.acquisition.gates.gate import Gate
from medshard.registry.acquisition.lock import LockedPart, lock_of, refuse_changes, source_changed
from medshard.registry.acquisition.obtaining import Obtained, obtain
from medshard.registry.acquisition.offers import Failure, Offer, nobody_has_it, offer_of
from medshard.registry.acquisition.provenance import Provenance
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts.host import ListedFile

# Another mirror cannot mend these.
_FINAL = {
    *("disk.full", "licence.not_accepted", "source.changed"),
    *("archive.disk", "archive.limit", "archive.password", "archive.no_tool"),
}


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
    raise nobody_has_it(gates, failures)


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
