"""The command that measures how fast an entry is read, and how many bytes it takes."""

from __future__ import annotations

import json

import click

from medshard.commands.choosing import json_option, root_option


@click.command()
@click.argument("entry")
@root_option
@click.option("--plan", default="default", show_default=True, help="Name of the plan.")
@click.option(
    "--patch", type=(click.IntRange(1),) * 3, metavar="Z Y X", help="Window in voxels; by default the plan's patch."
)
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Measure a loader with them, too."
)
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="To measure, about.")
@json_option
def bench(
    entry: str,
    root: str,
    plan: str,
    patch: tuple[int, int, int] | None,
    workers: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Items a second, MB/s and bytes of ENTRY, for each kind of view that its plan is for."""
    from medshard.loaders.diagnosis.speed import measure_speed
    from medshard.loaders.diagnosis.speed_report import speed_report
    from medshard.loaders.shard_reader import open_store

    speed = measure_speed(open_store(root), entry, plan, patch, workers=workers, seconds=seconds)
    click.echo(json.dumps(speed.to_json(), indent=2) if as_json else speed_report(speed))
