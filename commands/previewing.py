"""The command that shows what is in the store: a picture of some cases, or a page with their facts."""

from __future__ import annotations

from pathlib import Path

import click

from medshard.commands.choosing import entry_called, root_option

MOST_BYTES = 2_000_000
TILE = (620, 240)


@click.command()
@click.argument("name", metavar="ID")
@click.option("--stage", type=click.Choice(["volumes", "shards"]), default="volumes", show_default=True)
@click.option("--plan", default="default", show_default=True, help="Of the shards.")
@click.option("--cases", "most_cases", type=click.IntRange(1, 500), default=12, show_default=True, help="At most.")
@click.option("--output", "-o", default=".", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--html", "as_html", is_flag=True, help="A page with facts and warnings too, in one file.")
@root_option
def preview(name: str, stage: str, plan: str, most_cases: int, output: Path, as_html: bool, root: str) -> None:
    """Draw cases of an entry that is built: slices, outlines, tiles, frames, surfaces, strips, text, rows.

    Prints the path of each file.
    """
    from typing import Literal, cast

    from medshard.pipelines.reporting.montage import contact_sheet
    from medshard.pipelines.reporting.previews.cases import cases_to_show
    from medshard.pipelines.reporting.previews.page import preview_page
    from medshard.registry import Catalog
    from medshard.registry.store import Store
    from medshard.registry.store.objects import write_atomically

    entry = entry_called(Catalog.load(), name)
    store = Store.open(root, create=False)
    wanted = cast(Literal["volumes", "shards"], stage)
    output.mkdir(parents=True, exist_ok=True)
    stem = f"{entry.id}-{stage}" if stage == "volumes" or plan == "default" else f"{entry.id}-{stage}-{plan}"
    png = contact_sheet(
        store, entry.id, stage=wanted, plan=plan, most_cases=most_cases, tile=TILE, most_bytes=MOST_BYTES
    )
    write_atomically(output / f"{stem}.png", png)
    click.echo(output / f"{stem}.png")
    if as_html:
        found = cases_to_show(store, entry.id, stage=wanted, plan=plan, most_cases=most_cases)
        title = f"{entry.title}: {stage}" + (f", plan {plan}" if stage == "shards" else "")
        write_atomically(output / f"{stem}.html", preview_page(title, found).encode())
        click.echo(output / f"{stem}.html")
