"""Shards -> torch: items of every kind, mixing, resume. The shard reader itself needs numpy only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medshard.loaders.augmentation import Augmentation
    from medshard.loaders.collate import collate_samples
    from medshard.loaders.dataset import ShardDataset
    from medshard.loaders.device import DeviceTransform
    from medshard.loaders.sampler import SampleStream

__all__ = ["Augmentation", "DeviceTransform", "SampleStream", "ShardDataset", "collate_samples"]

_ROOMS = {
    "Augmentation": "augmentation",
    "DeviceTransform": "device",
    "SampleStream": "sampler",
    "ShardDataset": "dataset",
    "collate_samples": "collate",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `import medshard.loaders.shard_reader` works without torch.
    if name in _ROOMS:
        return getattr(import_module(f"medshard.loaders.{_ROOMS[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
