"""How many bytes an entry takes: as it came, decoded, and in its shards."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medshard.loaders.shard_bytes import AnyStore
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.store.manifests import read_head, read_manifest
from medshard.registry.store.objects import Store


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes. stored: of the shards; index: beside them; decoded: of all arrays of all samples in their stored types.

    source: of the files that the samples were made from, as they came; None where they are not in the store.
    """

    samples: int
    stored: int
    index: int
    decoded: int
    source: int | None


def sizes_of(index: SampleIndex) -> Sizes:
    """What one entry takes. Reads every row of the index."""
    decoded = 0
    for number in range(len(index)):
        arrays = index.row(number).arrays.values()
        decoded += sum(array.dtype.itemsize * math.prod(array.shape) for array in arrays)
    attachments = index.head.attachments
    return Sizes(
        samples=len(index),
        stored=sum(ref.size for name, ref in attachments.items() if name.startswith("shard-")),
        index=attachments["index"].size,
        decoded=decoded,
        source=_source_bytes(index.store, index),
    )


def _source_bytes(store: AnyStore, index: SampleIndex) -> int | None:
    if not isinstance(store, Store):
        return None
    raw = read_head(store, index.entry, "raw")
    if raw is None:
        return None
    outputs = [record.output for record in read_manifest(store, raw.manifest).good]
    folders = [store.path(ref) for ref in outputs if ref is not None]
    paths = {path for record in read_manifest(store, index.head.manifest).good for path in record.sources}
    total = 0
    for path in paths:
        file = next((folder / path for folder in folders if (folder / path).is_file()), None)
        if file is None:
            return None
        total += file.stat().st_size
    return total if paths else None
