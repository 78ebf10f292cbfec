"""The parts of an entry's acquisition as records of the stage `raw`: found again, repaired, or acquired now."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medshard.errors import AcquisitionError, MedshardError
from medshard.pipelines.stages.stage import CODE_VERSIONS, Context
from medshard.registry.acquisition.acquire import AcquiredPart, acquire_part
from medshard.registry.acquisition.connection import connection
from medshard.registry.acquisition.gates.acceptance import accepted, require_acceptance, this_user
from medshard.registry.acquisition.gates.gate import gate_error
from medshard.registry.acquisition.gates.terms import terms_of
from medshard.registry.acquisition.journal import JournalEntry, write_journal
from medshard.registry.acquisition.late_files import files_before, has_late_files
from medshard.registry.acquisition.lock import LockedPart, lock_of, read_lock, source_changed, write_lock
from medshard.registry.acquisition.obtaining import remove_taken
from medshard.registry.acquisition.offers import gates_of, has_changed, local_listing
from medshard.registry.acquisition.parts import Part, parts_of
from medshard.registry.acquisition.publishing import identity_of, publish_part, warnings_of
from medshard.registry.acquisition.rechecking import (
    damaged_archives,
    kept_archives,
    repair,
    suspects_of,
)
from medshard.registry.acquisition.transfer.progress import Bars, NoProgress, Progress
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.cards.licence_terms import licence_in_words
from medshard.registry.hosts import host_of
from medshard.registry.places import source_place
from medshard.registry.store.records import CaseRecord, read_record, record_key, write_record

if TYPE_CHECKING:
    from medshard.registry.acquisition.connection import Connect

STAGE = "raw"


@dataclass(frozen=True, kw_only=True)
class BuiltParts:
    """records: one for each part, in the order of the entry. done: how many were acquired now. transferred: bytes that
    came over the wire. repaired: what was damaged in the store and has been mended."""

    records: tuple[CaseRecord, ...]
    done: int
    transferred: int
    repaired: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Built:
    record: CaseRecord
    done: bool = False
    transferred: int = 0
    repaired: tuple[str, ...] = ()


def build_parts(context: Context) -> BuiltParts:
    """The record of every part. Parts come one after the other; the files of a part come side by side.

    What a person has to fetch first stops the build only when everything else is there.
    """
    locks = read_lock(context.store, context.entry.id)
    every = parts_of(context.entry, optional=True)
    acquired = {key for key, locked in locks.items() if locked.tree is not None}
    # An optional part that was asked for once stays: a build without the option must not take it away.
    parts = [part for part in every if not part.optional or context.acquisition.optional or part.key in acquired]
    built: list[_Built] = []
    closed: list[Workplace] = []
    with _connection(context) as (connect, progress):
        places = [_workplace(context, part, connect, progress) for part in parts]
        if not context.dry and context.entry.id in context.acquisition.accept:
            _accept_terms(context)  # so that what is said in front of a gate is not lost
        for place in places:
            try:
                built.append(_built(place, context, locks.get(place.part.key)))
            except AcquisitionError as error:
                if not error.code.startswith("gate."):
                    raise
                closed.append(place)
    if closed:
        raise _gates(closed)
    if not context.dry:
        _sweep_downloads(context, {part.key[:16] for part in every})
    return BuiltParts(
        records=tuple(item.record for item in built),
        done=sum(item.done for item in built),
        transferred=sum(item.transferred for item in built),
        repaired=tuple(path for item in built for path in item.repaired),
    )


def _gates(closed: Sequence[Workplace]) -> AcquisitionError:
    """What a person has to do, for all parts at once; the folders to fill are made."""
    gates = [gate for place in closed for gate in gates_of(place)]
    for gate in gates:
        gate.folder.mkdir(parents=True, exist_ok=True)
    place = closed[0]
    error = gate_error(gates)
    if accepted(place.store, place.entry, place.options.use) is None and terms_of(place.entry).consent:
        error.details["licence"] = (
            f"{licence_in_words(place.entry.licence)}; its terms have to be accepted too: "
            f"--accept-licence {place.entry.id}"
        )
    return error


def _sweep_downloads(context: Context, known: set[str]) -> None:
    """Remove what was begun of parts that the catalog has described otherwise since."""
    folder = context.store.root / "downloads" / context.entry.id
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in known:
            shutil.rmtree(path, ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _built(place: Workplace, context: Context, locked: LockedPart | None) -> _Built:
    listing = local_listing(place)
    if listing is not None:
        locked = lock_of(listing, 0)
    record = read_record(place.store, _key(place, locked)) if locked else None
    if record is None or locked is None:
        return _acquired(place, context, locked if listing is None else None)
    if listing is None and not context.dry:
        _accept_terms(context)
        before = files_before(place, record, locked)
        if has_late_files(place, locked) or (place.options.accept_changes and has_changed(place, locked)):
            return _acquired(place, context, locked, before)
    return _checked(place, context, locked, record)


def _checked(place: Workplace, context: Context, locked: LockedPart, record: CaseRecord) -> _Built:
    """A part that the store has, mended where it was damaged."""
    mended: list[str] = []
    if not context.dry:
        mended += _without_damaged_archives(place, record)
        if place.options.discard_archives:
            for archive in kept_archives(place, record):
                place.store.remove(archive)
    suspects = suspects_of(place, record)
    if not suspects:
        return _Built(record=record, repaired=tuple(mended))
    _refuse_work(context, f"{len(suspects)} files of {place.part.name} are gone or changed")
    try:
        transferred = repair(place, record, locked, suspects)
    except AcquisitionError as error:
        if error.code != "source.changed" or not place.options.accept_changes:
            raise
        return _acquired(place, context, locked)
    return _Built(record=record, transferred=transferred, repaired=(*mended, *suspects))


def _without_damaged_archives(place: Workplace, record: CaseRecord) -> list[str]:
    """With `verify`: remove kept archives that are no longer what came. Their files are here, or are mended next."""
    if not place.options.verify:
        return []
    damaged = damaged_archives(place, record)
    for archive in damaged:
        place.store.remove(archive)
    return [f"archive {archive.digest[:16]}{archive.suffix}, which was damaged and is removed" for archive in damaged]


def _acquired(
    place: Workplace, context: Context, locked: LockedPart | None, before: Mapping[str, Path] | None = None
) -> _Built:
    """Acquire a part now; what it unpacks to is compared with what it was before."""
    _refuse_work(context, f"{place.part.name} is to be acquired")
    accepted_terms: list[str] = []

    def consent() -> None:
        accepted_terms[:] = [_accept_terms(context)]

    def remember(known: LockedPart) -> None:
        # What a complete part was is kept until there is a complete one again.
        if not host_of(place.part.sources[known.mirror].kind).local and (locked is None or locked.tree is None):
            write_lock(place.store, place.entry.id, place.part, known)

    with place.store.scratch() as scratch:
        acquired = acquire_part(place, locked, scratch / "tree", consent=consent, remember=remember, before=before)
        tree, facts = publish_part(place, acquired)
    if acquired.locked.tree not in {None, tree.digest}:
        raise source_changed(["its files are not those of the first acquisition"], where=place.where)
    found = {file.listed.name: (file.size, file.sha256) for file in acquired.obtained}
    known = acquired.locked.with_content(found, tree.digest)
    key = _key(place, known)
    record = CaseRecord(
        stage=STAGE,
        entry=place.entry.id,
        case=place.part.name,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        output=tree,
        decoders=acquired.tools,
        facts={"identity": identity_of(acquired), "into": acquired.offer.source.into, **facts},
        warnings=warnings_of(acquired),
    )
    accepted_digest = accepted_terms[0] if accepted_terms else None
    write_journal(place.store, place.entry.id, key, _journal(place, acquired, accepted_digest))
    if not host_of(acquired.offer.source.kind).local:
        write_lock(place.store, place.entry.id, place.part, known)
    write_record(place.store, record)
    for taken in acquired.offer.taken.values():
        remove_taken(taken.path, inbox=place.inbox)
    place.clear()
    return _Built(record=record, done=True, transferred=sum(file.transferred for file in acquired.obtained))


def _key(place: Workplace, locked: LockedPart | None) -> str:
    return record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=place.entry.id,
        case=place.part.name,
        parameters={"sources": place.part.words, "listing": locked.listing if locked else None},
    )


def _accept_terms(context: Context) -> str:
    """The digest of the accepted terms, which are shown once."""
    options = context.acquisition
    return require_acceptance(
        context.store,
        context.entry,
        asked=options.ask,
        named=options.accept,
        use=options.use,
        who=this_user(options.environment),
        now=datetime.now(UTC),
        environment=options.environment,
    ).digest


def _journal(place: Workplace, acquired: AcquiredPart, accepted: str | None) -> JournalEntry:
    files: dict[str, dict[str, Any]] = {
        file.listed.name: {"url": file.url, "validator": file.validator, "attempts": file.attempts}
        for file in acquired.obtained
    }
    return JournalEntry(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=this_user(place.options.environment),
        place=source_place(acquired.offer.source),
        seconds=round(acquired.seconds, 3),
        transferred=sum(file.transferred for file in acquired.obtained),
        failed=acquired.failed,
        files=files,
        accepted=accepted,
    )


def _refuse_work(context: Context, problem: str) -> None:
    if context.dry:
        raise MedshardError("stage.work_needed", where=f"{context.entry.id}/{STAGE}", problem=problem)


def _workplace(context: Context, part: Part, connect: Connect | None, progress: Progress | None) -> Workplace:
    return Workplace(
        store=context.store,
        entry=context.entry,
        part=part,
        base=context.catalog.folder(context.entry.id),
        options=context.acquisition,
        connect=connect,
        progress=progress,
    )


@contextmanager
def _connection(context: Context) -> Iterator[tuple[Connect | None, Progress | None]]:
    """A way to the hosts for the time of one build, where an entry has anything behind a network."""
    if context.dry or all(host_of(source.kind).local for source in context.entry.acquisition):
        yield None, None
        return
    with connection(context.entry, context.acquisition.environment) as connect:
        yield connect, Bars(f"{context.entry.id} raw") if context.progress else NoProgress()
