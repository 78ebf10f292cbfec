"""Items -> a batch: tensors of one shape are stacked, everything else stays a list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from medshard.errors import CatalogError

Item = Mapping[str, Any]
Batch = dict[str, Any]
SHOWN = 8


def collate_samples(items: Sequence[Item], *, ragged: Collection[str] = ()) -> Batch:
    """One batch of the items of a `ShardDataset`, for `DataLoader(collate_fn=collate_samples)`.

    Tensors are stacked, in a worker straight into memory that is shared with the trainer; numbers become tensors.
    Texts, rows, meshes and what only some items have become lists with a place for each item (None where it lacks it).
    ragged: keys whose tensors are listed, too, as those of whole volumes: `("image", "label")`.
    Raises CatalogError[batch.shapes] when the tensors of any other key have different shapes.
    """
    keys = dict.fromkeys(key for item in items for key in item)
    batch: Batch = {}
    for key in keys:
        values = [item.get(key) for item in items]
        batch[key] = values if key in ragged else _together(key, values, items)
    return batch


def _together(key: str, values: list[Any], items: Sequence[Item]) -> Any:
    if all(isinstance(value, int | float) for value in values):
        return torch.tensor(values)
    if not all(isinstance(value, Tensor) for value in values):
        return values
    if len({value.shape for value in values}) > 1:
        raise _mixed_shapes(key, values, items)
    if len({value.dtype for value in values}) > 1:
        # Stored numbers of several entries, which each keep their type until they are normalised.
        common = reduce(torch.promote_types, (value.dtype for value in values))
        values = [value.to(common) for value in values]
    return default_collate(values)


def _mixed_shapes(key: str, values: Sequence[Tensor], items: Sequence[Item]) -> CatalogError:
    shapes = {
        str(item.get("case_id", number)): tuple(value.shape)
        for number, (item, value) in enumerate(zip(items, values, strict=True))
    }
    return CatalogError(
        "batch.shapes",
        where=key,
        problem="the items of a batch have different shapes",
        details=dict(list(shapes.items())[:SHOWN]),
        action="Give the view a size; or name the key as `ragged` to keep a list; or make batches of "
        "one kind each, with a data set and a loader for every modality.",
    )
