"""Commands that ask the catalog: list, show, labels, overlaps, audit-paper."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from medshard.commands.choosing import chosen, echo_invalid, echo_lines, entry_called, filters, json_option
from medshard.commands.tables import Column, table, terminal_width
from medshard.registry.schema.terms import QUESTIONS
from medshard.registry.vocabulary import Maturity

if TYPE_CHECKING:
    from medshard.registry import Catalog, Entry


@click.command("list")
@filters
@json_option
def list_entries(as_json: bool, **conditions: Any) -> None:
    """The data sets of the catalog, one a line. Options combine; an option given twice means either."""
    from medshard.registry import Catalog

    catalog = Catalog.load()
    entries = chosen(catalog, conditions)
    if as_json:
        click.echo(json.dumps([entry_row(entry) for entry in entries], indent=2, ensure_ascii=False))
    else:
        columns = (
            Column("id"),
            Column("modality"),
            Column("dim", rank=3),
            Column("region", rank=5),
            Column("cases", rank=1, right=True),
            Column("access", rank=2),
            Column("licence", rank=4),
            Column("maturity", rank=6),
            Column("title", least=16),
        )
        echo_lines(table(columns, (_list_row(entry) for entry in entries), terminal_width()))
        click.echo(f"{len(entries)} of {len(catalog)} entries: {counts_by_maturity(entries)}", err=True)
    echo_invalid(catalog)


def counts_by_maturity(entries: Iterable[Entry]) -> str:
    """How far the entries are proven, such as `4 acquired, 180 layout-tested, 26 described`."""
    counts = Counter(entry.maturity for entry in entries)
    return ", ".join(f"{counts[maturity]} {maturity}" for maturity in reversed(Maturity))


def entry_row(entry: Entry) -> dict[str, Any]:
    """What `list --json` says of an entry."""
    return {
        "id": entry.id,
        "name": entry.title,
        "names": list(entry.names),
        "paper": [{"table": row.table, "name": row.name, "size": row.size} for row in entry.paper],
        "groups": list(entry.groups),
        "modality": list(entry.modalities),
        "region": list(entry.regions),
        "tasks": list(entry.tasks),
        "dimension": list(entry.dimensions),
        "access": entry.access.kind,
        "licence": entry.licence.model_dump(mode="json", include={"id", "confidence", *QUESTIONS}),
        "counts": entry.source.model_dump(mode="json"),
        "concepts": list(entry.concepts),
        "maturity": entry.maturity,
        "confidence": entry.confidence,
    }


def _list_row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.id,
        ",".join(entry.modalities),
        ",".join(f"{dimension}D" for dimension in entry.dimensions),
        ",".join(entry.regions),
        "?" if entry.source.cases is None else f"{entry.source.cases:,}",
        entry.access.kind.value,
        entry.licence.id + (" ?" if entry.licence.is_doubtful else ""),
        entry.maturity.value,
        entry.title,
    )


@click.command()
@click.argument("entry_id", metavar="ID")
@json_option
def show(entry_id: str, as_json: bool) -> None:
    """The data card of one data set. ID may also be a name of it, such as "MSD Liver (Task03)"."""
    from medshard.registry import Catalog
    from medshard.registry.cards import card_for_terminal

    catalog = Catalog.load()
    entry = entry_called(catalog, entry_id)
    if as_json:
        click.echo(json.dumps(entry.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    click.echo(card_for_terminal(entry, catalog, min(terminal_width() or 100, 120)).rstrip())
    origin = catalog.origins[entry.id]
    click.echo(f"\n{origin.file.name}:{origin.line}")


@click.command()
@click.argument("concept", required=False)
@json_option
def labels(concept: str | None, as_json: bool) -> None:
    """Which entries annotate CONCEPT (or a part or kind of it), under which value; without one, all concepts."""
    from medshard.registry import Catalog
    from medshard.registry.questions.label_index import uses_of

    catalog = Catalog.load()
    if concept is None:
        _echo_vocabulary(catalog, as_json)
        return
    uses = uses_of(concept, catalog, catalog.vocabulary)
    if as_json:
        click.echo(json.dumps([use.to_json() for use in uses], indent=2, ensure_ascii=False))
        return
    columns = (
        Column("entry"),
        Column("layer", rank=1),
        Column("kind", rank=2),
        Column("value"),
        Column("concept"),
        Column("examined"),
    )
    rows = [
        (use.entry, use.layer, use.kind, use.value, use.concept, "yes" if use.examined else "no: absence is unknown")
        for use in uses
    ]
    echo_lines(table(columns, rows, terminal_width()))
    click.echo(f"{len({use.entry for use in uses})} entries", err=True)


def _echo_vocabulary(catalog: Catalog, as_json: bool) -> None:
    from medshard.registry.questions.label_index import uses_in

    known = catalog.vocabulary.concepts
    users: dict[str, set[str]] = {}
    for entry in catalog:
        for use in uses_in(entry):
            users.setdefault(use.concept, set()).add(entry.id)
    if as_json:
        listed = [
            {**concept.model_dump(mode="json"), "entries": sorted(users.get(name, ()))}
            for name, concept in sorted(known.items())
        ]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    columns = (Column("concept"), Column("kind", rank=2), Column("code", rank=1), Column("entries", right=True))
    rows = [
        (name, concept.kind.value, concept.code or "", str(len(users.get(name, ()))))
        for name, concept in sorted(known.items())
    ]
    echo_lines(table(columns, rows, terminal_width()))


@click.command()
@click.argument("entry_id", metavar="ID")
@click.option("--possible", is_flag=True, help="Follow overlaps that are only suspected, too.")
@json_option
def overlaps(entry_id: str, possible: bool, as_json: bool) -> None:
    """Which entries show the same people as ID: directly, with the evidence, and through others."""
    from medshard.registry import Catalog

    catalog = Catalog.load()
    entry = entry_called(catalog, entry_id)
    edges = catalog.overlaps.of_entry(entry.id)
    through = sorted(catalog.overlaps.reachable(entry.id, possible=possible) - {edge.other for edge in edges})
    if as_json:
        document = {"entry": entry.id, "direct": [asdict(edge) for edge in edges], "through_others": through}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    rows = [(edge.other, edge.kind.value, str(edge.pairs or ""), edge.evidence) for edge in edges]
    columns = (
        Column("entry"),
        Column("this one is"),
        Column("pairs", rank=1, right=True),
        Column("evidence", least=24),
    )
    echo_lines(table(columns, rows, terminal_width()))
    if through:
        click.echo(f"through others: {', '.join(through)}")


@click.command("audit-paper")
@json_option
def audit_paper(as_json: bool) -> None:
    """Where the paper's tables and the sources of its data sets disagree."""
    from medshard.registry import Catalog
    from medshard.registry.questions.paper_audit import audit_paper as audit
    from medshard.registry.questions.paper_audit import paper_totals

    catalog = Catalog.load()
    found = audit(catalog)
    totals = paper_totals(catalog)
    if as_json:
        click.echo(json.dumps([item.to_json() for item in found], indent=2, ensure_ascii=False))
        return
    columns = (
        Column("entry"),
        Column("table", rank=4, right=True),
        Column("field"),
        Column("paper", rank=1),
        Column("source", rank=2),
        Column("why", least=24),
    )
    rows = [(item.entry, str(item.table or ""), item.field, item.paper, item.source, item.note) for item in found]
    echo_lines(table(columns, rows, terminal_width()))
    click.echo(
        f"{len(found)} remarks on {len({item.entry for item in found})} entries, {sum(item.differs for item in found)} "
        "of them on figures that differ; on paper the platform has "
        f"{totals.names} names, {totals.images_3d:,} 3-D and {totals.images_2d:,} 2-D images",
        err=True,
    )
