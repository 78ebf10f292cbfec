"""Commands that look after catalog files and hand entries on: check, format, schema, card, export, site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medshard.commands.choosing import entry_called, write

if TYPE_CHECKING:
    from medshard.registry import Entry


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Validate FILE, or the catalog with its overlays: every problem with file, line and field."""
    from medshard.registry import Catalog
    from medshard.registry.catalog import PUBLIC_CATALOG, catalog_files

    alone = file is None or file.resolve() == PUBLIC_CATALOG
    others = [known for known in catalog_files() if file is None or known.resolve() != file.resolve()]
    catalog = Catalog.load([file] if file is not None and alone else [*others, *([file] if file is not None else [])])
    problems = [problem for problem in catalog.problems if file is None or Path(problem.file) == file]
    for problem in problems:
        click.echo(str(problem))
    mine = [entry for entry in catalog if file is None or catalog.origins[entry.id].file == file.resolve()]
    for entry in mine if not alone else ():
        _echo_what_a_build_lacks(entry)
    valid = len(mine)
    click.echo(f"{valid} valid entries, {len(problems)} problems", err=True)
    if problems:
        sys.exit(1)


def _echo_what_a_build_lacks(entry: Entry) -> None:
    """A valid entry may ask for more than this release reads: better said here than by a build."""
    from medshard.errors import MedshardError
    from medshard.pipelines.stages.layout_support import refuse_unread_layout

    try:
        refuse_unread_layout(entry)
    except MedshardError as error:
        details = "; ".join(f"{name}: {value}" for name, value in error.details.items())
        click.echo(f"note: {entry.id} is valid, but cannot be built yet: {error.problem} ({details})")


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

    write(schema_text(), output)


@click.command()
@click.argument("entry_id", metavar="ID")
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
def card(entry_id: str, output: Path | None) -> None:
    """The data card of one data set in Markdown."""
    from medshard.registry import Catalog
    from medshard.registry.cards import card as markdown

    catalog = Catalog.load()
    write(markdown(entry_called(catalog, entry_id), catalog), output)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def site(folder: Path) -> None:
    """Write the catalog as a searchable web site into FOLDER; it opens without a server."""
    from medshard.registry import Catalog
    from medshard.registry.site import build_site

    pages = build_site(Catalog.load(), folder)
    click.echo(f"{len(pages)} files; open {folder / 'index.html'}")
