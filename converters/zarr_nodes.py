"""Zarr v3 groups and arrays on disk, written without zarr-python: the same documents, equal bytes with every version.

An array is one shard and its `zarr.json`. Images are compressed by Blosc with Zstandard 1, bit shuffle and blocks of
1 MiB, chosen by measurement on lung1, lung2 (CT, int16, 25 and 32 MB) and brain1 (MR, int16, 3.3 MB) of pyradiomics
3.0.1, in chunks as here, one core. MB of all three; seconds to write and to read them, least of some rounds beside
other work; Blosc's own blocks, and blocks of 1 MiB:

    zstd 1   byte shuffle  28.50  0.14  0.06
    zstd 3   byte shuffle  27.67  0.35  0.05
    zstd 5   byte shuffle  26.96  0.72  0.05
    zstd 1   bit shuffle   27.12  0.12  0.07     1 MiB  26.04  0.10  0.05
    zstd 3   bit shuffle   26.77  0.21  0.06     1 MiB  26.03  0.23  0.04
    zstd 5   bit shuffle   26.44  0.36  0.05     1 MiB  25.79  0.42  0.06
    lz4 5    bit shuffle   30.61  0.05  0.02
    lz4hc 5  bit shuffle   28.03  0.70  0.02

Level 1 in large blocks is smaller than level 5 in Blosc's own, at a third of the time; 2 MiB gain nothing more. A map
of six tissues on lung2 (uint8, 16 MB): zstd 1 in Blosc's own blocks 0.72 MB, in blocks of 1 MiB 0.70 MB, with bit
shuffle 0.71 MB and half as slow again to read; as int32 about the same. So labels take byte shuffle, which leaves
single bytes as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numcodecs import Blosc

from medshard.converters.volume import Array
from medshard.converters.zarr_shard import shard_shape, write_zarr_shard
from medshard.errors import CaseError

# (z, y, x) of what is decoded at once: 2 MiB of int16. A depth of 32 is no faster to write.
INNER_CHUNK = (64, 128, 128)
ROWS_PER_CHUNK = 1 << 17

Shuffle = Literal["bitshuffle", "shuffle"]
SHUFFLES: Mapping[Shuffle, int] = {"bitshuffle": Blosc.BITSHUFFLE, "shuffle": Blosc.SHUFFLE}
COMPRESSOR = "zstd"
COMPRESSION_LEVEL = 1
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ArrayForm:
    """How an array is stored. axes: names of its dimensions; inner_chunk: what is compressed as one."""

    axes: tuple[str, ...]
    inner_chunk: tuple[int, ...]
    shuffle: Shuffle = "bitshuffle"


def voxel_form(array: Array, shuffle: Shuffle) -> ArrayForm:
    """For `(c, z, y, x)` or `(t, c, z, y, x)`; chunks are clipped to the shape."""
    wanted = (1,) * (array.ndim - 3) + INNER_CHUNK
    chunk = tuple(max(1, min(side, n)) for side, n in zip(wanted, array.shape, strict=True))
    return ArrayForm(axes=("t", "c", "z", "y", "x")[-array.ndim :], inner_chunk=chunk, shuffle=shuffle)


def table_form(array: Array, axes: tuple[str, str]) -> ArrayForm:
    """For `(n, columns)`, in chunks of whole rows."""
    rows, columns = array.shape
    return ArrayForm(axes=axes, inner_chunk=(max(1, min(rows, ROWS_PER_CHUNK)), max(1, columns)), shuffle="shuffle")


def write_group(folder: Path, attributes: Mapping[str, Any] | None = None) -> None:
    """Make a folder a Zarr group. Raises CaseError[canonical.not_finite] for attributes that JSON cannot hold."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes or {})}
    _write_document(folder / "zarr.json", document)


def write_array(folder: Path, array: Array, form: ArrayForm, *, threads: int | None = None) -> None:
    """Write an array into a new folder. Chunks of zeros take no space. threads: as in `write_zarr_shard`."""
    folder.mkdir(parents=True)
    _write_document(folder / "zarr.json", array_document(array, form))
    codec = Blosc(COMPRESSOR, COMPRESSION_LEVEL, SHUFFLES[form.shuffle], BLOCK_BYTES)
    data = folder.joinpath("c", *("0" for _ in array.shape))
    write_zarr_shard(array, form.inner_chunk, codec, data, threads=threads)


def array_document(array: Array, form: ArrayForm) -> dict[str, Any]:
    """The `zarr.json` of an array. Source: Zarr core specification 3.1, array metadata; sharding codec 1.0."""
    numbers = {"name": "bytes", "configuration": {"endian": "little"}} if array.itemsize > 1 else {"name": "bytes"}
    blosc = {
        "typesize": array.itemsize,
        "cname": COMPRESSOR,
        "clevel": COMPRESSION_LEVEL,
        "shuffle": form.shuffle,
        "blocksize": BLOCK_BYTES,
    }
    sharding = {
        "chunk_shape": list(form.inner_chunk),
        "codecs": [numbers, {"name": "blosc", "configuration": blosc}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": _regular_grid(shard_shape(array.shape, form.inner_chunk)),
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _zero(array),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": list(form.axes),
        "attributes": {},
    }


def _regular_grid(chunk_shape: Sequence[int]) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape)}}


def _zero(array: Array) -> bool | int | float:
    return {"b": False, "f": 0.0}.get(array.dtype.kind, 0)


def _write_document(path: Path, document: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise CaseError(
            "canonical.not_finite",
            where=path.parent.name,
            problem="an affine, a rescale or an attribute is not a finite number",
            action="The case is excluded. Repair the header at the source.",
        ) from error
    path.write_bytes(text.encode())
