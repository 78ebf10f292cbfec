"""The commands that ask the catalog and look after it; the others are in `cli.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medshard.errors import CatalogError
from medshard.registry.schema.terms import QUESTIONS
from medshard.registry.vocabulary import Access, Group, Maturity, Modality, Permission, Region, Sequence, Task
from medshard.tables import Column, table, terminal_width

if TYPE_CHECKING:
    from medshard.registry import Catalog, Entry
    from medshard.registry.questions.capacity import Capacity
    from medshard.registry.questions.criteria import EntryVerdict, Finding

json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")


def _choice(name: str, words: type[StrEnum], help_text: str) -> Callable[..., Any]:
    choices = click.Choice([word.value for word in words], case_sensitive=False)
    return click.option(name, type=choices, multiple=True, help=help_text)


_FILTERS = (
    _choice("--group", Group, "brain, lesion ..."),
    _choice("--modality", Modality, "CT finds CTA and PET-CT too."),
    _choice("--region", Region, "Part of the body."),
    _choice("--task", Task, "segmentation ..."),
    _choice("--sequence", Sequence, "Of MR: T1, FLAIR ..."),
    _choice("--access", Access, "open, account ..."),
    _choice("--maturity", Maturity, "How far proven."),
    _choice("--commercial-use", Permission, "What the licence says of it."),
    click.option("--dimension", type=click.Choice(["1", "2", "3"]), multiple=True, help="Of the images."),
    click.option("--concept", multiple=True, help="Annotates this concept, or a part or kind of it."),
    click.option("--examines", multiple=True, help="Its annotators looked for this concept."),
    click.option("--licence", multiple=True, help="Exact licence id."),
    click.option("--kind", multiple=True, help="Kind of source: zenodo, kaggle ..."),
    click.option("--text", help="Words that occur in names, description, notes or concepts."),
)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose entries."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def chosen(catalog: Catalog, conditions: dict[str, Any]) -> tuple[Entry, ...]:
    return catalog.where(**{name: wanted for name, wanted in conditions.items() if wanted})


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
        _echo(table(columns, (_list_row(entry) for entry in entries), terminal_width()))
        click.echo(f"{len(entries)} of {len(catalog)} entries", err=True)
    _echo_invalid(catalog)


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
        "licence": entry.licence.model_dump(mode="json", include={"id", *QUESTIONS}),
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
        entry.licence.id,
        entry.maturity.value,
        entry.title,
    )


@click.command()
@click.argument("entry_id", metavar="ID")
@json_option
def show(entry_id: str, as_json: bool) -> None:
    """The data card of one data set. ID may also be a name of it, such as "MSD Liver (Task03)"."""
    from medshard.registry import Catalog
    from medshard.registry.cards.cards import card_for_terminal

    catalog = Catalog.load()
    entry = _entry_called(catalog, entry_id)
    if as_json:
        click.echo(json.dumps(entry.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    click.echo(card_for_terminal(entry, catalog, min(terminal_width() or 100, 120)).rstrip())
    origin = catalog.origins[entry.id]
    click.echo(f"\n{origin.file.name}:{origin.line}")


def _entry_called(catalog: Catalog, name: str) -> Entry:
    named = () if name in catalog.entries else catalog.named(name)
    if len(named) > 1:
        raise CatalogError(
            "entry.ambiguous",
            where=name,
            problem="several entries have this name",
            details={entry.id: entry.title for entry in named},
            action="Give one of these ids.",
        )
    return named[0] if named else catalog.entry(name)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Validate FILE, or the catalog with its overlays: every problem with file, line and field."""
    from medshard.registry import Catalog
    from medshard.registry.catalog import PUBLIC_CATALOG

    alone = file is None or file.resolve() == PUBLIC_CATALOG
    catalog = Catalog.load() if file is None else Catalog.load([file] if alone else [PUBLIC_CATALOG, file])
    problems = [problem for problem in catalog.problems if file is None or Path(problem.file) == file]
    for problem in problems:
        click.echo(str(problem))
    valid = sum(1 for origin in catalog.origins.values() if file is None or origin.file == file.resolve())
    click.echo(f"{valid} valid entries, {len(problems)} problems", err=True)
    if problems:
        sys.exit(1)


@click.command("format")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; fail when the file is not in its form.")
def format_command(file: Path | None, only_check: bool) -> None:
    """Sort and lay out a catalog file (the public one by default)."""
    from medshard.registry.catalog import PUBLIC_CATALOG
    from medshard.registry.catalog.formatting import format_file

    path = file or PUBLIC_CATALOG
    changed = format_file(path, check=only_check)
    click.echo(f"{path}: {('not in its form' if only_check else 'formatted') if changed else 'unchanged'}")
    if changed and only_check:
        sys.exit(1)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
def schema(output: Path | None) -> None:
    """The JSON Schema of catalog files, for editors."""
    from medshard.registry.catalog.json_schema import schema_text

    _write(schema_text(), output)


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
        Column("layer"),
        Column("kind", 1),
        Column("value"),
        Column("concept"),
        Column("examined"),
    )
    rows = [
        (use.entry, use.layer, use.kind, use.value, use.concept, "yes" if use.examined else "no: absence is unknown")
        for use in uses
    ]
    _echo(table(columns, rows, terminal_width()))
    click.echo(f"{len({use.entry for use in uses})} entries", err=True)


def _echo_vocabulary(catalog: Catalog, as_json: bool) -> None:
    from medshard.registry.questions.label_index import uses_in

    known = catalog.vocabulary.concepts
    if as_json:
        click.echo(json.dumps([concept.model_dump(mode="json") for concept in known.values()], indent=2))
        return
    users: dict[str, set[str]] = {}
    for entry in catalog:
        for use in uses_in(entry):
            users.setdefault(use.concept, set()).add(entry.id)
    columns = (Column("concept"), Column("kind"), Column("code", rank=1), Column("entries", right=True))
    rows = [
        (name, concept.kind.value, concept.code or "", str(len(users.get(name, ()))))
        for name, concept in sorted(known.items())
    ]
    _echo(table(columns, rows, terminal_width()))


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
    _echo(table(columns, rows, terminal_width()))
    click.echo(
        f"{len(found)} disagreements in {len({item.entry for item in found})} entries; on paper the platform has "
        f"{totals.names} names, {totals.images_3d:,} 3-D and {totals.images_2d:,} 2-D images",
        err=True,
    )


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
    _echo(table((Column("stage"), Column("as stated"), Column("with assumed sizes")), rows, None))
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

    columns = (Column("entry"), *(Column(criterion.value) for criterion in Criterion), Column("because", least=20))
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
    _echo(table(columns, rows, terminal_width()))


def _echo_verdict(verdict: EntryVerdict) -> None:
    click.echo(verdict.entry)
    _echo_findings(verdict.findings)
    for purpose, counts in verdict.cases.items():
        click.echo(f"  cases for {purpose}: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())))


def _echo_findings(findings: Iterable[Finding]) -> None:
    columns = (Column("criterion"), Column("rule"), Column("verdict"), Column("evidence", least=20))
    rows = [(finding.criterion, finding.rule, finding.judgement, finding.evidence) for finding in findings]
    _echo(table(columns, rows, terminal_width()))


@click.command()
@click.argument("entry_id", metavar="ID")
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
def card(entry_id: str, output: Path | None) -> None:
    """The data card of one data set in Markdown."""
    from medshard.registry import Catalog
    from medshard.registry.cards.cards import card as markdown

    catalog = Catalog.load()
    _write(markdown(_entry_called(catalog, entry_id), catalog), output)


@click.command()
@click.argument("form", type=click.Choice(["croissant"]))
@click.argument("entry_id", metavar="ID")
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
def export(form: str, entry_id: str, output: Path | None) -> None:  # noqa: ARG001 (one form so far)
    """One data set's record in an exchange format: Croissant 1.1 (JSON-LD)."""
    from medshard.registry import Catalog
    from medshard.registry.croissant.document import croissant

    catalog = Catalog.load()
    document = croissant(_entry_called(catalog, entry_id), catalog)
    _write(json.dumps(document, indent=2, ensure_ascii=False) + "\n", output)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def site(folder: Path) -> None:
    """Write the catalog as a searchable web site into FOLDER; it opens without a server."""
    from medshard.registry import Catalog
    from medshard.registry.site import build_site

    pages = build_site(Catalog.load(), folder)
    click.echo(f"{len(pages)} files; open {folder / 'index.html'}")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf8")
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror) from error


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _echo_invalid(catalog: Catalog) -> None:
    for name, problems in catalog.invalid.items():
        click.echo(f"{name}: not valid, {len(problems)} problem(s); `medshard check` shows them", err=True)


COMMANDS = (
    list_entries,
    show,
    check,
    format_command,
    schema,
    labels,
    audit_paper,
    plan_capacity,
    criteria,
    card,
    export,
    site,
)
