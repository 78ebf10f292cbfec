"""What a sample has besides voxels, as arrays of a shard: rows as bytes of Arrow, signals, numbers on meshes.

places                                    rows that say what z counts, where the image is a stack of tiles or frames
annotations/<name>, tables/<name>, texts/<name>   uint8 (n,): an Arrow IPC stream of the rows
signals/<name>                            (c, t) or (trial, c, t), the source's own numbers
meshes/<name>/labels/<label>              one number for each vertex or face
views/<name>                              (c, z, y, x), a further image on its own grid
view_labels/<view>/<layer>                (1, z, y, x), a label layer on the grid of that view
masks/<name>                              (1, z, y, x) uint8, on the grid of the image
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medshard.converters.sampling.sample import ChannelScale, Sample, SampleLabel, SampleView, SourceGrid
from medshard.converters.shard_zip import node_name
from medshard.converters.table import Table, table_of
from medshard.converters.volume import Array

ROWS_PER_BATCH = 1 << 14
BYTES_PER_CHUNK = 1 << 20
SAMPLES_PER_CHUNK = 1 << 16

# (z, y, x) of views and masks where the writer has no plan to ask.
HOUSE_CHUNK = (16, 32, 32)

ContentKind = Literal["signal", "bytes", "mesh", "image", "label"]
WriteArray = Callable[[str, Array, ContentKind, tuple[int, ...]], None]
"""(name, array, kind, inner chunk): what puts one array into the sample's group."""


def content_attributes(sample: Sample) -> dict[str, Any]:
    """What the arrays of `contents_of` mean, kind -> name -> facts, as plain JSON; kinds without any are left out."""
    found = {
        "signals": {
            name: {
                "rate_hz": signal.rate_hz,
                "channels": list(signal.channels),
                "units": list(signal.units),
                "slope": list(signal.slope),
                "intercept": list(signal.intercept),
                "start_s": signal.start_s,
                "gaps": [list(gap) for gap in signal.gaps],
            }
            for name, signal in sorted(sample.signals.items())
        },
        "channels": {str(number): _channel_facts(scale) for number, scale in enumerate(sample.channels)},
        "grids": {name: _grid_facts(grid) for name, grid in sorted(sample.grids.items())},
        "masks": {name: {"voxels": int(np.count_nonzero(mask))} for name, mask in sorted(sample.masks.items())},
        "views": {name: _view_facts(view) for name, view in sorted(sample.views.items())},
        "annotations": {
            name: {
                "kind": annotation.kind,
                "rows": annotation.table.num_rows,
                "examined": list(annotation.examined),
                "image": annotation.image,
                "rater": annotation.rater,
            }
            for name, annotation in sorted(sample.annotations.items())
        },
        "tables": {name: {} for name in sorted(sample.tables)},
        "texts": {name: {} for name in sorted(sample.texts)},
        "meshes": {
            name: {
                label: {
                    "per": numbers.per,
                    "kind": numbers.kind,
                    "classes": {str(value): concept for value, concept in sorted(numbers.classes.items())},
                    "examined": list(numbers.examined),
                }
                for label, numbers in sorted(mesh.labels.items())
            }
            for name, mesh in sorted(sample.meshes.items())
            if mesh.labels
        },
        "places": {} if sample.places is None else _place_facts(sample.places),
    }
    return {kind: facts for kind, facts in found.items() if facts}


def house_chunk(array: Array) -> tuple[int, ...]:
    """The inner chunk of a (c, z, y, x) array: that of the house, no larger than the array."""
    return (1, *(min(wanted, size) for wanted, size in zip(HOUSE_CHUNK, array.shape[-3:], strict=True)))


def write_contents(
    sample: Sample, write: WriteArray, scratch: Path, voxel_chunk: Callable[[Array], tuple[int, ...]] = house_chunk
) -> None:
    """Hand every such array of a sample to `write`. scratch: folder for rows that are many.

    voxel_chunk: the inner chunk of a (c, z, y, x) array, of views and masks.
    """
    for name, view in sorted(sample.views.items()):
        write(f"views/{node_name(name)}", view.image, "image", voxel_chunk(view.image))
        for layer, drawn in sorted(view.labels.items()):
            path = f"view_labels/{node_name(name)}/{node_name(layer)}"
            write(path, drawn.array, "label", voxel_chunk(drawn.array))
    for name, mask in sorted(sample.masks.items()):
        write(f"masks/{node_name(name)}", mask, "label", voxel_chunk(mask))
    for name, signal in sorted(sample.signals.items()):
        chunk = (*(1 for _ in signal.array.shape[:-1]), max(1, min(signal.samples, SAMPLES_PER_CHUNK)))
        write(f"signals/{node_name(name)}", signal.array, "signal", chunk)
    for name, mesh in sorted(sample.meshes.items()):
        for label, numbers in sorted(mesh.labels.items()):
            chunk = (max(1, min(len(numbers.array), SAMPLES_PER_CHUNK)),)
            write(f"meshes/{node_name(name)}/labels/{node_name(label)}", numbers.array, "mesh", chunk)
    for path, table in _tables(sample):
        stored = arrow_bytes(table, scratch)
        write(path, stored, "bytes", (max(1, min(len(stored), BYTES_PER_CHUNK)),))


def _place_facts(places: pa.Table) -> dict[str, Any]:
    """clips: of how many clips of one length the stack consists, where it does."""
    clips = {"clips": pc.max(places["clip"]).as_py() + 1} if "clip" in places.column_names else {}
    return {"columns": places.column_names, **clips}


def _channel_facts(scale: ChannelScale) -> dict[str, Any]:
    return {**asdict(scale), "clip": None if scale.clip is None else list(scale.clip)}


def _grid_facts(grid: SourceGrid) -> dict[str, Any]:
    return {
        "shape": list(grid.shape),
        "affine": np.asarray(grid.affine, np.float64).tolist(),
        "crop": None if grid.crop is None else [list(side) for side in grid.crop],
        "slices": grid.slices,
    }


def _view_facts(view: SampleView) -> dict[str, Any]:
    return {
        "modality": view.modality,
        "unit": view.unit,
        "slope": float(view.slope),
        "intercept": float(view.intercept),
        "quantisation_error": float(view.quantisation_error),
        "affine": np.asarray(view.affine, np.float64).tolist(),
        "statistics": None if view.statistics is None else asdict(view.statistics),
        "spacing_before_mm": None if view.spacing_before_mm is None else list(view.spacing_before_mm),
        "labels": {layer: _view_label_facts(label) for layer, label in sorted(view.labels.items())},
    }


def _view_label_facts(label: SampleLabel) -> dict[str, Any]:
    return {
        "kind": label.kind,
        "classes": {str(value): concept for value, concept in sorted(label.classes.items())},
        "examined": list(label.examined),
        "also": {str(value): list(concepts) for value, concepts in sorted(label.also.items())},
        "ignore": sorted(label.ignore),
        "volume_ratio": {concept: float(ratio) for concept, ratio in sorted(label.volume_ratio.items())},
    }


def _tables(sample: Sample) -> Iterator[tuple[str, Table]]:
    if sample.places is not None:
        yield "places", table_of(sample.places, "arrow")
    for name, annotation in sorted(sample.annotations.items()):
        yield f"annotations/{node_name(name)}", table_of(annotation.table, "arrow")
    kinds: tuple[tuple[str, Mapping[str, Table]], ...] = (("tables", sample.tables), ("texts", sample.texts))
    for kind, tables in kinds:
        for name, table in sorted(tables.items()):
            yield f"{kind}/{node_name(name)}", table


def arrow_bytes(table: Table, scratch: Path) -> Array:
    """(n,) uint8: the rows as an Arrow IPC stream, in batches of `ROWS_PER_BATCH`, whatever batches they come in.

    It lies in a nameless file in `scratch`, which goes when the array does.
    """
    with tempfile.TemporaryFile(dir=scratch, prefix="rows-") as file:
        with pa.ipc.new_stream(file, table.schema) as writer:
            for batch in _even_batches(table):
                writer.write_batch(batch)
        file.flush()
        return np.memmap(file, np.uint8, mode="r")


def _even_batches(table: Table) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in table.batches():
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= ROWS_PER_BATCH:
            whole = pa.Table.from_batches(waiting).combine_chunks()
            yield whole.slice(0, ROWS_PER_BATCH).combine_chunks().to_batches()[0]
            waiting = whole.slice(ROWS_PER_BATCH).to_batches()
            rows -= ROWS_PER_BATCH
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]
