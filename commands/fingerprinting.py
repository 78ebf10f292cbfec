"""The command that says what built entries look like in numbers, one by one or a selection together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medshard.commands.choosing import chosen, echo_lines, entry_called, filters, json_option, root_option
from medshard.commands.tables import Column, table, terminal_width

if TYPE_CHECKING:
    from medshard.registry import Catalog
    from medshard.registry.store import Store

CLASSES_SHOWN = 30


@click.command()
@click.argument("names", nargs=-1, metavar="[ID]...")
@filters
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with figures to this file.")
@click.option("--figures", type=click.Path(path_type=Path), help="Write the figures as PNG into this folder.")
@json_option
@root_option
def fingerprint(
    names: tuple[str, ...], page: Path | None, figures: Path | None, as_json: bool, root: str, **conditions: Any
) -> None:
    """Spacings, shapes, intensities and class sizes of entries together, merged without reading a case.

    Entries are named, or chosen as `medshard list` does; of those chosen the ones that are built count.
    """
    from medshard.converters.fingerprint import summary_of
    from medshard.pipelines.reporting.fingerprints import fingerprint_figures, fingerprint_page, sketch_of_entries
    from medshard.registry import Catalog
    from medshard.registry.store import Store
    from medshard.registry.store.objects import write_atomically

    if not names and not any(conditions.values()):
        raise click.UsageError("Name entries, or choose some with options such as --modality CT.")
    catalog, store = Catalog.load(), Store.open(root, create=False)
    ids = {entry_called(catalog, name).id for name in names} | _built_and_chosen(catalog, store, conditions)
    if not ids:
        raise click.UsageError("None of the entries chosen has a fingerprint in this store.")
    sketch = sketch_of_entries(store, ids)
    summary = summary_of(sketch)
    if page is not None:
        title = f"Fingerprint of {next(iter(ids))}" if len(ids) == 1 else f"Fingerprint of {len(ids)} entries"
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(page, fingerprint_page(title, sketch).encode())
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        for figure in fingerprint_figures(sketch):
            write_atomically(figures / f"{figure.name}.png", figure.png)
    if as_json:
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        echo_lines(_lines(summary))


def _built_and_chosen(catalog: Catalog, store: Store, conditions: dict[str, Any]) -> set[str]:
    from medshard.registry.store.manifests import read_head

    if not any(conditions.values()):
        return set()
    found = [entry.id for entry in chosen(catalog, conditions)]
    built = {entry_id for entry_id in found if read_head(store, entry_id, "fingerprint") is not None}
    click.echo(f"{len(built)} of {len(found)} entries chosen have a fingerprint in this store", err=True)
    return built


def _lines(summary: dict[str, Any]) -> Iterable[str]:
    width = terminal_width()
    entries = ", ".join(summary["entries"]) if len(summary["entries"]) <= 3 else f"{len(summary['entries'])} entries"
    yield f"{summary['cases']:,} cases of {entries}"
    yield ""
    grids = (Column("modality"), *(Column(name, right=True) for name in ("images", "spacing mm", "voxels")))
    rows = [
        (name or "unstated", f"{grid['cases']:,}", _steps(grid["spacing_mm"]), _steps(grid["shape"]))
        for name, grid in summary["grids"].items()
    ]
    yield from table(grids, rows, width)
    known = {name: facts for name, facts in summary["foreground"].items() if facts}
    if known:
        yield ""
        yield from _foreground_lines(known, width)
    if summary["classes"]:
        yield ""
        yield from _class_lines(summary, width)


def _foreground_lines(known: dict[str, Any], width: int | None) -> Iterable[str]:
    names = ("images", "mean", "std", "0.5 %", "50 %", "99.5 %")
    columns = (Column("modality"), Column("foreground"), *(Column(name, right=True) for name in names))
    keys = ("mean", "std", "p0_5", "p50", "p99_5")
    rows = [
        (name or "unstated", facts["source"], str(facts["cases"]), *(f"{facts[key]:.5g}" for key in keys))
        for name, facts in known.items()
    ]
    return table(columns, rows, width)


def _class_lines(summary: dict[str, Any], width: int | None) -> Iterable[str]:
    ranked = sorted(summary["classes"].items(), key=lambda item: (-item[1]["voxels"], item[0]))
    names = ("cases", "of", "voxels", "%", "ml", "components")
    columns = (Column("class", least=16), *(Column(name, right=True) for name in names))
    yield from table(columns, [_class_row(name, facts) for name, facts in ranked[:CLASSES_SHOWN]], width)
    if len(ranked) > CLASSES_SHOWN:
        yield f"and {len(ranked) - CLASSES_SHOWN} more, smaller ones; --json has all"
    for name, layer in summary["labels"].items():
        if layer["ratio"] is not None and layer["ratio"] > 1:
            yield f"{name}: largest class {layer['ratio']:.4g} times the smallest"


def _class_row(name: str, facts: dict[str, Any]) -> tuple[str, ...]:
    share = f"{100 * facts['share_of_voxels']:.3g}"
    numbers = (facts["cases"], facts["examined"], f"{facts['voxels']:,}", share, f"{facts['volume_ml']:.4g}")
    return name, *(str(number) for number in numbers), str(facts["components"])


def _steps(per_axis: dict[str, Any] | None) -> str:
    return " x ".join(f"{step:.4g}" for step in per_axis["median"]) if per_axis else "-"
