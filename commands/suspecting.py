"""The command that says which cases of a built entry to look at first."""

from __future__ import annotations

import json

import click

from medshard.commands.choosing import entry_called, json_option, root_option

KINDS = ("empty", "blank", "values", "text", "volume", "misplaced", "swapped", "fragments", "grid", "duplicate")
SHOWN_PER_CASE = 4


@click.command()
@click.argument("name", metavar="ID")
@click.option("--kind", type=click.Choice(KINDS), help="This kind alone.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="At most so many cases.")
@json_option
@root_option
def suspects(name: str, kind: str | None, top: int, as_json: bool, root: str) -> None:
    """The cases of an entry that look least like the others, worst first, and why. Nothing is excluded by this."""
    from dataclasses import asdict

    from medshard.pipelines.reporting.suspects import suspects_of_entry
    from medshard.registry import Catalog
    from medshard.registry.store import Store

    entry = entry_called(Catalog.load(), name)
    ranked = suspects_of_entry(Store.open(root, create=False), entry.id, kind=kind)
    shown = [case for case in ranked if case.suspects][:top]
    if as_json:
        click.echo(json.dumps([asdict(case) for case in shown], indent=2, ensure_ascii=False))
        return
    click.echo(f"{entry.id}: {len(ranked)} cases, {sum(bool(case.suspects) for case in ranked)} with a suspicion")
    if ranked and not ranked[0].compared:
        click.echo("too few cases to compare with each other: only what is strange by itself is shown")
    for case in shown:
        click.echo(f"{case.score:6.1f}  {case.case}")
        for suspect in case.suspects[:SHOWN_PER_CASE]:
            click.echo(f"        {suspect.kind:<10} {suspect.strength:4.1f}  {suspect.subject}: {suspect.reason}")
