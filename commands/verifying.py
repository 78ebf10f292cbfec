"""The command that reads a store or a shard again and says all that is wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from medshard.commands.choosing import json_option


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--entry", help="Only what the HEADs of this entry name. PATH is a store.")
@click.option("--plan", help="Only the shards of this plan. PATH is a store.")
@json_option
def verify(path: Path, entry: str | None, plan: str | None, as_json: bool) -> None:
    """Hash and decode all of PATH, a store or one shard, and list every fault.

    Objects have the bytes of their names; chunk tables their checksums; chunks decode; foreground rows lie on voxels of
    their class; an index says what its shards say; manifests and HEADs name what is there. Exit code 1 with any fault.
    """
    from medshard.converters.store_verification import verify_file, verify_store
    from medshard.registry.store import Store

    if path.is_file() and (entry or plan):
        raise click.UsageError("--entry and --plan are for stores, and PATH is a file")
    is_store = path.is_dir()
    done = verify_store(Store.open(path, create=False), entry=entry, plan=plan) if is_store else verify_file(path)
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=2, ensure_ascii=False))
    else:
        for each in done.faults:
            click.echo(str(each))
        looked_at = f"{done.heads} heads, {done.objects} objects, {done.shards} shards, {done.samples} samples"
        verdict = f"{len(done.faults)} faults" if done.faults else "all is well"
        click.echo(f"{path}: {looked_at}: {verdict}")
    sys.exit(1 if done.faults else 0)
