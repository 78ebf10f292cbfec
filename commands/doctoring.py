"""The command that measures a loading pipeline and says which step limits it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from medshard.commands.choosing import json_option, root_option
from medshard.errors import CatalogError


@click.command()
@click.argument("entries", nargs=-1, required=True, metavar="ENTRY...")
@root_option
@click.option("--plan", default="default", show_default=True, help="Name of the plan.")
@click.option(
    "--patch", type=(click.IntRange(1),) * 3, metavar="Z Y X", help="Window in voxels; by default the plan's patch."
)
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True, help="Items of a batch.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Processes that load.")
@click.option("--ahead", type=click.IntRange(1), default=2, show_default=True, help="Batches that each is ahead.")
@click.option("--consumer-ms", type=click.FloatRange(min=0, min_open=True), help="What the training takes for a batch.")
@click.option("--device", default="cpu", show_default=True, help="Where batches go: cpu, cuda, cuda:1 ...")
@click.option(
    "--transform", metavar="MODULE:NAME", help="A function on an item, as `ShardDataset(transform=...)` has it."
)
@click.option("--int8-labels", is_flag=True, help="Labels of one byte.")
@click.option("--normalise-on-device", is_flag=True, help="Stored numbers, which DeviceTransform finishes.")
@click.option("--cache-gb", type=click.FloatRange(min=0, min_open=True), help="Local cache of a store behind a URL.")
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="To measure, about.")
@json_option
def doctor(
    entries: tuple[str, ...],
    root: str,
    plan: str,
    patch: tuple[int, int, int] | None,
    batch: int,
    workers: int,
    ahead: int,
    consumer_ms: float | None,
    device: str,
    transform: str | None,
    int8_labels: bool,
    normalise_on_device: bool,
    cache_gb: float | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure how entries are loaded, and say which step limits a training and what to change."""
    from torch.utils.data import DataLoader

    from medshard.loaders import DeviceTransform, ShardDataset, collate_samples
    from medshard.loaders.diagnosis import diagnose
    from medshard.loaders.diagnosis.report import report
    from medshard.loaders.shard_reader import SampleIndex, open_store

    store = open_store(root, cache_bytes=None if cache_gb is None else int(cache_gb * 1e9))
    dataset = ShardDataset(
        store,
        entries,
        plan,
        patch or SampleIndex.open(store, entries[0], plan).plan.patch_size,
        label_type="int8" if int8_labels else "int64",
        normalise="device" if normalise_on_device else True,
        transform=None if transform is None else _function(transform),
    )
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=ahead if workers else None,
        collate_fn=collate_samples,
        pin_memory=device.startswith("cuda"),
    )
    found = diagnose(
        loader,
        consumer_s=None if consumer_ms is None else consumer_ms / 1e3,
        prepare=DeviceTransform(device=device) if normalise_on_device else None,
        device=device,
        seconds=seconds,
    )
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        click.echo(report(found.measured, found.verdict))


def _function(name: str) -> Callable[[Any], Any]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CatalogError(
            "doctor.transform",
            where="--transform",
            problem="there is no such function",
            details={"found": name, "reason": error},
            action="Name it as MODULE:NAME, of a module that Python finds.",
        ) from error
    if not callable(found):
        raise CatalogError(
            "doctor.transform", where="--transform", problem="this is no function", details={"found": name}
        )
    function: Callable[[Any], Any] = found
    return function
