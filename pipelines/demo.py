"""The demo: the acquired public entries and the recipes through Dagster, then a report. What is done is not redone."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from medshard import __version__
from medshard.errors import MedshardError
from medshard.pipelines.build import is_current
from medshard.registry.catalog import PUBLIC_CATALOG, Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.manifests import read_head, read_manifest
from medshard.registry.store.objects import Store, write_atomically
from medshard.training.recipe import Recipe, load_recipes
from medshard.training.stages import CODE_VERSION as TRAINING_VERSION

FORMAT_VERSION = 1
STATE_FILE = ".state.json"
REPORT_FILE = "report.html"
RECIPE_STAGES = ("split", "pretrained", "finetuned", "evaluation")
STAGES_OF_CASES = ("cases", "volumes", "fingerprint")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What is to be done and where.

    home: folder of the Dagster instance. seconds: how long each phase took, filled on the way.
    """

    store: Store
    output: Path
    home: Path
    workers: int
    catalog: Catalog
    entries: tuple[Entry, ...]
    recipes: tuple[Recipe, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = time.monotonic() - started


def run_demo(
    root: str | Path, output: Path, *, workers: int = os.cpu_count() or 1, entries: Collection[str] | None = None
) -> Path:
    """Build every public entry and recipe through Dagster, write the report, and return its path.

    The Dagster instance is that of DAGSTER_HOME, else the folder `.dagster` beside the store. An entry or recipe that
    is current in the store and on record in Dagster is not run. entries: only these, and the recipes that need no
    others.
    Raises MedshardError[demo.failed] at the end when a run failed; the other runs and the report are done by then.
    """
    demo = _plan(root, output, workers, entries)
    with demo.timed("looking at the store"):
        # Importing Dagster takes seconds, so a demo that is up to date is told from its own note and the store alone.
        finished = _is_finished(demo)
    failures: dict[str, tuple[str, ...]] = {}
    if finished:
        for name in (*(entry.id for entry in demo.entries), *(recipe.id for recipe in demo.recipes)):
            click.echo(f"{name}: up to date")
    else:
        failures = _run_all(demo)
        _write_report(demo)
        if not failures:
            write_atomically(demo.output / STATE_FILE, canonical_json(_state(demo)) + b"\n")
    _echo_excluded(demo)
    _echo_seconds(demo)
    _echo_next(demo)
    if failures:
        raise MedshardError(
            "demo.failed",
            where=", ".join(failures),
            problem="a run failed",
            details={name: texts[0] for name, texts in failures.items()},
            action="`make ui` shows the run; the next `make demo` goes on from there.",
        )
    return demo.output / REPORT_FILE


def _plan(root: str | Path, output: Path, workers: int, entries: Collection[str] | None) -> Demo:
    store = Store.open(root)
    catalog = Catalog.load([PUBLIC_CATALOG])
    chosen = catalog.where(maturity="acquired") if entries is None else tuple(map(catalog.entry, entries))
    available = {entry.id for entry in chosen}
    recipes = [recipe for recipe in load_recipes().values() if available.issuperset(recipe.all_entries)]
    home = Path(os.environ.get("DAGSTER_HOME") or store.root.parent / ".dagster")
    return Demo(
        store=store,
        output=output,
        home=home.resolve(),
        workers=workers,
        catalog=catalog,
        entries=chosen,
        recipes=tuple(recipes),
    )


def _is_finished(demo: Demo) -> bool:
    note = demo.output / STATE_FILE
    if not note.is_file() or not (demo.output / REPORT_FILE).is_file() or not (demo.home / "history").is_dir():
        return False
    if note.read_bytes() != canonical_json(_state(demo)) + b"\n":
        return False
    return all(_entry_is_current(demo, entry) for entry in demo.entries)


def _entry_is_current(demo: Demo, entry: Entry) -> bool:
    try:
        return all(is_current(demo.store, entry.id, plan=plan, catalog=demo.catalog) for plan in entry.plans)
    except MedshardError:
        return False  # its run will meet the same fault, and show it


def _state(demo: Demo) -> dict[str, Any]:
    """What a finished demo looks like: where it is, and what is current in it."""
    return {
        "format_version": FORMAT_VERSION,
        "medshard": __version__,
        "store": str(demo.store.root),
        "dagster_home": str(demo.home),
        "entries": {entry.id: _entry_state(demo.store, entry) for entry in demo.entries},
        "recipes": {recipe.id: _recipe_state(demo, recipe) for recipe in demo.recipes},
    }


def _entry_state(store: Store, entry: Entry) -> dict[str, Any]:
    stages = ("raw", *STAGES_OF_CASES)
    versions = {stage: _version(store, entry.id, stage) for stage in stages}
    versions |= {f"shards@{plan}": _version(store, entry.id, "shards", plan) for plan in entry.plans}
    return {"entry": entry.digest, "versions": versions}


def _recipe_state(demo: Demo, recipe: Recipe) -> dict[str, Any]:
    """All that decides the stages of a recipe, and their versions."""
    return {
        "recipe": recipe.digest,
        "code_version": TRAINING_VERSION,
        "shards": {entry: _version(demo.store, entry, "shards", recipe.plan) for entry in recipe.all_entries},
        "overlaps": [overlap.model_dump() for entry in demo.catalog for overlap in entry.overlaps],
        "versions": {stage: _version(demo.store, recipe.id, stage) for stage in RECIPE_STAGES},
    }


def _version(store: Store, name: str, stage: str, plan: str | None = None) -> str | None:
    head = read_head(store, name, stage, plan)
    return head.data_version if head is not None else None


def _run_all(demo: Demo) -> dict[str, tuple[str, ...]]:
    """Run what is not current; the failures of each entry or recipe that has some."""
    with demo.timed("starting Dagster"):
        from medshard.pipelines import demo_runs  # noqa: PLC0415 (imports Dagster)

        instance = demo_runs.open_instance(demo.home)
    failures: dict[str, tuple[str, ...]] = {}
    with instance:
        known = _noted_recipes(demo)
        work = [(entry.id, demo_runs.assets_of_entry(entry, demo.catalog), entry) for entry in demo.entries]
        for name, assets, entry in work:
            if _entry_is_current(demo, entry) and demo_runs.is_recorded(instance, demo.store, assets):
                click.echo(f"{name}: up to date")
                continue
            with demo.timed(name):
                failures |= _run(demo, demo_runs, instance, name, assets)
        for recipe in demo.recipes:
            assets = demo_runs.assets_of_recipe(recipe, demo.catalog)
            missing = [entry for entry in recipe.all_entries if entry in failures]
            if missing:
                failures[recipe.id] = (f"not run, because it needs {', '.join(missing)}",)
            elif known.get(recipe.id) == _recipe_state(demo, recipe) and demo_runs.is_recorded(
                instance, demo.store, assets
            ):
                click.echo(f"{recipe.id}: up to date")
            else:
                with demo.timed(recipe.id):
                    failures |= _run(demo, demo_runs, instance, recipe.id, assets)
    return failures


def _run(demo: Demo, demo_runs: Any, instance: Any, name: str, assets: Any) -> dict[str, tuple[str, ...]]:
    click.echo(f"{name}: {len(assets)} assets, one Dagster run")
    outcome = demo_runs.materialise(assets, instance=instance, root=demo.store.root, workers=demo.workers, name=name)
    for text in outcome.failures:
        click.echo(f"{name}: run {outcome.run_id} failed: {text}", err=True)
    return {} if outcome.success else {name: outcome.failures}


def _noted_recipes(demo: Demo) -> Mapping[str, Any]:
    """What the last finished demo noted of its recipes."""
    note = demo.output / STATE_FILE
    if not note.is_file():
        return {}
    recipes: dict[str, Any] = json.loads(note.read_bytes()).get("recipes", {})
    return recipes


def _write_report(demo: Demo) -> None:
    with demo.timed("report"):
        from medshard.pipelines.reporting.report import write_report  # noqa: PLC0415 (imports Matplotlib and more)

        recipe = next((recipe.id for recipe in demo.recipes if _version(demo.store, recipe.id, "split")), None)
        write_report(demo.store, demo.catalog, recipe, demo.output)


def _echo_excluded(demo: Demo) -> None:
    for entry in demo.entries:
        stages = [(stage, None) for stage in STAGES_OF_CASES] + [("shards", plan) for plan in entry.plans]
        for stage, plan in stages:
            head = read_head(demo.store, entry.id, stage, plan)
            for record in read_manifest(demo.store, head.manifest).excluded if head is not None else ():
                click.echo(f"{entry.id}/{stage}: excluded: {(record.error or {}).get('text', record.case)}", err=True)


def _echo_seconds(demo: Demo) -> None:
    width = max(len(phase) for phase in demo.seconds)
    click.echo("")
    for phase, seconds in (*demo.seconds.items(), ("together", sum(demo.seconds.values()))):
        click.echo(f"  {phase:<{width}}  {seconds:8.1f} s")


def _echo_next(demo: Demo) -> None:
    """Where the results are, and the next commands to try."""
    click.echo(f"\nreport      {demo.output / REPORT_FILE}")
    command = sys.argv[0] if Path(sys.argv[0]).name == "medshard" else "medshard"
    for recipe in demo.recipes:
        head = read_head(demo.store, recipe.id, "finetuned")
        if head is not None:
            checkpoint = demo.store.path(head.attachments["checkpoint"]) / "checkpoint.pt"
            click.echo(f"checkpoint  {checkpoint}")
            click.echo(f"lineage     {shlex.join([command, 'lineage', str(checkpoint), '--verify'])}")
    click.echo("Dagster UI  make ui")
