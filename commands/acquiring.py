"""Commands about where the bytes come from: what a download would do, and the evidence of one."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medshard.commands.choosing import json_option, root_option
from medshard.errors import StoreError

if TYPE_CHECKING:
    from medshard.registry import Entry
    from medshard.registry.acquisition.gates.terms import Terms
    from medshard.registry.acquisition.request_plan import PlannedPart, PlannedSource
    from medshard.registry.store import Store

FILES_SHOWN = 10


@click.command()
@click.argument("entry_ids", nargs=-1, required=True, metavar="ID...")
@root_option
@click.option("--ask", is_flag=True, help="Ask the hosts what they have, and compare it with the lock of the store.")
@json_option
def sources(entry_ids: tuple[str, ...], root: str, ask: bool, as_json: bool) -> None:
    """What a download would do: gates, requests, files, sizes. Nothing is fetched."""
    from medshard.registry import Catalog

    catalog = Catalog.load()
    plans = {}
    for entry_id in dict.fromkeys(entry_ids):
        entry = catalog.entry(entry_id)
        plans[entry_id] = _plans(entry, catalog.folder(entry_id), root, ask=ask)
        if not as_json:
            _echo_plans(entry, plans[entry_id])
    if as_json:
        document = {entry_id: [part.to_json() for part in parts] for entry_id, parts in plans.items()}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


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


def _plans(entry: Entry, base: Path, root: str, *, ask: bool) -> list[PlannedPart]:
    from medshard.registry.acquisition.connection import connection
    from medshard.registry.acquisition.lock import read_lock
    from medshard.registry.acquisition.options import AcquisitionOptions
    from medshard.registry.acquisition.parts import parts_of
    from medshard.registry.acquisition.request_plan import plan_part
    from medshard.registry.acquisition.workplace import Workplace

    store = _store_or_none_yet(root)
    locks = read_lock(store, entry.id)
    with ExitStack() as stack:
        web = stack.enter_context(connection(entry, os.environ)) if ask else None
        return [
            plan_part(
                Workplace(
                    store=store,
                    entry=entry,
                    part=part,
                    base=base,
                    options=AcquisitionOptions.from_environment(),
                    web=web,
                ),
                locks.get(part.key),
            )
            for part in parts_of(entry, optional=True)
        ]


def _store_or_none_yet(root: str) -> Store:
    """A look makes no store; without one nothing is locked, and no inbox is filled."""
    from medshard.registry.store import Store

    try:
        return Store.open(root, create=False)
    except StoreError as error:
        if error.code != "store.missing":
            raise
        return Store(Path(error.where).resolve())


def _echo_plans(entry: Entry, parts: list[PlannedPart]) -> None:
    click.echo(f"{entry.id}: {entry.title}; licence {entry.licence.id}; access {entry.access.kind.value}")
    for part in parts:
        marks = [word for word, holds in (("optional", part.optional), ("acquired", part.acquired)) if holds]
        click.echo(f"  {part.name}" + (f" ({', '.join(marks)})" if marks else ""))
        for number, source in enumerate(part.sources):
            click.echo(f"    {'or ' if number else ''}{source.place}")
            _echo_source(source)


def _echo_source(source: PlannedSource) -> None:
    if source.gate is not None:
        for line in source.gate.text.splitlines():
            click.echo(f"      {line}")
    else:
        for address in source.requests:
            click.echo(f"      asks {address}")
    for file in source.files[:FILES_SHOWN]:
        size = f"{file.size:,} bytes" if file.size is not None else "size not stated"
        click.echo(f"      {file.name}  {size}  {file.checksum or 'no checksum stated'}")
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
