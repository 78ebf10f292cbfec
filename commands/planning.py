"""Commands that weigh a selection of entries: plan-capacity and criteria."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from medshard.commands.choosing import chosen, echo_lines, filters, json_option
from medshard.commands.tables import Column, table, terminal_width

if TYPE_CHECKING:
    from medshard.registry.questions.capacity import Capacity
    from medshard.registry.questions.criteria import EntryVerdict, Finding


@click.command("plan-capacity")
@click.argument("entry_ids", nargs=-1, metavar="[ID]...")
@filters
@click.option("--all", "everything", is_flag=True, help="Every entry of the catalog.")
@click.option("--platform", is_flag=True, help="Only the platform's own data sets.")
@click.option("--mbit", default=100.0, show_default=True, type=click.FloatRange(min=0, min_open=True), help="The line.")
@click.option(
    "--build-mb",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Source megabytes that a build handles a second, all workers together.",
)
@json_option
def plan_capacity(
    entry_ids: tuple[str, ...],
    everything: bool,
    platform: bool,
    mbit: float,
    build_mb: float,
    as_json: bool,
    **conditions: Any,
) -> None:
    """Download, disk at every stage, hours and licences of a selection, before a byte is fetched."""
    from medshard.registry import Catalog
    from medshard.registry.questions.capacity import Rates
    from medshard.registry.questions.capacity import plan_capacity as plan

    catalog = Catalog.load()
    if not (entry_ids or everything or platform or any(conditions.values())):
        raise click.UsageError("name entries, or choose some: --group brain, --platform, --all")
    if entry_ids and (everything or platform or any(conditions.values())):
        raise click.UsageError("name entries or choose some by options, not both")
    entries = [catalog.entry(entry_id) for entry_id in dict.fromkeys(entry_ids)]
    if not entry_ids:
        entries = [*chosen(catalog, {**conditions, "platform": True if platform else None})]
    capacity = plan(entries, Rates(download_mbit=mbit, build_mb=build_mb))
    if as_json:
        click.echo(json.dumps(capacity.to_json(), indent=2, ensure_ascii=False))
    else:
        _echo_capacity(capacity)


def _echo_capacity(capacity: Capacity) -> None:
    known, partly, unknown = len(capacity.fully_known), len(capacity.partly_known), len(capacity.unknown)
    click.echo(
        f"{len(capacity.entries)} entries: the sources state the size of the download for {known}, of a part of it for "
        f"{partly}, none for {unknown}."
    )
    assumed, rates = capacity.assumed, capacity.rates
    bound = "" if known == len(capacity.entries) else "at least "
    rows = [
        (
            "download",
            f"{bound}{_bytes(capacity.download_bytes)}, {capacity.download_hours:,.1f} h",
            f"{_bytes(assumed.download)}, {rates.hours_down(assumed.download):,.1f} h",
        ),
        ("unpacked", f"{bound}{_bytes(capacity.unpacked_bytes)}", _bytes(assumed.unpacked)),
        (
            "volumes",
            f"{bound}{_bytes(capacity.volumes_bytes)}, {capacity.build_hours:,.1f} h",
            f"{_bytes(assumed.volumes)}, {rates.hours_built(assumed.unpacked):,.1f} h",
        ),
        ("shards", f"{bound}{_bytes(capacity.shards_bytes)}", _bytes(assumed.shards)),
    ]
    echo_lines(table((Column("stage"), Column("as stated"), Column("with assumed sizes")), rows, None))
    click.echo(
        f"rates: {rates.download_mbit:g} Mbit/s down, {rates.build_mb:g} MB/s built. Assumed sizes come from typical "
        "arrays and are right within a factor of a few; docs/catalog.md has them, and the factors between the stages."
    )
    if capacity.beyond_assumption:
        left_out = ", ".join(capacity.beyond_assumption)
        click.echo(f"in neither column ({len(capacity.beyond_assumption)}): {left_out}")
    for kind, names in capacity.to_sign.items():
        if names:
            click.echo(f"{kind} ({len(names)}): {', '.join(names)}")
    click.echo("licences:")
    for licence, names in capacity.licences.items():
        click.echo(f"  {licence} ({len(names)}): {', '.join(names)}")
    if capacity.unknown:
        click.echo(f"size unknown ({len(capacity.unknown)}): {', '.join(capacity.unknown)}")
    if capacity.partly_known:
        click.echo(f"size known in part ({len(capacity.partly_known)}): {', '.join(capacity.partly_known)}")


def _bytes(count: int) -> str:
    return f"{count / 1e12:,.2f} TB" if count >= 1e12 else f"{count / 1e9:,.2f} GB"


@click.command()
@click.argument("entry_ids", nargs=-1, metavar="[ID]...")
@click.option("--root", envvar="MEDSHARD_ROOT", help="A store: adds the verdicts of the cases that were built there.")
@json_option
def criteria(entry_ids: tuple[str, ...], root: str | None, as_json: bool) -> None:
    """The three inclusion criteria, judged per entry and over the catalog, with the evidence."""
    from medshard.registry import Catalog
    from medshard.registry.questions.criteria import judge_catalog, judge_entry
    from medshard.registry.store import Store

    catalog = Catalog.load()
    store = Store.open(root, create=False) if root else None
    entries = [catalog.entry(entry_id) for entry_id in entry_ids] or list(catalog)
    verdicts = [judge_entry(entry, store) for entry in entries]
    diversity = () if entry_ids else judge_catalog(catalog, catalog.vocabulary)
    if as_json:
        document = {
            "entries": [verdict.to_json() for verdict in verdicts],
            "catalog": [finding.to_json() for finding in diversity],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif entry_ids:
        for verdict in verdicts:
            _echo_verdict(verdict)
    else:
        _echo_verdicts(verdicts)
        _echo_findings(diversity)


def _echo_verdicts(verdicts: Iterable[EntryVerdict]) -> None:
    from medshard.registry.questions.criteria import Judgement
    from medshard.registry.vocabulary import Criterion

    columns = (
        Column("entry"),
        *(Column(criterion.value.partition("-")[0]) for criterion in Criterion),
        Column("because", least=20),
    )
    rows = [
        (
            verdict.entry,
            *(verdict.of(criterion).value for criterion in Criterion),
            "; ".join(
                f"{finding.rule}: {finding.evidence}"
                for finding in verdict.findings
                if finding.judgement is not Judgement.PASSED
            ),
        )
        for verdict in verdicts
    ]
    echo_lines(table(columns, rows, terminal_width()))


def _echo_verdict(verdict: EntryVerdict) -> None:
    click.echo(verdict.entry)
    _echo_findings(verdict.findings)
    for purpose, counts in verdict.cases.items():
        click.echo(f"  cases for {purpose}: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())))


def _echo_findings(findings: Iterable[Finding]) -> None:
    columns = (Column("criterion"), Column("rule"), Column("verdict"), Column("evidence", least=20))
    rows = [(finding.criterion, finding.rule, finding.judgement, finding.evidence) for finding in findings]
    echo_lines(table(columns, rows, terminal_width()))
