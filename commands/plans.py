"""Commands that show plans: how volumes become samples, and why each number is what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medshard.commands.choosing import echo_lines, entry_called, json_option, root_option
from medshard.commands.tables import Column, table, terminal_width

if TYPE_CHECKING:
    from medshard.converters.plan import Plan
    from medshard.pipelines.reporting.plan_facts import PlanFacts
    from medshard.registry.store import Store

SHOWN = (
    *("channels", "spacing_mm", "kernel", "antialias", "patch_size", "inner_chunk", "stored", "slice_axis"),
    *("crop_to_nonzero", "mask_zeros", "transpose", "tiles", "frames", "clips", "pairs"),
)
AXES = ("z", "y", "x")


def _use_plan_file(_: click.Context, __: click.Parameter, file: Path | None) -> None:
    # Plans are read where they are needed, and in one process only: the one that the command runs in.
    if file is not None:
        os.environ["MEDSHARD_PLANS"] = str(file)


plan_file_option = click.option(
    "--plan-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_use_plan_file,
    expose_value=False,
    is_eager=True,
    help="YAML file of plans beside those of the catalog (or MEDSHARD_PLANS).",
)


@click.group("plan")
def plans() -> None:
    """How volumes become samples: what is declared, and what was frozen when an entry was built."""


@plans.command("list")
@click.argument("names", nargs=-1, metavar="[ID]...")
@plan_file_option
@root_option
@json_option
def list_plans(names: tuple[str, ...], root: str, as_json: bool) -> None:
    """The plans of entries (all that declare more than the default one, if none is named)."""
    from medshard.pipelines.reporting.plan_facts import plan_facts
    from medshard.registry import Catalog

    catalog, store = Catalog.load(), _store(root)
    entries = [entry_called(catalog, name) for name in names] or list(catalog)
    found = [facts for entry in entries for facts in plan_facts(entry, store) if names or _is_news(facts)]
    if as_json:
        click.echo(json.dumps([facts.to_json() for facts in found], indent=2, ensure_ascii=False))
        return
    columns = (Column("entry"), Column("plan"), Column("kind"), Column("spacing, mm"), Column("state", least=20))
    rows = [
        (
            facts.entry,
            facts.name,
            facts.plan.kind if facts.plan else str(facts.declared.get("kind", "")),
            _text("spacing_mm", facts.plan.spacing_mm) if facts.plan else "",
            facts.state,
        )
        for facts in found
    ]
    echo_lines(table(columns, rows, terminal_width()))


@plans.command("show")
@click.argument("entry_name", metavar="ID")
@click.argument("name", required=False)
@plan_file_option
@root_option
@json_option
def show(entry_name: str, name: str | None, root: str, as_json: bool) -> None:
    """One plan of an entry, or all: what is declared, the frozen numbers, and where each comes from."""
    from medshard.pipelines.reporting.plan_facts import plan_facts
    from medshard.pipelines.stages.plan_freezing import require_plan
    from medshard.registry import Catalog

    entry = entry_called(Catalog.load(), entry_name)
    if name is not None:
        require_plan(entry, name)
    found = [facts for facts in plan_facts(entry, _store(root)) if name in (None, facts.name)]
    if as_json:
        documents = [facts.to_json() for facts in found]
        click.echo(json.dumps(documents[0] if name is not None else documents, indent=2, ensure_ascii=False))
        return
    for facts in found:
        echo_lines(_described(facts))


def _store(root: str) -> Store | None:
    """None where nothing was built yet: plans are declared before there is a store."""
    from medshard.errors import StoreError
    from medshard.registry.store import Store

    try:
        return Store.open(root, create=False)
    except StoreError as error:
        if error.code != "store.missing":
            raise
        return None


def _is_news(facts: PlanFacts) -> bool:
    return facts.name != "default" or bool(facts.declared)


def _described(facts: PlanFacts) -> Iterator[str]:
    yield f"{facts.entry} plan {facts.name} ({facts.state})"
    source = "in a file of plans" if facts.source == "file" else "in the catalog"
    declared = ", ".join(f"{field}: {json.dumps(value)}" for field, value in facts.declared.items())
    yield f"  declared {source}: {declared or 'nothing; all follows from the fingerprint'}"
    if facts.plan is None:
        return
    yield f"  kind {facts.plan.kind}, digest {facts.plan.digest[:12]}"
    rows = [(field, _text(field, value), why) for field, value, why in _fields(facts.plan)]
    yield from (f"  {line}" for line in table((Column("field"), Column("value"), Column("why", least=20)), rows, None))


def _fields(plan: Plan) -> Iterator[tuple[str, Any, str]]:
    defaults: Mapping[str, Any] = {field.name: field.default for field in type(plan).__dataclass_fields__.values()}
    for field in SHOWN:
        value = getattr(plan, field)
        always = field in ("channels", "spacing_mm", "kernel", "antialias", "patch_size", "inner_chunk")
        if always or value != defaults[field]:
            yield field, value, plan.reasons.get(field, "")
    for name, rule in sorted(plan.intensity.items()):
        yield f"intensity.{name}", rule, plan.reasons.get(f"intensity.{name}", "")


def _text(field: str, value: Any) -> str:
    if value is None:
        return "the grid of each case" if field == "spacing_mm" else "-"
    if field == "slice_axis":
        return AXES[value]
    if is_dataclass(value) and not isinstance(value, type):
        said = {name: part for name, part in asdict(value).items() if part not in (None, ())}
        return ", ".join(f"{name} {_text(name, part)}" for name, part in said.items())
    if isinstance(value, tuple | list):
        return " x ".join(_text("", part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
