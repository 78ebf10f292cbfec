"""Commands about where the bytes come from: what a download would do, and the evidence of one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medshard.commands.choosing import json_option, root_option
from medshard.errors import StoreError

if TYPE_CHECKING:
    from medshard.registry import Entry
    from medshard.registry.acquisition.gates.terms import Terms
    from medshard.registry.acquisition.lock import LockedPart
    from medshard.registry.acquisition.request_plan import PlannedFile, PlannedPart, PlannedSource
    from medshard.registry.store import Store

FILES_SHOWN = 10
REQUESTS_SHOWN = 10
ATTEMPTS = 3
"""Of asking for a plan, where somebody waits: a download is more patient."""


@click.command()
@click.argument("entry_ids", nargs=-1, required=True, metavar="ID...")
@root_option
@click.option("--ask", is_flag=True, help="Ask the hosts what they have, and compare it with the lock of the store.")
@json_option
def sources(entry_ids: tuple[str, ...], root: str, ask: bool, as_json: bool) -> None:
    """What a download would do: terms, gates, requests, files, sizes. Nothing is fetched.

    Exit code 1 when a host could not be asked.
    """
    from medshard.registry import Catalog
    from medshard.registry.acquisition.lock import read_lock

    catalog = Catalog.load()
    store = _store_or_none_yet(root)
    plans = {}
    for entry_id in dict.fromkeys(entry_ids):
        entry = catalog.entry(entry_id)
        locks = read_lock(store, entry_id)
        if ask:
            click.echo(f"asking for {entry_id} ...", err=True)
        plans[entry_id] = _plans(entry, catalog.folder(entry_id), store, locks, ask=ask)
        if not as_json:
            click.echo(f"{entry.id}: {entry.title}; licence {entry.licence.id}; access {entry.access.kind.value}")
            click.echo(f"  terms: {_terms_in_words(store, entry)}")
            _echo_plans(_as_acquired(entry, plans[entry_id], locks))
    if as_json:
        document = {entry_id: [part.to_json() for part in parts] for entry_id, parts in plans.items()}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    if ask and any(source.problem for parts in plans.values() for part in parts for source in part.sources):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("entry_id", metavar="ID")
@root_option
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
def attest(entry_id: str, root: str, output: Path | None) -> None:
    """The evidence of a real acquisition: files, digests, counts against the catalog, surprises, a proposal."""
    from medshard.registry import Catalog
    from medshard.registry.acquisition.attestation import attest as attest_entry
    from medshard.registry.store import Store

    attestation = attest_entry(Store.open(root, create=False), Catalog.load().entry(entry_id))
    if output is None:
        click.echo(attestation.to_yaml(), nl=False)
        return
    output.write_text(attestation.to_yaml(), encoding="utf8")
    click.echo(f"{output}: {len(attestation.surprises)} surprises")


def ask_terms(terms: Terms) -> bool:
    """Show the terms to the person at the terminal, and take their answer."""
    click.echo(terms.text, err=True)
    return click.confirm(f"Do you accept these terms for {terms.entry}?", default=False, err=True)


def _plans(entry: Entry, base: Path, store: Store, locks: Mapping[str, LockedPart], *, ask: bool) -> list[PlannedPart]:
    from medshard.registry.acquisition.connection import connection
    from medshard.registry.acquisition.options import AcquisitionOptions
    from medshard.registry.acquisition.parts import parts_of
    from medshard.registry.acquisition.request_plan import plan_part
    from medshard.registry.acquisition.workplace import Workplace

    with ExitStack() as stack:
        connect = stack.enter_context(connection(entry, os.environ, attempts=ATTEMPTS)) if ask else None
        return [
            plan_part(
                Workplace(
                    store=store,
                    entry=entry,
                    part=part,
                    base=base,
                    options=AcquisitionOptions.from_environment(),
                    connect=connect,
                ),
                locks.get(part.key),
            )
            for part in parts_of(entry, optional=True)
        ]


def _as_acquired(entry: Entry, plans: list[PlannedPart], locks: Mapping[str, LockedPart]) -> list[PlannedPart]:
    """The plans, with what came in place of what is stated for parts that are here."""
    from medshard.registry.acquisition.parts import parts_of

    keys = [part.key for part in parts_of(entry, optional=True)]
    return [
        _with_found_files(plan, locks[key]) if plan.acquired else plan for key, plan in zip(keys, plans, strict=True)
    ]


def _with_found_files(plan: PlannedPart, locked: LockedPart) -> PlannedPart:
    from medshard.registry.acquisition.request_plan import PlannedFile

    used = plan.sources[locked.mirror]
    addresses = {file.name: file.address for file in used.files}
    files = tuple(
        PlannedFile(
            name=file.name,
            size=file.bytes if file.bytes is not None else file.size,
            checksum=f"sha256:{file.sha256}" if file.sha256 else file.checksum,
            address=addresses.get(file.name),
        )
        for file in locked.files
    )
    before, after = plan.sources[: locked.mirror], plan.sources[locked.mirror + 1 :]
    return replace(plan, sources=(*before, replace(used, files=files), *after))


def _terms_in_words(store: Store, entry: Entry) -> str:
    from medshard.registry.acquisition.gates.acceptance import accepted
    from medshard.registry.acquisition.gates.terms import terms_of
    from medshard.registry.acquisition.options import AcquisitionOptions

    if not terms_of(entry).consent:
        return "ask nothing"
    known = accepted(store, entry, AcquisitionOptions.from_environment().use)
    if known is None:
        return f"have to be accepted (medshard build {entry.id} --accept-licence {entry.id})"
    return f"accepted {known.when.partition('T')[0]} by {known.who}"


def _store_or_none_yet(root: str) -> Store:
    """A look makes no store; without one nothing is locked, and no inbox is filled."""
    from medshard.registry.store import Store

    try:
        return Store.open(root, create=False)
    except StoreError as error:
        if error.code != "store.missing":
            raise
        return Store(Path(error.where).resolve())


def _echo_plans(parts: list[PlannedPart]) -> None:
    for part in parts:
        marks = [word for word, holds in (("optional", part.optional), ("acquired", part.acquired)) if holds]
        click.echo(f"  {part.name}" + (f" ({', '.join(marks)})" if marks else ""))
        for number, source in enumerate(part.sources):
            click.echo(f"    {'or ' if number else ''}{source.place}")
            _echo_source(source)


def _size(file: PlannedFile) -> str:
    if file.size is not None:
        return f"{file.size:,} bytes"
    return f"about {file.rounded_size:,} bytes" if file.rounded_size else "size not stated"


def _echo_source(source: PlannedSource) -> None:
    if source.gate is not None:
        for line in source.gate.text.splitlines():
            click.echo(f"      {line}")
    else:
        _echo_requests(source)
    for file in source.files[:FILES_SHOWN]:
        click.echo(f"      {file.name}  {_size(file)}  {file.checksum or 'no checksum stated'}")
    if len(source.files) > FILES_SHOWN:
        click.echo(f"      and {len(source.files) - FILES_SHOWN} more files")
    if source.files:
        files = "1 file" if len(source.files) == 1 else f"{len(source.files)} files"
        unknown = f", {source.sizes_unknown} of unknown size" if source.sizes_unknown else ""
        click.echo(f"      {files}, {source.bytes_known:,} bytes known{unknown}")
    if source.inbox:
        click.echo(f"      in the inbox: {', '.join(source.inbox[:FILES_SHOWN])}")
    for change in source.changes:
        click.echo(f"      changed at the source: {change}")
    if source.problem:
        click.echo(f"      could not be asked: {source.problem}")


def _echo_requests(source: PlannedSource) -> None:
    addresses = {file.address for file in source.files}
    if source.asked and addresses and None not in addresses and addresses.issuperset(source.requests):
        click.echo("      nothing to ask: the addresses stand in the catalog")
        return
    for address in source.requests[:REQUESTS_SHOWN]:
        click.echo(f"      asks {address}")
    if len(source.requests) > REQUESTS_SHOWN:
        click.echo(f"      and {len(source.requests) - REQUESTS_SHOWN} more requests")
