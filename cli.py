"""The `medshard` command: the catalog, builds and lineage without Dagster."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from medshard import __version__
from medshard.commands import CATALOG_COMMANDS
from medshard.commands.acquiring import ask_terms
from medshard.commands.benchmarking import bench
from medshard.commands.choosing import root_option
from medshard.commands.doctoring import doctor
from medshard.commands.fingerprinting import fingerprint
from medshard.commands.plans import plan_file_option, plans
from medshard.commands.previewing import preview
from medshard.commands.splitting import split
from medshard.commands.suspecting import suspects
from medshard.commands.verifying import verify
from medshard.errors import MedshardError

if TYPE_CHECKING:
    from medshard.pipelines.stages.stage import StageResult
    from medshard.registry.lineage import CaseLineage, Lineage, SourceFile

WARNINGS_SHOWN = 10
STAGE_CHOICES = ("raw", "cases", "volumes", "fingerprint", "shards")

plan_option = click.option("--plan", default="default", show_default=True, help="Name of the plan.")


class _Commands(click.Group):
    """Errors of medshard are messages for people, not tracebacks; the exit code is 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MedshardError as error:
            click.echo(str(error), err=True)
            ctx.exit(1)


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="medshard")
def cli() -> None:
    """One catalog entry in, training-ready shards with a paper trail out."""


for command in CATALOG_COMMANDS:
    cli.add_command(command)
for command in (plans, fingerprint, split, verify, preview, suspects, doctor, bench):
    cli.add_command(command)


@cli.command()
@click.argument("entry_ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--to", type=click.Choice(STAGE_CHOICES), default="shards", show_default=True, help="The last stage to build."
)
@plan_option
@plan_file_option
@root_option
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="number of cores",
    help="Processes that cases are spread over.",
)
@click.option("--dask", "dask_address", help="Address of a Dask scheduler, instead of own processes.")
@click.option(
    "--case-timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds that one case may take."
)
@click.option("--use", type=click.Choice(["research", "commercial"]), help="What the data are wanted for.")
@click.option("--accept-licence", "accept", multiple=True, metavar="ID", help="Accept the terms of this entry.")
@click.option("--with-optional", "optional", is_flag=True, help="Take the optional parts of the sources too.")
@click.option("--discard-archives", is_flag=True, help="Remove each archive once it is unpacked: less disk.")
@click.option("--verify", is_flag=True, help="Hash all acquired files again, and fetch again what is damaged.")
@click.option("--accept-changes", is_flag=True, help="Take over what has changed at a source.")
def build(
    entry_ids: tuple[str, ...],
    to: str,
    plan: str,
    root: str,
    workers: int,
    dask_address: str | None,
    timeout_s: float | None,
    use: str | None,
    accept: tuple[str, ...],
    optional: bool,
    discard_archives: bool,
    verify: bool,
    accept_changes: bool,
) -> None:
    """Build data sets up to a stage. What is there already is not made again."""
    from medshard.pipelines.build import build as build_entry
    from medshard.pipelines.execution.map_cases import Execution
    from medshard.registry import Catalog
    from medshard.registry.acquisition.gates.use import Use
    from medshard.registry.acquisition.options import AcquisitionOptions

    _interrupt_on_sigterm()
    catalog = Catalog.load()
    execution = Execution(workers=workers, dask_address=dask_address, timeout_s=timeout_s)
    for entry_id in entry_ids:
        catalog.entry(entry_id)  # a misspelt id stops the command before hours of work, not after
    for entry_id in accept:
        catalog.entry(entry_id)
    said = AcquisitionOptions.from_environment()
    acquisition = replace(
        said,
        use=Use(use) if use else said.use,
        accept=said.accept | set(accept),
        ask=ask_terms if sys.stdin.isatty() else None,
        optional=optional,
        discard_archives=discard_archives,
        verify=verify,
        accept_changes=accept_changes,
    )
    for entry_id in entry_ids:
        build_entry(
            root,
            entry_id,
            to=to,
            plan=plan,
            catalog=catalog,
            execution=execution,
            progress=True,
            acquisition=acquisition,
            on_stage=_echo_stage,
        )


@cli.command()
@click.argument("name", metavar="ID")
@click.argument("stage")
@plan_option
@root_option
def where(name: str, stage: str, plan: str, root: str) -> None:
    """The paths of a stage's current objects, one a line. ID is an entry, or a training recipe."""
    from medshard.pipelines.build import where as paths_of
    from medshard.registry.store import Store

    for path in paths_of(Store.open(root, create=False), name, stage, plan):
        click.echo(path)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--root", help="The store; found from PATH when that lies in one.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--verify", "verified", is_flag=True, help="Hash every file again and fail when one has changed.")
def lineage(path: Path, root: str | None, as_json: bool, verified: bool) -> None:
    """What a shard, checkpoint or score was made from: manifests, plans, cases, source files with SHA-256, licences."""
    from medshard.registry.lineage import trace, verify
    from medshard.registry.store import Store

    store = Store.open(root, create=False) if root else Store.containing(path)
    traced = trace(path, store)
    checked = verify(traced, store) if verified and store else []
    if as_json:
        click.echo(
            json.dumps({**traced.to_json(), "verified": checked if verified else None}, indent=2, ensure_ascii=False)
        )
        return
    _echo_lineage(traced, "")
    if verified:
        click.echo(f"verified: {len(checked)} digests are what they were")


@cli.command()
@click.argument("recipe")
@root_option
def train(recipe: str, root: str) -> None:
    """Train and score a recipe: its pretrained, finetuned and evaluation stages."""
    from medshard.pipelines.train import run_recipe

    _interrupt_on_sigterm()
    for line in run_recipe(root, recipe, progress=True):
        click.echo(line)


@cli.command()
@root_option
@click.option(
    "--output", default="demo", show_default=True, type=click.Path(path_type=Path), help="Folder of the report."
)
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="number of cores")
def demo(root: str, output: Path, workers: int) -> None:
    """The whole chain on real scans through Dagster, then a report."""
    from medshard.pipelines.demo import run_demo

    _interrupt_on_sigterm()
    run_demo(root, output, workers=workers)


def main() -> None:
    """Entry point of the `medshard` command."""
    cli(prog_name="medshard")


def _interrupt_on_sigterm() -> None:
    """Let SIGTERM unwind the stack like Ctrl-C, so that child processes are stopped and leases given back."""

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the interface of signal handlers)
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, interrupt)


def _echo_stage(result: StageResult) -> None:
    name = f"{result.entry}/{result.stage}" + (f"@{result.plan}" if result.plan else "")
    amount = (
        f"{result.details['files']} files, {result.details['transferred']:,} bytes fetched"
        if result.stage == "raw"
        else f"{len(result.manifest.good)} cases, {len(result.excluded)} excluded"
    )
    click.echo(
        f"{name:<40} {result.state:<9} {amount}, "
        f"{result.done} done, {result.reused} reused, {result.seconds:.1f} s, manifest {result.head.data_version[:12]}"
    )
    for line in (*_repairs(result), *_layout_warnings(result)):
        click.echo(f"    {line}")
    for record in result.excluded:
        for line in str((record.error or {}).get("text", "")).splitlines():
            click.echo(f"    {line}")
    warnings = [(record.case, warning) for record in result.manifest.good for warning in record.warnings]
    for case, warning in warnings[:WARNINGS_SHOWN]:
        click.echo(f"    {case}: {warning}")
    if len(warnings) > WARNINGS_SHOWN:
        click.echo(f"    and {len(warnings) - WARNINGS_SHOWN} more warnings, in the manifest")
    faults = [(record.case, fault) for record in result.manifest.good for fault in record.facts.get("faults", ())]
    unlabelled = sum(fault["code"] == "annotation.none" for _, fault in faults)
    if unlabelled:
        click.echo(f"    {unlabelled} cases without annotation, for self-supervised training only")
    for case, fault in faults:
        if fault["code"] != "annotation.none":
            click.echo(f"    {case}: not for {' or '.join(fault['against'])}: {fault['code']}: {fault['reason']}")


def _repairs(result: StageResult) -> Iterator[str]:
    """Raw files that were gone or changed, and have been fetched again."""
    if repaired := result.details.get("repaired"):
        more = f" and {len(repaired) - WARNINGS_SHOWN} more" if len(repaired) > WARNINGS_SHOWN else ""
        yield f"was damaged in the store, and is mended: {', '.join(repaired[:WARNINGS_SHOWN])}{more}"


def _layout_warnings(result: StageResult) -> Iterator[str]:
    """What `cases` noticed about the entry rather than about a case."""
    if names := result.details.get("defects_of_no_case"):
        yield f"known_defects names cases that are not there: {', '.join(names)}"
    if classes := result.details.get("classes_of_no_case"):
        yield f"no case has a voxel of {', '.join(classes)}: rare, or another value or name in the files?"
    if parts := result.details.get("shipped_split"):
        counts = ", ".join(f"{count} {part}" for part, count in parts.items())
        yield f"shipped as {counts}: `medshard split shipped {result.entry}` shows its leaks"
    if count := result.details.get("unmatched_files"):
        examples = ", ".join(result.details["unmatched_examples"])
        yield f"{count} files belong to no case, such as {examples}"


def _echo_lineage(traced: Lineage, indent: str) -> None:
    artefact = traced.artefact
    click.echo(f"{indent}{artefact.kind} {artefact.path}")
    click.echo(f"{indent}  sha256 {artefact.sha256}")
    for label, value in artefact.to_json().items():
        if label in {"recipe", "training_manifest", "split"} and value:
            click.echo(f"{indent}  {label.replace('_', ' ')} {value}")
    for plan in sorted({case.plan for case in traced.cases if case.plan}):
        click.echo(f"{indent}  plan {plan}")
    for entry, snapshot in traced.entries.items():
        click.echo(f"{indent}  entry {entry}, version {snapshot['version']}, licence {_licence(snapshot['licence'])}")
        for case in traced.cases:
            if case.entry == entry:
                _echo_case(case, indent + "    ")
    for base in traced.base:
        click.echo(f"{indent}  made from:")
        _echo_lineage(base, indent + "    ")


def _echo_case(case: CaseLineage, indent: str) -> None:
    part = f", {case.part}" if case.part else ""
    click.echo(f"{indent}patient {case.patient}, case {case.case}{part}")
    for record in case.records:
        if record.stage != "raw":
            click.echo(f"{indent}  {record.stage} record {record.digest}")
    for source in case.sources:
        _echo_source(source, indent + "  ")


def _echo_source(source: SourceFile, indent: str) -> None:
    click.echo(f"{indent}{source.path}")
    click.echo(f"{indent}  sha256 {source.sha256}  ({source.origin})")
    if source.archive:
        click.echo(f"{indent}  out of {source.archive['name']} sha256 {source.archive['sha256']}")
    if source.url:
        click.echo(f"{indent}  fetched from {source.url}")
    for made_from in source.made_from:
        click.echo(f"{indent}  pixels from:")
        _echo_source(made_from, indent + "    ")


def _licence(licence: dict[str, Any] | None) -> str:
    if not licence:
        return "unknown"
    return f"{licence['id']} (commercial use {licence['commercial_use']}, redistribution {licence['redistribution']})"


if __name__ == "__main__":
    main()
