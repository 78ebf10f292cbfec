"""The parts of an entry's acquisition as records of the stage `raw`: found again, repaired, or acquired now."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from medshard.errors import MedshardError
from medshard.pipelines.stages.stage import CODE_VERSIONS, Context
from medshard.registry.acquisition.acquire import AcquiredPart, acquire_part, local_listing
from medshard.registry.acquisition.connection import connection
from medshard.registry.acquisition.gates.acceptance import require_acceptance, this_user
from medshard.registry.acquisition.journal import JournalEntry, write_journal
from medshard.registry.acquisition.lock import LockedPart, lock_of, read_lock, source_changed, write_lock
from medshard.registry.acquisition.parts import Part, parts_of
from medshard.registry.acquisition.publishing import identity_of, publish_part, warnings_of
from medshard.registry.acquisition.rechecking import damaged_archives, repair, suspects_of
from medshard.registry.acquisition.transfer.progress import Bars, NoProgress, Progress
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.places import source_place
from medshard.registry.store.records import CaseRecord, read_record, record_key, write_record

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.web import Web

STAGE = "raw"


@dataclass(frozen=True, kw_only=True)
class BuiltParts:
    """records: one for each part, in the order of the entry. done: how many were acquired now. transferred: bytes that
    came over the wire. repaired: files that were damaged in the store and fetched again."""

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
    """The record of every part. Parts come one after the other; the files of a part come side by side."""
    locks = read_lock(context.store, context.entry.id)
    acquired = {key for key, locked in locks.items() if locked.tree is not None}
    # An optional part that was asked for once stays: a build without the option must not take it away.
    parts = [
        part
        for part in parts_of(context.entry, optional=True)
        if not part.optional or context.acquisition.optional or part.key in acquired
    ]
    with _connection(context) as (web, progress):
        built = [_built(_workplace(context, part, web, progress), context, locks.get(part.key)) for part in parts]
    if not context.dry:
        # Of parts that the catalog has described otherwise since they were begun.
        shutil.rmtree(context.store.root / "downloads" / context.entry.id, ignore_errors=True)
    return BuiltParts(
        records=tuple(item.record for item in built),
        done=sum(item.done for item in built),
        transferred=sum(item.transferred for item in built),
        repaired=tuple(path for item in built for path in item.repaired),
    )


def _built(place: Workplace, context: Context, locked: LockedPart | None) -> _Built:
    listing = local_listing(place)
    if listing is not None:
        locked = lock_of(listing, 0)
    record = read_record(place.store, _key(place, locked)) if locked else None
    if record is None or locked is None:
        return _acquired(place, context, locked if listing is None else None)
    damaged = damaged_archives(place, record) if place.options.verify and not context.dry else []
    for archive in damaged:
        place.store.remove(archive)
    suspects = suspects_of(place, record)
    if suspects:
        _refuse_work(context, f"{len(suspects)} files of {place.part.name} are gone or changed")
        with place.store.scratch() as scratch:
            repair(place, record, locked, suspects, scratch)
    return _Built(record=record, repaired=tuple(suspects))


def _acquired(place: Workplace, context: Context, locked: LockedPart | None) -> _Built:
    """Acquire a part now; what it unpacks to is compared with what it was before."""
    _refuse_work(context, f"{place.part.name} is to be acquired")
    accepted: list[str] = []

    def consent() -> None:
        accepted[:] = [_accept_terms(place)]

    def remember(known: LockedPart) -> None:
        if not host_of(place.part.sources[known.mirror].kind).local:
            write_lock(place.store, place.entry.id, place.part, known)

    with place.store.scratch() as scratch:
        acquired = acquire_part(place, locked, scratch / "tree", consent=consent, remember=remember)
        tree, facts = publish_part(place, acquired)
    if acquired.locked.tree not in {None, tree.digest}:
        raise source_changed(["its files are not those of the first acquisition"], where=place.where)
    digests = {file.listed.name: file.sha256 for file in acquired.obtained}
    known = acquired.locked.with_content(digests, tree.digest)
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
    write_journal(place.store, place.entry.id, key, _journal(place, acquired, accepted[0] if accepted else None))
    remember(known)
    write_record(place.store, record)
    for taken in acquired.offer.taken.values():
        taken.path.unlink(missing_ok=True)
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


def _accept_terms(place: Workplace) -> str:
    """The digest of the accepted terms, which are shown once."""
    options = place.options
    return require_acceptance(
        place.store,
        place.entry,
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


def _workplace(context: Context, part: Part, web: Web | None, progress: Progress | None) -> Workplace:
    return Workplace(
        store=context.store,
        entry=context.entry,
        part=part,
        base=context.catalog.folder(context.entry.id),
        options=context.acquisition,
        web=web,
        progress=progress,
    )


@contextmanager
def _connection(context: Context) -> Iterator[tuple[Web | None, Progress | None]]:
    """A connection for the time of one build, where an entry has anything behind a network."""
    if context.dry or all(host_of(source.kind).local for source in context.entry.acquisition):
        yield None, None
        return
    with connection(context.entry, context.acquisition.environment) as web:
        yield web, Bars(f"{context.entry.id} raw") if context.progress else NoProgress()
