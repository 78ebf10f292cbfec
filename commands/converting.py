"""Commands about files at hand: scans to canonical Zarr without a catalog entry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medshard.commands.choosing import json_option

if TYPE_CHECKING:
    from medshard.converters.conversion import Converted


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder for the Zarr groups.")
@click.option("--pyramid", "pyramid_levels", type=click.IntRange(0, 8), default=0, help="Coarser copies for viewers.")
@click.option("--key", help="The array inside a npz, mat or h5 file.")
@click.option("--select", multiple=True, metavar="NAME=PATTERN", help="DICOM attribute that a wanted series has.")
@json_option
def convert(
    sources: Sequence[Path], output: Path, pyramid_levels: int, key: str | None, select: Sequence[str], as_json: bool
) -> None:
    """Convert scans, files or folders of them, to canonical Zarr. No catalog entry is needed.

    Prints what was made of what, and what could not be read. Exit code 1 when something could not.
    """
    from medshard.converters.conversion import convert_images, find_images
    from medshard.converters.formats.format import Request
    from medshard.converters.spooling import Spool

    if output.is_file():
        raise click.BadParameter(f"{output} is a file", param_hint="--output")
    output.mkdir(parents=True, exist_ok=True)
    found = find_images(sources)
    request = Request(key=key, select=_pairs(select), spool=Spool(folder=output))
    failures = 0
    rows = []
    for converted in convert_images(found.images, output, request=request, pyramid_levels=pyramid_levels):
        failures += converted.error is not None
        rows.append(_row(converted))
        if not as_json:
            click.echo(_sentence(converted))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    if found.unknown:
        some = ", ".join(path.name for path in found.unknown[:3])
        click.echo(f"passed over: {len(found.unknown)} files of no known format, such as {some}", err=True)
    if not rows:
        click.echo("no image was found", err=True)
    if failures or not rows:
        raise click.exceptions.Exit(1)


def _pairs(select: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in select]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{bad[0]!r} is no NAME=PATTERN", param_hint="--select")
    return {name: pattern for name, _, pattern in pairs}


def _row(converted: Converted) -> dict[str, Any]:
    row: dict[str, Any] = {"name": converted.name, "files": len(converted.files)}
    if converted.error is not None:
        return row | {"error": converted.error.code, "message": str(converted.error)}
    header = converted.header
    assert header is not None
    return row | {
        "zarr": str(converted.folder),
        "format": header.format,
        "shape": list(header.shape),
        "channels": header.channels,
        "timepoints": header.timepoints,
        "spacing_mm": list(header.spacing_mm),
        "modality": header.modality,
        "sequence": header.sequence,
        "burned_in": header.burned_in,
        "warnings": list(header.warnings),
    }


def _sentence(converted: Converted) -> str:
    if converted.error is not None:
        return f"{converted.name}: not converted\n{str(converted.error).replace('The case is excluded. ', '')}"
    header = converted.header
    assert header is not None
    size = "x".join(str(n) for n in reversed(header.shape))
    spacing = "x".join(f"{step:.4g}" for step in reversed(header.spacing_mm))
    facts = [header.format, header.modality or "", header.sequence or "", size, f"{spacing} mm"]
    facts += [f"{header.channels} channels"] if header.channels > 1 else []
    facts += [f"{header.timepoints} {header.leading.kind if header.leading else 'time'} steps"] * (
        header.timepoints > 1
    )
    lines = [f"{converted.folder}: {', '.join(fact for fact in facts if fact)}"]
    lines += [f"  {warning}" for warning in header.warnings]
    lines += [f"  text may be burned in: {header.burned_in}"] if header.burned_in else []
    return "\n".join(lines)
