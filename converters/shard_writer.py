"""Samples -> Zarr v3 groups: what one case looks like inside a shard (docs/shard-format.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore

from medshard.converters.chunk_codecs import ChunkCodec, choose_codec
from medshard.converters.plan import Plan, Shape
from medshard.converters.samples import Sample, SampleLabel
from medshard.converters.shard_contents import content_attributes, write_contents
from medshard.converters.shard_zip import node_name
from medshard.converters.volume import Array
from medshard.converters.zarr_shard import shard_shape, window_order, write_zarr_shard
from medshard.errors import CaseError

# 2: signals, rows, labels on meshes; `contents` and what z counts. 3: views, masks, synthetic cases, groups and splits;
# codecs by trial; chunks of voxels along a curve.
FORMAT_VERSION = 3
ROWS_PER_CHUNK = 1024

ArrayKind = Literal["image", "label", "table", "mesh", "signal", "bytes"]


def encode_sample(sample: Sample, plan: Plan, folder: Path) -> None:
    """Write one sample as a Zarr v3 group tree into `folder`, which is made.

    `image` (c, z, y, x), `labels/<layer>` (1, z, y, x), `foreground/<layer>` (n, 4) and `meshes/<name>/vertices|faces`
    are one Zarr shard each, and so is what `shard_contents` names; what the numbers mean stands in the group's
    attributes under "medshard". Equal samples give equal bytes.
    Raises CaseError[shard.shape] when image and label maps are not on one grid.
    """
    _check_grid(sample)
    piece = _Piece(folder)
    piece.add_document("", _group_document({"medshard": sample_attributes(sample)}))
    if sample.image is not None:
        _write_array(piece, "image", sample.image, "image", _voxel_chunk(sample.image, plan))
    for layer, label in sorted(sample.labels.items()):
        name = f"labels/{node_name(layer)}"
        _write_array(piece, name, label.array, "label", _voxel_chunk(label.array, plan))
    foreground = {layer: rows for layer, rows in sorted(sample.foreground.items()) if len(rows)}
    for layer, rows in foreground.items():
        chunk = (min(ROWS_PER_CHUNK, len(rows)), rows.shape[1])
        _write_array(piece, f"foreground/{node_name(layer)}", rows, "table", chunk)
    for name, mesh in sorted(sample.meshes.items()):
        surface = f"meshes/{node_name(name)}"
        piece.add_parents(surface)
        piece.add_document(surface, _group_document({"medshard": {"unit": mesh.unit}}))
        for part, numbers in (("vertices", mesh.vertices), ("faces", mesh.faces)):
            _write_array(piece, f"{surface}/{part}", numbers, "mesh", (max(1, len(numbers)), numbers.shape[1]))
    write_contents(sample, partial(_write_array, piece), folder.parent, partial(_voxel_chunk, plan=plan))


def sample_attributes(sample: Sample) -> dict[str, Any]:
    """What a sample's arrays mean, as plain JSON; mappings are sorted so that equal samples give equal bytes."""
    return {
        "format_version": FORMAT_VERSION,
        "entry": sample.entry,
        "case": sample.case,
        "patient": sample.patient,
        "group": sample.group,
        "split": sample.split,
        "synthetic": sample.synthetic,
        "modality": sample.modality,
        "unit": sample.unit,
        "slope": float(sample.slope),
        "intercept": float(sample.intercept),
        "quantisation_error": float(sample.quantisation_error),
        "affine": np.asarray(sample.affine, np.float64).tolist(),
        "statistics": None if sample.statistics is None else asdict(sample.statistics),
        "labels": {
            layer: _label_attributes(label, sample.foreground.get(layer))
            for layer, label in sorted(sample.labels.items())
        },
        "contents": content_attributes(sample),
        "spacing_before_mm": None if sample.spacing_before_mm is None else list(sample.spacing_before_mm),
        "warnings": list(sample.warnings),
    }


def inner_chunk_for(shape: Shape, inner_chunk: Shape) -> Shape:
    """The plan's inner chunk (z, y, x), clipped to a small array and grown along the other axes instead.

    A 2-D image under 16x32x32 gets 1x128x128: as many voxels to decode, not sixteen times as many chunks.
    """
    budget = int(np.prod(inner_chunk))
    chunk = [min(wanted, size) for wanted, size in zip(inner_chunk, shape, strict=True)]
    while int(np.prod(chunk)) * 2 <= budget:
        room = [size / now for size, now in zip(shape, chunk, strict=True)]
        axis = int(np.argmax(room))
        if room[axis] <= 1.0:
            break
        chunk[axis] = min(2 * chunk[axis], shape[axis])
    return chunk[0], chunk[1], chunk[2]


def _label_attributes(label: SampleLabel, foreground: Array | None) -> dict[str, Any]:
    values, counts = np.unique(foreground[:, 0], return_counts=True) if foreground is not None else ((), ())
    return {
        "kind": label.kind,
        "classes": {str(value): concept for value, concept in sorted(label.classes.items())},
        "examined": list(label.examined),
        "also": {str(value): list(concepts) for value, concepts in sorted(label.also.items())},
        "ignore": sorted(label.ignore),
        "volume_ratio": {concept: float(ratio) for concept, ratio in sorted(label.volume_ratio.items())},
        "component_ratio": {concept: float(ratio) for concept, ratio in sorted(label.component_ratio.items())},
        # Rows of foreground/<layer> per class value, in the order in which they stand there.
        "foreground": {str(value): int(count) for value, count in zip(values, counts, strict=True)},
    }


def _check_grid(sample: Sample) -> None:
    if sample.image is None:
        return
    for layer, label in sample.labels.items():
        if label.array.shape != (1, *sample.image.shape[1:]):
            raise CaseError(
                "shard.shape",
                where=f"{sample.entry}/{sample.case}",
                problem=f"label layer {layer!r} is not on the grid of the image",
                details={"image": sample.image.shape, "label": label.array.shape},
                action="The case is excluded. Samples have one grid: this is a fault of the resampling stage.",
            )


@dataclass(frozen=True)
class _Piece:
    """The group of one sample while it is written."""

    folder: Path

    def add_document(self, name: str, document: bytes) -> None:
        """Make a node of what describes it; "" is the root."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / name / "zarr.json").write_bytes(document)

    def add_parents(self, name: str) -> None:
        """The groups above a node that are not there yet."""
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            if not (self.folder / parent / "zarr.json").exists():
                self.add_document(str(parent), _plain_group())


def _group_document(attributes: dict[str, Any]) -> bytes:
    """`zarr.json` of a group, as zarr-python writes it."""
    written: dict[str, Any] = {}
    zarr.create_group(MemoryStore(written), zarr_format=3, attributes=attributes)
    return bytes(written["zarr.json"].to_bytes())


@lru_cache(maxsize=1)
def _plain_group() -> bytes:
    return _group_document({})


@lru_cache(maxsize=1024)
def _array_document(
    shape: tuple[int, ...], dtype: str, inner_chunk: tuple[int, ...], codec: ChunkCodec, axes: tuple[str, ...]
) -> bytes:
    """`zarr.json` of an array, as zarr-python writes it: in milliseconds, which small samples cannot afford each."""
    written: dict[str, Any] = {}
    blosc = BloscCodec(typesize=np.dtype(dtype).itemsize, cname=codec.cname, clevel=codec.clevel, shuffle=codec.shuffle)
    zarr.create_array(
        MemoryStore(written),
        shape=shape,
        dtype=dtype,
        chunks=inner_chunk,
        shards=shard_shape(shape, inner_chunk),
        compressors=[blosc],
        fill_value=0,
        dimension_names=axes or None,
    )
    return bytes(written["zarr.json"].to_bytes())


def _voxel_chunk(array: Array, plan: Plan) -> tuple[int, ...]:
    z, y, x = array.shape[-3:]
    return (1, *inner_chunk_for((z, y, x), plan.inner_chunk))


def _write_array(piece: _Piece, name: str, array: Array, kind: ArrayKind, inner_chunk: tuple[int, ...]) -> None:
    """One array as one Zarr shard: zarr-python writes what describes it, `write_zarr_shard` its numbers."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    codec = choose_codec(array, inner_chunk, "whole" if kind in ("mesh", "bytes") else "windows")
    of_voxels = kind in ("image", "label")
    axes = ("c", "z", "y", "x") if of_voxels else ()
    piece.add_parents(name)
    piece.add_document(name, _array_document(array.shape, array.dtype.str, inner_chunk, codec, axes))
    order = window_order(array.shape, inner_chunk) if of_voxels else None
    path = piece.folder.joinpath(name, "c", *("0" for _ in array.shape))
    write_zarr_shard(array, inner_chunk, codec.blosc, path, order=order)
