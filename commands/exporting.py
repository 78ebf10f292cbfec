"""The command that hands an entry on: its record as Croissant, or its cases in the layout of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from medshard.commands.choosing import entry_called, root_option, write

if TYPE_CHECKING:
    from medshard.pipelines.exporting.request import ExportRequest, Form

FORMS = ("croissant", "nnunet", "monai", "webdataset", "bids")


@click.command()
@click.argument("form", type=click.Choice(FORMS))
@click.argument("entry_id", metavar="ID")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A new folder; of croissant, a file.")
@root_option
@click.option("--case", "--cases", "cases", multiple=True, metavar="CASE", help="Only this case; may be said again.")
@click.option("--modality", help="Only cases of this modality.")
@click.option("--split", metavar="NAME", help="A split, by name or digest: parts and folds.")
@click.option("--concept", "concepts", multiple=True, metavar="CONCEPT", help="Labels of this concept only.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Only this image of a case.")
@click.option("--plan", metavar="NAME", help="webdataset: the samples of this plan, not the volumes.")
@click.option("--arrays", type=click.Choice(["npy", "nifti"]), default="npy", show_default=True, help="webdataset.")
@click.option(
    "--largest-mb", type=click.FloatRange(min=0.1), default=1000.0, show_default=True, help="webdataset: a tar."
)
@click.option("--number", type=click.IntRange(1, 999), help="nnunet: the number of the data set.")
@click.option("--exact", is_flag=True, help="NIfTI-2 where NIfTI-1 would round an affine; fewer tools read it.")
@click.option(
    "--for-own-use", is_flag=True, help="The export stays with me: licences that forbid handing on do not bar it."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    form: str,
    entry_id: str,
    output: Path | None,
    root: str,
    cases: tuple[str, ...],
    modality: str | None,
    split: str | None,
    concepts: tuple[str, ...],
    images: tuple[str, ...],
    plan: str | None,
    arrays: str,
    largest_mb: float,
    number: int | None,
    exact: bool,
    for_own_use: bool,
    as_json: bool,
) -> None:
    """Hand an entry on: its record (croissant), or its cases for another tool (nnunet, monai, webdataset, bids).

    Cases have to be built up to `volumes`. Each export has its terms, its sources and a report beside it.
    """
    from medshard.pipelines.exporting.request import ExportRequest
    from medshard.registry import Catalog
    from medshard.registry.store import Store

    catalog = Catalog.load()
    entry = entry_called(catalog, entry_id)
    if form == "croissant":
        from medshard.registry.croissant import croissant

        write(json.dumps(croissant(entry, catalog), indent=2, ensure_ascii=False) + "\n", output)
        return
    if output is None:
        raise click.UsageError(f"{form} needs --output, a folder that is new or empty")
    if plan is not None and form != "webdataset":
        raise click.UsageError(f"--plan is of webdataset; {form} is made of the volumes, which no plan has changed")
    request = ExportRequest(
        store=Store.open(root, create=False),
        entry=entry,
        output=output,
        cases=cases,
        modality=modality,
        split=split,
        concepts=concepts,
        images=images,
        exact=exact,
        plan=plan,
        number=number,
        largest_mb=largest_mb,
        arrays=cast(Literal["npy", "nifti"], arrays),
        for_own_use=for_own_use,
        tell=None if as_json else lambda case: click.echo(case, err=True),
    )
    _echo(_exported(cast("Form", form), request), as_json=as_json)


def _exported(form: Form, request: ExportRequest) -> Path:
    """What is to be opened: a folder, or the file that names the others."""
    if form == "nnunet":
        from medshard.pipelines.exporting.nnunet import export_nnunet

        return export_nnunet(request)
    if form == "monai":
        from medshard.pipelines.exporting.monai import export_monai

        return export_monai(request)
    if form == "webdataset":
        from medshard.pipelines.exporting.webdataset import export_webdataset

        return export_webdataset(request)
    from medshard.pipelines.exporting.bids import export_bids

    return export_bids(request)


def _echo(made: Path, *, as_json: bool) -> None:
    from medshard.pipelines.exporting.papers import REPORT

    folder = made if made.is_dir() else made.parent
    report = json.loads((folder / REPORT).read_text(encoding="utf8"))
    if as_json:
        click.echo(json.dumps({"path": str(made), **report}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{made}: {len(report['cases'])} cases, {len(report['left_out'])} left out")
    for case, reason in report["left_out"].items():
        click.echo(f"  left out {case}: {reason}")
    for note in report["notes"]:
        click.echo(f"  {note}")
