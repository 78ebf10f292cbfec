"""What several commands share: the options that choose entries, finding an entry by any of its names, and output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medshard.errors import CatalogError
from medshard.registry.vocabulary import (
    Access,
    Confidence,
    Group,
    Maturity,
    Modality,
    Permission,
    Region,
    Sequence,
    Task,
)

if TYPE_CHECKING:
    from medshard.registry import Catalog, Entry

json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
root_option = click.option(
    "--root",
    default="data",
    envvar="MEDSHARD_ROOT",
    show_default=True,
    show_envvar=True,
    help="The store: a folder or a file:// URL.",
)


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
    _choice("--licence-confidence", Confidence, "How sure the licence is."),
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


def entry_called(catalog: Catalog, name: str) -> Entry:
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


def write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf8")
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror) from error


def echo_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def echo_invalid(catalog: Catalog) -> None:
    for name, problems in catalog.invalid.items():
        click.echo(f"{name}: not valid, {len(problems)} problem(s); `medshard check` shows them", err=True)
