"""The command that drafts an entry from a folder on disk."""

from __future__ import annotations

from pathlib import Path

import click

from medshard.commands.choosing import write
from medshard.registry.vocabulary import Modality


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--id", "entry_id", metavar="ID", help="Id of the entry; made of the folder's name when left out.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it there instead of printing it.")
@click.option(
    "--modality",
    type=click.Choice([word.value for word in Modality], case_sensitive=False),
    help="How the images were made, where you know.",
)
def add(folder: Path, entry_id: str | None, output: Path | None, modality: str | None) -> None:
    """Draft an entry from FOLDER: layout, patients, images, labels. Every guess says why; FOLDER is only read."""
    from medshard.pipelines.adding.draft import HEAD, draft

    if output is not None and output.resolve().is_relative_to(folder.resolve()):
        raise click.BadParameter("the entry would lie inside the data set; put it beside it", param_hint="--output")
    if output is not None and output.exists():
        raise click.BadParameter(f"{output} exists, and a draft would replace it", param_hint="--output")
    beside = output.parent if output is not None else Path.cwd()
    made = draft(folder, entry_id=entry_id, modality=Modality(modality) if modality else None, beside=beside)
    write(made.text, output)
    for line in made.summary:
        click.echo(line, err=True)
    todo = sum("TODO" in line for line in made.text.splitlines()[len(HEAD) :])
    place = output or "FILE"
    click.echo(f"{todo} things only you can know are marked TODO. Next: medshard check {place}", err=True)
    if not made.cases:
        click.echo(
            "no case was found: nothing here is an image, mesh, video or recording that medshard reads", err=True
        )
